"""Arithmetic, activations, reductions, shapes and conversions."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastconv._graph import KerasTensor, Tensor, Variable, current_builder, flatten
from fastconv._graph.tree import map_structure
from fastconv.config import epsilon, floatx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Axis, Shape, TensorLike


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _op(fn: _Function) -> _Function:
    """Let `fn` see either graph tensors or NumPy arrays, whatever it is called with."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> TensorLike:
        leaves = flatten((args, kwargs))
        if any(isinstance(leaf, KerasTensor) for leaf in leaves):
            from fastconv.layers.operation import Operation

            return Operation.record(fn.__name__, args, kwargs)
        if any(isinstance(leaf, Variable) for leaf in leaves):
            g = current_builder()
            lift = g.variable if g is not None else Variable.numpy
            args, kwargs = map_structure(
                lambda leaf: lift(leaf) if isinstance(leaf, Variable) else leaf, (args, kwargs)
            )
        return fn(*args, **kwargs)

    return typing.cast(_Function, wrapper)


def _is_graph(*values: Any) -> bool:
    return any(isinstance(v, Tensor) for v in values)


def _lift(g: Any, value: Any, dtype: Any) -> Tensor:
    return value if isinstance(value, Tensor) else g.constant(value, dtype)


def _axes(axis: Axis | None, ndim: int) -> list[int]:
    if axis is None:
        return list(range(ndim))
    return [int(a) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]


