"""The two kinds of tensors that a layer can be called on while a model is described or compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._graph.tree import flatten

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Shape
    from fastconv.layers import Layer


class Arithmetic:
    """Python operators, written once for tensors, symbolic tensors and variables."""

    __slots__ = ()
    __array_priority__ = 100  # makes NumPy arrays on the left side give way

    def __add__(self, other: Any) -> Any:
        return _ops().add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _ops().add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _ops().subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return _ops().subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return _ops().multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _ops().multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _ops().divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ops().divide(other, self)

    def __pow__(self, other: Any) -> Any:
        return _ops().power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _ops().power(other, self)

    def __matmul__(self, other: Any) -> Any:
        return _ops().matmul(self, other)

    def __neg__(self) -> Any:
        return _ops().negative(self)

    def __abs__(self) -> Any:
        return _ops().absolute(self)

    # No __eq__: values are kept in lists and dicts by identity; `ops.equal` compares.

    def __lt__(self, other: Any) -> Any:
        return _ops().less(self, other)

    def __le__(self, other: Any) -> Any:
        return _ops().less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return _ops().greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return _ops().greater_equal(self, other)


def _ops() -> Any:
    from fastconv import ops

    return ops


# What NumPy arrays and numbers on the left side of an operator ask for.
_OPERATORS = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "true_divide": "divide",
    "power": "power",
    "matmul": "matmul",
}


class Symbolic(Arithmetic):
    """What tensors without values have in common: NumPy cannot work on them."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self!r} cannot be iterated over; use indices or fastconv.ops")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = _OPERATORS.get(ufunc.__name__)
        if method == "__call__" and name is not None and not kwargs:
            return getattr(_ops(), name)(*inputs)
        raise TypeError(f"np.{ufunc.__name__} does not work on {self!r}; use fastconv.ops")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in (np.shape, np.ndim) and len(args) == 1 and args[0] is self:
            return getattr(self, func.__name__)
        raise TypeError(f"np.{func.__name__} does not work on {self!r}; use fastconv.ops")


class Tensor(Symbolic):
    """A value of a graph under construction; its shape is fully known.

    `origin` is `(activation, logits)` for the result of a softmax or sigmoid, so that losses can
    be computed from the logits, which is both faster and free of overflow.
    """

    __slots__ = ("dtype", "g", "id", "origin", "shape")

    def __init__(self, g: Any, value_id: int, origin: Any = None) -> None:
        self.g = g
        self.id = value_id
        self.shape = tuple(g.graph.shape(value_id))
        self.dtype = g.graph.dtype(value_id)
        self.origin = origin

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        return _ops().get_item(self, key)

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        raise TypeError(f"{self!r} has no values while a graph is compiled; use fastconv.ops")

    def __bool__(self) -> bool:
        raise TypeError(
            "a tensor of a graph has no truth value: layers, losses and metrics are compiled once, "
            "so Python conditions on their values are not possible"
        )

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape}, dtype={self.dtype}>"


class Node:
    """One call of a layer on symbolic tensors."""

    __slots__ = ("args", "inputs", "kwargs", "layer", "outputs")

    def __init__(self, layer: Layer, args: Any, kwargs: Any, outputs: Any) -> None:
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.inputs = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
        for index, tensor in enumerate(flatten(outputs)):
            tensor.history = (self, index)


class KerasTensor(Symbolic):
    """A symbolic tensor of a model being described: shape (None = any size), dtype and origin."""

    __slots__ = ("dtype", "history", "name", "shape")

    def __init__(self, shape: Shape, dtype: Any = "float32", name: str | None = None) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name
        self.history = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        return _ops().get_item(self, key)

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        raise ValueError(
            f"{self!r} is symbolic and has no values yet; "
            "build a Model from it and call predict() on data"
        )

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is symbolic and has no truth value")

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"
