"""Penalties on weights and outputs that are added to the loss. Names and defaults are Keras 3's.

A regularizer takes a tensor of any shape and returns a number. Negative factors raise ValueError.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from fastconv import ops
from fastconv.utils.serialization import lookup, serialize_keras_object

if TYPE_CHECKING:
    from fastconv._types import TensorLike


def _check(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number, received: {name}={value!r}")
    if value < 0:
        raise ValueError(f"`{name}` must not be negative, received: {name}={value!r}")
    return float(value)


class Regularizer:
    """Base class: `__call__(x)` returns the penalty of a tensor, written with `fastconv.ops`."""

    def __call__(self, x: TensorLike) -> TensorLike:
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} does not implement get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a regularizer from what `get_config()` returned, `config`."""
        return cls(**config)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x**2) (Zou and Hastie 2005)."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _check("l1", 0.0 if l1 is None else l1)
        self.l2 = _check("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: TensorLike) -> TensorLike:
        total = 0.0
        if self.l1:
            total = ops.sum(ops.absolute(x)) * self.l1
        if self.l2:
            total = ops.sum(ops.square(x)) * self.l2 + total
        return total

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """l1 * sum(|x|) (Tibshirani 1996)."""

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _check("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: TensorLike) -> TensorLike:
        return ops.sum(ops.absolute(x)) * self.l1

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(Regularizer):
    """l2 * sum(x**2) (Hoerl and Kennard 1970)."""

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _check("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: TensorLike) -> TensorLike:
        return ops.sum(ops.square(x)) * self.l2

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> Any:
    """Return L1L2(l1, l2)."""
    return L1L2(l1=l1, l2=l2)


l1, l2 = L1, L2
_ALL = {"L1": L1, "L2": L2, "L1L2": L1L2, "l1": L1, "l2": L2, "l1_l2": l1_l2, "l1l2": l1_l2}


def serialize(regularizer: Any) -> Any:
    """Return {"class_name", "config"} of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make a regularizer from `serialize()`; `custom_objects` holds own classes by name.

    `config` is a dict {"class_name", "config"} or a name.
    """
    return get(lookup(config, _ALL, custom_objects, "regularizer"))


def get(identifier: Any) -> Any:
    """Return a regularizer from None, a name, a class, an instance, a callable or a config.

    Raises:
        ValueError: the name is unknown or the identifier is of another kind.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if inspect.isclass(identifier) or identifier is l1_l2:
        return identifier()
    if callable(identifier):
        return identifier
    raise ValueError(f"could not interpret regularizer identifier: {identifier!r}")