def _scalar(value: Any) -> float | None:
    if isinstance(value, (int, float, np.number)):
        return float(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return float(value)
    return None


def _binary(op: str, fn: Callable[..., Any], a: Any, b: Any) -> TensorLike:
    tensor = a if isinstance(a, Tensor) else b
    if not isinstance(tensor, Tensor):
        return fn(a, b)
    g, dtype = tensor.g, tensor.dtype
    return g.op(op, _lift(g, a, dtype), _lift(g, b, dtype))


def _unary(op: str, fn: Callable[..., Any], x: TensorLike, **attrs: Any) -> TensorLike:
    return x.g.op(op, x, **attrs) if isinstance(x, Tensor) else fn(np.asarray(x))


# Arithmetic


@_op
def add(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 + x2, with broadcasting."""
    for x, other in ((x1, x2), (x2, x1)):
        if isinstance(x, Tensor) and _scalar(other) is not None:
            return x.g.scale(x, alpha=1.0, beta=_scalar(other))
    return _binary("add", np.add, x1, x2)


@_op
def subtract(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 - x2, with broadcasting."""
    number = _scalar(x2)
    if isinstance(x1, Tensor) and number is not None:
        return x1.g.scale(x1, alpha=1.0, beta=-number)
    if isinstance(x2, Tensor) and _scalar(x1) is not None:
        return x2.g.scale(x2, alpha=-1.0, beta=_scalar(x1))
    return _binary("sub", np.subtract, x1, x2)


@_op
def multiply(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 * x2, with broadcasting."""
    for x, other in ((x1, x2), (x2, x1)):
        if isinstance(x, Tensor) and _scalar(other) is not None:
            return x.g.scale(x, alpha=_scalar(other), beta=0.0)
    return _binary("mul", np.multiply, x1, x2)


@_op
def divide(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 / x2, with broadcasting."""
    return _binary("div", np.divide, x1, x2)


true_divide = divide


@_op
def power(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 to the power of x2."""
    if isinstance(x1, Tensor) and _scalar(x2) == 2.0:
        return x1.g.square(x1)
    return _binary("pow", np.power, x1, x2)


@_op
def maximum(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """The larger of x1 and x2, element by element, with broadcasting."""
    return _binary("maximum", np.maximum, x1, x2)


@_op
def minimum(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """The smaller of x1 and x2, element by element, with broadcasting."""
    return _binary("minimum", np.minimum, x1, x2)


@_op
def negative(x: TensorLike) -> TensorLike:
    """-x."""
    return _unary("neg", np.negative, x)


@_op
def absolute(x: TensorLike) -> TensorLike:
    """Absolute value of x."""
    return _unary("abs", np.abs, x)


abs = absolute


@_op
def exp(x: TensorLike) -> TensorLike:
    """e to the power of x."""
    return _unary("exp", np.exp, x)


@_op
def log(x: TensorLike) -> TensorLike:
    """Natural logarithm of x."""
    return _unary("log", np.log, x)


@_op
def log1p(x: TensorLike) -> TensorLike:
    """log(1 + x)."""
    return log(x + 1.0) if _is_graph(x) else np.log1p(x)


@_op
def sqrt(x: TensorLike) -> TensorLike:
    """Square root of x."""
    return _unary("sqrt", np.sqrt, x)


@_op
def rsqrt(x: TensorLike) -> TensorLike:
    """1 / sqrt(x)."""
    return _unary("rsqrt", lambda v: 1.0 / np.sqrt(v), x)


@_op
def square(x: TensorLike) -> TensorLike:
    """x * x."""
    return _unary("square", np.square, x)


@_op
def sign(x: TensorLike) -> TensorLike:
    """-1, 0 or 1, as x is negative, zero or positive."""
    return _unary("sign", np.sign, x)


@_op
def reciprocal(x: TensorLike) -> TensorLike:
    """1 / x."""
    return _unary("reciprocal", np.reciprocal, x)


@_op
def erf(x: TensorLike) -> TensorLike:
    """The error function of x."""
    if not _is_graph(x):
        import math

        return np.vectorize(math.erf, otypes=[np.asarray(x).dtype])(x)
    return x.g.erf(x)


@_op
def clip(x: TensorLike, x_min: float, x_max: float) -> TensorLike:
    """x limited to [x_min, x_max]."""
    if _is_graph(x):
        return x.g.clip(x, min=float(x_min), max=float(x_max))
    return np.clip(x, x_min, x_max)


# Activations


@_op
def relu(x: TensorLike) -> TensorLike:
    """max(x, 0)."""
    return _unary("relu", lambda v: np.where(v < 0, 0, v).astype(v.dtype), x)


@_op
def leaky_relu(x: TensorLike, negative_slope: float = 0.2) -> TensorLike:
    """x where positive, else negative_slope * x."""
    return _unary(
        "leaky_relu",
        lambda v: np.where(v < 0, negative_slope * v, v).astype(v.dtype),
        x,
        alpha=float(negative_slope),
    )


def _np_sigmoid(v: NDArray[Any]) -> TensorLike:
    # exp of a negative number only: no overflow at either end.
    e = np.exp(-np.abs(v))
    return np.where(v >= 0, 1.0 / (1.0 + e), e / (1.0 + e)).astype(v.dtype)


@_op
def sigmoid(x: TensorLike) -> TensorLike:
    """1 / (1 + exp(-x))."""
    if _is_graph(x):
        y = x.g.sigmoid(x)
        y.origin = ("sigmoid", x)
        return y
    return _np_sigmoid(np.asarray(x))


@_op
def tanh(x: TensorLike) -> TensorLike:
    """Hyperbolic tangent of x."""
    return _unary("tanh", np.tanh, x)


@_op
def elu(x: TensorLike, alpha: float = 1.0) -> TensorLike:
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    return _unary(
        "elu",
        lambda v: np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0))).astype(v.dtype),
        x,
        alpha=float(alpha),
    )


@_op
def selu(x: TensorLike) -> TensorLike:
    """scale * elu(x, alpha) with the paper's constants (Klambauer et al. 2017)."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return _unary("selu", lambda v: scale * elu(v, alpha), x)


@_op
def gelu(x: TensorLike, approximate: bool = True) -> TensorLike:
    """x * Phi(x) (Hendrycks and Gimpel 2016), by erf, or by tanh if `approximate`."""
    if _is_graph(x):
        return x.g.gelu(x, approximate="tanh" if approximate else "none")
    v = np.asarray(x)
    if approximate:
        return 0.5 * v * (1.0 + np.tanh(0.7978845608028654 * (v + 0.044715 * v**3)))
    return 0.5 * v * (1.0 + erf(v * 0.7071067811865476))


@_op
def silu(x: TensorLike) -> TensorLike:
    """x * sigmoid(x)."""
    return _unary("silu", lambda v: v * _np_sigmoid(v), x)


@_op
def hard_sigmoid(x: TensorLike) -> TensorLike:
    """clip(x / 6 + 1 / 2, 0, 1)."""
    return _unary("hard_sigmoid", lambda v: np.clip(v / 6 + 0.5, 0, 1), x, alpha=1 / 6, beta=0.5)


@_op
def hard_silu(x: TensorLike) -> TensorLike:
    """x * hard_sigmoid(x)."""
    return _unary("hard_swish", lambda v: v * np.clip(v / 6 + 0.5, 0, 1), x)


@_op
def softplus(x: TensorLike) -> TensorLike:
    """log(1 + exp(x))."""
    return _unary("softplus", lambda v: np.logaddexp(v, 0).astype(v.dtype), x)


@_op
def softsign(x: TensorLike) -> TensorLike:
    """x / (1 + |x|)."""
    return _unary("softsign", lambda v: v / (1 + np.abs(v)), x)


def _np_softmax(v: NDArray[Any], axis: Axis) -> TensorLike:
    e = np.exp(v - np.max(v, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


@_op
def softmax(x: TensorLike, axis: int = -1) -> TensorLike:
    """exp(x) divided by its sum along the axis."""
    if _is_graph(x):
        y = x.g.softmax(x, axis=int(axis))
        if axis in (-1, x.ndim - 1):
            y.origin = ("softmax", x)
        return y
    return _np_softmax(np.asarray(x), axis)


@_op
def log_softmax(x: TensorLike, axis: int = -1) -> TensorLike:
    """Logarithm of the softmax of x along the axis."""
    if _is_graph(x):
        return x.g.log_softmax(x, axis=int(axis))
    v = np.asarray(x)
    v = v - np.max(v, axis=axis, keepdims=True)
    return v - np.log(np.sum(np.exp(v), axis=axis, keepdims=True))


# Reductions


def _reduce(
    op: str, fn: Callable[..., Any], x: TensorLike, axis: Axis | None, keepdims: bool
) -> TensorLike:
    if not _is_graph(x):
        return fn(
            np.asarray(x), axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims
        )
    return x.g.op(op, x, axes=_axes(axis, x.ndim), keepdims=bool(keepdims))


@_op
def sum(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Sum of x along `axis`, one or more (None: all), kept with size 1 if `keepdims`."""
    return _reduce("reduce_sum", np.sum, x, axis, keepdims)


@_op
def mean(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Mean of x along `axis`, one or more (None: all), kept with size 1 if `keepdims`."""
    return _reduce("reduce_mean", np.mean, x, axis, keepdims)


@_op
def max(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Largest of x along `axis`, one or more (None: all), kept with size 1 if `keepdims`."""
    return _reduce("reduce_max", np.max, x, axis, keepdims)


@_op
def min(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Smallest of x along `axis`, one or more (None: all), kept with size 1 if `keepdims`."""
    return _reduce("reduce_min", np.min, x, axis, keepdims)


# Shape


def shape(x: TensorLike) -> tuple[Any, ...]:
    """Shape of x, an array or tensor."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


@_op
def reshape(x: TensorLike, newshape: Sequence[int]) -> TensorLike:
    """The elements of x in `newshape`, of which one entry may be -1."""
    if _is_graph(x):
        return x.g.reshape(x, shape=[int(d) for d in newshape])
    return np.reshape(x, newshape)


@_op
def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> TensorLike:
    """The `axes` of x in another order (None: reversed)."""
    if _is_graph(x):
        perm = list(range(x.ndim))[::-1] if axes is None else [int(a) for a in axes]
        return x.g.transpose(x, perm=perm)
    return np.transpose(x, axes)


@_op
def expand_dims(x: TensorLike, axis: int) -> TensorLike:
    """x with a new axis of size 1 at place `axis`."""
    if not _is_graph(x):
        return np.expand_dims(x, axis)
    dims = list(x.shape)
    dims.insert(axis if axis >= 0 else len(dims) + 1 + axis, 1)
    return x.g.reshape(x, shape=dims)


@_op
def squeeze(x: TensorLike, axis: Axis | None = None) -> TensorLike:
    """x without the given `axis` of size 1 (None: without all such axes)."""
    if not _is_graph(x):
        return np.squeeze(x, axis)
    axes = [i for i, d in enumerate(x.shape) if d == 1]
    if axis is not None:
        axes = [a % x.ndim for a in _axes(axis, x.ndim)]
        if any(x.shape[a] != 1 for a in axes):
            raise ValueError(f"cannot squeeze axis {axis} of shape {x.shape}: its size is not 1")
    return x.g.reshape(x, shape=[d for i, d in enumerate(x.shape) if i not in axes])


@_op
def concatenate(xs: Any, axis: int = 0) -> TensorLike:
    """The arrays xs joined along an existing axis."""
    tensor = next((x for x in xs if isinstance(x, Tensor)), None)
    if tensor is None:
        return np.concatenate(xs, axis)
    g = tensor.g
    return g.op("concat", *[_lift(g, x, tensor.dtype) for x in xs], axis=int(axis))


@_op
def get_item(x: TensorLike, key: Any) -> TensorLike:
    """x[key]: basic slicing with step 1 and integers, as `x[1:, :, 0]`."""
    if not _is_graph(x):
        return np.asarray(x)[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - len(keys) + 1)
    dims = []
    for axis, size in enumerate(x.shape):
        k = keys[axis] if axis < len(keys) else slice(None)
        if isinstance(k, (int, np.integer)):
            if not -size <= k < size:
                raise IndexError(f"index {k} is out of range for axis {axis} of shape {x.shape}")
            start, stop = int(k) % size, int(k) % size + 1
        elif isinstance(k, slice) and k.step in (None, 1):
            start, stop, _ = k.indices(size)
            dims.append(stop - start)
        else:
            raise TypeError(f"tensors of a graph take integers and slices of step 1, not {k!r}")
        if (start, stop) != (0, size):
            x = x.g.slice(x, axis=axis, start=start, end=stop)
    return x if tuple(dims) == x.shape else x.g.reshape(x, shape=dims)


@_op
def matmul(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """Matrix product of x1[..., K] and x2[K, M]."""
    tensor = x1 if isinstance(x1, Tensor) else x2
    if not isinstance(tensor, Tensor):
        return np.matmul(x1, x2)
    g = tensor.g
    return g.dense(_lift(g, x1, tensor.dtype), _lift(g, x2, tensor.dtype), None)


@_op
def softmax_cross_entropy(
    logits: TensorLike,
    target: TensorLike,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> TensorLike:
    """Cross-entropy of softmax(logits) along the last axis.

    `target` holds class indices (one axis less than `logits`) or probabilities (same shape), which
    move towards 1 / classes by `label_smoothing`; the index `ignore_index` has loss 0.
    """
    ignore = -(2**31) if ignore_index is None else int(ignore_index)
    if _is_graph(logits):
        attrs = {"label_smoothing": float(label_smoothing), "ignore_index": ignore}
        return logits.g.softmax_cross_entropy(
            logits, _lift(logits.g, target, logits.dtype), **attrs
        )
    logits, target = np.asarray(logits), np.asarray(target)
    classes = logits.shape[-1]
    logp = log_softmax(logits)
    if target.ndim == logits.ndim:
        smooth = target * (1 - label_smoothing) + label_smoothing / classes
        return -np.sum(smooth * logp, axis=-1)
    target = target.astype(np.int64)
    used = target != ignore
    bad = target[used & ((target < 0) | (target >= classes))]
    if bad.size:
        raise ValueError(f"label {bad.flat[0]} is out of range [0, {classes})")
    picked = np.take_along_axis(logp, np.where(used, target, 0)[..., None], axis=-1)[..., 0]
    loss = -(1 - label_smoothing) * picked - label_smoothing * np.mean(logp, axis=-1)
    return np.where(used, loss, 0).astype(logits.dtype)


@_op
def sigmoid_cross_entropy(logits: TensorLike, target: TensorLike) -> TensorLike:
    """Binary cross-entropy of sigmoid(logits) and the labels `target`, element by element."""
    if _is_graph(logits):
        return logits.g.sigmoid_cross_entropy(logits, _lift(logits.g, target, logits.dtype))
    z = np.asarray(logits)
    return np.maximum(z, 0) - z * target + np.log1p(np.exp(-np.abs(z)))


# Conversions


def convert_to_numpy(x: TensorLike) -> NDArray[Any]:
    """Return x, an array, variable or number, as a NumPy array."""
    return x.numpy() if isinstance(x, Variable) else np.asarray(x)


def convert_to_tensor(x: TensorLike, dtype: Any = None) -> TensorLike:
    """Return x unchanged if it is a tensor, else as a NumPy array of type `dtype`."""
    if isinstance(x, (Tensor, KerasTensor)):
        return x
    return np.asarray(x, dtype=dtype)


@_op
def cast(x: TensorLike, dtype: Any) -> TensorLike:
    """x in another `dtype`; inside a model, floats keep their precision."""
    if not _is_graph(x):
        return np.asarray(x).astype(dtype)
    kinds = {np.dtype(x.dtype).kind, np.dtype(dtype).kind}
    return x if kinds == {"f"} else x.g.cast(x, dtype=np.dtype(dtype).name)


def zeros(shape: Shape, dtype: Any = None) -> TensorLike:
    """An array of zeros of that shape and `dtype` (None: `floatx()`)."""
    return np.zeros(shape, dtype or floatx())


def ones(shape: Shape, dtype: Any = None) -> TensorLike:
    """An array of ones of that shape and `dtype` (None: `floatx()`)."""
    return np.ones(shape, dtype or floatx())


@_op
def zeros_like(x: TensorLike) -> TensorLike:
    """Zeros of the shape and type of x."""
    return x.g.constant(np.zeros(x.shape), x.dtype) if _is_graph(x) else np.zeros_like(x)


@_op
def ones_like(x: TensorLike) -> TensorLike:
    """Ones of the shape and type of x."""
    return x.g.constant(np.ones(x.shape), x.dtype) if _is_graph(x) else np.ones_like(x)


@_op
def normalize(x: TensorLike, axis: Axis = -1) -> TensorLike:
    """x divided by its Euclidean norm along the axis."""
    norm = sqrt(sum(square(x), axis=axis, keepdims=True))
    return x / maximum(norm, epsilon())
