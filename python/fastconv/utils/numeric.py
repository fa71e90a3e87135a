"""Small array helpers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


def to_categorical(x: TensorLike, num_classes: int | None = None) -> NDArray[Any]:
    """Return class indices x (N, ...) as one-hot float rows (N, ..., num_classes).

    A last axis of size 1 is dropped first. `num_classes` is the largest index + 1 by default.

    Raises:
        ValueError: an index is negative, not a whole number, or not below `num_classes`.

    Examples:
        >>> to_categorical([0, 2], num_classes=3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    array = np.asarray(x)
    if array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    labels = array.astype(np.int64)
    if array.dtype.kind == "f" and np.any(labels != array):
        raise ValueError("to_categorical: class indices must be whole numbers")
    if labels.size and labels.min() < 0:
        raise ValueError(f"to_categorical: class index {labels.min()} is negative")
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    if labels.size and labels.max() >= num_classes:
        raise ValueError(
            f"to_categorical: class index {labels.max()} is out of range for "
            f"num_classes={num_classes}"
        )
    result = np.zeros((*labels.shape, num_classes), np.float32)
    np.put_along_axis(result, labels[..., None], 1.0, axis=-1)
    return result


def normalize(x: TensorLike, axis: int = -1, order: Any = 2) -> NDArray[Any]:
    """Return x divided by its norm of an `order` (2: Euclidean) along an axis; zeros stay zero."""
    array = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(array, order, axis))
    norm[norm == 0] = 1
    normalized: NDArray[Any] = array / np.expand_dims(norm, axis)
    return normalized


def as_probabilities(outputs: Any) -> tuple[NDArray[Any], str | None]:
    """Return a classifier's outputs (N, classes) as probabilities in float64.

    Rows that are not probabilities yet go through softmax, a single output through sigmoid; the
    second value is the name of what was applied, or None.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if not hasattr(outputs, "shape") or len(outputs.shape) != 2:
        shape = getattr(outputs, "shape", None) or f"{len(outputs)} outputs"
        raise ValueError(f"does not classify: it returns {shape}")
    rows = np.asarray(outputs, np.float64)
    if not rows.size:
        return rows, None
    if not np.isfinite(rows).all():
        raise ValueError("returns values that are not finite: its weights are not usable")
    inside = rows.min() >= 0 and rows.max() <= 1 + 1e-3
    # One output is a class's own probability; its softmax would be 100 % for any image.
    single = rows.shape[1] == 1
    if inside and (single or abs(rows.sum(axis=1) - 1).max() <= 1e-3):
        return rows, None
    if single:
        return 0.5 * (1 + np.tanh(0.5 * rows)), "sigmoid"
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), "softmax"
