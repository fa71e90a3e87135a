"""Pooling of NCHW images (PyTorch's names)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Pads, Shape
from ._plans import Network, Runner, nchw_shape, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An operator of the core and its attributes but the window's place.
Kind = tuple[str, tuple[tuple[str, Any], ...]]

_MAX_WINDOWS = 256
_windows: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def max_pool2d(
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
    """The largest value of each window; NaN wins, padding never does.

    Args:
        input: (N, C, H, W) or (C, H, W), float32 or float64.
        kernel_size: pixels, an int or (vertical, horizontal).
        stride: pixels between windows; None is kernel_size.
        padding: pixels, at most half the kernel; the forms of `conv2d`.
        dilation: pixels between the elements of a window.
        ceil_mode: round the output size up, unless the last window would start in the padding
            after the input.
        return_indices: also return where each maximum was found.

    Returns:
        (N, C, H', W') or (C, H', W'); with return_indices also int64 indices of the same shape,
        h * W + w in the plane, of the first maximum in row-major order.

    Raises:
        TypeError: not an array, a dtype other than the two, non-integer sizes.
        ValueError: rank or sizes that do not fit, or a window without any element of the input.

    Examples:
        >>> import numpy as np
        >>> image = np.arange(16.0).reshape(1, 1, 4, 4)
        >>> values, indices = max_pool2d(image, 2, return_indices=True)
        >>> values[0, 0].tolist(), indices[0, 0].tolist()
        ([[5.0, 7.0], [13.0, 15.0]], [[5, 7], [13, 15]])
    """
    fn = "max_pool2d"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    window = _window(fn, kernel_size, stride, padding, dilation, ceil_mode)
    indexed = arg.flag(return_indices, fn, "return_indices")
    kind = ("max_pool2d_with_indices" if indexed else "max_pool2d", ())
    out = run(_build_pool, (fn, kind, (input.shape, input.dtype), *window), [input])
    return _with_indices(out) if indexed else out[0]


def max_pool2d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """Gradient of `max_pool2d` to its input: each grad_output goes to its window's maximum.

    grad_output has the shape and dtype of what `max_pool2d` returns; the errors are its own.
    """
    fn = "max_pool2d_backward"
    window = _window(fn, kernel_size, stride, padding, dilation, ceil_mode)
    return _backward(fn, ("max_pool2d", ()), grad_output, input, window)


def avg_pool2d(
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> NDArray[Any]:
    """The mean of each window.

    The divisor is divisor_override if given; else the number of the window's pixels, cut where the
    padded input ends, with count_include_pad; else the number of its pixels inside the input.
    Arguments, result and errors are otherwise those of `max_pool2d`.

    Examples:
        >>> import numpy as np
        >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """
    fn = "avg_pool2d"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    window = _window(fn, kernel_size, stride, padding, 1, ceil_mode)
    kind = _avg_kind(fn, count_include_pad, divisor_override)
    return run(_build_pool, (fn, kind, (input.shape, input.dtype), *window), [input])[0]


def avg_pool2d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> NDArray[Any]:
    """Gradient of `avg_pool2d` to its input.

    grad_output has the shape and dtype of what `avg_pool2d` returns; the errors are its own.
    """
    fn = "avg_pool2d_backward"
    window = _window(fn, kernel_size, stride, padding, 1, ceil_mode)
    kind = _avg_kind(fn, count_include_pad, divisor_override)
    return _backward(fn, kind, grad_output, input, window)


def lp_pool2d(
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """(sum of x ** p over each window) ** (1 / p), p = norm_type > 0, the power keeping its sign.

    As in PyTorch, a window that ceil_mode lets hang over the edge is scaled up to the full size,
    and a negative sum with a root that has no real value gives NaN. Arguments, result and errors
    are otherwise those of `max_pool2d`.
    """
    fn = "lp_pool2d"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    window = _window(fn, kernel_size, stride, 0, 1, ceil_mode)
    kind = _lp_kind(fn, norm_type)
    return run(_build_pool, (fn, kind, (input.shape, input.dtype), *window), [input])[0]


def lp_pool2d_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """Gradient of `lp_pool2d` to its input; 0 where a window's sum is 0.

    grad_output has the shape and dtype of what `lp_pool2d` returns; the errors are its own.
    """
    fn = "lp_pool2d_backward"
    window = _window(fn, kernel_size, stride, 0, 1, ceil_mode)
    return _backward(fn, _lp_kind(fn, norm_type), grad_output, input, window)


def adaptive_avg_pool2d(input: NDArray[Any], output_size: Any) -> NDArray[Any]:
    """Means over output_size windows that cover the input.

    Output row i averages rows floor(i H / H') to ceil((i + 1) H / H') - 1; columns likewise.

    Args:
        input: (N, C, H, W) or (C, H, W), float32 or float64.
        output_size: an int or (H', W'), >= 1; None keeps the input's size.

    Returns:
        (N, C, H', W') or (C, H', W').

    Raises:
        TypeError, ValueError: as `max_pool2d`.
    """
    fn = "adaptive_avg_pool2d"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    args = (fn, fn, (input.shape, input.dtype), _output_size(output_size, fn))
    return run(_build_adaptive, args, [input])[0]


def adaptive_avg_pool2d_backward(
    grad_output: NDArray[Any], input: NDArray[Any], output_size: Any
) -> NDArray[Any]:
    """Gradient of `adaptive_avg_pool2d` to its input.

    grad_output has the shape and dtype of what `adaptive_avg_pool2d` returns.
    """
    fn = "adaptive_avg_pool2d_backward"
    return _adaptive_backward(fn, "adaptive_avg_pool2d", grad_output, input, output_size)


def adaptive_max_pool2d(
    input: NDArray[Any], output_size: Any, return_indices: bool = False
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
    """Maxima over the windows of `adaptive_avg_pool2d`; NaN and indices are as in `max_pool2d`."""
    fn = "adaptive_max_pool2d"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    indexed = arg.flag(return_indices, fn, "return_indices")
    op = "adaptive_max_pool2d_with_indices" if indexed else "adaptive_max_pool2d"
    args = (fn, op, (input.shape, input.dtype), _output_size(output_size, fn))
    out = run(_build_adaptive, args, [input])
    return _with_indices(out) if indexed else out[0]


def adaptive_max_pool2d_backward(
    grad_output: NDArray[Any], input: NDArray[Any], output_size: Any
) -> NDArray[Any]:
    """Gradient of `adaptive_max_pool2d` to its input.

    grad_output has the shape and dtype of what `adaptive_max_pool2d` returns.
    """
    fn = "adaptive_max_pool2d_backward"
    return _adaptive_backward(fn, "adaptive_max_pool2d", grad_output, input, output_size)


def _window(
    fn: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Any, ...]:
    # Checking costs more than pooling a small image: what was good before is good again.
    usual = type(kernel_size) is type(padding) is type(dilation) is int and ceil_mode is False
    usual = usual and (stride is None or type(stride) is int)
    key = (kernel_size, stride, padding, dilation)
    if usual and (known := _windows.get(key)):
        return known
    kernel = arg.integers(kernel_size, 2, fn, "kernel_size", 1)
    window = (
        kernel,
        kernel if stride is None else arg.integers(stride, 2, fn, "stride", 1),
        arg.padding(padding, 2, fn),
        arg.integers(dilation, 2, fn, "dilation", 1),
        arg.flag(ceil_mode, fn, "ceil_mode"),
    )
    if usual and len(_windows) < _MAX_WINDOWS:
        _windows[key] = window
    return window


def _avg_kind(fn: str, count_include_pad: Any, divisor_override: Any) -> Kind:
    divisor = 0
    if divisor_override is not None:
        divisor = arg.integer(divisor_override, fn, "divisor_override", -arg.MAX_SIZE)
        if divisor == 0:
            raise ValueError(f"{fn}: divisor_override must not be 0")
    include = arg.flag(count_include_pad, fn, "count_include_pad")
    return "avg_pool2d", (("count_include_pad", include), ("divisor_override", divisor))


def _lp_kind(fn: str, norm_type: Any) -> Kind:
    p = arg.number(norm_type, fn, "norm_type")
    if p <= 0:
        raise ValueError(f"{fn}: norm_type must be positive, got {norm_type}")
    return "lp_pool2d", (("p", p),)


def _output_size(value: Any, fn: str) -> tuple[int | None, int | None]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        a, b = (None if v is None else arg.integer(v, fn, "output_size", 1) for v in value)
        return a, b
    a, b = arg.integers(value, 2, fn, "output_size", 1)
    return a, b


def _with_indices(out: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    y, indices = out
    # The core indexes NHWC outputs; integers stay outside of its layout changes.
    indices = np.ascontiguousarray(indices.transpose(0, 3, 1, 2)).reshape(y.shape)
    return y, indices


def _backward(
    fn: str, kind: Kind, grad_output: Any, input: Any, window: tuple[Any, ...]
) -> NDArray[Any]:
    grad_output, input = _pair(fn, grad_output, input)
    args = (fn, kind, (grad_output.shape, grad_output.dtype), (input.shape, input.dtype), *window)
    return run(_build_pool_backward, args, [input, grad_output])[0]


def _adaptive_backward(
    fn: str, op: str, grad_output: Any, input: Any, output_size: Any
) -> NDArray[Any]:
    grad_output, input = _pair(fn, grad_output, input)
    size = _output_size(output_size, fn)
    args = (fn, op, (grad_output.shape, grad_output.dtype), (input.shape, input.dtype), size)
    return run(_build_adaptive_backward, args, [input, grad_output])[0]


def _pair(fn: str, grad_output: Any, input: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    return grad_output, input


def _check_window(
    fn: str,
    x: Shape,
    kernel: Shape,
    stride: Shape,
    pads: str | Pads,
    dilation: Shape,
    ceil_mode: bool,
) -> tuple[Pads, Shape]:
    """Explicit pads and the output's (H, W)."""
    if isinstance(pads, str):
        pads = arg.same_padding(fn, kernel, stride, dilation)
    out = []
    for axis in range(2):
        size, k, s, d = x[axis - 2], kernel[axis], stride[axis], dilation[axis]
        before, after = pads[axis]
        if max(before, after) > k // 2:
            raise ValueError(
                f"{fn}: padding must be at most half the kernel size {kernel}, got {pads}"
            )
        extent, padded = d * (k - 1) + 1, size + before + after
        if extent > padded:
            raise ValueError(
                f"{fn}: the kernel spans {extent} pixels (size {k}, dilation {d}) but the padded"
                f" input has {padded} (input shape {x}, padding {pads[axis]})"
            )
        count = (padded - extent + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= size + before:
            count -= 1
        # A dilated window that starts in the padding can step over a small input.
        for start in range(-before, 0, s)[:count]:
            first = start % d
            if first >= size or (first - start) // d >= k:
                raise ValueError(
                    f"{fn}: a window has no element of the input (input shape {x}, kernel_size"
                    f" {kernel}, dilation {dilation}, padding {pads})"
                )
        out.append(count)
    return pads, tuple(out)


def _pool_node(
    net: Network,
    kind: Kind,
    x: tuple[Shape, np.dtype[Any]],
    xi: int,
    kernel: Shape,
    stride: Shape,
    pads: str | Pads,
    dilation: Shape,
    ceil_mode: bool,
) -> list[int]:
    pads, out = _check_window(net.fn, x[0], kernel, stride, pads, dilation, ceil_mode)
    arg.check_bytes((*x[0][:-2], *out), x[1], net.fn)
    op, extra = kind
    attrs = dict(extra, kernel=list(kernel), strides=list(stride), ceil_mode=ceil_mode)
    if op != "lp_pool2d":
        (top, bottom), (left, right) = pads
        attrs["pads"] = [top, left, bottom, right]
    if op.startswith("max"):
        attrs["dilations"] = list(dilation)
    return net.add_many(op, [net.to_nhwc(xi, 2)], **attrs)


def _outputs(net: Network, found: list[int], x: Shape) -> tuple[Runner, int]:
    return net.compile([net.from_nhwc(found[0], 2, len(x) == 4), *found[1:]])


def _check_input(fn: str, x: tuple[Shape, np.dtype[Any]]) -> None:
    arg.check_float(x[1], fn, "input")
    arg.check_spatial(x[0], 2, fn)


def _build_pool(
    fn: str, kind: Kind, x: tuple[Shape, np.dtype[Any]], *window: Any
) -> tuple[Runner, int]:
    _check_input(fn, x)
    net = Network(fn)
    found = _pool_node(net, kind, x, net.input("input", *x), *window)
    return _outputs(net, found, x[0])


def _gradient(
    net: Network,
    y: int,
    g: tuple[Shape, np.dtype[Any]],
    x: tuple[Shape, np.dtype[Any]],
    xi: int,
    planes: dict[str, Any] | None = None,
) -> tuple[Runner, int]:
    """With `planes`, the attributes of `max_pool2d_planes_backward`, by that operator."""
    n, height, width, c = net.shape(y)
    arg.check_same_dtype(g[1], x[1], net.fn, "grad_output")
    expected = nchw_shape((n, c, height, width), 2, len(x[0]) == 4)
    arg.check_shape(g[0], expected, net.fn, "grad_output")
    gi = net.input("grad_output", *g)
    if planes is None:
        return net.compile(net.gradients(y, net.to_nhwc(gi, 2), [xi]))
    batched = len(x[0]) == 4
    if not batched:
        xi, gi = (net.add("reshape", [v], shape=[1, *net.shape(v)]) for v in (xi, gi))
    dx = net.add("max_pool2d_planes_backward", [xi, gi], **planes)
    return net.compile([dx if batched else net.add("reshape", [dx], shape=list(x[0]))])


def _planes_attributes(
    kind: Kind, kernel: Shape, stride: Shape, pads: str | Pads, dilation: Shape, ceil_mode: bool
) -> dict[str, Any] | None:
    """What the core needs for a gradient of NCHW without transposes, where it has one."""
    if kind[0] != "max_pool2d" or (stride, dilation) != ((2, 2), (1, 1)) or isinstance(pads, str):
        return None
    (top, bottom), (left, right) = pads
    if kernel not in ((2, 2), (3, 3)) or max(top, left) > kernel[0] - 2:
        return None
    return {
        "kernel": list(kernel),
        "strides": list(stride),
        "pads": [top, left, bottom, right],
        "ceil_mode": ceil_mode,
    }


def _build_pool_backward(
    fn: str,
    kind: Kind,
    g: tuple[Shape, np.dtype[Any]],
    x: tuple[Shape, np.dtype[Any]],
    *window: Any,
) -> tuple[Runner, int]:
    _check_input(fn, x)
    net = Network(fn)
    xi = net.input("input", *x)
    y = _pool_node(net, kind, x, xi, *window)[0]
    return _gradient(net, y, g, x, xi, _planes_attributes(kind, *window))


def _adaptive_node(
    net: Network,
    op: str,
    x: tuple[Shape, np.dtype[Any]],
    xi: int,
    size: tuple[int | None, int | None],
) -> list[int]:
    out = [have if want is None else want for want, have in zip(size, x[0][-2:], strict=True)]
    arg.check_bytes((*x[0][:-2], *out), x[1], net.fn)
    return net.add_many(op, [net.to_nhwc(xi, 2)], output_size=out)


def _build_adaptive(
    fn: str, op: str, x: tuple[Shape, np.dtype[Any]], size: tuple[int | None, int | None]
) -> tuple[Runner, int]:
    _check_input(fn, x)
    net = Network(fn)
    return _outputs(net, _adaptive_node(net, op, x, net.input("input", *x), size), x[0])


def _build_adaptive_backward(
    fn: str,
    op: str,
    g: tuple[Shape, np.dtype[Any]],
    x: tuple[Shape, np.dtype[Any]],
    size: tuple[int | None, int | None],
) -> tuple[Runner, int]:
    _check_input(fn, x)
    net = Network(fn)
    xi = net.input("input", *x)
    return _gradient(net, _adaptive_node(net, op, x, xi, size)[0], g, x, xi)
