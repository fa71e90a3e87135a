"""Batch and local response normalization of (N, C, ...) arrays (PyTorch's names)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Shape
from ._plans import Network, Runner, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

ArrayKind = tuple[Shape, np.dtype]

_WIDE = 16  # values of a channel of an image: with fewer, vectors run along the channels


def batch_norm(
    input: NDArray[Any],
    running_mean: NDArray[Any] | None,
    running_var: NDArray[Any] | None,
    weight: NDArray[Any] | None = None,
    bias: NDArray[Any] | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> NDArray[Any]:
    """y = weight (x - mean) / sqrt(var + eps) + bias, each channel by itself.

    From "Batch Normalization: Accelerating Deep Network Training", arXiv:1502.03167.

    Args:
        input: (N, C) or (N, C, ...), float32 or float64.
        running_mean, running_var: (C,) or both None. The statistics used when training is False.
            When training is True the batch's statistics are used, and these arrays move towards
            them in place: new = (1 - momentum) old + momentum batch, with the variance over M - 1
            for M values a channel.
        weight, bias: (C,) or None for 1 and 0.
        eps: added to the variance, >= 0.

    Returns:
        An array of the input's shape.

    Raises:
        TypeError: not an array, a dtype other than the two, mixed dtypes.
        ValueError: shapes that do not fit, missing or read-only running arrays, one value a
            channel in training, non-finite momentum or eps.

    Examples:
        >>> import numpy as np
        >>> mean, var = np.zeros(1), np.ones(1)
        >>> y = batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True, eps=0)
        >>> y.tolist(), mean.tolist()
        ([[-1.0], [1.0]], [0.2])
    """
    fn = "batch_norm"
    arrays = _arrays(fn, input, weight, bias, running_mean, running_var)
    training = arg.flag(training, fn, "training")
    momentum = arg.number(momentum, fn, "momentum")
    kinds = tuple([None if a is None else (a.shape, a.dtype) for a in arrays])
    args = (fn, kinds, training, arg.number(eps, fn, "eps"))
    x, _, _, mean, var = arrays
    if not training:
        return run(_build_inference, args, [a for a in arrays if a is not None])[0]
    for name, a in (("running_mean", mean), ("running_var", var)):
        if a is not None and not a.flags.writeable:
            raise ValueError(f"{fn}: {name} is updated in place but is read-only")
    out = run(_build_training, args, [a for a in arrays[:3] if a is not None])
    if mean is not None and var is not None and x is not None and x.size:
        count = x.size // x.shape[1]
        with np.errstate(all="ignore"):
            mean *= 1 - momentum
            mean += momentum * out[1]
            var *= 1 - momentum
            var += (momentum * count / (count - 1)) * out[2]
    return out[0]


def batch_norm_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    weight: NDArray[Any] | None,
    running_mean: NDArray[Any] | None,
    running_var: NDArray[Any] | None,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Gradients of `batch_norm`: (grad_input, grad_weight (C,), grad_bias (C,)).

    grad_output has the input's shape and dtype. With training the gradient goes through the batch's
    mean and variance, and the running arrays are neither read nor changed. Without a weight,
    grad_weight is taken at a weight of 1. Errors are those of `batch_norm`.
    """
    fn = "batch_norm_backward"
    arrays = _arrays(fn, input, weight, None, running_mean, running_var)
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    training = arg.flag(training, fn, "training")
    kinds = tuple([None if a is None else (a.shape, a.dtype) for a in arrays])
    grad = (grad_output.shape, grad_output.dtype)
    args = (fn, kinds, training, arg.number(eps, fn, "eps"), grad)
    feeds = [a for a in (arrays[:3] if training else arrays) if a is not None]
    dx, dw, db = run(_build_norm_backward, args, [*feeds, grad_output])
    return dx, dw, db


