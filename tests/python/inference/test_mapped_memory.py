"""Weights of a mapped file leave the memory once packed, and come back where they are needed."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastconv
from fastconv.inference import file, memory
from fastconv.inference.model import ModelGraph, Node, ValueInfo

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def model(layers=8, channels=512) -> ModelGraph:
    rng = np.random.default_rng(0)
    nodes, constants, last = [], {}, "x"
    for i in range(layers):
        constants[f"w{i}"] = rng.standard_normal((channels, channels, 1, 1)).astype(np.float32) / 30
        nodes.append(Node("Conv", [last, f"w{i}"], [f"y{i}"]))
        last = f"y{i}"
    return ModelGraph(
        "m",
        [ValueInfo("x", "float32", (1, channels, "h", "w"))],
        [ValueInfo(last, "float32", None)],
        nodes,
        constants,
    )


def run(session, size):
    x = np.random.default_rng(size).standard_normal((1, 512, size, size)).astype(np.float32)
    return session.run(None, {"x": x})[0]


def test_results_of_further_shapes(tmp_path):
    """Plans of other shapes and a second session read the weights again."""
    built = model()
    file.save(built, tmp_path / "m.fastconv")
    mapped = fastconv.InferenceSession(tmp_path / "m.fastconv")
    kept = fastconv.InferenceSession(built)
    for size in (4, 7, 1, 4, 13):
        np.testing.assert_array_equal(run(mapped, size), run(kept, size))
    strict = fastconv.InferenceSession(mapped.model, precision="strict")
    np.testing.assert_allclose(run(strict, 5), run(kept, 5), rtol=1e-3, atol=1e-4)
    loaded = file.load(tmp_path / "m.fastconv")
    for name, value in built.constants.items():
        np.testing.assert_array_equal(loaded.constants[name], value)
        np.testing.assert_array_equal(mapped.model.constants[name], value)


def test_what_is_mapped(tmp_path):
    """Only arrays on a whole file that was mapped for reading: pages of others would be lost."""
    file.save(model(1, 16), tmp_path / "m.fastconv")
    loaded = file.load(tmp_path / "m.fastconv").constants["w0"]
    assert memory.is_mapped(loaded)
    assert memory.is_mapped(loaded[3:].reshape(-1))
    assert not memory.is_mapped(loaded.copy())
    private = np.memmap(tmp_path / "m.fastconv", mode="c")
    assert not memory.is_mapped(private)
    assert not memory.is_mapped(np.asarray(private)[8:])
    assert not memory.is_mapped(np.frombuffer(b"12345678", np.float32))


def test_private_changes_survive(tmp_path):
    """Arrays on somebody else's copy-on-write mapping keep what was written into them."""
    built = model(1)
    np.zeros(512 * 512, np.float32).tofile(tmp_path / "raw")
    private = np.memmap(tmp_path / "raw", np.float32, mode="c", shape=(512, 512, 1, 1))
    private[:] = built.constants["w0"]
    changed = ModelGraph(built.name, built.inputs, built.outputs, built.nodes, {"w0": private})
    got = run(fastconv.InferenceSession(changed), 3)
    np.testing.assert_array_equal(got, run(fastconv.InferenceSession(built), 3))
    np.testing.assert_array_equal(private, built.constants["w0"])


@LINUX
def test_weights_leave_the_memory(tmp_path):
    """64 MiB of weights: their packs stay, the file's pages do not, at no moment all of both."""
    file.save(model(16, 1024), tmp_path / "m.fastconv")
    code = """
    import re, sys, numpy as np, fastconv
    def high():
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    def file_pages():
        return int(re.search(r"RssFile:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    small = np.zeros((1, 1024, 2, 2), np.float32)
    before, pages = high(), file_pages()
    session = fastconv.InferenceSession(sys.argv[1])
    session.run(None, {"x": small})
    print(high() - before, file_pages() - pages)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "m.fastconv"],
        capture_output=True,
        text=True,
        check=True,
    )
    grown, pages = map(float, done.stdout.split())
    assert grown < 64 + 32
    assert pages < 24
