"""Convolution and transposed convolution, of one to three spatial axes."""

from __future__ import annotations

from typing import Any

from fastconv.inference.lowering.context import Context, channels_last
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.spatial import Window, window
from fastconv.inference.lowering.tensor import Tensor


def as_4d(c: Context, x: Tensor) -> Tensor:
    """(N, C, L) as (N, C, 1, L)."""
    if x.rank == 4:
        return x
    n, ch, length = x.shape
    return c.view(x, (n, ch, 1, length), [0, 1, 3])


def spatial_rank(c: Context, y: Tensor, rank: int) -> Tensor:
    """The way back from `as_4d`."""
    if rank == 4:
        return y
    n, ch, _, length = y.shape
    return c.view(y, (n, ch, length), [0, 1, -1, 2])


def check_kernel(c: Context, w: Tensor) -> list[int]:
    kernel = list(w.shape[2:])
    given = c.ints_attr("kernel_shape", kernel)
    if given != kernel:
        c.fail(f"kernel_shape is {given}, but the weight has shape {w.shape}")
    return kernel


def check_bias(c: Context, channels: int) -> Tensor | None:
    bias = c.optional(2)
    if bias is not None and bias.shape != (channels,):
        c.fail(f"bias has shape {bias.shape}, expected ({channels},)")
    return bias


@operator("Conv")
def conv(c: Context) -> Tensor:
    x, w = c.input(0), c.input(1)
    c.expect_rank(x, 3, 5)
    c.expect_rank(w, x.rank, x.rank, "weight")
    wd = window(c, x.shape[2:], check_kernel(c, w))
    bias = check_bias(c, w.shape[0])
    groups = c.attr("group", 1)
    if groups < 1 or w.shape[1] * groups != x.shape[1]:
        c.fail(
            f"input has shape {x.shape} and weight {w.shape}: expected weight.shape[1] * group "
            f"({groups}) to be the input's channels"
        )
    if x.rank == 5:
        return conv3d(c, x, w, bias, wd, groups)
    y = conv2d(c, as_4d(c, x), as_4d(c, w), bias, wd.as_2d(), groups)
    return spatial_rank(c, y, x.rank)


def conv2d(
    c: Context, x: Tensor, w: Tensor, bias: Tensor | None, wd: Window, groups: int
) -> Tensor:
    if min(wd.pads) < 0:
        pads = [0, wd.begin[0], wd.begin[1], 0, 0, wd.end[0], wd.end[1], 0]
        x = c.wrap(c.emit("pad", [x.at(channels_last(4))], pads=pads), channels_last(4))
        wd = Window(wd.kernel, wd.strides, wd.dilations, [0, 0], [0, 0])
    inputs = [x.at(channels_last(4)), w.at((2, 3, 1, 0)), bias.at() if bias else None]
    y = c.emit("conv2d", inputs, **wd.attrs(), dilations=wd.dilations, groups=groups)
    return c.wrap(y, channels_last(4))


def conv3d(
    c: Context, x: Tensor, w: Tensor, bias: Tensor | None, wd: Window, groups: int
) -> Tensor:
    """A sum over the kernel's first axis of 2-D convolutions: depth becomes part of the batch."""
    value = x.at(channels_last(5))
    if wd.begin[0] or wd.end[0]:
        pads = [0, wd.begin[0], 0, 0, 0, 0, wd.end[0], 0, 0, 0]
        value = c.emit("pad", [value], pads=pads)
    n, depth, h, width, ch = c.graph.core.shape(value)
    out = (depth - wd.reach[0]) // wd.strides[0] + 1
    if out < 1:
        c.fail(f"the kernel covers {wd.reach[0]} elements, more than the padded input's {depth}")
    weight = w.at((2, 3, 4, 1, 0))
    flat = wd.axes(1, 2)
    total = None
    for k in range(wd.kernel[0]):
        begin = [0, k * wd.dilations[0], 0, 0, 0]
        step = [1, wd.strides[0], 1, 1, 1]
        size = [n, out, h, width, ch]
        part = c.emit("strided_slice", [value], begin=begin, size=size, step=step)
        part = c.emit("reshape", [part], shape=[n * out, h, width, ch])
        kernel = c.emit("slice", [weight], axis=0, start=k, end=k + 1)
        kernel = c.emit("reshape", [kernel], shape=list(c.graph.core.shape(kernel)[1:]))
        first = bias.at() if bias and k == 0 else None
        attrs = {**flat.attrs(), "dilations": flat.dilations, "groups": groups}
        y = c.emit("conv2d", [part, kernel, first], **attrs)
        total = y if total is None else c.emit("add", [total, y])
    assert total is not None  # a kernel has a size of at least 1
    shape = c.graph.core.shape(total)
    return c.wrap(c.emit("reshape", [total], shape=[n, out, *shape[1:]]), channels_last(5))


