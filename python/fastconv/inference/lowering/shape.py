"""Shapes, and operators that move elements."""

from __future__ import annotations

import math

import numpy as np

from fastconv.inference.lowering.context import Context
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.tensor import MAX_RANK, Tensor

MAX_ELEMENTS = 2**46  # as the core's limit


@operator("Shape")
def shape(c: Context) -> Tensor:
    rank = c.input(0).rank
    start, end = c.attr("start", 0), c.attr("end", rank)
    return c.known(np.array(c.input(0).shape[slice(start, end)], np.int64))


@operator("Size")
def size(c: Context) -> Tensor:
    return c.known(np.array(c.input(0).size, np.int64))


@operator("ConstantOfShape")
def constant_of_shape(c: Context) -> Tensor:
    value = np.asarray(c.attr("value", None) if "value" in c.node.attrs else np.float32(0))
    if value.size != 1:
        c.fail(f"value has shape {value.shape}, expected one element")
    return c.known(np.broadcast_to(value.reshape(()), checked_shape(c, c.ints(0))))


def checked_shape(c: Context, dims: list[int]) -> tuple[int, ...]:
    if len(dims) > MAX_RANK:
        c.fail(f"shape has {len(dims)} axes, expected at most {MAX_RANK}")
    if any(d < 0 for d in dims) or math.prod(d for d in dims if d) > MAX_ELEMENTS:
        c.fail(f"shape is {dims}, expected dimensions from 0 of less than 2^46 elements")
    return tuple(dims)


@operator("Range")
def range_(c: Context) -> Tensor:
    start, limit, delta = (c.value(i).reshape(()) for i in range(3))
    if delta == 0 or not np.isfinite([start, limit, delta]).all():
        c.fail(f"start {start}, limit {limit}, delta {delta}: expected finite numbers, delta not 0")
    count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
    if count > 2**26:
        c.fail(f"{count} elements, expected at most 2^26")
    steps = np.arange(count).astype(start.dtype)
    return c.known((start + steps * delta).astype(start.dtype))


@operator("Reshape")
def reshape(c: Context) -> Tensor:
    x = c.input(0)
    target = c.ints(1)
    if not c.attr("allowzero", 0):
        for i, d in enumerate(target):
            if d == 0:
                if i >= x.rank:
                    c.fail(f"shape is {target}: 0 at {i} has no axis of input {x.shape} to copy")
                target[i] = x.shape[i]
    if target.count(-1) > 1 or min(target, default=0) < -1:
        c.fail(f"shape is {target}, expected at most one -1 and no other negative number")
    known = math.prod(d for d in target if d != -1)
    if -1 in target:
        if known == 0 or x.size % known:
            c.fail(f"input of shape {x.shape} cannot become {target}")
        target[target.index(-1)] = x.size // known
    elif known != x.size:
        c.fail(f"input of shape {x.shape} cannot become {target}")
    return c.reshape(x, checked_shape(c, target))


@operator("Flatten")
def flatten(c: Context) -> Tensor:
    x = c.input(0)
    axis = c.attr("axis", 1)
    if not -x.rank <= axis <= x.rank:
        c.fail(f"axis is {axis}, expected at most the rank {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    return c.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Squeeze")
def squeeze(c: Context) -> Tensor:
    x = c.input(0)
    axes = c.axes(x.rank)
    if axes is None:
        axes = [a for a in range(x.rank) if x.shape[a] == 1]
    if any(x.shape[a] != 1 for a in axes):
        c.fail(f"axes are {axes}, expected axes of size 1 of input {x.shape}")
    kept = [a for a in range(x.rank) if a not in axes]
    places = [kept.index(a) if a in kept else -1 for a in range(x.rank)]
    return c.view(x, tuple(x.shape[a] for a in kept), places)


@operator("Unsqueeze")
def unsqueeze(c: Context) -> Tensor:
    x = c.input(0)
    given = c.ints(1) if c.has(1) else c.ints_attr("axes", [])
    axes = [c.axis(a, x.rank + len(given)) for a in given]
    if len(set(axes)) != len(axes):
        c.fail(f"axes are {given}, expected distinct ones")
    places = [a for a in range(x.rank + len(axes)) if a not in axes]
    shape = [1] * (x.rank + len(axes))
    for axis, place in enumerate(places):
        shape[place] = x.shape[axis]
    return c.view(x, tuple(shape), places)


@operator("Transpose")
def transpose(c: Context) -> Tensor:
    x = c.input(0)
    perm = c.ints_attr("perm", list(range(x.rank))[::-1])
    if sorted(perm) != list(range(x.rank)):
        c.fail(f"perm is {perm}, expected a permutation of the axes of input {x.shape}")
    return c.transpose(x, perm)


