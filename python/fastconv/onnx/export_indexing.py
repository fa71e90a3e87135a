"""Operators that choose elements, and normalization over groups of axes, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from fastconv.onnx.export_writer import Context, channels_first, operator


@operator("gather")
def _gather(c: Context) -> None:
    x, indices = c.inputs
    axis = c.get("axis", 0) % x.rank
    c.set(c.emit("Gather", [c.w.want(x), c.w.want(indices)], axis=axis))


@operator("strided_slice")
def _strided_slice(c: Context) -> None:
    x = c.inputs[0]
    begin, size, step = (list(c.get(key)) for key in ("begin", "size", "step"))
    name, order = c.w.held(x)
    axes = [a for a in order if (begin[a], size[a], step[a]) != (0, x.size(a), 1)]
    if not axes:
        c.same()
        return
    # One before the first element has no number of its own: far below stands for it.
    ends = [begin[a] + size[a] * step[a] for a in axes]
    ends = [e if e >= 0 else -(2**62) for e in ends]
    inputs = [
        name,
        c.w.ints([begin[a] for a in axes]),
        c.w.ints(ends),
        c.w.ints([order.index(a) for a in axes]),
        c.w.ints([step[a] for a in axes]),
    ]
    c.set(c.emit("Slice", inputs), order)


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
    x, gamma, beta = (c.inputs + [None, None])[:3]
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
    x, gamma, beta = (c.inputs + [None, None])[:3]
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
