"""Accuracies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.metrics.base import MeanMetricWrapper

if TYPE_CHECKING:
    from fastconv._types import TensorLike


def _labels(y_true: TensorLike, y_pred_rank: int) -> Any:
    """Return class indices without a last axis of size 1."""
    if y_true.ndim == y_pred_rank and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    return y_true


def accuracy(y_true: TensorLike, y_pred: TensorLike) -> Any:
    """Share of equal values of y_true and y_pred."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
        y_pred = y_pred[..., 0]
    return (y_true == y_pred).mean(axis=-1) if y_true.ndim > 1 else (y_true == y_pred)


def binary_accuracy(y_true: TensorLike, y_pred: TensorLike, threshold: float = 0.5) -> TensorLike:
    """Share of predictions y_pred on the side of the threshold that the labels y_true are on."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
        y_true = y_true[..., None]
    elif y_pred.ndim + 1 == y_true.ndim and y_true.shape[-1] == 1:
        y_pred = y_pred[..., None]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"binary_accuracy: targets of shape {y_true.shape} and predictions of shape "
            f"{y_pred.shape} must have the same shape"
        )
    return (y_pred > threshold) == y_true


def categorical_accuracy(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """1 where the largest of y_pred is at the class of the one-hot y_true (N, classes), else 0."""
    return np.argmax(y_true, axis=-1) == np.argmax(y_pred, axis=-1)


def sparse_categorical_accuracy(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """1 where the largest of y_pred (N, classes) is at the class index y_true, else 0."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    labels = _labels(y_true, y_pred.ndim)
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"sparse_categorical_accuracy: labels of shape {y_true.shape} do not fit predictions "
            f"of shape {y_pred.shape}"
        )
    return y_pred.argmax(axis=-1) == labels


def sparse_top_k_categorical_accuracy(
    y_true: TensorLike, y_pred: TensorLike, k: int = 5
) -> TensorLike:
    """1 where fewer than k of y_pred are larger than that of the class index y_true, else 0."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    labels = _labels(y_true, y_pred.ndim).astype(np.int64)
    chosen = np.take_along_axis(y_pred, labels[..., None], axis=-1)
    return (y_pred > chosen).sum(axis=-1) < k


def top_k_categorical_accuracy(y_true: TensorLike, y_pred: TensorLike, k: int = 5) -> Any:
    """1 where fewer than k of y_pred are larger than that of the one-hot y_true's class, else 0."""
    return sparse_top_k_categorical_accuracy(np.argmax(y_true, axis=-1), y_pred, k)


class Accuracy(MeanMetricWrapper):
    """Share of predictions equal to the targets."""

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """Share of predictions on the right side of the threshold."""

    def __init__(
        self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f"`threshold` must be in [0, 1), received: threshold={threshold}")
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """Share of right classes, targets one-hot (N, ..., classes)."""

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """Share of right classes, targets class indices (N, ...) or (N, ..., 1)."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """Share of samples whose class is among the k best, targets one-hot."""

    def __init__(
        self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """Share of samples whose class is among the k best, targets class indices."""

    def __init__(
        self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k)
