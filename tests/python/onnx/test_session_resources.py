"""Sessions over many shapes and many lives: memory, forked children. In processes of their own."""

import os
import subprocess
import sys
import textwrap

import pytest

from long_tests import count

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SETUP = """
import gc, os, random, threading, time
import numpy as np
import fastconv
from fastconv.inference import ModelGraph, Node, ValueInfo

rng = np.random.default_rng(0)

def net(width=128, layers=6):
    nodes, constants, value = [], {}, "x"
    for i in range(layers):
        shape = (width, width if i else 3, 3, 3)
        constants[f"w{i}"] = rng.standard_normal(shape).astype("f4")
        constants[f"b{i}"] = np.zeros(width, "f4")
        inputs, attrs = [value, f"w{i}", f"b{i}"], {"pads": [1, 1, 1, 1]}
        nodes.append(Node("Conv", inputs, [f"c{i}"], attrs, version=17))
        nodes.append(Node("Relu", [f"c{i}"], [f"r{i}"], {}, version=17))
        value = f"r{i}"
    # Shape arithmetic, as exporters write it.
    nodes += [
        Node("Shape", [value], ["s"], {}, version=17),
        Node("Gather", ["s", "zero"], ["n"], {}, version=17),
        Node("Concat", ["n", "rest"], ["t"], {"axis": 0}, version=17),
        Node("Reshape", [value, "t"], ["y"], {}, version=17),
    ]
    constants |= {"zero": np.array([0]), "rest": np.array([-1])}
    shape = ("n", 3, "h", "w")
    inputs = [ValueInfo("x", "float32", shape)]
    return ModelGraph("net", inputs, [ValueInfo("y", "float32", None)], nodes, constants)

def image(h, w):
    return np.ones((1, 3, h, w), "f4")

def rss():
    gc.collect()
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 2**20  # MiB
"""


def output(code):
    result = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FASTCONV_NUM_THREADS": "2"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_memory_is_flat_over_a_thousand_sizes():
    seen = list(
        map(
            float,
            output(
                """
                session = fastconv.InferenceSession(net())
                choose = random.Random(0)
                session.run(None, {"x": image(64, 64)})
                for i in range(1000):
                    session.run(None, {"x": image(choose.randint(8, 64), choose.randint(8, 64))})
                    if i >= 100 and i % 20 == 0:
                        print(rss())
                """
            ),
        )
    )
    # Which packs of the weights are in use depends on the sizes among the latest sixteen.
    middle = (max(seen) + min(seen)) / 2
    assert max(seen) - middle < 0.05 * middle, seen
    third = len(seen) // 3
    first, last = sum(seen[:third]) / third, sum(seen[-third:]) / third
    assert last < 1.03 * first, seen


def test_memory_is_flat_over_thousands_of_sessions():
    sessions = count(1500, 10_000)
    figures = output(
        f"""
        graphs = [net(8, 1), net(12, 2), net(16, 3)]
        for i in range({sessions}):
            session = fastconv.InferenceSession(graphs[i % 3])
            session.run(None, {{"x": image(8 + i % 5, 9)}})
            if i % ({sessions} // 30) == 0 and i > {sessions} // 5:
                print(rss())
        """
    )
    seen = list(map(float, figures))
    assert len(seen) > 20
    third = len(seen) // 3
    first, last = sum(seen[:third]) / third, sum(seen[-third:]) / third
    # As for sizes: the heap may take a step (of 0.5 MiB, once in 10,000 sessions), no slope.
    assert last < 1.03 * first, seen


def test_memory_is_given_back():
    before, during, after = map(
        float,
        output(
            """
            small = fastconv.InferenceSession(net(8, 2))
            small.run(None, {"x": image(8, 8)})
            before = rss()
            session = fastconv.InferenceSession(net(256, 6))
            session.run(None, {"x": image(256, 256)})
            during = rss()
            del session
            print(before, during, rss())
            """
        ),
    )
    # Weights of 12 MB, packed once more, and activations of 64 MB.
    assert during > before + 80
    assert after < before + 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children_use_the_session():
    printed = output(
        """
        session = fastconv.InferenceSession(net(16, 2))
        x = image(32, 32)
        (expected,) = session.run(None, {"x": x})
        stop = False
        def work():
            h = 8
            while not stop:
                h = 8 + (h - 7) % 40
                session.run(None, {"x": image(h, 9)})
        threads = [threading.Thread(target=work) for _ in range(2)]
        [t.start() for t in threads]
        wrong = 0
        for i in range(20):
            time.sleep(0.01)
            pid = os.fork()
            if pid == 0:
                good = np.array_equal(session.run(None, {"x": x})[0], expected)
                session.run(None, {"x": image(50 + i, 9)})
                os._exit(0 if good else 1)
            wrong += os.waitpid(pid, 0)[1] != 0
        stop = True
        [t.join() for t in threads]
        print(wrong)
        """
    )
    assert printed == ["0"]
