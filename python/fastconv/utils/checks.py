"""Checks of constructor arguments that several parts of the package share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def integer(value: Any, name: str, least: int = 0, owner: str = "") -> int:
    """Return a checked integer >= least.

    Raises:
        TypeError: not an integer.
        ValueError: too small.
    """
    who = f"{owner}: " if owner else ""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{who}`{name}` must be an integer, received: {name}={value!r}")
    if value < least:
        raise ValueError(f"{who}`{name}` must be >= {least}, received: {name}={value!r}")
    return int(value)


def number(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, owner: str = ""
) -> float:
    """Return a checked finite number in [low, high].

    Raises:
        TypeError: not a number.
        ValueError: NaN, infinite or out of range.
    """
    who = f"{owner}: " if owner else ""
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise TypeError(f"{who}`{name}` must be a number, received: {name}={value!r}")
    found = float(array)
    if not math.isfinite(found):
        raise ValueError(f"{who}`{name}` must be finite, received: {name}={value!r}")
    if not low <= found <= high:
        bounds = f"in [{low:g}, {high:g}]" if math.isfinite(high) else f">= {low:g}"
        raise ValueError(f"{who}`{name}` must be {bounds}, received: {name}={value!r}")
    return found
