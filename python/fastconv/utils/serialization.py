"""Objects to and from plain dictionaries. Only known classes are ever made: nothing is imported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

_custom_objects: dict[str, object] = {}
_registered_names: dict[object, str] = {}


def get_custom_objects() -> dict[str, Any]:
    """Return the process-wide table of custom objects, which callers may change."""
    return _custom_objects


@contextlib.contextmanager
def custom_object_scope(custom_objects: dict[str, Any]) -> Iterator[Any]:
    """Make `custom_objects`, a dict from name to class or function, known inside a `with` block."""
    before = dict(_custom_objects)
    _custom_objects.update(custom_objects)
    try:
        yield
    finally:
        _custom_objects.clear()
        _custom_objects.update(before)


CustomObjectScope = custom_object_scope


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Any:
    """Class or function decorator that makes it known to saving and loading.

    It is written into files as `package>name`; without a `name` that of the class counts.
    """

    def decorate(obj: Any) -> Any:
        registered = f"{package}>{name or obj.__name__}"
        if isinstance(obj, type) and not hasattr(obj, "get_config"):
            raise ValueError(f"cannot register {obj.__name__}: it has no get_config()")
        _custom_objects[registered] = obj
        _registered_names[obj] = registered
        return obj

    return decorate


def get_registered_name(obj: Any) -> str:
    """Return the registered name of `obj`, a class or function, or its plain name."""
    return _registered_names.get(obj, getattr(obj, "__name__", str(obj)))


def find_custom(name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the custom object of that name or None."""
    for table in (custom_objects or {}, _custom_objects):
        if name in table:
            return table[name]
    return None


def plain(value: Any) -> Any:
    """Return `value` as something JSON can hold."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "get_config"):
        return serialize_keras_object(value)
    if callable(value):
        return get_registered_name(value)
    raise TypeError(f"cannot serialize {value!r}")


def serialize_keras_object(obj: Any) -> Any:
    """Return {"class_name", "config"} of `obj`, which has `get_config`."""
    if obj is None:
        return None
    if not hasattr(obj, "get_config"):
        return plain(obj)
    return {"class_name": get_registered_name(type(obj)), "config": plain(obj.get_config())}


def deserialize_keras_object(
    config: str | dict[str, Any],
    custom_objects: dict[str, Any] | None = None,
    known: dict[str, Any] | None = None,
) -> Any:
    """Make an object from {"class_name", "config"}.

    Args:
        config: that dict.
        custom_objects: own classes and functions by name.
        known: the classes and functions that are built in, by name.

    Raises:
        ValueError: the class is neither built in nor among the custom objects.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        return config
    name = config["class_name"]
    cls = find_custom(name, custom_objects)
    if cls is None:
        table = _known_classes() if known is None else known
        cls = table.get(name)
    if cls is None:
        raise ValueError(
            f"unknown class {name!r}: pass it in custom_objects={{{name!r}: ...}} "
            "or register it with fastconv.utils.register_keras_serializable"
        )
    inner = config.get("config") or {}
    if custom_objects:
        with custom_object_scope(custom_objects):
            return cls.from_config(inner)
    return cls.from_config(inner)


@cache
def _known_classes() -> dict[str, Any]:
    from fastconv import (
        constraints,
        initializers,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        regularizers,
    )

    known = {}
    for module in (initializers, regularizers, constraints, optimizers, losses, metrics, layers):
        known.update({k: v for k, v in vars(module).items() if hasattr(v, "from_config")})
    known.update(optimizers.schedules.CLASSES)
    known.update(Sequential=models.Sequential, Model=models.Model, Functional=models.Model)
    return known


def serialize_callable(fn: Callable[..., Any], known: dict[str, Any]) -> Any:
    """Return the name under which `fn` can be found again."""
    if hasattr(fn, "get_config"):
        return serialize_keras_object(fn)
    for name, candidate in known.items():
        if candidate is fn:
            return name
    return get_registered_name(fn)


def lookup(
    identifier: Any, known: dict[str, Any], custom_objects: dict[str, Any] | None, kind: str
) -> Any:
    """Return a function or class by its name or serialized config, with a clear error."""
    if isinstance(identifier, dict):
        return deserialize_keras_object(identifier, custom_objects)
    found = find_custom(identifier, custom_objects)
    if found is None:
        found = known.get(identifier)
    if found is None:
        names = ", ".join(sorted(k for k in known if k.islower()))
        raise ValueError(f"unknown {kind} {identifier!r}; known names are: {names}")
    return found
