"""Metrics as classes, functions and names, as in Keras 3.

They run in NumPy, outside of the graph: `update_state(y_true, y_pred, sample_weight)` takes in one
batch (N, ...), `result()` returns a number (where a class does not say otherwise) over all batches
since `reset_state()`. Functions return one value for each sample. Shapes that do not fit raise
ValueError.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastconv import losses as _losses
from fastconv.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from fastconv.metrics.base import Mean, MeanMetricWrapper, Metric, Sum
from fastconv.metrics.confusion import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from fastconv.metrics.matrix import ConfusionMatrix, IoU, MeanIoU
from fastconv.metrics.regression import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
)
from fastconv.utils.naming import snake_case

if TYPE_CHECKING:
    from fastconv._types import Shape

_CLASSES = (
    AUC,
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    ConfusionMatrix,
    CosineSimilarity,
    F1Score,
    FBetaScore,
    FalseNegatives,
    FalsePositives,
    Hinge,
    IoU,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanIoU,
    MeanSquaredError,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    RootMeanSquaredError,
    SensitivityAtSpecificity,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SpecificityAtSensitivity,
    Sum,
    TopKCategoricalAccuracy,
    TrueNegatives,
    TruePositives,
)
_FUNCTIONS = {
    fn.__name__: fn
    for fn in (
        binary_accuracy,
        categorical_accuracy,
        sparse_categorical_accuracy,
        sparse_top_k_categorical_accuracy,
        top_k_categorical_accuracy,
    )
}
BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")  # their kind depends on the outputs
_ALL = {cls.__name__: cls for cls in _CLASSES}
_ALL.update({snake_case(cls.__name__): cls for cls in _CLASSES})
_ALL.update(
    mse=MeanSquaredError,
    MSE=MeanSquaredError,
    mae=MeanAbsoluteError,
    MAE=MeanAbsoluteError,
    mape=MeanAbsolutePercentageError,
    MAPE=MeanAbsolutePercentageError,
    rmse=RootMeanSquaredError,
    RMSE=RootMeanSquaredError,
    bce=BinaryCrossentropy,
    BCE=BinaryCrossentropy,
    auc=AUC,
)

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "PrecisionAtRecall",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "deserialize",
    "get",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def serialize(metric: Any) -> Any:
    """Return the name of a metric that is a function, or {"class_name", "config"} of a `Metric`."""
    from fastconv.utils.serialization import serialize_callable

    return serialize_callable(metric, _FUNCTIONS)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make a metric from `serialize()`, a name or dict `config`.

    `custom_objects` holds own classes and functions by name.
    """
    from fastconv.utils.serialization import lookup

    known = {**_losses._FUNCTIONS, **_FUNCTIONS, **_ALL}
    found = lookup(config, known, custom_objects, "metric")
    return found() if inspect.isclass(found) else found


def get(identifier: Any) -> Any:
    """Return a metric from None, a name, a class, an instance, a callable or a config.

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
    raise ValueError(f"could not interpret metric identifier: {identifier!r}")


def as_metric(
    identifier: Any, target_shape: Shape | None, output_shape: Any, loss: Any = None
) -> Metric:
    """Return a `Metric` for one entry of `compile(metrics=...)`.

    "accuracy" and "crossentropy" choose their kind by the shapes: one output is binary, labels
    without a class axis are sparse.
    """
    name = str(identifier).lower() if isinstance(identifier, str) else None
    if name in BY_SHAPE and target_shape is not None:
        kinds: tuple[type[Metric], ...]
        binary = output_shape[-1] == 1
        sparse = len(target_shape) < len(output_shape) or target_shape[-1] == 1
        if name in ("accuracy", "acc"):
            kinds = BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy
        else:
            kinds = BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy
        cls = kinds[0] if binary else kinds[1] if sparse else kinds[2]
        return cls(name=identifier)
    metric: Metric = get(identifier)
    if not isinstance(metric, Metric):
        metric = MeanMetricWrapper(metric, name=getattr(metric, "__name__", "metric"))
    if isinstance(identifier, str):
        metric.name = identifier.split(">")[-1]  # registered objects: "package>name"
    return metric
