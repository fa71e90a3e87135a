"""Spoilt calls of every operator are refused or run; what they claim costs no memory to plan."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv._runtime import core

from . import hostile_graphs

CONV = hostile_graphs.CONV


@pytest.mark.parametrize("op", sorted(hostile_graphs.CALLS))
def test_as_written_it_runs(op):
    assert hostile_graphs.call(0, op, spoils=0) in ("ran", "failed")


@pytest.mark.parametrize("first", range(0, 6000, 1000))
def test_spoilt_calls(first):
    for seed in range(first, first + 1000):
        hostile_graphs.call(seed)


def refuse(op, shapes, attrs, match):
    graph = core.Graph()
    ids = [graph.input("x", list(s)) for s in shapes]
    with pytest.raises(ValueError, match=match):
        core.Plan(graph, graph.add(op, ids, attrs))


@pytest.mark.parametrize("size", [[2**40, 1], [1, 2**31], [2**62, 0]])
@pytest.mark.parametrize("op", ["adaptive_avg_pool2d", "adaptive_max_pool2d_with_indices"])
def test_adaptive_pooling_to_too_many_windows(op, size):
    refuse(op, [(1, 4, 4, 1)], {"output_size": size}, "windows")


def test_pooling_of_too_many_windows():
    attrs = {"kernel": [2, 2], "strides": [1, 1]}
    refuse("max_pool2d", [(1, 2**31 - 1, 4, 1)], attrs, "windows")
    # Few windows of many elements are as many.
    attrs = {"kernel": [2**20, 1], "strides": [1, 1]}
    refuse("avg_pool2d", [(1, 2**21, 4, 1)], attrs, "windows")


@pytest.mark.parametrize("op", ["resize", "resize_backward"])
def test_resize_to_too_many_rows(op):
    refuse(op, [(1, 4, 4, 1)], {"size": [2**33, 1]}, "at most")
    refuse(op, [(1, 4, 2**33, 1)], {"size": [2, 2]}, "at most")


def test_layers_of_too_many_channels():
    refuse("dense", [(1, 4), (4, 2**40)], {}, "columns")
    refuse("matmul", [(1, 4), (4, 2**40)], {}, "columns")
    refuse("conv2d", [(1, 4, 4, 1), (1, 1, 1, 2**30)], CONV, "output channels")
    attrs = {**CONV, "output_size": [4, 4]}
    refuse("conv_transpose2d", [(1, 4, 4, 1), (3, 3, 2**30, 1)], attrs, "output channels")


def test_too_many_products_or_spread_numbers():
    refuse("matmul", [(1, 2**40, 1, 1), (2, 1, 1, 1)], {}, "products")
    refuse("layer_norm", [(1, 4, 2**40), (2**40,)], {"axis": 1}, "broadcast")
    attrs = {"axis": 1, "begin": 1, "end": 1, "mode": "reflect"}
    refuse("pad_backward", [(1, 2**40)], attrs, "at most")
    refuse("pad", [(1, 3)], {"pads": [0, 2**40, 0, 0], "mode": "replicate"}, "fit")


def test_stacks_of_any_length_by_one_matrix():
    graph = core.Graph()
    a, b = graph.input("a", [2**40, 1, 1]), graph.input("b", [1, 1, 1])
    core.Plan(graph, graph.add("matmul", [a, b]))


def test_padding_is_planned_at_once():
    graph = core.Graph()
    x = graph.input("x", [2, 3])
    core.Plan(graph, graph.add("pad", [x], {"pads": [2**40, 0, 0, 3]}))
    core.Plan(graph, graph.add("pad", [x], {"pads": [0, 2**40, 0, 0]}))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_in_all_modes_as_numpy(mode):
    rng = np.random.default_rng(3)
    names = {"replicate": "edge", "circular": "wrap"}
    for _ in range(60):
        shape = tuple(int(n) for n in rng.integers(2, 6, rng.integers(1, 5)))
        most = [n - 1 if mode == "reflect" else n for n in shape]
        pads = [[int(rng.integers(0, m + 1)) for m in most] for _ in range(2)]
        if rng.random() < 0.5:
            pads[0][-1] = pads[1][-1] = 0
        x = rng.standard_normal(shape).astype(np.float32)
        graph = core.Graph()
        out = graph.add("pad", [graph.input("x", shape)], {"pads": pads[0] + pads[1], "mode": mode})
        expected = np.pad(x, list(zip(*pads, strict=True)), names.get(mode, mode))
        np.testing.assert_array_equal(core.Plan(graph, out).run([x])[0], expected)


def test_cropping_and_padding_together():
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    graph = core.Graph()
    v = graph.input("x", [4, 6])
    attrs = {"pads": [-1, 2, 1, -3], "value": 9.0}
    (y,) = core.Plan(graph, graph.add("pad", [v], attrs)).run([x])
    expected = np.pad(x[1:, :3], [(0, 1), (2, 0)], constant_values=9)
    np.testing.assert_array_equal(y, expected)
    # Past what there is: only the constant is left.
    (y,) = core.Plan(graph, graph.add("pad", [v], {"pads": [0, 9, 0, -8]})).run([x])
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (9, 0)])[:, :7])
    (y,) = core.Plan(graph, graph.add("pad", [v], {"pads": [0, -8, 0, 9]})).run([x])
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 9)])[:, 8:])


CHILD = """
import resource
from graph import hostile_graphs
hostile_graphs.core.set_num_threads(1)
hostile_graphs.call(0)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (1500 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print([s for s in range(2000, 3200) if hostile_graphs.call(s) == "memory"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_no_call_takes_gigabytes():
    tests = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, cwd=tests)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
