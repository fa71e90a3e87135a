"""Padding and dropout (PyTorch's names)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Shape
from ._plans import Network, Runner, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODES = ("constant", "reflect", "replicate", "circular")
ArrayKind = tuple[Shape, np.dtype]


def pad(
    input: NDArray[Any], pad: Any, mode: str = "constant", value: float | None = 0
) -> NDArray[Any]:
    """Adds elements before and after the last axes.

    Args:
        input: float32 or float64 of any shape.
        pad: (before, after) of the last axis, then of the one before it, and so on. "constant"
            takes negative numbers, which cut.
        mode: "constant", "reflect" (less than the axis's size), "replicate" (repeats the edge) or
            "circular" (at most the axis's size).
        value: what "constant" adds; None is 0.

    Returns:
        The padded array.

    Raises:
        TypeError: not an array, a dtype other than the two, non-integer pads.
        ValueError: pads that do not fit the shape or the mode, a value with another mode.

    Examples:
        >>> import numpy as np
        >>> pad(np.array([1.0, 2.0, 3.0]), (2, 1), mode="reflect").tolist()
        [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    fn = "pad"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    args = (fn, (input.shape, input.dtype), *_pad_attributes(fn, pad, mode, value))
    return run(_build_pad, args, [input])[0]


def pad_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    pad: Any,
    mode: str = "constant",
    value: float | None = 0,
) -> NDArray[Any]:
    """Gradient of `pad` to its input: the sum over all places an element was copied to.

    grad_output has the shape and dtype of what `pad` returns; the errors are its own.
    """
    fn = "pad_backward"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    grad = (grad_output.shape, grad_output.dtype)
    args = (fn, (input.shape, input.dtype), *_pad_attributes(fn, pad, mode, value), grad)
    return run(_build_pad, args, [input, grad_output])[0]


def dropout(
    input: NDArray[Any], p: float = 0.5, training: bool = True, seed: int | None = None
) -> NDArray[Any]:
    """Sets each element to 0 with probability p and divides the others by 1 - p.

    From Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    2014.

    Args:
        input: float32 or float64 of any shape.
        p: in [0, 1].
        training: when False the result is a copy of the input.
        seed: the mask is a function of (seed, p, shape) alone; None draws a fresh one.

    Returns:
        An array of the input's shape.

    Raises:
        TypeError: not an array, a dtype other than the two, a non-integer seed.
        ValueError: p outside [0, 1], a seed outside 64 bits.
    """
    fn = "dropout"
    if seed is None:
        seed = secrets.randbits(63)
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    return _dropout(fn, input, None, p, training, seed)


def dropout_backward(
    grad_output: NDArray[Any], input: NDArray[Any], p: float, training: bool, seed: int
) -> NDArray[Any]:
    """Gradient of `dropout` to its input, with the mask of the same seed.

    grad_output has the input's shape and dtype; the errors are those of `dropout`.
    """
    fn = "dropout_backward"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    return _dropout(fn, input, grad_output, p, training, seed)


def _dropout(
    fn: str, input: NDArray[Any], grad: NDArray[Any] | None, p: Any, training: Any, seed: Any
) -> NDArray[Any]:
    p = arg.number(p, fn, "p")
    if not 0 <= p <= 1:
        raise ValueError(f"{fn}: p must be between 0 and 1, got {p}")
    training = arg.flag(training, fn, "training")
    seed = arg.integer(seed, fn, "seed", -(2**63), 2**63 - 1)
    source = input if grad is None else grad
    arg.check_float(input.dtype, fn, "input")
    if grad is not None:
        arg.check_same_dtype(grad.dtype, input.dtype, fn, "grad_output")
        arg.check_shape(grad.shape, input.shape, fn, "grad_output")
    if not training or p == 0:
        return np.array(source, order="C")
    if p == 1:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.multiply(source, 0.0, order="C"))  # NaN stays NaN
    feeds = [input, np.array([seed], np.int64)] + ([] if grad is None else [grad])
    return run(_build_dropout, (fn, (input.shape, input.dtype), p, grad is not None), feeds)[0]


def _build_dropout(fn: str, x: ArrayKind, p: float, backward: bool) -> tuple[Runner, int]:
    net = Network(fn)
    xi, seed = net.input("input", *x), net.input("seed", (1,), np.dtype(np.int64))
    y = net.add("dropout", [xi, seed], rate=p)
    if not backward:
        return net.compile([y])
    return net.compile(net.gradients(y, net.input("grad_output", *x), [xi]))


def _pad_attributes(fn: str, pad: Any, mode: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"{fn}: pad must be a tuple of integers, got {arg.describe(pad)}")
    pads = tuple([arg.integer(p, fn, "pad", -arg.MAX_SIZE) for p in pad])
    mode = arg.choice(mode, _MODES, fn, "mode")
    value = 0.0 if value is None else _fill(fn, value)
    if mode != "constant" and value != 0:
        raise ValueError(f"{fn}: mode {mode!r} takes no value, got {value}")
    # NaN never equals itself, so as a key its plan would never be found again.
    return pads, mode, value if value == value else "nan"


def _fill(fn: str, value: Any) -> float:
    """Any float: infinity and NaN are fair values for padding."""
    if isinstance(value, (float, np.floating)):
        return float(value) or 0.0
    return arg.number(value, fn, "value")


def _build_pad(
    fn: str,
    x: ArrayKind,
    pads: tuple[int, ...],
    mode: str,
    value: float | str,
    g: ArrayKind | None = None,
) -> tuple[Runner, int]:
    shape, dtype = x
    arg.check_float(dtype, fn, "input")
    if len(pads) % 2 or len(pads) > 2 * len(shape):
        raise ValueError(
            f"{fn}: pad must hold 2 integers for each padded axis, at most {2 * len(shape)} for an"
            f" input of shape {shape}, got {pads}"
        )
    pairs = [(0, 0)] * len(shape)
    for i in range(len(pads) // 2):
        pairs[-1 - i] = pads[2 * i], pads[2 * i + 1]
    out = tuple(s + a + b for s, (a, b) in zip(shape, pairs, strict=True))
    for size, result, pair in zip(shape, out, pairs, strict=True):
        _check_axis(fn, shape, size, result, pair, mode)
    arg.check_bytes(out, dtype, fn)
    if g is not None:
        arg.check_same_dtype(g[1], dtype, fn, "grad_output")
        arg.check_shape(g[0], out, fn, "grad_output")

    net = Network(fn)
    xi = y = net.input("input", *x)
    for axis, (a, b) in enumerate(pairs):
        if min(a, b) < 0:
            end = shape[axis] + min(b, 0)
            y = net.add("slice", [y], axis=axis, start=max(-a, 0), end=end)
    before, after = ([max(p[i], 0) for p in pairs] for i in range(2))
    fill = float(value)
    y = net.add("pad", [y], pads=[*before, *after], mode=mode, value=fill)
    if g is None:
        return net.compile([y])
    return net.compile(net.gradients(y, net.input("grad_output", *g), [xi]))


def _check_axis(
    fn: str, shape: Shape, size: int, result: int, pair: tuple[int, int], mode: str
) -> None:
    if pair == (0, 0):
        return
    limit = {"reflect": size - 1, "circular": size}.get(mode, arg.MAX_SIZE)
    if mode != "constant" and (min(pair) < 0 or max(pair) > limit or size == 0):
        raise ValueError(
            f"{fn}: mode {mode!r} takes pads from 0 to {limit} on an axis of {size} elements, got"
            f" {pair} (input shape {shape})"
        )
    if result < 1 or size + min(pair[0], 0) + min(pair[1], 0) < 1:
        raise ValueError(f"{fn}: pads {pair} leave nothing of an axis (input shape {shape})")