@operator("Concat")
def concat(c: Context) -> Tensor:
    tensors = [c.input(i) for i in range(len(c.inputs))]
    if not tensors:
        c.fail("there are no inputs")
    axis = c.axis(c.attr("axis", 0), tensors[0].rank)
    for t in tensors:
        if t.rank != tensors[0].rank:
            c.fail(f"inputs have shapes {[t.shape for t in tensors]}, expected one rank")
    largest = max(tensors, key=lambda t: (t.value is None, t.size))
    order = largest.order
    values = [t.at(order) for t in tensors]
    return c.wrap(c.emit("concat", values, axis=order.index(axis)), order)


@operator("Split")
def split(c: Context) -> list[Tensor]:
    x = c.input(0)
    axis = c.axis(c.attr("axis", 0), x.rank)
    outputs, n = len(c.node.outputs), x.shape[axis]
    sizes = c.ints(1) if c.has(1) else c.ints_attr("split")
    if sizes is None:
        if c.version >= 18 and c.attr("num_outputs", outputs) != outputs:
            c.fail(f"num_outputs is {c.attr('num_outputs')}, but the node has {outputs} outputs")
        each = -(-n // outputs)
        sizes = [max(min(each, n - i * each), 0) for i in range(outputs)]
    if len(sizes) != outputs or sum(sizes) != n or min(sizes) < 0:
        c.fail(f"split is {sizes}, expected {outputs} sizes that add up to {n}")
    parts, start = [], 0
    for length in sizes:
        parts.append(sliced(c, x, {axis: (start, length, 1)}))
        start += length
    return parts


def sliced(c: Context, x: Tensor, ranges: dict[int, tuple[int, int, int]]) -> Tensor:
    """Begin, count and step for some axes."""
    ranges = {a: r for a, r in ranges.items() if r != (0, x.shape[a], 1)}
    if not ranges:
        return x
    begin, count, step = [0] * x.rank, [x.shape[a] for a in x.order], [1] * x.rank
    for axis, (b, n, s) in ranges.items():
        place = x.order.index(axis)
        begin[place], count[place], step[place] = b, n, s
    value = c.emit("strided_slice", [x.physical()], begin=begin, size=count, step=step)
    return c.wrap(value, x.order)


@operator("Slice")
def slice_(c: Context) -> Tensor:
    x = c.input(0)
    if c.version < 10:
        starts, ends = c.ints_attr("starts", []), c.ints_attr("ends", [])
        axes, steps = c.ints_attr("axes"), None
    else:
        starts, ends = c.ints(1), c.ints(2)
        axes = c.ints(3) if c.has(3) else None
        steps = c.ints(4) if c.has(4) else None
    axes = [c.axis(a, x.rank) for a in (list(range(len(starts))) if axes is None else axes)]
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) != len(axes):
        c.fail(f"starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit one another")
    if 0 in steps:
        c.fail(f"steps are {steps}, expected none of 0")
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = range(x.shape[axis])[slice(start, end, step)]
        ranges[axis] = (chosen.start if len(chosen) else 0, len(chosen), step if len(chosen) else 1)
    return sliced(c, x, ranges)


@operator("Gather")
def gather(c: Context) -> Tensor:
    x, indices = c.input(0), c.input(1)
    if x.rank < 1:
        c.fail("input is a scalar, expected rank 1 or more")
    axis = c.axis(c.attr("axis", 0), x.rank)
    n = x.shape[axis]
    if indices.value is not None:
        value = indices.value
        if value.dtype.kind not in "iu":
            c.fail(f"indices have dtype {value.dtype}, expected integers")
        if value.size and (value.min() < -n or value.max() >= n):
            c.fail(f"indices reach from {value.min()} to {value.max()}, expected [-{n}, {n})")
        if value.size == 1:
            begin = int(value.item()) % n
            part = sliced(c, x, {axis: (begin, 1, 1)})
            if value.ndim == 1:
                return part
            return c.reshape(part, x.shape[:axis] + value.shape + x.shape[axis + 1 :])
    indices = c.cast(indices, "int64")
    if indices.rank == 1:
        found = c.emit("gather", [x.physical(), indices.at()], axis=x.order.index(axis))
        return c.wrap(found, x.order)
    return c.wrap(c.emit("gather", [x.at(), indices.at()], axis=axis))


@operator("Expand")
def expand(c: Context) -> Tensor:
    x = c.input(0)
    target = tuple(np.broadcast_shapes(x.shape, checked_shape(c, c.ints(1))))
    checked_shape(c, list(target))
    x = c.expand_rank(x, len(target))
    if x.shape == target:
        return x
    order = x.order
    return c.wrap(c.emit("broadcast_to", [x.at(order)], shape=[target[a] for a in order]), order)


