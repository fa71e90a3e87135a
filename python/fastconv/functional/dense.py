"""The dense layer (PyTorch's names)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._plans import Network, Runner, run
from .conv import ArrayKind, arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray


def linear(
    input: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any] | None = None
) -> NDArray[Any]:
    """y = input @ weight.T + bias.

    Args:
        input: (..., K), float32 or float64.
        weight: (M, K).
        bias: (M,) or None.

    Returns:
        (..., M).

    Raises:
        TypeError: not an array, a dtype other than the two, mixed dtypes.
        ValueError: shapes that do not fit, or M or K of 0.

    Examples:
        >>> import numpy as np
        >>> linear(np.ones((5, 3)), np.ones((2, 3)), np.zeros(2)).tolist()[0]
        [3.0, 3.0]
    """
    input, weight, bias = arrays("linear", input, weight, bias)
    args = (
        "linear",
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
        None if bias is None else (bias.shape, bias.dtype),
    )
    return run(_build_linear, args, [input, weight] + ([] if bias is None else [bias]))[0]


def linear_backward(
    grad_output: NDArray[Any], input: NDArray[Any], weight: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Gradients of `linear`: (grad_input (..., K), grad_weight (M, K), grad_bias (M,)).

    grad_output is (..., M); errors are those of `linear`.
    """
    fn = "linear_backward"
    input, weight, _ = arrays(fn, input, weight, None)
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    args = (
        fn,
        (grad_output.shape, grad_output.dtype),
        (input.shape, input.dtype),
        (weight.shape, weight.dtype),
    )
    dx, dw, db = run(_build_linear_backward, args, [input, weight, grad_output])
    return dx, dw, db


def _check_linear(fn: str, x: ArrayKind, w: ArrayKind, b: ArrayKind | None) -> None:
    arg.check_float(x[1], fn, "input")
    arg.check_same_dtype(w[1], x[1], fn, "weight")
    if len(w[0]) != 2 or 0 in w[0]:
        raise ValueError(f"{fn}: weight must be (M, K) without empty axes, got shape {w[0]}")
    if not x[0] or x[0][-1] != w[0][1]:
        raise ValueError(
            f"{fn}: input must be (..., {w[0][1]}) for a weight of shape {w[0]}, got {x[0]}"
        )
    if b is not None:
        arg.check_same_dtype(b[1], x[1], fn, "bias")
        arg.check_shape(b[0], (w[0][0],), fn, "bias")
    arg.check_bytes((*x[0][:-1], w[0][0]), x[1], fn)


def _rows(net: Network, value: int) -> int:
    """(..., K) as (rows, K)."""
    shape = net.shape(value)
    if len(shape) == 2:
        return value
    rows = math.prod(shape[:-1])
    return net.add("reshape", [value], shape=[rows, shape[-1]])


def _build_linear(fn: str, x: ArrayKind, w: ArrayKind, b: ArrayKind | None) -> tuple[Runner, int]:
    _check_linear(fn, x, w, b)
    net = Network(fn)
    xi, wi = net.input("input", *x), net.input("weight", *w)
    bi = None if b is None else net.input("bias", *b)
    y = net.add("dense", [_rows(net, xi), wi, bi], transpose_w=True)
    if len(x[0]) != 2:
        y = net.add("reshape", [y], shape=[*x[0][:-1], w[0][0]])
    return net.compile([y])


def _build_linear_backward(fn: str, g: ArrayKind, x: ArrayKind, w: ArrayKind) -> tuple[Runner, int]:
    _check_linear(fn, x, w, None)
    arg.check_same_dtype(g[1], x[1], fn, "grad_output")
    arg.check_shape(g[0], (*x[0][:-1], w[0][0]), fn, "grad_output")
    net = Network(fn)
    xi, wi, gi = net.input("input", *x), net.input("weight", *w), net.input("grad_output", *g)
    y = net.add("dense", [_rows(net, xi), wi, None], transpose_w=True)
    seed = _rows(net, gi)
    grads = net.gradients(y, seed, [xi, wi])
    return net.compile([*grads, net.add("reduce_sum", [seed], axes=[0])])
