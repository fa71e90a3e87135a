"""Projections of weights after each training step, with Keras 3's names and defaults.

A constraint takes an array and returns one of its shape; norms are Euclidean. Numbers out of range
raise ValueError.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.config import epsilon
from fastconv.utils.checks import number
from fastconv.utils.naming import snake_case
from fastconv.utils.serialization import lookup, serialize_keras_object

if TYPE_CHECKING:
    from fastconv._types import Axis, Shape, TensorLike


class Constraint:
    """Base class: `__call__(w)` takes and returns a NumPy array."""

    def __call__(self, w: TensorLike) -> TensorLike:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where `axis` does not fit a weight of this shape."""
        axis = getattr(self, "axis", ())
        if not all(-len(shape) <= a < len(shape) for a in np.atleast_1d(axis)):
            raise ValueError(
                f"{type(self).__name__}(axis={axis!r}) does not fit the shape {tuple(shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a constraint from what `get_config()` returned, `config`."""
        return cls(**config)


def _axes(axis: Axis, owner: str) -> Any:
    """Check an axis or a list of axes; which ones exist only the weight tells."""
    for a in axis if isinstance(axis, (list, tuple)) else (axis,):
        if isinstance(a, bool) or not isinstance(a, (int, np.integer)):
            raise TypeError(
                f"{owner}: `axis` must be an integer or a list of them, received: axis={axis!r}"
            )
    return axis


def _norm(w: TensorLike, axis: Axis) -> Any:
    axis = tuple(axis) if isinstance(axis, list) else axis
    return np.sqrt(np.sum(np.square(w), axis=axis, keepdims=True))


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: TensorLike) -> TensorLike:
        return w * (w >= 0)


class MaxNorm(Constraint):
    """Norms along `axis` of at most `max_value` (Srivastava et al. 2014).

    `axis`: 0 for a Dense kernel (its inputs), [0, 1, 2] for a Conv2D kernel.

    Examples:
        >>> import numpy as np
        >>> MaxNorm(1.0)(np.array([[3.0], [4.0]])).round(2).tolist()
        [[0.6], [0.8]]
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        number(max_value, "max_value", 0, owner="MaxNorm")
        self.max_value = max_value
        self.axis = _axes(axis, "MaxNorm")

    def __call__(self, w: TensorLike) -> TensorLike:
        norm = _norm(w, self.axis)
        return w * (np.clip(norm, 0, self.max_value) / (epsilon() + norm))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(Constraint):
    """Norms along `axis` of 1."""

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _axes(axis, "UnitNorm")

    def __call__(self, w: TensorLike) -> TensorLike:
        return w / (epsilon() + _norm(w, self.axis))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Norms along `axis` moved towards [min_value, max_value] by the share `rate`."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0
    ) -> None:
        number(min_value, "min_value", 0, owner="MinMaxNorm")
        number(max_value, "max_value", min_value, owner="MinMaxNorm")
        number(rate, "rate", 0, 1, owner="MinMaxNorm")
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = _axes(axis, "MinMaxNorm")

    def __call__(self, w: TensorLike) -> TensorLike:
        norm = _norm(w, self.axis)
        target = self.rate * np.clip(norm, self.min_value, self.max_value) + (1 - self.rate) * norm
        return w * (target / (epsilon() + norm))

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
_ALL = {cls.__name__: cls for cls in (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)}
_ALL.update({snake_case(name): cls for name, cls in list(_ALL.items())})


def serialize(constraint: Any) -> Any:
    """Return {"class_name", "config"} of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make a constraint from `serialize()`; `custom_objects` holds own classes by name.

    `config` is a dict {"class_name", "config"} or a name.
    """
    return get(lookup(config, _ALL, custom_objects, "constraint"))


def get(identifier: Any) -> Any:
    """Return a constraint from None, a name, a class, an instance, a callable or a config.

    Raises:
        ValueError: the name is unknown or the identifier is of another kind.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier):
        return identifier
    raise ValueError(f"could not interpret constraint identifier: {identifier!r}")
