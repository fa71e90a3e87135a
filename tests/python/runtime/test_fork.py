"""A child of fork finds locks, plans and stores in order, whatever other threads were doing."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

SETUP = """
import os, signal, threading
import numpy as np
from fastconv._runtime import core

rng = np.random.default_rng(0)
CONV = dict(strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1)
store = core.PackStore()
weights = rng.standard_normal((3, 3, 32, 32)).astype("float32")
w = core.Variable(weights)
mean, var = (core.Variable(rng.uniform(0.5, 2, 32).astype("float32")) for _ in "mv")
x = rng.standard_normal((2, 24, 24, 32)).astype("float32")

def make(store=store):
    g = core.Graph()
    y = g.add("conv2d", [g.input("x", x.shape), g.variable(w)], CONV)[0]
    y = g.add("batch_norm_inference", [y, None, None, g.variable(mean), g.variable(var)])[0]
    return core.Plan(g, [y], store)

def check_in_children(children, check):
    # A child that hangs is ended by the alarm.
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            ok = False
            try:
                ok = check()
            finally:
                os._exit(0 if ok else 1)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status

def while_running(work, run):
    stop = threading.Event()
    def loop():
        while not stop.is_set():
            work()
    threads = [threading.Thread(target=loop) for _ in range(2)]
    [t.start() for t in threads]
    try:
        run()
    finally:
        stop.set()
        [t.join() for t in threads]
"""


def output(code, threads):
    result = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FASTCONV_NUM_THREADS": str(threads)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("threads", [1, 3])
def test_fork_while_threads_run_the_same_plan(threads):
    printed = output(
        """
        plan = make()
        expected = plan.run([x])[0]
        def check():
            return all(np.array_equal(p.run([x])[0], expected) for p in (plan, plan, make()))
        while_running(lambda: plan.run([x]), lambda: check_in_children(40, check))
        print("ok")
        """,
        threads,
    )
    assert printed == "ok"


@pytest.mark.parametrize("threads", [1, 3])
def test_fork_while_threads_prepare(threads):
    # Every run packs anew, since the weights were assigned; the child's do not change any more.
    printed = output(
        """
        plan = make()
        def work():
            w.assign(weights)
            plan.run([x])
            make().run([x])
        def check():
            w.assign(weights * 2)
            expected = make(None).run([x])[0]
            return all(np.array_equal(p.run([x])[0], expected) for p in (plan, plan, make()))
        while_running(work, lambda: check_in_children(40, check))
        print("ok")
        """,
        threads,
    )
    assert printed == "ok"


def test_fork_while_threads_train():
    # Plans that change variables run one at a time.
    printed = output(
        """
        g = core.Graph()
        y = g.add("conv2d", [g.input("x", x.shape), g.variable(w)], CONV)[0]
        (grad,) = g.gradients([y], [None], [g.variable(w)])
        g.add("sgd_update", [g.variable(w), grad, None, g.constant(np.array(1e-6, "float32"))])
        train = core.Plan(g, [y])
        train.run([x])
        def check():
            before = w.numpy()
            train.run([x])
            return not np.array_equal(w.numpy(), before)
        while_running(lambda: train.run([x]), lambda: check_in_children(30, check))
        print("ok")
        """,
        3,
    )
    assert printed == "ok"


def test_fork_of_a_fork():
    printed = output(
        """
        plan = make()
        expected = plan.run([x])[0]
        def inner():
            w.assign(weights)
            return np.array_equal(plan.run([x])[0], expected)
        def check():
            while_running(lambda: plan.run([x]), lambda: check_in_children(3, inner))
            return inner()
        while_running(lambda: plan.run([x]), lambda: check_in_children(5, check))
        print("ok")
        """,
        2,
    )
    assert printed == "ok"
