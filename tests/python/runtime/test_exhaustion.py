"""Memory that runs out in the middle: a MemoryError, and a process that works when there is some.

Each case runs in a child of fork whose address space is limited to a little more than it has, by
which even the threads of the core may not start.
"""

import os
import subprocess
import sys
import textwrap

import pytest

from long_tests import count

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="limits the address space, starts a second thread",
)

SETUP = """
import os, resource, signal, sys, tempfile
import numpy as np
import fastconv
import fastconv.functional as F
from fastconv import layers
from fastconv._runtime import core
from fastconv.inference import ModelGraph, Node, ValueInfo

rng = np.random.default_rng(0)

def normal(*shape):
    return rng.standard_normal(shape).astype("f4")

def pages():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def check(work, extra):
    # The child: 0 if work() ran or had too little memory, and gives the right thing afterwards.
    signal.alarm(60)
    core.set_num_threads(2)  # none has been started yet
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages() + extra, hard))
    try:
        work()
        result = "ran"
    except MemoryError:
        result = "memory"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    first, second = work(), work()
    assert np.array_equal(first, second) and np.isfinite(first).all()
    print(result, flush=True)

def sweep(work, steps):
    sys.stdout.flush()
    top = 256 << 20
    for i in range(steps):
        # Closer together where there is little.
        extra = int(top * (i / (steps - 1)) ** 3)
        pid = os.fork()
        if pid == 0:
            try:
                check(work, extra)
                os._exit(0)
            except BaseException as error:
                print(f"{extra} bytes more: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"{extra} bytes more: status {status}"
"""

WORK = {
    "plan": """
        x, w = normal(8, 56, 56, 32), normal(3, 3, 32, 32)
        graph = core.Graph()
        attrs = dict(strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1)
        y = graph.input("x", x.shape, "float32")
        for _ in range(3):
            y = graph.add("conv2d", [y, graph.constant(w)], attrs)[0]
        plan = core.Plan(graph, [y])
        work = lambda: plan.run([x])[0]
    """,
    "function": """
        x, w = normal(16, 8, 128, 128), normal(32, 8, 3, 3)
        work = lambda: F.conv2d(x, w, padding=1)
        work()
    """,
    "session": """
        x, w, v = normal(4, 3, 64, 64), normal(64, 3, 3, 3), normal(64, 64, 3, 3)
        nodes = [Node("Conv", ["x", "w"], ["h"], {}), Node("Conv", ["h", "v"], ["y"], {})]
        graph = ModelGraph("g", [ValueInfo("x", "float32", x.shape)],
                           [ValueInfo("y", "float32", None)], nodes, {"w": w, "v": v})
        work = lambda: fastconv.InferenceSession(graph).run(None, {"x": x})[0]
        work()
    """,
    "fit": """
        x, y = normal(64, 24, 24, 3), normal(64, 2)
        model = fastconv.Sequential([
            layers.Input((24, 24, 3)), layers.Conv2D(32, 3, activation="relu"),
            layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(2)])
        model.compile("sgd", "mse")
        before = model.get_weights()
        def work():
            model.set_weights(before)
            model.fit(x, y * 1e-3, batch_size=32, shuffle=False, verbose=0)
            return model.predict(x, verbose=0)
        # One epoch: what is imported late is there, and the children plan for themselves.
        work()
        fastconv.functional.relu(np.ones(3, "f4"))
        model.compile("sgd", "mse")
    """,
    "load": """
        folder = tempfile.mkdtemp()
        model = fastconv.Sequential([layers.Input((512,)), layers.Dense(4000), layers.Dense(2)])
        model.save(folder + "/m.fastconv")
        x = normal(4, 512)
        def work():
            return fastconv.models.load_model(folder + "/m.fastconv").predict(x, verbose=0)
        work()
    """,
}


@pytest.mark.parametrize("name", WORK)
def test_memory_runs_out(name):
    code = SETUP + textwrap.dedent(WORK[name]) + f"\nsweep(work, {count(10, 120)})\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=1200,
        env={**os.environ, "FASTCONV_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    results = done.stdout.split()
    assert results[0] == "memory" and results[-1] == "ran", results