@operator("ConvTranspose")
def conv_transpose(c: Context) -> Tensor:
    x, w = c.input(0), c.input(1)
    c.expect_rank(x, 3, 5)
    c.expect_rank(w, x.rank, x.rank, "weight")
    groups = c.attr("group", 1)
    if groups < 1 or w.shape[0] != x.shape[1] or x.shape[1] % groups:
        c.fail(
            f"input has shape {x.shape} and weight {w.shape}: expected weight.shape[0] to be the "
            f"input's channels, divisible by group ({groups})"
        )
    wd = window(c, x.shape[2:], check_kernel(c, w), transposed=True)
    size = output_size(c, x.shape[2:], wd)
    bias = check_bias(c, w.shape[1] * groups)
    if x.rank == 5:
        return conv_transpose3d(c, x, w, bias, wd, groups, size)
    if x.rank == 3:
        size = [1, *size]
    value = as_4d(c, x).at(channels_last(4))
    inputs = [value, transposed_weight(c, as_4d(c, w), groups), bias.at() if bias else None]
    y = conv_transpose2d(c, inputs, wd.as_2d(), groups, size)
    return spatial_rank(c, c.wrap(y, channels_last(4)), x.rank)


def conv_transpose2d(
    c: Context, inputs: list[Any], wd: Window, groups: int, size: list[int]
) -> int:
    crop = [min(p, 0) for p in wd.pads]  # negative padding grows the output
    pads = [max(p, 0) for p in wd.pads]
    inner = [size[i] + crop[i] + crop[i + 2] for i in range(2)]
    # The core's output is at most what the input reaches; what lies beyond is the bias alone.
    reached = [
        (c.graph.core.shape(inputs[0])[1 + i] - 1) * wd.strides[i] + wd.reach[i] - pads[i]
        for i in range(2)
    ]
    beyond = any(inner[i] > reached[i] + wd.strides[i] - 1 for i in range(2)) or any(crop)
    if min(inner) < 1:
        c.fail(f"the output has the size {size}, expected at least one element an axis")
    attrs = {"strides": wd.strides, "dilations": wd.dilations, "groups": groups}
    if not beyond:
        ends = [max(reached[i] - inner[i], 0) for i in range(2)]
        return c.emit("conv_transpose2d", inputs, pads=pads[:2] + ends, output_size=inner, **attrs)
    fitting = [min(inner[i], reached[i]) for i in range(2)]
    ends = [reached[i] - fitting[i] for i in range(2)]
    y = c.emit(
        "conv_transpose2d",
        [*inputs[:2], None],
        pads=pads[:2] + ends,
        output_size=fitting,
        **attrs,
    )
    more = [size[i] - fitting[i] + crop[i] for i in range(2)]
    y = c.emit("pad", [y], pads=[0, -crop[0], -crop[1], 0, 0, more[0], more[1], 0])
    return y if inputs[2] is None else c.emit("add", [y, inputs[2]])


def transposed_weight(c: Context, w: Tensor, groups: int) -> int:
    """(Cin, Cout / groups, kh, kw) as the core's (kh, kw, Cout / groups, Cin)."""
    return w.at((2, 3, 1, 0))


def output_size(c: Context, spatial: tuple[int, ...], wd: Window) -> list[int]:
    """The output's size; sets the padding where `auto_pad` or `output_shape` decide it."""
    n = len(spatial)
    more = c.ints_attr("output_padding") or [0] * n
    if len(more) != n or min(more) < 0:
        c.fail(f"output_padding is {more}, expected {n} numbers from 0")
    full = [(spatial[i] - 1) * wd.strides[i] + wd.reach[i] + more[i] for i in range(n)]
    shape = c.ints_attr("output_shape")
    auto = c.attr("auto_pad", "NOTSET")
    if shape is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        shape = [spatial[i] * wd.strides[i] for i in range(n)]
    if shape is not None:
        shape = shape[-n:]
        for i in range(n):
            total = max(full[i] - shape[i], 0)
            small = total // 2
            upper = auto == "SAME_UPPER"
            wd.begin[i], wd.end[i] = (small, total - small) if upper else (total - small, small)
        return shape
    if auto == "VALID":
        wd.begin, wd.end = [0] * n, [0] * n
    return [full[i] - wd.begin[i] - wd.end[i] for i in range(n)]


def conv_transpose3d(
    c: Context, x: Tensor, w: Tensor, bias: Any, wd: Window, groups: int, size: Any
) -> Tensor:
    """The sum over the kernel's first axis of 2-D transposes, each spread out along the depth."""
    n, depth = x.shape[0], x.shape[2]
    value = x.at(channels_last(5))
    h, width, ch = c.graph.core.shape(value)[2:]
    flat = c.emit("reshape", [value], shape=[n * depth, h, width, ch])
    weight = w.at((2, 3, 4, 1, 0))
    stride, total = wd.strides[0], None
    for k in range(wd.kernel[0]):
        kernel = c.emit("slice", [weight], axis=0, start=k, end=k + 1)
        kernel = c.emit("reshape", [kernel], shape=list(c.graph.core.shape(kernel)[1:]))
        y = conv_transpose2d(c, [flat, kernel, None], wd.axes(1, 2), groups, size[1:])
        out = list(c.graph.core.shape(y)[1:])
        y = c.emit("reshape", [y], shape=[n, depth, 1, *out])
        y = c.emit("pad", [y], pads=[0] * 8 + [stride - 1] + [0] * 3)
        y = c.emit("reshape", [y], shape=[n, depth * stride, *out])
        begin = k * wd.dilations[0] - wd.begin[0]
        end = size[0] - begin - depth * stride
        y = c.emit("pad", [y], pads=[0, begin, 0, 0, 0, 0, end, 0, 0, 0])
        total = y if total is None else c.emit("add", [total, y])
    assert total is not None  # a kernel has a size of at least 1
    if bias is not None:
        total = c.emit("add", [total, bias.at()])
    return c.wrap(total, channels_last(5))
