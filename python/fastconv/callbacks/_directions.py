"""Whether a logged value is better when it is larger: what `mode="auto"` stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.models import Model

_UP_CLASSES = (
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "AUC",
    "Precision",
    "Recall",
    "FBetaScore",
    "IoU",
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "CosineSimilarity",
    "TruePositives",
    "TrueNegatives",
)
_DOWN_CLASSES = (
    "MeanSquaredError",
    "RootMeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "LogCoshError",
    "Hinge",
    "KLDivergence",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "FalsePositives",
    "FalseNegatives",
)
_UP_NAMES = {
    "accuracy",
    "acc",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "auc",
    "precision",
    "recall",
    "f1",
    "f1_score",
    "fbeta_score",
    "iou",
    "mean_iou",
    "cosine_similarity",
}
_DOWN_NAMES = {
    "mse",
    "mae",
    "mape",
    "msle",
    "rmse",
    "bce",
    "ce",
    "crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "root_mean_squared_error",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
}


def upward(monitor: str, model: Model, owner: str) -> bool:
    """Tell whether larger values of `monitor` are better.

    Raises:
        ValueError: neither its name nor the model's metric says so.
    """
    full = monitor.removeprefix("val_")
    if full == "loss" or full.endswith("_loss"):
        return False
    compiled = getattr(model, "_compiled", None)
    outputs = [n for n in getattr(compiled, "names", ()) if full.startswith(f"{n}_")]
    prefix = max(outputs, key=len, default=None)
    short = full if prefix is None else full[len(prefix) + 1 :]
    for name in (full, short):
        name = re.sub(r"_\d+$", "", name).lower()  # Keras numbers repeated metrics: auc_1
        if name in _UP_NAMES:
            return True
        if name in _DOWN_NAMES:
            return False
    for slot in getattr(compiled, "slots", None) or ():
        if slot.name == full:
            found = _of_metric(slot.metric)
            if found is not None:
                return found
    raise ValueError(
        f"{owner}: whether larger values of {monitor!r} are better is not known; "
        "give mode='min' or mode='max'"
    )


def _of_metric(metric: Any) -> bool | None:
    from fastconv import losses, metrics

    direction = getattr(metric, "_direction", None)  # as Keras's own metrics have it
    if direction in ("up", "down"):
        return bool(direction == "up")
    if isinstance(metric, tuple(getattr(metrics, name) for name in _UP_CLASSES)):
        return True
    if isinstance(metric, tuple(getattr(metrics, name) for name in _DOWN_CLASSES)):
        return False
    function = getattr(metric, "_fn", None)
    if function is losses.cosine_similarity:  # -1 is the closest
        return False
    return False if function in losses._FUNCTIONS.values() else None
