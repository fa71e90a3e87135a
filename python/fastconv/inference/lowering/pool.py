"""Pooling with windows and over whole maps, of one to three spatial axes."""

from __future__ import annotations

import math

import numpy as np

from fastconv.inference.lowering.context import FLOATS, Context, channels_last
from fastconv.inference.lowering.conv import as_4d, spatial_rank
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.spatial import Window, window
from fastconv.inference.lowering.tensor import Tensor

_MOST = 1 << 28  # elements of a window, and of one map of the output


def pool_window(c: Context, x: Tensor) -> tuple[Window, list[int]]:
    """The window and the output's size; `end` is set so that rounding down gives that size."""
    c.expect_rank(x, 3, 5)
    kernel = c.ints_attr("kernel_shape")
    if kernel is None or len(kernel) != x.rank - 2:
        c.fail(f"kernel_shape is {kernel}, expected {x.rank - 2} numbers for input {x.shape}")
    wd = window(c, x.shape[2:], kernel)
    ceil = bool(c.attr("ceil_mode", 0))
    sizes = []
    for i, n in enumerate(x.shape[2:]):
        padded = n + wd.begin[i] + wd.end[i] - wd.reach[i]
        if padded < 0 or n < 1 or min(wd.begin[i], wd.end[i]) < 0:
            c.fail(
                f"input has shape {x.shape}: along spatial axis {i} a window of {wd.reach[i]} does "
                f"not fit with padding {wd.begin[i]} and {wd.end[i]}"
            )
        size = padded // wd.strides[i] + 1
        if ceil and padded % wd.strides[i]:
            # The last window has to start inside the input or the padding before it.
            size += (size * wd.strides[i]) < n + wd.begin[i]
        sizes.append(size)
    for what, numbers in (("kernel_shape", kernel), ("output size", sizes)):
        if math.prod(numbers) > _MOST:
            c.fail(f"{what} is {numbers}, expected at most {_MOST} elements in all")
    return wd, sizes


def needed_end(wd: Window, i: int, size: int, n: int) -> int:
    return max((size - 1) * wd.strides[i] + wd.reach[i] - n - wd.begin[i], 0)


