"""Names that Keras code reads from `keras.backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from fastconv.utils.naming import clear_session

if TYPE_CHECKING:
    from fastconv._types import TensorLike

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_value",
    "image_data_format",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
]


def backend() -> str:
    """Return the name of the engine, "fastconv"."""
    return "fastconv"


def get_value(x: TensorLike) -> Any:
    """Return the NumPy value of x if it is a variable, else x itself."""
    return x.numpy() if hasattr(x, "numpy") else x


def set_value(x: TensorLike, value: Any) -> None:
    """Assign `value` to x, a variable or `optimizer.learning_rate`."""
    x.assign(value)
