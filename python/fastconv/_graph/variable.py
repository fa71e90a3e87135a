"""Weights and states of layers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core, config
from fastconv._graph.tensor import Arithmetic
from fastconv.utils.naming import auto_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Shape


# Bytes that variables may still take in this context, and what limits them.
_limit: ContextVar[tuple[list[int], str] | None] = ContextVar("limit", default=None)


@contextlib.contextmanager
def limited_memory(most: int, what: str) -> Iterator[None]:
    """Let the variables and metric states that are made inside take at most `most` bytes.

    A configuration of a few bytes can ask for any number of weights.

    Args:
        most: bytes.
        what: what gives that limit, for the message.
    """
    token = _limit.set(([most], what))
    try:
        yield
    finally:
        _limit.reset(token)


def charge(shape: Any, itemsize: int, name: Any) -> None:
    """Count the memory of a variable before it is made.

    Raises:
        ValueError: it is more than `limited_memory` leaves.
    """
    limit = _limit.get()
    if limit is None:
        return
    left, what = limit
    left[0] -= math.prod(int(n) for n in shape) * itemsize
    if left[0] < 0:
        raise ValueError(
            f"the configuration asks for more weights than {what}: {name!r} of shape "
            f"{tuple(shape)} does not fit any more"
        )


class Variable(Arithmetic):
    """A weight or state: an array owned by the C++ core, with Keras's attributes.

    Args:
        initializer: an array, an initializer, or a callable `(shape, dtype) -> array`.
        shape: shape where `initializer` is callable.
        dtype: "float32" or "float64"; None takes the array's or `floatx()`.
        trainable: whether an optimizer may change it.
        name: name without slashes.
        path: the name with its layer's in front, for example "conv2d/kernel".

    Raises:
        ValueError: shape missing, or the initializer returned another shape.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Shape | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        regularizer: Any = None,
        constraint: Any = None,
        path: str | None = None,
    ) -> None:
        if callable(initializer):
            if shape is None:
                raise ValueError("Variable needs `shape` when its initializer is callable")
            dtype = config.standardize_dtype(dtype)
            charge(shape, np.dtype(dtype).itemsize, path or name)
            value = np.asarray(initializer(tuple(shape), dtype=dtype), dtype=dtype)
            if value.shape != tuple(shape):
                raise ValueError(
                    f"the initializer of variable {name!r} returned shape {value.shape}, "
                    f"expected {tuple(shape)}"
                )
        else:
            value = np.asarray(initializer)
            if dtype is None and value.dtype.name not in ("float32", "float64"):
                dtype = config.floatx()
            if dtype is not None:
                value = value.astype(config.standardize_dtype(dtype))
        self.name = name or auto_name("variable")
        self.path = path or self.name
        self.core = _core.Variable(np.ascontiguousarray(value), self.path)
        self.shape = tuple(value.shape)
        self.dtype = value.dtype.name
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def value(self) -> NDArray[Any]:
        return self.numpy()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def numpy(self) -> NDArray[Any]:
        """Return a copy of the values."""
        return self.core.numpy()

    def assign(self, value: Any) -> Any:
        """Replace the values; `value` must have this variable's shape."""
        array = np.asarray(value.numpy() if isinstance(value, Variable) else value)
        if array.shape != self.shape:
            raise ValueError(
                f"cannot assign an array of shape {array.shape} to variable {self.path!r} "
                f"of shape {self.shape}"
            )
        self.core.assign(np.ascontiguousarray(array, dtype=self.dtype))
        return self

    def assign_add(self, value: Any) -> Any:
        """Add `value` to the values."""
        return self.assign(self.numpy() + np.asarray(value))

    def assign_sub(self, value: Any) -> Any:
        """Subtract `value` from the values."""
        return self.assign(self.numpy() - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __float__(self) -> float:
        return float(self.numpy())

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}>"
