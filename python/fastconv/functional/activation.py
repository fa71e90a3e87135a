"""Elementwise operators, softmax, padding and dropout (PyTorch's names).

An activation f takes float32 or float64 arrays of any shape and returns an array of that shape and
dtype; its `f_backward(grad_output, input, ...)` returns grad_output * f'(input). Both raise
TypeError for other types and dtypes, and ValueError for shapes and parameters that do not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Shape
from ._plans import Network, Runner, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An operator of the core and its attributes.
Kind = tuple[str, tuple[tuple[str, Any], ...]]
ArrayKind = tuple[Shape, np.dtype]

_RELU: Kind = ("relu", ())
_SIGMOID: Kind = ("sigmoid", ())
_TANH: Kind = ("tanh", ())
_SILU: Kind = ("silu", ())
_HARDSWISH: Kind = ("hard_swish", ())
_HARDSIGMOID: Kind = ("hard_sigmoid", (("alpha", 1 / 6), ("beta", 0.5)))
# From here on log(1 + exp(x)) rounds to x, and its slope to 1, without a threshold.
_SOFTPLUS_EXACT = {"f": 17, "d": 37}


def relu(input: NDArray[Any]) -> NDArray[Any]:
    """max(input, 0), element by element; NaN stays NaN (Nair and Hinton 2010)."""
    return run_elementwise("relu", _RELU, input)


def relu_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `relu`, grad_output where input > 0; 0 at 0."""
    return elementwise_backward("relu_backward", _RELU, grad_output, input)


def leaky_relu(input: NDArray[Any], negative_slope: float = 0.01) -> NDArray[Any]:
    """input where it is > 0, negative_slope * input elsewhere (Maas et al. 2013)."""
    return run_elementwise("leaky_relu", _leaky("leaky_relu", negative_slope), input)


def leaky_relu_backward(
    grad_output: NDArray[Any], input: NDArray[Any], negative_slope: float = 0.01
) -> NDArray[Any]:
    """Gradient of `leaky_relu` times grad_output; negative_slope where input is 0."""
    fn = "leaky_relu_backward"
    return elementwise_backward(fn, _leaky(fn, negative_slope), grad_output, input)


def sigmoid(input: NDArray[Any]) -> NDArray[Any]:
    """1 / (1 + exp(-input))."""
    return run_elementwise("sigmoid", _SIGMOID, input)


def sigmoid_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `sigmoid` at input, times grad_output."""
    return elementwise_backward("sigmoid_backward", _SIGMOID, grad_output, input)


def tanh(input: NDArray[Any]) -> NDArray[Any]:
    """The hyperbolic tangent of input."""
    return run_elementwise("tanh", _TANH, input)


def tanh_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `tanh` at input, times grad_output."""
    return elementwise_backward("tanh_backward", _TANH, grad_output, input)


def elu(input: NDArray[Any], alpha: float = 1.0) -> NDArray[Any]:
    """input where it is > 0, alpha (exp(input) - 1) elsewhere (arXiv:1511.07289)."""
    return run_elementwise("elu", _elu("elu", alpha), input)


def elu_backward(
    grad_output: NDArray[Any], input: NDArray[Any], alpha: float = 1.0
) -> NDArray[Any]:
    """Gradient of `elu` times grad_output; alpha where input is 0."""
    fn = "elu_backward"
    return elementwise_backward(fn, _elu(fn, alpha), grad_output, input)


def gelu(input: NDArray[Any], approximate: str = "none") -> NDArray[Any]:
    """input * Phi(input), Phi the normal distribution function (arXiv:1606.08415).

    approximate is "none", or "tanh" for the paper's approximation by that function.
    """
    return run_elementwise("gelu", _gelu("gelu", approximate), input)


def gelu_backward(
    grad_output: NDArray[Any], input: NDArray[Any], approximate: str = "none"
) -> NDArray[Any]:
    """Gradient of `gelu` at input, of the same approximate form, times grad_output."""
    fn = "gelu_backward"
    return elementwise_backward(fn, _gelu(fn, approximate), grad_output, input)


def silu(input: NDArray[Any]) -> NDArray[Any]:
    """input * sigmoid(input) (Ramachandran et al., arXiv:1710.05941)."""
    return run_elementwise("silu", _SILU, input)


def silu_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `silu` at input, times grad_output."""
    return elementwise_backward("silu_backward", _SILU, grad_output, input)


def hardswish(input: NDArray[Any]) -> NDArray[Any]:
    """input * min(max(input + 3, 0), 6) / 6 (Howard et al., arXiv:1905.02244)."""
    return run_elementwise("hardswish", _HARDSWISH, input)


def hardswish_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `hardswish` at input, times grad_output."""
    return elementwise_backward("hardswish_backward", _HARDSWISH, grad_output, input)


def hardsigmoid(input: NDArray[Any]) -> NDArray[Any]:
    """min(max(input + 3, 0), 6) / 6 (Howard et al., arXiv:1905.02244)."""
    return run_elementwise("hardsigmoid", _HARDSIGMOID, input)


def hardsigmoid_backward(grad_output: NDArray[Any], input: NDArray[Any]) -> NDArray[Any]:
    """Gradient of `hardsigmoid` times grad_output; 0 where input is -3 or 3."""
    return elementwise_backward("hardsigmoid_backward", _HARDSIGMOID, grad_output, input)


