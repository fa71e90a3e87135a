"""Layers that combine several inputs, and their functional forms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fastconv import ops
from fastconv.layers.base import Layer, is_shape

if TYPE_CHECKING:
    from fastconv._types import Axis, TensorLike


def _broadcast(name: str, first: Any, second: Any) -> TensorLike:
    """Shape of two broadcast together; None is an unknown size."""
    rank = max(len(first), len(second))
    a = (1,) * (rank - len(first)) + tuple(first)
    b = (1,) * (rank - len(second)) + tuple(second)
    shape = []
    for x, y in zip(a, b, strict=True):
        if x == 1 or x == y:
            shape.append(y)
        elif y == 1 or y is None:
            shape.append(x)
        elif x is None:
            shape.append(y)
        else:
            raise ValueError(
                f'layer "{name}": inputs of shapes {tuple(first)} and {tuple(second)} '
                "cannot be broadcast together"
            )
    return tuple(shape)


class _Merge(Layer):
    inputs_wanted: int | None = None
    _combine: ClassVar[Callable[..., TensorLike]]  # of two tensors

    def _check_shapes(self, shapes: Any) -> None:
        if is_shape(shapes) or not isinstance(shapes, (list, tuple)) or not shapes:
            raise ValueError(f'layer "{self.name}" must be called on a list of inputs')
        if self.inputs_wanted is not None and len(shapes) != self.inputs_wanted:
            raise ValueError(
                f'layer "{self.name}" must be called on exactly {self.inputs_wanted} inputs, '
                f"received {len(shapes)}"
            )

    def _check_list(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(f'layer "{self.name}" must be called on a list of inputs')
        for item in inputs:
            if not hasattr(item, "shape"):
                raise ValueError(
                    f'layer "{self.name}" must be called on a list of tensors, '
                    f"it holds a {type(item).__name__}"
                )
        self._check_shapes([t.shape for t in inputs])

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        self._check_list(inputs)
        return self._finish(functools.reduce(self._combine, inputs), len(inputs))

    def _finish(self, total: Any, count: int) -> TensorLike:
        return total

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._check_shapes(input_shape)
        return functools.reduce(lambda a, b: _broadcast(self.name, a, b), map(tuple, input_shape))


class Add(_Merge):
    """Sum of a list of inputs, which broadcast."""

    _combine = staticmethod(ops.add)


class Subtract(_Merge):
    """First input minus the second; they broadcast."""

    inputs_wanted = 2
    _combine = staticmethod(ops.subtract)


class Multiply(_Merge):
    """Product of a list of inputs, element by element; they broadcast."""

    _combine = staticmethod(ops.multiply)


class Average(_Merge):
    """Mean of a list of inputs, which broadcast."""

    _combine = staticmethod(ops.add)

    def _finish(self, total: Any, count: int) -> TensorLike:
        return total * (1.0 / count)


class Maximum(_Merge):
    """Largest of a list of inputs, element by element; they broadcast."""

    _combine = staticmethod(ops.maximum)


class Minimum(_Merge):
    """Smallest of a list of inputs, element by element; they broadcast."""

    _combine = staticmethod(ops.minimum)


class Concatenate(_Merge):
    """A list of inputs joined along `axis`; all other sizes must be equal."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = int(axis)

    def call(self, inputs: TensorLike) -> TensorLike:
        self._check_list(inputs)
        return ops.concatenate(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._check_shapes(input_shape)
        shapes = [tuple(s) for s in input_shape]
        rank = len(shapes[0])
        if any(len(s) != rank for s in shapes) or not -rank <= self.axis < rank:
            raise ValueError(
                f'layer "{self.name}": cannot concatenate shapes {shapes} along axis {self.axis}'
            )
        axis = self.axis % rank
        out = []
        for i in range(rank):
            sizes = [s[i] for s in shapes]
            if i == axis:
                out.append(None if None in sizes else sum(sizes))
                continue
            known = {d for d in sizes if d is not None}
            if len(known) > 1:
                raise ValueError(
                    f'layer "{self.name}" needs inputs of equal shapes except along axis '
                    f"{self.axis}, received shapes {shapes}"
                )
            out.append(known.pop() if known else None)
        return tuple(out)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Dot(_Merge):
    """Scalar products of two inputs along one axis of each, sample by sample.

    (N, A..., K, B...) and (N, C..., K, D...) give (N, A..., B..., C..., D...), two vectors (N, 1).

    Args:
        axes: the axis of both inputs, or one for each; not the batch.
        normalize: divide both by their Euclidean norm along it first (cosine similarity).
    """

    inputs_wanted = 2

    def __init__(self, axes: Axis, normalize: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = (axes, axes) if isinstance(axes, int) else axes
        whole = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not whole or not all(isinstance(axis, int) for axis in pair):
            raise ValueError(
                f'layer "{self.name}": `axes` must be an integer or two, received: axes={axes!r}'
            )
        self.axes = axes
        self.normalize = bool(normalize)

    def _axes(self, shapes: Any) -> TensorLike:
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        fits = all(-len(s) <= a < len(s) and a % len(s) for a, s in zip(pair, shapes, strict=True))
        sizes = [s[a] for a, s in zip(pair, shapes, strict=True)] if fits else [0, 1]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f'layer "{self.name}": axes={self.axes} must be equal axes behind the batch, '
                f"received inputs of shapes {[tuple(s) for s in shapes]}"
            )
        return [a % len(s) for a, s in zip(pair, shapes, strict=True)]

    def call(self, inputs: TensorLike) -> TensorLike:
        self._check_list(inputs)
        axes = self._axes([t.shape for t in inputs])
        n, matrices, kept = inputs[0].shape[0], [], []
        for x, axis in zip(inputs, axes, strict=True):
            if self.normalize:
                x = ops.normalize(x, axis=axis)
            others = [i for i in range(1, x.ndim) if i != axis]
            kept += [x.shape[i] for i in others]
            matrix = ops.transpose(x, [0, *others, axis])
            rows = math.prod(x.shape[i] for i in others)
            matrices.append(ops.reshape(matrix, (n, rows, x.shape[axis])))
        first, second = matrices
        y = first.g.matmul(first, ops.transpose(second, (0, 2, 1)))
        return ops.reshape(y, (n, *(kept or [1])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._check_shapes(input_shape)
        kept = [
            s[i]
            for s, axis in zip(input_shape, self._axes(input_shape), strict=True)
            for i in range(1, len(s))
            if i != axis
        ]
        return (input_shape[0][0], *(kept or [1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def add(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Add, for the tensors `inputs`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Subtract, for two tensors `inputs`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Multiply, for the tensors `inputs`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Average, for the tensors `inputs`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Maximum, for the tensors `inputs`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: TensorLike, **kwargs: Any) -> TensorLike:
    """Functional form of Minimum, for the tensors `inputs`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: TensorLike, axis: int = -1, **kwargs: Any) -> TensorLike:
    """Functional form of Concatenate, for the tensors `inputs` along `axis`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: TensorLike, axes: Axis = -1, **kwargs: Any) -> TensorLike:
    """Functional form of Dot, for two tensors `inputs` along `axes`."""
    return Dot(axes=axes, **kwargs)(inputs)