@operator("Tile")
def tile(c: Context) -> Tensor:
    x, repeats = c.input(0), c.ints(1)
    if len(repeats) != x.rank or min(repeats, default=0) < 0:
        c.fail(f"repeats are {repeats}, expected {x.rank} numbers from 0")
    checked_shape(c, [n * r for n, r in zip(x.shape, repeats, strict=True)])
    value = c.emit("tile", [x.physical()], repeats=[repeats[a] for a in x.order])
    return c.wrap(value, x.order)


_PAD_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
}


@operator("Pad")
def pad(c: Context) -> Tensor:
    x = c.input(0)
    mode = c.attr("mode", "constant")
    if mode not in _PAD_MODES:
        c.fail(f"mode is {mode!r}, expected one of {sorted(_PAD_MODES)}")
    fill = 0.0
    if c.version < 11:
        pads, axes = c.ints_attr("pads", []), None
        fill = c.attr("value", 0.0)
    else:
        pads = c.ints(1)
        axes = c.ints(3) if c.has(3) else None
        if c.has(2) and c.input(2).size == 1:
            fill = c.value(2).item()
    axes = list(range(x.rank)) if axes is None else [c.axis(a, x.rank) for a in axes]
    if len(pads) != 2 * len(axes):
        c.fail(f"pads are {pads}, expected {2 * len(axes)} numbers")
    before, after = [0] * x.rank, [0] * x.rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    # Negative padding crops, before anything is added.
    ranges = {}
    for a, n in enumerate(x.shape):
        cut = (-min(before[a], 0), -min(after[a], 0))
        if any(cut):
            if sum(cut) > n:
                c.fail(f"pads are {pads}: more is cropped than input {x.shape} has")
            ranges[a] = (cut[0], n - sum(cut), 1)
    x = sliced(c, x, ranges)
    before, after = ([max(p, 0) for p in side] for side in (before, after))
    if not any(before) and not any(after):
        return x
    sizes = zip(x.shape, before, after, strict=True)
    checked_shape(c, [n + b + e for n, b, e in sizes])
    pads = [before[a] for a in x.order] + [after[a] for a in x.order]
    attrs = {"value": float(fill)} if mode == "constant" else {}
    value = c.emit("pad", [x.physical()], pads=pads, mode=_PAD_MODES[mode], **attrs)
    return c.wrap(value, x.order)


@operator("DepthToSpace")
def depth_to_space(c: Context) -> Tensor:
    x, block = c.input(0), c.attr("blocksize", 0)
    c.expect_rank(x, 4, 4)
    n, ch, h, w = x.shape
    if block < 1 or ch % block**2:
        c.fail(f"blocksize is {block}: its square does not divide the {ch} channels")
    out = ch // block**2
    mode = _depth_mode(c)
    # Channels last: (N, H, W, block, block, C) or (N, H, W, C, block, block).
    split = [block, block, out] if mode == "DCR" else [out, block, block]
    value = c.emit("reshape", [x.at((0, 2, 3, 1))], shape=[n, h, w, *split])
    perm = [0, 1, 3, 2, 4, 5] if mode == "DCR" else [0, 1, 4, 2, 5, 3]
    value = c.emit("transpose", [value], perm=perm)
    value = c.emit("reshape", [value], shape=[n, h * block, w * block, out])
    return c.wrap(value, (0, 2, 3, 1))


@operator("SpaceToDepth")
def space_to_depth(c: Context) -> Tensor:
    x, block = c.input(0), c.attr("blocksize", 0)
    c.expect_rank(x, 4, 4)
    n, ch, h, w = x.shape
    if block < 1 or h % block or w % block:
        c.fail(f"blocksize is {block}: it does not divide the map of input {x.shape}")
    # Channels last: the blocks' axes come before the channels (DCR) or after them.
    perm = [0, 1, 3, 2, 4, 5] if _depth_mode(c) == "DCR" else [0, 1, 3, 5, 2, 4]
    shape = [n, h // block, block, w // block, block, ch]
    value = c.emit("reshape", [x.at((0, 2, 3, 1))], shape=shape)
    value = c.emit("transpose", [value], perm=perm)
    shape = [n, h // block, w // block, ch * block**2]
    return c.wrap(c.emit("reshape", [value], shape=shape), (0, 2, 3, 1))


def _depth_mode(c: Context) -> str:
    mode: str = c.attr("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        c.fail(f"mode is {mode!r}, expected 'DCR' or 'CRD'")
    return mode
