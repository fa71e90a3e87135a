"""Comparisons, logic, choice, positions of extremes, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._graph import Tensor
from fastconv.config import floatx
from fastconv.ops.arrays import (
    _axes,
    _is_graph,
    _lift,
    _op,
    concatenate,
    expand_dims,
    matmul,
    mean,
    multiply,
    reshape,
    sqrt,
    square,
    subtract,
    sum,
    transpose,
)

if TYPE_CHECKING:
    from fastconv._types import Axis, TensorLike


def _compare(kind: Any, fn: Callable[..., Any], a: Any, b: Any) -> TensorLike:
    tensor = a if isinstance(a, Tensor) else b
    if not isinstance(tensor, Tensor):
        return fn(a, b)
    g, dtype = tensor.g, tensor.dtype
    return g.compare(_lift(g, a, dtype), _lift(g, b, dtype), kind=kind)


@_op
def equal(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 == x2, element by element; no gradient flows through comparisons."""
    return _compare("eq", np.equal, x1, x2)


@_op
def not_equal(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 != x2, element by element."""
    return _compare("ne", np.not_equal, x1, x2)


@_op
def less(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 < x2."""
    return _compare("lt", np.less, x1, x2)


@_op
def less_equal(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 <= x2."""
    return _compare("le", np.less_equal, x1, x2)


@_op
def greater(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 > x2."""
    return _compare("gt", np.greater, x1, x2)


@_op
def greater_equal(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 >= x2."""
    return _compare("ge", np.greater_equal, x1, x2)


def _as_bool(g: Any, value: Any) -> TensorLike:
    value = _lift(g, value, "bool")
    return value if value.dtype == "bool" else g.cast(value, dtype="bool")


def _logical(kind: Any, fn: Callable[..., Any], a: Any, b: Any) -> TensorLike:
    tensor = a if isinstance(a, Tensor) else b
    if not isinstance(tensor, Tensor):
        return fn(a, b)
    g = tensor.g
    return g.logical(_as_bool(g, a), _as_bool(g, b), kind=kind)


@_op
def logical_and(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """Whether both x1 and x2 are true, element by element."""
    return _logical("and", np.logical_and, x1, x2)


@_op
def logical_or(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """Whether x1 or x2 or both are true, element by element."""
    return _logical("or", np.logical_or, x1, x2)


@_op
def logical_not(x: TensorLike) -> TensorLike:
    """Whether x is false, element by element."""
    return x.g.logical_not(_as_bool(x.g, x)) if _is_graph(x) else np.logical_not(x)


@_op
def where(condition: TensorLike, x1: TensorLike, x2: TensorLike) -> TensorLike:
    """x1 where the condition is true, x2 elsewhere, with broadcasting."""
    tensor = next((v for v in (x1, x2, condition) if isinstance(v, Tensor)), None)
    if tensor is None:
        return np.where(condition, x1, x2)
    g = tensor.g
    dtype = "float32" if tensor is condition else tensor.dtype
    return g.where(_as_bool(g, condition), _lift(g, x1, dtype), _lift(g, x2, dtype))


def _arg_extreme(
    op: str, fn: Callable[..., Any], x: TensorLike, axis: int | None, keepdims: bool
) -> TensorLike:
    if not _is_graph(x):
        return fn(np.asarray(x), axis=axis, keepdims=keepdims)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    return x.g.op(op, x, axis=int(axis), keepdims=bool(keepdims))


@_op
def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> TensorLike:
    """Index (int64) of the largest x along `axis` (None: of all), kept as size 1 if `keepdims`."""
    return _arg_extreme("arg_max", np.argmax, x, axis, keepdims)


@_op
def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> TensorLike:
    """Index (int64) of the smallest x along `axis` (None: of all), kept as size 1 if `keepdims`."""
    return _arg_extreme("arg_min", np.argmin, x, axis, keepdims)


def _quantified(
    op: str, fn: Callable[..., Any], x: TensorLike, axis: Axis | None, keepdims: bool
) -> TensorLike:
    if not _is_graph(x):
        return fn(np.asarray(x), axis=axis, keepdims=keepdims)
    flags = _as_bool(x.g, x)
    return x.g.op(op, flags, axes=_axes(axis, x.ndim), keepdims=bool(keepdims))


@_op
def any(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Whether any x along `axis`, one or more (None: all), is true; size 1 stays if `keepdims`."""
    return _quantified("reduce_max", np.any, x, axis, keepdims)


@_op
def all(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Whether all x along `axis`, one or more (None: all), are true; size 1 stays if `keepdims`."""
    return _quantified("reduce_min", np.all, x, axis, keepdims)


@_op
def one_hot(x: TensorLike, num_classes: int, axis: int = -1, dtype: Any = None) -> TensorLike:
    """Class indices x (N, ...) as vectors of num_classes numbers 0 and 1, of type `dtype`.

    The vectors lie along a new `axis`: (N, ..., num_classes) by default.
    """
    dtype = dtype or floatx()
    classes = np.arange(num_classes)
    if not _is_graph(x):
        hot = (np.asarray(x)[..., None] == classes).astype(dtype)
        return np.moveaxis(hot, -1, axis)
    g = x.g
    same = g.compare(expand_dims(x, -1), g.constant(classes, x.dtype), kind="eq")
    hot = g.cast(same, dtype=dtype)
    if axis in (-1, x.ndim):
        return hot
    order = list(range(x.ndim))
    order.insert(axis if axis >= 0 else x.ndim + 1 + axis, x.ndim)
    return transpose(hot, order)


@_op
def var(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Variance of x along `axis`, divided by the count, kept with size 1 if `keepdims`."""
    if not _is_graph(x):
        return np.var(np.asarray(x), axis=axis, keepdims=keepdims)
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


@_op
def std(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> TensorLike:
    """Standard deviation of x, the square root of its `var` with the same axis and keepdims."""
    return sqrt(var(x, axis, keepdims))


@_op
def stack(x: TensorLike, axis: int = 0) -> TensorLike:
    """The arrays x, of one shape, along a new axis."""
    if not _is_graph(*x):
        return np.stack(x, axis)
    return concatenate([expand_dims(part, axis) for part in x], axis)


@_op
def dot(x1: TensorLike, x2: TensorLike) -> TensorLike:
    """Sum of products over the last axis of x1 and the only or second-to-last one of x2."""
    if not _is_graph(x1, x2):
        return np.dot(x1, x2)
    if len(x2.shape) == 1:
        return sum(multiply(x1, x2), axis=-1)
    return matmul(x1, x2)


def arange(start: Any, stop: Any = None, step: int = 1, dtype: Any = None) -> TensorLike:
    """Numbers from start (0 if only one is given) to below stop, `step` apart, of type `dtype`."""
    if stop is None:
        start, stop = 0, start
    return np.arange(start, stop, step, dtype=dtype)
