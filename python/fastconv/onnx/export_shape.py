"""Operators that move elements as ONNX nodes: reshaping, joining, cutting, padding, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.onnx.export_elementwise import align
from fastconv.onnx.export_writer import Context, channels_first, operator

END = 2**63 - 1
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@operator("transpose")
def _transpose(c: Context) -> None:
    # Only the meaning of the axes changes; a Transpose comes where somebody needs an order.
    x, perm = c.inputs[0], list(c.get("perm"))
    perm = [p % x.rank for p in perm]
    name, order = c.w.held(x)
    c.set(name, [perm.index(axis) for axis in order])
    out = c.w.value(c.node.outputs[0])
    for other, tensor in x.tensors.items():
        out.tensors.setdefault(tuple(perm.index(axis) for axis in other), tensor)


@operator("reshape", "flatten")
def _reshape(c: Context) -> None:
    x = c.inputs[0]
    old = [x.dims(axis) for axis in range(x.rank)]
    new = list(zip(*c.shapes(), strict=True)) if c.shapes()[0] else []
    if old == new:
        c.same()
        return
    moved = _units(old, new)
    if moved is not None:
        _squeeze(c, *moved)
        return
    target, open_ = [], False
    for axis, sizes in enumerate(new):
        if len(set(sizes)) == 1 and sizes[0] > 0:
            target.append(sizes[0])
        elif axis < len(old) and sizes == old[axis]:
            target.append(0)  # as in the input
        elif not open_:
            open_ = True
            target.append(-1)
        else:
            shape = c.w.runtime_shape(new, c.node.where)
            break
    else:
        shape = c.w.ints(target)
    c.set(c.emit("Reshape", [c.w.want(x), shape]))


def _units(old: Any, new: Any) -> Any:
    """Return (removed axes, added axes) if only axes of size 1 come and go, else None."""
    removed, added, i, j = [], [], 0, 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        elif i < len(old) and set(old[i]) == {1}:
            removed.append(i)
            i += 1
        elif j < len(new) and set(new[j]) == {1}:
            added.append(j)
            j += 1
        else:
            return None
    return removed, added


def _squeeze(c: Context, removed: list[int], added: list[int]) -> None:
    """Remove and add axes of size 1, whatever the order of the axes."""
    x = c.inputs[0]
    name, order = c.w.held(x)
    if removed:
        positions = sorted(order.index(axis) for axis in removed)
        name = c.emit("Squeeze", [name, c.w.ints(positions)])
        left = [axis for axis in range(x.rank) if axis not in removed]
        order = tuple(left.index(axis) for axis in order if axis not in removed)
    if added:
        rank = len(order) + len(added)
        kept = [axis for axis in range(rank) if axis not in added]
        places = [kept[axis] for axis in order]
        # Each new axis goes before the one that follows it: channels first stay so.
        for axis in reversed(added):
            places.insert(places.index(axis + 1) if axis + 1 < rank else len(places), axis)
        name = c.emit("Unsqueeze", [name, c.w.ints([places.index(a) for a in sorted(added)])])
        order = tuple(places)
    c.set(name, order)


@operator("concat")
def _concat(c: Context) -> None:
    rank = c.inputs[0].rank
    names, order = align(c, c.inputs, rank, broadcast=False)
    c.set(c.emit("Concat", names, axis=order.index(c.get("axis") % rank)), order)


@operator("slice")
def _slice(c: Context) -> None:
    x = c.inputs[0]
    axis = c.get("axis") % x.rank
    sizes = x.dims(axis)
    bounds = [
        slice(start, end).indices(n)[:2]
        for n, start, end in zip(sizes, c.each("start", 0), c.each("end"), strict=True)
    ]
    start = bound(c, [b[0] for b in bounds], sizes, "start")
    end = bound(c, [max(b) for b in bounds], sizes, "end")
    name, order = c.w.held(x)
    inputs = [name, c.w.ints([start]), c.w.ints([end]), c.w.ints([order.index(axis)])]
    c.set(c.emit("Slice", inputs), order)


def bound(c: Context, values: Sequence[int], sizes: Sequence[int], key: str) -> int:
    """Return a position along an axis, counted from the end where its size is not fixed."""
    if key == "end" and all(v == n for v, n in zip(values, sizes, strict=True)):
        return END
    if len(set(values)) == 1:
        return values[0]
    from_end = {v - n for v, n in zip(values, sizes, strict=True)}
    if len(from_end) > 1 or 0 in from_end:
        raise c.fail(f"its {key} depends on a size that is not fixed")
    return from_end.pop()


@operator("pad")
def _pad(c: Context) -> None:
    x, mode = c.inputs[0], c.get("mode", "constant")
    pads = list(c.get("pads"))
    if mode == "circular" and c.w.opset < 19:
        raise c.fail("circular padding needs opset=19 or newer")
    name, order = c.w.held(x)
    sides = [pads[axis] for axis in order] + [pads[x.rank + axis] for axis in order]
    inputs = [name, c.w.ints(sides)]
    value = float(c.get("value", 0.0))
    if mode == "constant" and value != 0.0:
        inputs.append(c.w.number(value, x.dtype))
    c.set(c.emit("Pad", inputs, mode=_PAD_MODES[mode]), order)


@operator("resize")
def _resize(c: Context) -> None:
    x, mode = c.inputs[0], c.get("mode", "nearest")
    out = c.shapes()
    ratios = [[(o[axis], s[axis]) for o, s in zip(out, x.shapes, strict=True)] for axis in (1, 2)]
    whole = [{o // s if s and o % s == 0 else None for o, s in pairs} for pairs in ratios]
    exact = all(len(w) == 1 and None not in w for w in whole)
    fixed = all(len(set(pairs)) == 1 for pairs in ratios)
    if not exact and not fixed:
        raise c.fail("it enlarges a size that is not fixed by a factor that is not whole")
    if mode == "nearest":
        name, order = c.w.held(x)
        if not exact:  # by indices, because ONNX's rounding is not the core's
            for axis, pairs in zip((1, 2), ratios, strict=True):
                wanted, size = pairs[0]
                index = c.w.ints(np.arange(wanted) * size // wanted)
                name = c.emit("Gather", [name, index], axis=order.index(axis))
            c.set(name, order)
            return
        attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        order = channels_first(4)
        name = c.w.want(x, order)
        attrs = {"coordinate_transformation_mode": "half_pixel"}
    attrs["mode"] = "nearest" if mode == "nearest" else "linear"
    if exact:
        factors = [1.0, *(w.pop() for w in whole), 1.0]
        scales = c.w.shared(np.array([factors[axis] for axis in order], np.float32))
        c.set(c.emit("Resize", [name, "", scales], **attrs), order)
        return
    sizes = c.w.runtime_shape([tuple(o[axis] for o in out) for axis in order], c.node.where)
    c.set(c.emit("Resize", [name, "", "", sizes], **attrs), order)
