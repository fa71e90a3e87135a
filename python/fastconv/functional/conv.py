"""Convolution of images and sequences, NCHW and NCL (PyTorch's names)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Pads, Shape
from ._plans import Network, Runner, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODES = ("zeros", "reflect", "replicate", "circular")

ArrayKind = tuple[Shape, np.dtype]


def conv2d(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> NDArray[Any]:
    """2-D cross-correlation.

    y[n, o, i, j] = bias[o] + sum over c, u, v of
    weight[o, c, u, v] * x[n, g C/groups + c, i * stride - pad + u * dilation, ...],
    where g is the group of output channel o (Dumoulin & Visin, "A guide to convolution arithmetic
    for deep learning", arXiv:1603.07285).

    Args:
        input: (N, C, H, W) or (C, H, W), float32 or float64.
        weight: (O, C / groups, kh, kw).
        bias: (O,) or None.
        stride, dilation: pixels, an int or (vertical, horizontal), >= 1.
        padding: pixels, an int, (vertical, horizontal), ((top, bottom), (left, right)), "valid"
            (none) or "same" (the output has the input's size; needs stride 1).
        groups: divides C and O; groups = C is depthwise convolution.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Returns:
        (N, O, H', W') or (O, H', W'),
        H' = (H + top + bottom - dilation (kh - 1) - 1) // stride + 1.

    Raises:
        TypeError: not an array, a dtype other than the two, mixed dtypes, non-integer sizes.
        ValueError: ranks, channels, groups or sizes that do not fit.

    Examples:
        >>> import numpy as np
        >>> image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> edges = np.array([[[[-1, 1]]]], dtype=np.float32)  # (O, C, kh, kw)
        >>> conv2d(image, edges).shape
        (1, 1, 4, 3)
        >>> conv2d(image, edges)[0, 0, 0].tolist()
        [1.0, 1.0, 1.0]
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def conv1d(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> NDArray[Any]:
    """1-D cross-correlation: `conv2d` on (N, C, L) or (C, L) with weight (O, C / groups, k).

    `padding` is an int, (p,), ((left, right),), "valid" or "same". Errors are those of `conv2d`.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def conv2d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    weight: NDArray[Any],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Gradients of sum(grad_output * conv2d(input, weight, bias, ...)) (zero padding).

    Args:
        grad_output: shape and dtype of the forward's output; the others as in `conv2d`.

    Returns:
        (grad_input, grad_weight, grad_bias), shaped as input, weight and (O,).

    Raises:
        TypeError, ValueError: as `conv2d`, and when grad_output has another shape.

    Examples:
        >>> import numpy as np
        >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
        >>> dx, dw, db = conv2d_backward(np.ones((2, 4, 6, 6), np.float32), x, w)
        >>> dx.shape, dw.shape, db.tolist()
        ((2, 3, 8, 8), (4, 3, 3, 3), [72.0, 72.0, 72.0, 72.0])
    """
    return _conv_backward(
        "conv2d_backward", 2, grad_output, input, weight, stride, padding, dilation, groups
    )


def conv1d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    weight: NDArray[Any],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Gradients of `conv1d`: (grad_input, grad_weight, grad_bias); see `conv2d_backward`."""
    return _conv_backward(
        "conv1d_backward", 1, grad_output, input, weight, stride, padding, dilation, groups
    )


def arrays(fn: str, input: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(weight) is not np.ndarray:
        weight = arg.array(weight, fn, "weight")
    if bias is not None and type(bias) is not np.ndarray:
        bias = arg.array(bias, fn, "bias")
    return input, weight, bias


def _conv(
    fn: str,
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    mode: Any,
) -> NDArray[Any]:
    input, weight, bias = arrays(fn, input, weight, bias)
    args = (
        fn,
        rank,
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
        None if bias is None else (bias.shape, bias.dtype),
        arg.integers(stride, rank, fn, "stride", 1),
        arg.padding(padding, rank, fn),
        arg.integers(dilation, rank, fn, "dilation", 1),
        arg.integer(groups, fn, "groups", 1),
        arg.choice(mode, _MODES, fn, "padding_mode"),
    )
    return run(_build_conv, args, [input, weight] if bias is None else [input, weight, bias])[0]


def _conv_backward(
    fn: str,
    rank: int,
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    input, weight, _ = arrays(fn, input, weight, None)
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    args = (
        fn,
        rank,
        (grad_output.shape, grad_output.dtype),
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
        arg.integers(stride, rank, fn, "stride", 1),
        arg.padding(padding, rank, fn),
        arg.integers(dilation, rank, fn, "dilation", 1),
        arg.integer(groups, fn, "groups", 1),
    )
    dx, dw, db = run(_build_conv_backward, args, [input, weight, grad_output])
    return dx, dw, db


def check_arrays(fn: str, rank: int, x: ArrayKind, w: ArrayKind, b: ArrayKind | None) -> None:
    arg.check_float(x[1], fn, "input")
    arg.check_spatial(x[0], rank, fn)
    arg.check_same_dtype(w[1], x[1], fn, "weight")
    if len(w[0]) != rank + 2 or 0 in w[0]:
        layout = "(O, C / groups, k)" if rank == 1 else "(O, C / groups, kh, kw)"
        if fn.startswith("conv_transpose2d"):
            layout = "(C, O / groups, kh, kw)"
        raise ValueError(f"{fn}: weight must be {layout} without empty axes, got shape {w[0]}")
    if b is not None:
        arg.check_same_dtype(b[1], x[1], fn, "bias")


def _check_groups(fn: str, rank: int, x: Shape, w: Shape, groups: int) -> None:
    channels = x[-rank - 1]
    if channels % groups or w[0] % groups:
        raise ValueError(
            f"{fn}: groups {groups} must divide the {channels} input channels"
            f" and the {w[0]} output channels"
        )
    if w[1] * groups != channels:
        raise ValueError(
            f"{fn}: weight of shape {w} with groups {groups} expects {w[1] * groups}"
            f" input channels, got input of shape {x}"
        )


def _conv_pads(
    fn: str, x: Shape, kernel: Shape, stride: Shape, pads: str | Pads, dilation: Shape
) -> tuple[Pads, Shape]:
    """Explicit pads and the spatial output size."""
    if isinstance(pads, str):
        pads = arg.same_padding(fn, kernel, stride, dilation)
    out = []
    for axis, k in enumerate(kernel):
        padded = x[axis - len(kernel)] + sum(pads[axis])
        extent = dilation[axis] * (k - 1) + 1
        if extent > padded:
            raise ValueError(
                f"{fn}: the kernel spans {extent} pixels (size {k}, dilation {dilation[axis]}) but"
                f" the padded input has {padded} (input shape {x}, padding {pads[axis]})"
            )
        out.append((padded - extent) // stride[axis] + 1)
    return pads, tuple(out)


def spatial_attributes(
    rank: int, stride: Shape, pads: Pads, dilation: Shape
) -> dict[str, list[Any]]:
    """The core's attributes; one spatial axis becomes W."""
    if rank == 1:
        stride, pads, dilation = (1, *stride), ((0, 0), *pads), (1, *dilation)
    (top, bottom), (left, right) = pads
    return {
        "strides": list(stride),
        "pads": [top, left, bottom, right],
        "dilations": list(dilation),
    }


def hwio(net: Network, w: int) -> int:
    shape = net.shape(w)
    if len(shape) == 3:
        w = net.add("reshape", [w], shape=[shape[0], shape[1], 1, shape[2]])
    return net.add("transpose", [w], perm=[2, 3, 1, 0])


def _pad_nhwc(net: Network, fn: str, x: int, rank: int, pads: Pads, mode: str) -> int:
    """Pads by reflection, repetition or wrapping, with PyTorch's limits."""
    sizes = net.shape(x)[1:3][-rank:]
    for size, pair in zip(sizes, pads, strict=True):
        limit = {"reflect": size - 1, "circular": size, "replicate": arg.MAX_SIZE}[mode]
        if max(pair) > limit:
            raise ValueError(
                f"{fn}: padding_mode {mode!r} allows at most {limit} pixels of padding on an axis"
                f" of {size}, got {pair}"
            )
    before, after = zip(*(pads if rank == 2 else ((0, 0), *pads)), strict=True)
    return net.add("pad", [x], pads=[0, *before, 0, 0, *after, 0], mode=mode, value=0.0)


def _build_conv(
    fn: str,
    rank: int,
    x: ArrayKind,
    w: ArrayKind,
    b: ArrayKind | None,
    stride: Shape,
    pads: str | Pads,
    dilation: Shape,
    groups: int,
    mode: str,
) -> tuple[Runner, int]:
    check_arrays(fn, rank, x, w, b)
    _check_groups(fn, rank, x[0], w[0], groups)
    if b is not None:
        arg.check_shape(b[0], (w[0][0],), fn, "bias")
    pads, out = _conv_pads(fn, x[0], w[0][2:], stride, pads, dilation)
    batched = len(x[0]) == rank + 2
    arg.check_bytes((*x[0][: len(x[0]) - rank - 1], w[0][0], *out), x[1], fn)

    net = Network(fn)
    xi, wi = net.input("input", *x), net.input("weight", *w)
    bi = None if b is None else net.input("bias", *b)
    h = net.to_nhwc(xi, rank)
    if mode != "zeros":
        padded = [s + sum(p) for s, p in zip(x[0][-rank:], pads, strict=True)]
        arg.check_bytes((*x[0][:-rank], *padded), x[1], fn, "the padded input")
        h = _pad_nhwc(net, fn, h, rank, pads, mode)
        pads = ((0, 0),) * rank
    attrs = spatial_attributes(rank, stride, pads, dilation)
    y = net.add("conv2d", [h, hwio(net, wi), bi], groups=groups, **attrs)
    return net.compile([net.from_nhwc(y, rank, batched)])


def _build_conv_backward(
    fn: str,
    rank: int,
    g: ArrayKind,
    x: ArrayKind,
    w: ArrayKind,
    stride: Shape,
    pads: str | Pads,
    dilation: Shape,
    groups: int,
) -> tuple[Runner, int]:
    check_arrays(fn, rank, x, w, None)
    _check_groups(fn, rank, x[0], w[0], groups)
    pads, out = _conv_pads(fn, x[0], w[0][2:], stride, pads, dilation)
    expected = (*x[0][: len(x[0]) - rank - 1], w[0][0], *out)
    arg.check_bytes(expected, x[1], fn)
    arg.check_same_dtype(g[1], x[1], fn, "grad_output")
    arg.check_shape(g[0], expected, fn, "grad_output")

    net = Network(fn)
    xi, wi, gi = net.input("input", *x), net.input("weight", *w), net.input("grad_output", *g)
    attrs = spatial_attributes(rank, stride, pads, dilation)
    y = net.add("conv2d", [net.to_nhwc(xi, rank), hwio(net, wi), None], groups=groups, **attrs)
    grads = net.gradients(y, net.to_nhwc(gi, rank), [xi, wi])
    but_channels = [axis for axis in range(len(g[0])) if axis != len(g[0]) - rank - 1]
    return net.compile([*grads, net.add("reduce_sum", [gi], axes=but_channels)])
