"""Memory: given back when plans go, flat over many plans. In processes of their own."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SETUP = """
import gc, random
from collections import OrderedDict
import numpy as np
from fastconv._runtime import core

CONV = dict(strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1)
rng = np.random.default_rng(0)

def variable(*shape):
    return core.Variable(rng.uniform(0.5, 1, shape).astype("float32"))

def rss():
    gc.collect()
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 2**20  # MiB

class Net:
    def __init__(self, *channels):
        pairs = list(zip(channels, channels[1:]))
        self.layers = [(variable(3, 3, a, b), [variable(b) for _ in range(4)]) for a, b in pairs]
        self.channels = channels[0]

    def plan(self, h, w, store=None):
        g = core.Graph()
        y = g.input("x", [1, h, w, self.channels])
        for kernel, norm in self.layers:
            y = g.add("conv2d", [y, g.variable(kernel)], CONV)[0]
            y = g.add("batch_norm_inference", [y, *map(g.variable, norm)])[0]
            y = g.add("relu", [y])[0]
        mean = g.add("reduce_mean", [y], dict(axes=[1, 2]))[0]
        return core.Plan(g, [mean], store, strict=True)  # workspaces would blur the picture

    def run(self, plan, h, w):
        plan.run([np.ones((1, h, w, self.channels), "float32")])
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
    return [float(number) for number in result.stdout.split()]


def test_resident_memory_is_flat_over_a_thousand_plans():
    figures = output(
        """
        random.seed(1)
        net, store, plans = Net(3, 16, 32, 32), core.PackStore(), OrderedDict()
        for i in range(1000):
            size = random.randint(8, 96), random.randint(8, 96)
            if size not in plans:
                plans[size] = net.plan(*size, store)
            plans.move_to_end(size)
            net.run(plans[size], *size)
            while len(plans) > 16:
                plans.popitem(last=False)
            if i % 50 == 49 and i >= 199:
                print(rss())
        """
    )
    assert len(figures) == 17
    middle = sorted(figures)[8]
    assert 0.95 * middle <= min(figures) and max(figures) <= 1.05 * middle, figures


@pytest.mark.parametrize("channels, size", [((3, 16, 16), 40), ((64, 512, 512), 90)])
def test_memory_goes_with_the_last_plan(channels, size):
    # Arenas below and above the size from which the system is asked for pages.
    before, during, after = output(
        f"""
        net, h = Net(*{channels}), {size}
        Net(3, 8).plan(8, 8).run([np.ones((1, 8, 8, 3), "float32")])
        x = [np.ones((1, h + i, h, net.channels), "float32") for i in range(6)]
        start = rss()
        plans = [net.plan(h + i, h) for i in range(6)]
        for plan, feed in zip(plans, x):
            plan.run([feed])
        print(start, rss())
        del plan
        plans.clear()
        print(rss())
        """
    )
    assert after - before < 2 + 0.03 * (during - before), (before, during, after)


def test_an_arena_lent_to_a_smaller_plan_goes_with_its_own():
    # A run of a small plan may have the large plan's arena when that goes.
    before, after = output(
        """
        import threading
        net, stop = Net(64, 64), threading.Event()
        x = np.ones((1, 300, 300, 64), "float32")  # once: malloc keeps what it is given back
        small = net.plan(24, 24)
        net.run(small, 24, 24)
        net.run(net.plan(16, 16), 16, 16)
        start = rss()
        def work():
            while not stop.is_set():
                net.run(small, 24, 24)
        for _ in range(20):
            stop.clear()
            large = net.plan(300, 300)
            large.run([x])
            threads = [threading.Thread(target=work) for _ in range(3)]
            [t.start() for t in threads]
            del large
            stop.set()
            [t.join() for t in threads]
        print(start, rss())
        """
    )
    assert after - before < 8, (before, after)


def test_intermediate_values_are_not_kept():
    before, packed, after = output(
        """
        net = Net(256, 1024, 1024)
        net.run(Net(256, 8).plan(8, 8), 8, 8)
        start = rss()
        plan = net.plan(2, 2)
        net.run(plan, 2, 2)
        print(start, plan.memory["prepared"] / 2**20, rss())
        """
    )
    assert after - before < 1.1 * packed + 2, (before, packed, after)


def test_packs_that_move_to_huge_pages():
    """From the second run on, also while other threads read them: no more memory, the same bits."""
    before, first, later = output(
        """
        import threading
        net = Net(256, 1024, 1024)
        x = np.random.default_rng(1).random((1, 4, 5, 256), "float32")
        net.run(Net(256, 8).plan(8, 8), 8, 8)
        start, plan = rss(), net.plan(4, 5)
        results = plan.run([x])
        first = rss()
        threads = [threading.Thread(target=lambda: results.extend(plan.run([x]))) for _ in range(6)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert all(np.array_equal(r, results[0]) for r in results) and len(results) == 7
        print(start, first, rss())
        """
    )
    assert first - before > 40
    assert later - first < 8, (before, first, later)
