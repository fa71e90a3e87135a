"""Automatic names: conv2d, conv2d_1, ..."""

from __future__ import annotations

import re

_counts: dict[str, int] = {}


def snake_case(name: str) -> str:
    """Return "MaxPooling2D" as "max_pooling2d"."""
    name = re.sub(r"\W+", "", name)
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower()


def auto_name(prefix: str) -> str:
    """Return `prefix`, or with _1, _2, ... after its first use in this process."""
    count = _counts.get(prefix, 0)
    _counts[prefix] = count + 1
    return f"{prefix}_{count}" if count else prefix


def clear_session(free_memory: bool = True) -> None:
    """Start automatic names again from the beginning; `free_memory` is accepted for Keras code."""
    _counts.clear()
