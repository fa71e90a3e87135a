"""Batch, instance, layer and group normalization, local response normalization."""

from __future__ import annotations

import numpy as np

from fastconv.inference.lowering.context import Context, channels_last
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.tensor import Tensor


def expect_channels(c: Context, channels: int, **tensors: Tensor | None) -> None:
    for name, t in tensors.items():
        if t is not None and t.shape != (channels,):
            c.fail(f"{name} has shape {t.shape}, expected ({channels},)")


@operator("BatchNormalization")
def batch_norm(c: Context) -> Tensor | list[Tensor]:
    x = c.input(0)
    scale, bias, mean, var = (c.input(i) for i in range(1, 5))
    if x.rank < 2:
        c.fail(f"input has shape {x.shape}, expected rank 2 or more")
    if c.version < 9 and not c.attr("spatial", 1):
        c.fail("spatial=0 is not supported")
    expect_channels(c, x.shape[1], scale=scale, B=bias, input_mean=mean, input_var=var)
    epsilon = c.attr("epsilon", 1e-5)
    if c.version >= 14 and c.attr("training_mode", 0):
        return batch_norm_training(c, x, epsilon)
    order = channels_last(x.rank)
    dtype = x.dtype
    inputs = [x.at(order), *(c.cast(t, dtype).at() for t in (scale, bias, mean, var))]
    return c.wrap(c.emit("batch_norm_inference", inputs, eps=epsilon), order)


def batch_norm_training(c: Context, x: Tensor, epsilon: float) -> list[Tensor]:
    """With the batch's own statistics; also returns the running ones."""
    momentum = c.attr("momentum", 0.9)
    axes = [a for a in range(x.rank) if a != 1]
    mean = c.reduce("reduce_mean", x, axes, True)
    centred = c.broadcast("sub", x, mean)
    var = c.reduce("reduce_mean", c.unary("square", centred), axes, True)
    order = channels_last(x.rank)
    flat = [c.reshape(t, (x.shape[1],)) for t in (mean, var)]
    inputs = [x.at(order), c.input(1).at(), c.input(2).at(), *(t.at() for t in flat)]
    y = c.wrap(c.emit("batch_norm_inference", inputs, eps=epsilon), order)
    running = []
    for old, new in zip((c.input(3), c.input(4)), flat, strict=True):
        old = c.unary("scale", old, alpha=momentum)
        running.append(c.broadcast("add", old, c.unary("scale", new, alpha=1 - momentum)))
    return [y, *running]


@operator("InstanceNormalization")
def instance_norm(c: Context) -> Tensor:
    x, scale, bias = c.input(0), c.input(1), c.input(2)
    expect_channels(c, x.shape[1] if x.rank > 1 else 0, scale=scale, B=bias)
    return group_normalized(c, x, scale, bias, x.shape[1])


@operator("GroupNormalization")
def group_norm(c: Context) -> Tensor:
    x, scale, bias = c.input(0), c.input(1), c.input(2)
    c.expect_rank(x, 2, 8)
    groups, channels = c.attr("num_groups", 1), x.shape[1]
    if groups < 1 or channels % groups:
        c.fail(f"num_groups is {groups}, expected a divisor of the {channels} channels")
    if c.version < 21:  # one scale a group
        expect_channels(c, groups, scale=scale, bias=bias)
        each = channels // groups
        scale, bias = (repeat(c, t, each) for t in (scale, bias))
    expect_channels(c, channels, scale=scale, bias=bias)
    return group_normalized(c, x, scale, bias, groups)


def repeat(c: Context, x: Tensor, times: int) -> Tensor:
    if x.value is not None:
        return x.derived(f"repeat {times}", lambda v: np.repeat(v, times))
    value = c.emit("reshape", [x.at()], shape=[x.size, 1])
    value = c.emit("tile", [value], repeats=[1, times])
    return c.wrap(c.emit("reshape", [value], shape=[x.size * times]))


def group_normalized(c: Context, x: Tensor, scale: Tensor, bias: Tensor, groups: int) -> Tensor:
    order = channels_last(x.rank)
    inputs = [x.at(order), scale.at(), bias.at()]
    y = c.emit("group_norm", inputs, groups=groups, epsilon=c.attr("epsilon", 1e-5))
    return c.wrap(y, order)


@operator("LayerNormalization")
def layer_norm(c: Context) -> list[Tensor]:
    x, scale, bias = c.input(0), c.optional(1), c.optional(2)
    axis = c.axis(c.attr("axis", -1), x.rank)
    rest = x.shape[axis:]

    def parameter(t: Tensor | None) -> int | None:
        if t is None:
            return None
        if t.rank > len(rest):
            t = c.reshape(t, t.shape[t.rank - len(rest) :])
        return t.at()

    inputs = [x.at(), parameter(scale), parameter(bias)]
    results = c.graph.emit_all("layer_norm", inputs, axis=axis, epsilon=c.attr("epsilon", 1e-5))
    return [c.wrap(v) for v in results]


@operator("LRN")
def lrn(c: Context) -> Tensor:
    x, size = c.input(0), c.attr("size", 1)
    if x.rank < 2:
        c.fail(f"input has shape {x.shape}, expected rank 2 or more")
    order = channels_last(x.rank)
    attrs = {
        "size": size,
        "alpha": c.attr("alpha", 1e-4),
        "beta": c.attr("beta", 0.75),
        "k": c.attr("bias", 1.0),
    }
    value = x.at(order)
    # Windows of even size reach one channel further up in ONNX, one further down in the core.
    even = size % 2 == 0
    shape = list(c.graph.core.shape(value))
    if even:
        value = _flipped(c, value, shape)
    value = c.emit("local_response_norm", [value], **attrs)
    return c.wrap(_flipped(c, value, shape) if even else value, order)


def _flipped(c: Context, value: int, shape: list[int]) -> int:
    begin, step = [0] * len(shape), [1] * len(shape)
    begin[-1], step[-1] = shape[-1] - 1, -1
    return c.emit("strided_slice", [value], begin=begin, size=shape, step=step)


@operator("MeanVarianceNormalization")
def mean_variance(c: Context) -> Tensor:
    x = c.input(0)
    axes = [c.axis(a, x.rank) for a in c.ints_attr("axes", [0, 2, 3])]
    centred = c.broadcast("sub", x, c.reduce("reduce_mean", x, axes, True))
    var = c.reduce("reduce_mean", c.unary("square", centred), axes, True)
    deviation = c.unary("scale", c.unary("sqrt", var), beta=1e-9)
    return c.broadcast("div", centred, deviation)


@operator("LpNormalization")
def lp_normalization(c: Context) -> Tensor:
    x, p = c.input(0), c.attr("p", 2)
    axis = c.axis(c.attr("axis", -1), x.rank)
    if p == 1:
        norm = c.reduce("reduce_sum", c.unary("abs", x), [axis], True)
    else:
        norm = c.unary("sqrt", c.reduce("reduce_sum", c.unary("square", x), [axis], True))
    zero = c.broadcast("compare", norm, c.wrap(c.scalar(0, x.dtype)), kind="eq")
    one = c.wrap(c.scalar(1, x.dtype))
    return c.broadcast("div", x, c.broadcast("where", zero, one, norm))
