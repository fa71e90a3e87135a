"""Losses as classes, functions and names, as in Keras 3.

A function takes y_true and y_pred of one shape (N, ..., D), arrays or tensors of a graph, and
returns one value for each (N, ...): the last axis is gone. A class calls its function and brings
these values to a number (`Loss` says how). Shapes that differ raise ValueError with both.
"""

from __future__ import annotations

import inspect
from typing import Any

from fastconv.losses.classes import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    LossFunctionWrapper,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from fastconv.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kl_divergence
logcosh = log_cosh

_CLASS_OF = {
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    categorical_hinge: CategoricalHinge,
    cosine_similarity: CosineSimilarity,
    hinge: Hinge,
    huber: Huber,
    kl_divergence: KLDivergence,
    log_cosh: LogCosh,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_error: MeanSquaredError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    poisson: Poisson,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    squared_hinge: SquaredHinge,
}
_FUNCTIONS = {fn.__name__: fn for fn in _CLASS_OF}
_FUNCTIONS.update(
    {
        "mse": mse,
        "MSE": mse,
        "mae": mae,
        "MAE": mae,
        "mape": mape,
        "MAPE": mape,
        "msle": msle,
        "MSLE": msle,
        "kld": kld,
        "KLD": kld,
        "kullback_leibler_divergence": kld,
        "logcosh": log_cosh,
        "bce": binary_crossentropy,
        "BCE": binary_crossentropy,
        "huber_loss": huber,
    }
)
_ALL = {**_FUNCTIONS, **{cls.__name__: cls for cls in _CLASS_OF.values()}}

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]


def serialize(loss: Any) -> Any:
    """Return the name of a loss, or {"class_name", "config"} of a `Loss`."""
    from fastconv.utils.serialization import serialize_callable

    if type(loss) is LossFunctionWrapper:
        return serialize_callable(loss.fn, _FUNCTIONS)
    return serialize_callable(loss, _FUNCTIONS)


def deserialize(name: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make a loss from `serialize()`, a name or a dict; `custom_objects` holds own ones by name."""
    from fastconv.utils.serialization import lookup

    return get(lookup(name, _ALL, custom_objects, "loss"))


def get(identifier: Any) -> Any:
    """Return a loss from None, a name, a class, an instance, a callable or a config.

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
    raise ValueError(f"could not interpret loss identifier: {identifier!r}")


def as_loss(identifier: Any) -> Loss:
    """Return a `Loss` for whatever `compile(loss=...)` accepts."""
    loss = get(identifier)
    if isinstance(loss, Loss):
        return loss
    if loss in _CLASS_OF:
        made: Loss = _CLASS_OF[loss]()
        return made
    return LossFunctionWrapper(loss, name=getattr(loss, "__name__", "loss"))
