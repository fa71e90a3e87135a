"""Concat along the last axis: written in place by what computes its inputs where that can be."""

import numpy as np
import pytest

import fastconv
from fastconv._runtime import core

from .graphs import ACTIVATIONS, Net
from .test_fusion import ops

KINDS = ["float32", "float64"]


def join(net, *values):
    return net.op(lambda *v: np.concatenate(v, -1), "concat", list(values), {"axis": -1})


def algorithms(plan, data):
    return [step.algorithm for step in plan.profile([data]) if step.op == "concat"]


def dense_block(net, x, layers, growth, act="relu"):
    """What DenseNet does: every layer reads all features before it."""
    features = [x]
    for _ in range(layers):
        y = net.activation(net.norm(join(net, *features)), act)
        y = net.activation(net.conv(y, 2 * growth, (1, 1), (0, 0, 0, 0)), "relu")
        features.append(net.conv(y, growth, bias=False))
    return net.activation(net.norm(join(net, *features)), act)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("act", ["relu", "clip", "silu"])
@pytest.mark.parametrize("channels, growth", [(8, 4), (19, 5), (64, 32)])
def test_a_dense_block_is_one_buffer(channels, growth, act, dtype):
    net = Net(2, 6, 5, 3, dtype=dtype)
    y = dense_block(net, net.conv(net.x, channels), 3, growth, act)
    plan = net.check(y)
    assert algorithms(plan, net.data) == ["in place"] * 4
    assert "relu" not in ops(plan, net.data)


def test_what_cannot_be_written_in_place_is_copied_once():
    net = Net(1, 6, 6, 8)
    y = dense_block(net, net.activation(net.x, "tanh"), 3, 8)
    assert algorithms(net.check(y), net.data) == ["copy", *["in place"] * 3]


def layers(net):
    """Layers that write 6 rows of 7 pixels: direct, of many channels, depthwise, Winograd, transposed, dense."""
    x = net.x
    yield net.conv(x, 5, (1, 1), (0, 0, 0, 0))
    yield net.conv(x, 70)
    yield net.conv(x, 16, groups=8)
    yield net.conv(x, 8, groups=2)
    yield net.activation(net.conv(net.conv(x, 16), 24), "silu")
    yield net.conv_transpose(net.conv(x, 4, (5, 4), (0, 0, 0, 0)), 6, (5, 4), (1, 1))
    yield net.conv_transpose(net.conv(x, 4, (2, 1), (0, 0, 0, 0), (2, 1)), 6, (2, 1), (2, 1))
    yield net.activation(net.conv_transpose(net.conv(x, 4, (1, 1), (0, 0, 0, 0), (3, 2)), 6, (1, 1), (5, 2))[:0], "relu") \
        if False else net.dense(x, 9)


@pytest.mark.parametrize("dtype", KINDS)
def test_every_layer_writes_in_place(dtype):
    net = Net(2, 6, 7, 8, dtype=dtype)
    plan = net.check(net.binary("add", join(net, *layers(net)), net.x and net.constant(1.0)))
    assert algorithms(plan, net.data) == ["in place"]
