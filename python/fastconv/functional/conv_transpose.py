"""Transposed convolution of NCHW images (PyTorch's names)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Pads, Shape
from ._plans import Network, Runner, nchw_shape, run
from .conv import ArrayKind, arrays, check_arrays, hwio, spatial_attributes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def conv_transpose2d(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> NDArray[Any]:
    """Transposed 2-D convolution, the gradient of `conv2d` to its input (arXiv:1603.07285, part 4).

    Args:
        input: (N, C, H, W) or (C, H, W), float32 or float64.
        weight: (C, O / groups, kh, kw).
        bias: (O,) or None.
        stride, dilation: pixels, an int or a pair, >= 1.
        padding: pixels cut from the output, in the forms of `conv2d` but "same".
        output_padding: pixels added at the bottom and right, less than stride or dilation.
        groups: divides C and O.

    Returns:
        (N, O, H', W') or (O, H', W'),
        H' = (H - 1) stride - top - bottom + dilation (kh - 1) + output_padding + 1.

    Raises:
        TypeError, ValueError: as `conv2d`.

    Examples:
        >>> import numpy as np
        >>> x, w = np.ones((1, 3, 4, 4), np.float32), np.ones((3, 2, 2, 2), np.float32)
        >>> conv_transpose2d(x, w, stride=2).shape
        (1, 2, 8, 8)
    """
    fn = "conv_transpose2d"
    input, weight, bias = arrays(fn, input, weight, bias)
    args = (
        fn,
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
        None if bias is None else (bias.shape, bias.dtype),
        *_transpose_attributes(fn, stride, padding, output_padding, groups, dilation),
    )
    return run(_build_transpose, args, [input, weight] + ([] if bias is None else [bias]))[0]


def conv_transpose2d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    weight: NDArray[Any],
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Gradients of `conv_transpose2d`: (grad_input, grad_weight, grad_bias).

    grad_output has the forward's shape and dtype; errors are those of `conv_transpose2d`.
    """
    fn = "conv_transpose2d_backward"
    input, weight, _ = arrays(fn, input, weight, None)
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    args = (
        fn,
        (grad_output.shape, grad_output.dtype),
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
        *_transpose_attributes(fn, stride, padding, output_padding, groups, dilation),
    )
    dx, dw, db = run(_build_transpose_backward, args, [input, weight, grad_output])
    return dx, dw, db


def _transpose_attributes(
    fn: str, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any
) -> tuple[Any, ...]:
    if padding == "same":
        raise ValueError(f"{fn}: padding='same' is not defined for a transposed convolution")
    return (
        arg.integers(stride, 2, fn, "stride", 1),
        arg.padding(padding, 2, fn),
        arg.integers(output_padding, 2, fn, "output_padding", 0),
        arg.integer(groups, fn, "groups", 1),
        arg.integers(dilation, 2, fn, "dilation", 1),
    )


def _transpose_node(
    net: Network,
    x: ArrayKind,
    w: ArrayKind,
    xi: int,
    wi: int,
    bi: int | None,
    stride: Shape,
    pads: Pads,
    output_padding: Shape,
    groups: int,
    dilation: Shape,
) -> int:
    """Adds the forward nodes; returns the NHWC output."""
    fn = net.fn
    channels = x[0][-3]
    if w[0][0] != channels or channels % groups:
        raise ValueError(
            f"{fn}: weight of shape {w[0]} with groups {groups} expects {w[0][0]} input channels"
            f" in equal groups, got input of shape {x[0]}"
        )
    results, out, cut, extra = [], [], [], []
    for axis in range(2):
        size, (before, after), s, d = x[0][axis - 2], pads[axis], stride[axis], dilation[axis]
        more = output_padding[axis]
        if more >= max(s, d):
            raise ValueError(
                f"{fn}: output_padding must be less than stride or dilation,"
                f" got output_padding {output_padding}, stride {stride}, dilation {dilation}"
            )
        result = (size - 1) * s - before - after + d * (w[0][2 + axis] - 1) + more + 1
        if result < 1:
            raise ValueError(
                f"{fn}: the output would have {result} pixels on an axis (input shape {x[0]},"
                f" weight shape {w[0]}, stride {stride}, padding {pads}, dilation {dilation})"
            )
        # Output padding first gives back what padding cuts; pixels no kernel reaches come after.
        after, more = max(after - more, 0), max(more - after, 0)
        beyond = more if more >= s else 0
        if beyond:  # the cut before may reach into them, so it comes last
            before = 0
        results.append(result)
        out.append(result - beyond + pads[axis][0] - before)
        cut.append((before, after))
        extra.append(beyond)
    batch = x[0][:1] if len(x[0]) == 4 else ()
    arg.check_bytes((*batch, w[0][1] * groups, *results), x[1], fn)
    y = net.add(
        "conv_transpose2d",
        [net.to_nhwc(xi, 2), hwio(net, wi), None if any(extra) else bi],
        groups=groups,
        output_size=out,
        **spatial_attributes(2, stride, tuple(cut), dilation),
    )
    if any(extra):
        y = net.add("pad", [y], pads=[0, 0, 0, 0, 0, *extra, 0], mode="constant", value=0.0)
        for axis in range(2):
            if extra[axis]:
                start = pads[axis][0]
                y = net.add("slice", [y], axis=axis + 1, start=start, end=start + results[axis])
        if bi is not None:
            y = net.add("add", [y, bi])
    return y


def _build_transpose(
    fn: str, x: ArrayKind, w: ArrayKind, b: ArrayKind | None, *attributes: Any
) -> tuple[Runner, int]:
    check_arrays(fn, 2, x, w, b)
    groups = attributes[3]
    if b is not None:
        arg.check_shape(b[0], (w[0][1] * groups,), fn, "bias")
    net = Network(fn)
    xi, wi = net.input("input", *x), net.input("weight", *w)
    bi = None if b is None else net.input("bias", *b)
    y = _transpose_node(net, x, w, xi, wi, bi, *attributes)
    return net.compile([net.from_nhwc(y, 2, len(x[0]) == 4)])


def _build_transpose_backward(
    fn: str, g: ArrayKind, x: ArrayKind, w: ArrayKind, *attributes: Any
) -> tuple[Runner, int]:
    check_arrays(fn, 2, x, w, None)
    net = Network(fn)
    xi, wi = net.input("input", *x), net.input("weight", *w)
    y = _transpose_node(net, x, w, xi, wi, None, *attributes)
    n, height, width, c = net.shape(y)
    arg.check_same_dtype(g[1], x[1], fn, "grad_output")
    expected = nchw_shape((n, c, height, width), 2, len(x[0]) == 4)
    arg.check_shape(g[0], expected, fn, "grad_output")
    seed = net.to_nhwc(net.input("grad_output", *g), 2)
    grads = net.gradients(y, seed, [xi, wi])
    return net.compile([*grads, net.add("reduce_sum", [seed], axes=[0, 1, 2])])
