"""Small array helpers."""

from __future__ import annotations

import numpy as np


def to_categorical(x, num_classes=None) -> np.ndarray:
    """Return class indices (N, ...) as one-hot float rows (N, ..., num_classes).

    A last axis of size 1 is dropped first. `num_classes` is the largest index + 1 by default.

    Raises:
        ValueError: an index is negative, not a whole number, or not below `num_classes`.
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


def normalize(x, axis=-1, order=2) -> np.ndarray:
    """Return the array divided by its norm along an axis; zero rows stay zero."""
    array = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(array, order, axis))
    norm[norm == 0] = 1
    return array / np.expand_dims(norm, axis)
