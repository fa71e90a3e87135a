"""Nested lists, tuples and dicts of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts, in order; None counts as a leaf."""
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flatten(item)]
    if isinstance(structure, dict):
        return [leaf for item in structure.values() for leaf in flatten(item)]
    return [structure]


def map_structure(fn: Callable[..., Any], structure: Any) -> Any:
    """Return the same nesting with `fn` applied to every leaf."""
    if isinstance(structure, (list, tuple)):
        items = [map_structure(fn, item) for item in structure]
        return items if isinstance(structure, list) else tuple(items)
    if isinstance(structure, dict):
        return {key: map_structure(fn, item) for key, item in structure.items()}
    return fn(structure)


def pack_as(structure: Any, leaves: Any) -> Any:
    """Return the nesting of `structure` filled with `leaves` in order."""
    iterator = iter(leaves)
    return map_structure(lambda _: next(iterator), structure)


def is_nested(structure: Any) -> bool:
    """Tell whether the value is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, dict))