def local_response_norm(
    input: NDArray[Any], size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> NDArray[Any]:
    """y = x / (k + alpha / size * s) ** beta, s the sum of x ** 2 over `size` channels.

    The window of channel c reaches from c - size // 2 to c + (size - 1) // 2, zeros outside
    (Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012).

    Args:
        input: (N, C, ...) of rank >= 3, float32 or float64.
        size: channels, >= 1.

    Returns:
        An array of the input's shape.

    Raises:
        TypeError: not an array, a dtype other than the two, a non-integer size.
        ValueError: rank or size that does not fit, non-finite alpha, beta or k.
    """
    fn = "local_response_norm"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    attributes = _response_attributes(fn, size, alpha, beta, k)
    return run(_build_response, (fn, (input.shape, input.dtype), *attributes), [input])[0]


def local_response_norm_backward(
    grad_output: NDArray[Any],
    input: NDArray[Any],
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> NDArray[Any]:
    """Gradient of `local_response_norm` to its input.

    grad_output has the input's shape and dtype; the errors are those of `local_response_norm`.
    """
    fn = "local_response_norm_backward"
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(grad_output) is not np.ndarray:
        grad_output = arg.array(grad_output, fn, "grad_output")
    attributes = _response_attributes(fn, size, alpha, beta, k)
    grad = (grad_output.shape, grad_output.dtype)
    args = (fn, (input.shape, input.dtype), *attributes, grad)
    return run(_build_response, args, [input, grad_output])[0]


_NAMES = ("input", "weight", "bias", "running_mean", "running_var")


def _arrays(fn: str, *values: Any) -> list[NDArray[Any] | None]:
    out = list(values)
    for i, value in enumerate(values):
        if type(value) is not np.ndarray and (value is not None or i == 0):
            out[i] = arg.array(value, fn, _NAMES[i])
    return out


def _response_attributes(fn: str, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[Any, ...]:
    return (
        arg.integer(size, fn, "size", 1),
        arg.number(alpha, fn, "alpha"),
        arg.number(beta, fn, "beta"),
        arg.number(k, fn, "k"),
    )


def _check_norm(fn: str, kinds: tuple[Any, ...], training: bool, eps: float) -> None:
    shape, dtype = kinds[0]
    arg.check_float(dtype, fn, "input")
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(
            f"{fn}: input must be (N, C) or (N, C, ...) and empty in its batch axis only,"
            f" got shape {shape}"
        )
    for name, kind in zip(_NAMES[1:], kinds[1:], strict=True):
        if kind is not None:
            arg.check_same_dtype(kind[1], dtype, fn, name)
            arg.check_shape(kind[0], (shape[1],), fn, name)
    if (kinds[3] is None) != (kinds[4] is None):
        raise ValueError(f"{fn}: give both running_mean and running_var, or neither")
    if not training and kinds[3] is None:
        raise ValueError(f"{fn}: running_mean and running_var are needed when training is False")
    if training and math.prod(shape) == shape[1]:
        raise ValueError(
            f"{fn}: training needs more than 1 value a channel, got input of shape {shape}"
        )
    if eps < 0:
        raise ValueError(f"{fn}: eps must be at least 0, got {eps}")


def _channels_last(net: Network, value: int) -> int:
    """(N, C, ...) as (N, positions, C), or (N, C) as it is."""
    shape = net.shape(value)
    if len(shape) == 2:
        return value
    if len(shape) > 3:
        value = net.add("reshape", [value], shape=[*shape[:2], math.prod(shape[2:])])
    return net.add("transpose", [value], perm=[0, 2, 1])


def _channels_second(net: Network, value: int, shape: Shape) -> int:
    """The way back from `_channels_last`."""
    if len(shape) == 2:
        return value
    value = net.add("transpose", [value], perm=[0, 2, 1])
    return value if len(shape) == 3 else net.add("reshape", [value], shape=list(shape))


def _inputs(net: Network, kinds: tuple[Any, ...]) -> list[Any]:
    return [
        None if kind is None else net.input(name, *kind)
        for name, kind in zip(_NAMES, kinds, strict=False)
    ]


def _build_inference(
    fn: str, kinds: tuple[Any, ...], training: bool, eps: float
) -> tuple[Runner, int]:
    _check_norm(fn, kinds, training, eps)
    net = Network(fn)
    x, weight, bias, mean, var = _inputs(net, kinds)
    h = _channels_last(net, x)
    y = net.add("batch_norm_inference", [h, weight, bias, mean, var], eps=eps)
    return net.compile([_channels_second(net, y, kinds[0][0])])


def _build_training(
    fn: str, kinds: tuple[Any, ...], training: bool, eps: float
) -> tuple[Runner, int]:
    _check_norm(fn, kinds, training, eps)
    net = Network(fn)
    x, weight, bias = _inputs(net, kinds[:3])
    h = _channels_last(net, x)
    y, mean, _, var = net.add_many(
        "batch_norm_training", [h, weight, bias, None, None], eps=eps, momentum=0.0
    )
    y = _channels_second(net, y, kinds[0][0])
    return net.compile([y] if kinds[3] is None else [y, mean, var])


def _build_norm_backward(
    fn: str, kinds: tuple[Any, ...], training: bool, eps: float, g: ArrayKind
) -> tuple[Runner, int]:
    _check_norm(fn, kinds, training, eps)
    shape, dtype = kinds[0]
    arg.check_same_dtype(g[1], dtype, fn, "grad_output")
    arg.check_shape(g[0], shape, fn, "grad_output")
    net = Network(fn)
    x, weight, _, *running = _inputs(net, kinds[:3] if training else kinds)
    if training and math.prod(shape[2:]) >= _WIDE:
        inputs = [x, weight, net.input("grad_output", *g)]
        return net.compile(net.add_many("batch_norm_planes_backward", inputs, eps=eps))
    if weight is None:
        weight = net.constant((shape[1],), 1.0, dtype)
    h = _channels_last(net, x)
    if training:
        inputs = [h, weight, None, None, None]
        y = net.add("batch_norm_training", inputs, eps=eps, momentum=0.0)
    else:
        y = net.add("batch_norm_inference", [h, weight, None, *running], eps=eps)
    seed = _channels_last(net, net.input("grad_output", *g))
    grads = net.gradients(y, seed, [x, weight])
    axes = list(range(len(net.shape(seed)) - 1))
    return net.compile([*grads, net.add("reduce_sum", [seed], axes=axes)])


def _build_response(
    fn: str,
    x: ArrayKind,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    g: ArrayKind | None = None,
) -> tuple[Runner, int]:
    arg.check_float(x[1], fn, "input")
    if len(x[0]) < 3 or 0 in x[0][1:]:
        raise ValueError(
            f"{fn}: input must be (N, C, ...) of rank 3 or more and empty in its batch axis only,"
            f" got shape {x[0]}"
        )
    net = Network(fn)
    xi = net.input("input", *x)
    h = _channels_last(net, xi)
    y = net.add("local_response_norm", [h], size=size, alpha=alpha, beta=beta, k=k)
    if g is None:
        return net.compile([_channels_second(net, y, x[0])])
    arg.check_same_dtype(g[1], x[1], fn, "grad_output")
    arg.check_shape(g[0], x[0], fn, "grad_output")
    seed = _channels_last(net, net.input("grad_output", *g))
    return net.compile(net.gradients(y, seed, [xi]))
