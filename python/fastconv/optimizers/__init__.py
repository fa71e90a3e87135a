"""Optimizers with Keras 3's names, arguments, defaults and formulas.

In the formulas w is a weight, g its gradient, lr the learning rate, t the number of the step from
1. All take the arguments of `Optimizer` too: weight_decay, clipnorm, use_ema and so on. Numbers
out of range raise ValueError.
"""

from __future__ import annotations

import inspect
from typing import Any

from fastconv.optimizers import schedules
from fastconv.optimizers.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from fastconv.optimizers.composed import Adadelta, Adamax, Lion, Nadam
from fastconv.optimizers.optimizer import Optimizer

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_MORE = (Adagrad, Adadelta, Adamax, Nadam, Lion)
_ALL = {cls.__name__: cls for cls in (SGD, Adam, AdamW, RMSprop, *_MORE)}
_ALL.update({name.lower(): cls for name, cls in list(_ALL.items())})


def serialize(optimizer: Any) -> Any:
    """Return {"class_name", "config"} of an optimizer."""
    from fastconv.utils.serialization import serialize_keras_object

    return serialize_keras_object(optimizer)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make an optimizer from `serialize()`; `custom_objects` holds own classes by name.

    `config` is a dict {"class_name", "config"}.
    """
    from fastconv.utils.serialization import lookup

    found = lookup(config, _ALL, custom_objects, "optimizer")
    return found() if inspect.isclass(found) else found


def get(identifier: Any) -> Any:
    """Return an optimizer from a name in any case, an instance or a config.

    Raises:
        ValueError: the name is unknown or the identifier is of another kind.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return deserialize(identifier if identifier in _ALL else identifier.lower())
    raise ValueError(f"could not interpret optimizer identifier: {identifier!r}")