def softplus(input: NDArray[Any], beta: float = 1.0, threshold: float = 20.0) -> NDArray[Any]:
    """log(1 + exp(beta input)) / beta, and input itself where beta input > threshold.

    Raises ValueError also for a beta of 0.
    """
    fn = "softplus"
    beta, threshold, kind = _softplus(fn, beta, threshold)
    y = run_elementwise(fn, kind, input)
    if threshold >= _SOFTPLUS_EXACT[y.dtype.char]:
        return y
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(input * beta > threshold, input, y)


def softplus_backward(
    grad_output: NDArray[Any], input: NDArray[Any], beta: float = 1.0, threshold: float = 20.0
) -> NDArray[Any]:
    """Gradient of `softplus` times grad_output; 1 where beta input > threshold."""
    fn = "softplus_backward"
    beta, threshold, kind = _softplus(fn, beta, threshold)
    grad = elementwise_backward(fn, kind, grad_output, input)
    if threshold >= _SOFTPLUS_EXACT[grad.dtype.char]:
        return grad
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(input * beta > threshold, grad_output, grad)


def softmax(input: NDArray[Any], dim: int) -> NDArray[Any]:
    """exp(input) / sum of exp(input) over axis `dim`, which may be negative.

    Examples:
        >>> import numpy as np
        >>> softmax(np.zeros((1, 4)), dim=1).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    return run_elementwise("softmax", _softmax("softmax", "softmax", dim), input)


def softmax_backward(grad_output: NDArray[Any], input: NDArray[Any], dim: int) -> NDArray[Any]:
    """Gradient of `softmax` over axis dim at input, given that to its result, grad_output."""
    fn = "softmax_backward"
    return elementwise_backward(fn, _softmax(fn, "softmax", dim), grad_output, input)


def log_softmax(input: NDArray[Any], dim: int) -> NDArray[Any]:
    """The logarithm of `softmax` of input over axis dim, without its loss of small values."""
    return run_elementwise("log_softmax", _softmax("log_softmax", "log_softmax", dim), input)


def log_softmax_backward(grad_output: NDArray[Any], input: NDArray[Any], dim: int) -> NDArray[Any]:
    """Gradient of `log_softmax` over axis dim at input, given that to its result, grad_output."""
    fn = "log_softmax_backward"
    return elementwise_backward(fn, _softmax(fn, "log_softmax", dim), grad_output, input)


def _leaky(fn: str, slope: Any) -> Kind:
    return "leaky_relu", (("alpha", arg.number(slope, fn, "negative_slope")),)


def _elu(fn: str, alpha: Any) -> Kind:
    return "elu", (("alpha", arg.number(alpha, fn, "alpha")),)


def _gelu(fn: str, approximate: Any) -> Kind:
    name = arg.choice(approximate, ("none", "tanh"), fn, "approximate")
    return "gelu", (("approximate", name),)


def _softplus(fn: str, beta: Any, threshold: Any) -> tuple[float, float, Kind]:
    beta = arg.number(beta, fn, "beta")
    if beta == 0:
        raise ValueError(f"{fn}: beta must not be 0")
    return beta, arg.number(threshold, fn, "threshold"), ("softplus", (("beta", beta),))


def _softmax(fn: str, op: str, dim: Any) -> Kind:
    return op, (("axis", arg.integer(dim, fn, "dim", -64, 63)),)


def log_softmax_kind(axis: int) -> Kind:
    return "log_softmax", (("axis", axis),)


def run_elementwise(fn: str, kind: Kind, input: Any) -> NDArray[Any]:
    """Runs an operator whose output has its only input's shape."""
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    return run(_build, (fn, kind, (input.shape, input.dtype)), [input])[0]


def elementwise_backward(fn: str, kind: Kind, grad_output: Any, input: Any) -> NDArray[Any]:
    """The gradient of `run_elementwise` to its input."""
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    grad = (grad_output.shape, grad_output.dtype)
    args = (fn, kind, (input.shape, input.dtype), grad)
    return run(_build, args, [input, grad_output])[0]


def _build(fn: str, kind: Kind, x: ArrayKind, g: ArrayKind | None = None) -> tuple[Runner, int]:
    op, attrs = kind[0], dict(kind[1])
    arg.check_float(x[1], fn, "input")
    if g is not None:
        arg.check_same_dtype(g[1], x[1], fn, "grad_output")
        arg.check_shape(g[0], x[0], fn, "grad_output")
    if "axis" in attrs and not -len(x[0]) <= attrs["axis"] < len(x[0]):
        raise ValueError(f"{fn}: dim {attrs['axis']} is not an axis of an input of shape {x[0]}")
    net = Network(fn)
    xi = net.input("input", *x)
    if op == "softplus":
        beta = attrs["beta"]
        h = xi if beta == 1 else net.add("scale", [xi], alpha=beta, beta=0.0)
        y = net.add("softplus", [h])
        y = y if beta == 1 else net.add("scale", [y], alpha=1 / beta, beta=0.0)
    else:
        y = net.add(op, [xi], **attrs)
    if g is None:
        return net.compile([y])
    return net.compile(net.gradients(y, net.input("grad_output", *g), [xi]))
