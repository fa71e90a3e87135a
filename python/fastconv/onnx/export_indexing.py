"""Operators that choose elements, and normalization over groups of axes, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from fastconv.onnx.export_shape import END, bound
from fastconv.onnx.export_writer import Context, channels_first, operator


@operator("gather")
def _gather(c: Context) -> None:
    x, indices = c.inputs
    axis = c.get("axis", 0) % x.rank
    c.set(c.emit("Gather", [c.w.want(x), c.w.want(indices)], axis=axis))


@operator("strided_slice")
def _strided_slice(c: Context) -> None:
    x, steps = c.inputs[0], list(c.get("step"))
    name, order = c.w.held(x)
    begins, ends, axes = [], [], []
    for axis in order:
        dims, step = x.dims(axis), steps[axis]
        first = [begin[axis] for begin in c.each("begin")]
        count = [size[axis] for size in c.each("size")]
        if step == 1 and not any(first) and tuple(count) == dims:
            continue
        past = [f + n * step for f, n in zip(first, count, strict=True)]
        if all(p < 0 for p in past):
            ends.append(-END)  # one before the first element has no number of its own
        elif all(p >= n for p, n in zip(past, dims, strict=True)):
            ends.append(END)
        else:
            ends.append(bound(c, past, dims, "size"))
        begins.append(bound(c, first, dims, "begin"))
        axes.append(axis)
    if not axes:
        c.same()
        return
    positions, steps = [order.index(axis) for axis in axes], [steps[axis] for axis in axes]
    inputs = [name, *(c.w.ints(v) for v in (begins, ends, positions, steps))]
    c.set(c.emit("Slice", inputs), order)


@operator("broadcast_to")
def _broadcast_to(c: Context) -> None:
    dims = list(zip(*c.shapes(), strict=True))
    c.set(c.emit("Expand", [c.w.want(c.inputs[0]), c.w.runtime_shape(dims, c.node.where)]))


@operator("tile")
def _tile(c: Context) -> None:
    repeats = list(c.get("repeats"))
    name, order = c.w.held(c.inputs[0])
    c.set(c.emit("Tile", [name, c.w.ints([repeats[a] for a in order])]), order)


@operator("arg_max", "arg_min")
def _arg(c: Context) -> None:
    x = c.inputs[0]
    name, order = c.w.held(x)
    axis, keepdims = c.get("axis") % x.rank, bool(c.get("keepdims", True))
    op = "ArgMax" if c.node.op == "arg_max" else "ArgMin"
    last = 1 if c.get("select_last_index", False) else None
    position = order.index(axis)
    name = c.emit(op, [name], axis=position, keepdims=int(keepdims), select_last_index=last)
    if keepdims:
        c.set(name, order)
    else:
        c.set(name, [a - (a > axis) for a in order if a != axis])


@operator("layer_norm")
def _layer_norm(c: Context) -> None:
    x, gamma, beta = c.inputs[0], c.input(1), c.input(2)
    if c.w.opset < 17:
        raise c.fail("layer normalization needs opset=17 or newer")
    axis = c.get("axis", -1) % x.rank
    if gamma is None:
        ones = np.ones(x.shapes[0][axis:], x.dtype)
        scale = c.w.constant(ones, f"{c.node.name}/ones")
    else:
        scale = c.w.want(gamma)
    inputs = [c.w.want(x), scale] + ([] if beta is None else [c.w.want(beta)])
    epsilon = float(c.get("epsilon", 1e-5))
    c.set(c.emit("LayerNormalization", inputs, axis=axis, epsilon=epsilon))


@operator("group_norm")
def _group_norm(c: Context) -> None:
    # As an instance normalization of the groups, whose scale and shift are for whole groups.
    x, gamma, beta = c.inputs[0], c.input(1), c.input(2)
    groups, channels = c.get("groups"), x.shapes[0][-1]
    order = channels_first(x.rank)
    name = c.w.want(x, order)
    shape = c.emit("Shape", [name])
    ones = c.w.constant(np.ones(groups, x.dtype), f"{c.node.name}/ones")
    zeros = c.w.constant(np.zeros(groups, x.dtype), f"{c.node.name}/zeros")
    grouped = c.emit("Reshape", [name, c.w.ints([0, groups, -1])])
    epsilon = float(c.get("epsilon", 1e-5))
    normal = c.emit("InstanceNormalization", [grouped, ones, zeros], epsilon=epsilon)
    name = c.emit("Reshape", [normal, shape])
    for op, value in (("Mul", gamma), ("Add", beta)):
        if value is not None:
            spread = c.w.ints([channels, *[1] * (x.rank - 2)])
            wide = c.w.want(value)
            name = c.emit(op, [name, c.emit("Reshape", [wide, spread])])
    c.set(name, order)