def in_core_limits(wd: Window) -> bool:
    """The core refuses padding of more than half a window."""
    return all(max(b, e) <= k // 2 for b, e, k in zip(wd.begin, wd.end, wd.kernel, strict=True))


@operator("MaxPool")
def max_pool(c: Context) -> Tensor | list[Tensor]:
    x = c.input(0)
    dtype = x.dtype
    wd, sizes = pool_window(c, x)
    wants_indices = len(c.node.outputs) > 1 and bool(c.node.outputs[1])
    if dtype not in FLOATS:
        x = c.cast(x, "float32" if dtype in ("int8", "uint8", "int16", "uint16") else "float64")
    if wants_indices:
        y, indices = max_pool_indices(c, x, wd, sizes)
        return [c.cast(y, dtype), indices]
    if x.rank == 5:
        y = max_pool3d(c, x, wd, sizes)
    else:
        flat = as_4d(c, x)
        size = sizes if x.rank == 4 else [1, *sizes]
        y = c.wrap(max_pool2d(c, flat.at(channels_last(4)), wd.as_2d(), size), channels_last(4))
        y = spatial_rank(c, y, x.rank)
    return c.cast(y, dtype)


def depth_window(wd: Window) -> Window:
    """The window along the first of three axes, over maps that are one row each."""
    d = wd.axes(0)
    return Window([*d.kernel, 1], [*d.strides, 1], [*d.dilations, 1], [*d.begin, 0], [*d.end, 0])


def padded_for_max(c: Context, value: int, wd: Window, sizes: list[int]) -> tuple[int, Window]:
    """Move padding that the core does not take into the input; it never wins."""
    shape = c.graph.core.shape(value)
    ends = [needed_end(wd, i, sizes[i], shape[1 + i]) for i in range(2)]
    wd = Window(wd.kernel, wd.strides, wd.dilations, wd.begin, ends)
    if in_core_limits(wd):
        return value, wd
    pads = [0, *wd.begin, 0, 0, *wd.end, 0]
    value = c.emit("pad", [value], pads=pads, value=-np.inf)
    return value, Window(wd.kernel, wd.strides, wd.dilations, [0, 0], [0, 0])


def max_pool2d(c: Context, value: int, wd: Window, sizes: list[int]) -> int:
    value, wd = padded_for_max(c, value, wd, sizes)
    y = c.emit("max_pool2d", [value], kernel=wd.kernel, **wd.attrs(), dilations=wd.dilations)
    return cropped(c, y, sizes)


def cropped(c: Context, value: int, sizes: list[int]) -> int:
    for axis, size in zip((1, 2), sizes, strict=True):
        if c.graph.core.shape(value)[axis] > size:
            value = c.emit("slice", [value], axis=axis, start=0, end=size)
    return value


def max_pool_indices(c: Context, x: Tensor, wd: Window, sizes: list[int]) -> list[Tensor]:
    if x.rank == 5:
        c.fail("indices of 3-D max-pooling are not supported")
    rank = x.rank
    column_major = c.attr("storage_order", 0) == 1
    flat = as_4d(c, x)
    n, ch, h, w = flat.shape
    wd = wd.as_2d()
    size = sizes if rank == 4 else [1, *sizes]
    ends = [needed_end(wd, i, size[i], (h, w)[i]) for i in range(2)]
    wd = Window(wd.kernel, wd.strides, wd.dilations, wd.begin, ends)
    if not in_core_limits(wd):
        c.fail(f"indices of max-pooling with padding {wd.pads} for kernel {wd.kernel}")
    y, index = c.graph.emit_all(
        "max_pool2d_with_indices",
        [flat.at(channels_last(4))],
        kernel=wd.kernel,
        **wd.attrs(),
        dilations=wd.dilations,
    )
    y, index = cropped(c, y, size), cropped(c, index, size)
    if column_major:
        width, height = c.scalar(w, "int64"), c.scalar(h, "int64")
        row, column = c.emit("div", [index, width]), c.emit("mod", [index, width])
        index = c.emit("add", [c.emit("mul", [column, height]), row])
    # ONNX counts through the whole tensor, the core through one map.
    maps = np.arange(n * ch, dtype=np.int64).reshape(n, 1, 1, ch) * (h * w)
    index = c.emit("add", [index, c.graph.core.constant(maps)])
    order = channels_last(4)
    return [spatial_rank(c, c.wrap(v, order), rank) for v in (y, index)]


def max_pool3d(c: Context, x: Tensor, wd: Window, sizes: list[int]) -> Tensor:
    """The maximum over planes, then along the depth."""
    n, ch, depth, h, w = x.shape
    value = c.emit("reshape", [x.at(channels_last(5))], shape=[n * depth, h, w, ch])
    value = max_pool2d(c, value, wd.axes(1, 2), sizes[1:])
    value = c.emit("reshape", [value], shape=[n, depth, sizes[1] * sizes[2], ch])
    value = max_pool2d(c, value, depth_window(wd), [sizes[0], sizes[1] * sizes[2]])
    return c.wrap(c.emit("reshape", [value], shape=[n, *sizes, ch]), channels_last(5))


@operator("AveragePool")
def average_pool(c: Context) -> Tensor:
    x = c.input(0)
    wd, sizes = pool_window(c, x)
    with_pad = bool(c.attr("count_include_pad", 0))
    if x.rank < 5 and in_core_limits(wd) and set(wd.dilations) == {1}:
        flat = wd.as_2d()
        y = c.emit(
            "avg_pool2d",
            [as_4d(c, x).at(channels_last(4))],
            kernel=flat.kernel,
            **flat.attrs(),
            ceil_mode=bool(c.attr("ceil_mode", 0)),
            count_include_pad=with_pad,
        )
        if list(c.graph.core.shape(y)[1:3]) == (sizes if x.rank == 4 else [1, *sizes]):
            return spatial_rank(c, c.wrap(y, channels_last(4)), x.rank)
    total = window_sum(c, x, wd, sizes)
    counts = np.ones((1, 1))
    for i, n in enumerate(x.shape[2:]):
        start = np.arange(sizes[i]) * wd.strides[i] - wd.begin[i]
        low, high = (-wd.begin[i], n + wd.end[i]) if with_pad else (0, n)
        # Taps before the two ends.
        before = [np.clip(-((start - e) // wd.dilations[i]), 0, wd.kernel[i]) for e in (low, high)]
        counts = counts[..., None] * (before[1] - before[0])
    return c.broadcast("div", total, c.known(counts.astype(x.dtype)))


def window_sum(c: Context, x: Tensor, wd: Window, sizes: list[int]) -> Tensor:
    """The sum of every window; padding counts as zero."""
    if x.rank < 5:
        size = sizes if x.rank == 4 else [1, *sizes]
        y = sum2d(c, as_4d(c, x).at(channels_last(4)), wd.as_2d(), size)
        return spatial_rank(c, c.wrap(y, channels_last(4)), x.rank)
    n, ch, depth, h, w = x.shape
    value = c.emit("reshape", [x.at(channels_last(5))], shape=[n * depth, h, w, ch])
    value = sum2d(c, value, wd.axes(1, 2), sizes[1:])
    value = c.emit("reshape", [value], shape=[n, depth, sizes[1] * sizes[2], ch])
    value = sum2d(c, value, depth_window(wd), [sizes[0], sizes[1] * sizes[2]])
    return c.wrap(c.emit("reshape", [value], shape=[n, *sizes, ch]), channels_last(5))


def sum2d(c: Context, value: int, wd: Window, sizes: list[int]) -> int:
    shape = c.graph.core.shape(value)
    ends = [needed_end(wd, i, sizes[i], shape[1 + i]) for i in range(2)]
    wd = Window(wd.kernel, wd.strides, wd.dilations, wd.begin, ends)
    if set(wd.dilations) == {1} and in_core_limits(wd):
        y = c.emit("avg_pool2d", [value], kernel=wd.kernel, **wd.attrs(), divisor_override=1)
    else:
        if math.prod(wd.kernel) * shape[3] > _MOST:
            c.fail(f"kernel_shape is {wd.kernel}, too large for {shape[3]} channels")
        ones = np.ones((*wd.kernel, 1, shape[3]), c.graph.core.dtype(value))
        y = c.emit(
            "conv2d",
            [value, c.graph.core.constant(ones)],
            **wd.attrs(),
            dilations=wd.dilations,
            groups=shape[3],
        )
    return cropped(c, y, sizes)


@operator("LpPool")
def lp_pool(c: Context) -> Tensor:
    x, p = c.input(0), float(c.attr("p", 2))
    wd, sizes = pool_window(c, x)
    return root(c, window_sum(c, powers(c, x, p), wd, sizes), p)


def powers(c: Context, x: Tensor, p: float) -> Tensor:
    """|x| ** p."""
    if p == 2:
        return c.unary("square", x)
    x = c.unary("abs", x)
    return x if p == 1 else c.broadcast("pow", x, c.wrap(c.scalar(p, x.dtype)))


def root(c: Context, x: Tensor, p: float) -> Tensor:
    if p == 2:
        return c.unary("sqrt", x)
    return x if p == 1 else c.broadcast("pow", x, c.wrap(c.scalar(1 / p, x.dtype)))


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(c: Context) -> Tensor:
    x = c.input(0)
    if x.rank < 3:
        c.fail(f"input has shape {x.shape}, expected rank 3 or more")
    average = c.node.op == "GlobalAveragePool"
    if x.rank == 4:
        op = "adaptive_avg_pool2d" if average else "adaptive_max_pool2d"
        y = c.emit(op, [x.at(channels_last(4))], output_size=[1, 1])
        return c.wrap(y, channels_last(4))
    return c.reduce("reduce_mean" if average else "reduce_max", x, list(range(2, x.rank)), True)


@operator("GlobalLpPool")
def global_lp_pool(c: Context) -> Tensor:
    x, p = c.input(0), float(c.attr("p", 2))
    axes = list(range(2, x.rank))
    return root(c, c.reduce("reduce_sum", powers(c, x, p), axes, True), p)
