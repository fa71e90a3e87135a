"""Metrics made of a confusion matrix of several classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.metrics.base import Metric, fit_weights
from fastconv.utils.checks import integer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Axis, TensorLike


class _Matrix(Metric):
    """Sums of weights by true class (row) and predicted class (column)."""

    def __init__(self, num_classes: int, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.num_classes = integer(num_classes, "num_classes", 2, owner=type(self).__name__)
        self._matrix = self.add_weight((self.num_classes,) * 2, name="matrix")

    def _add(
        self, truth: NDArray[Any], found: Any, sample_weight: TensorLike, ignored: Any = None
    ) -> None:
        if truth.shape != found.shape:
            raise ValueError(
                f"{self.name}: classes of targets have the shape {truth.shape}, those of "
                f"predictions {found.shape}"
            )
        n = self.num_classes
        weights = None
        if sample_weight is not None:
            weights = fit_weights(truth, sample_weight).ravel()
        truth, found = truth.ravel(), found.ravel()
        if ignored is not None:
            kept = truth != ignored
            truth, found = truth[kept], found[kept]
            weights = None if weights is None else weights[kept]
        for what, values in (("targets", truth), ("predictions", found)):
            if values.size and not (values.min() >= 0 and values.max() < n):
                raise ValueError(
                    f"{self.name}: {what} must be classes from 0 to {n - 1}, "
                    f"received {values.min()} to {values.max()}"
                )
        counts = np.bincount(truth * n + found, weights, n * n)
        self._matrix.assign_add(counts.reshape(n, n))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


def _indices(values: Any, name: str) -> NDArray[Any]:
    """Return class indices without a last axis of size 1."""
    if values.ndim > 1 and values.shape[-1] == 1:
        values = values[..., 0]
    indices: NDArray[Any] = values.astype(np.int64)
    if values.dtype.kind == "f" and np.any(indices != values):
        raise ValueError(f"{name}: class indices must be whole numbers")
    return indices


class ConfusionMatrix(_Matrix):
    """How often each class (row) was taken for each class (column).

    Targets are class indices (N,) or (N, 1), or one-hot rows (N, num_classes); predictions are
    scores (N, num_classes), of which the largest counts, class indices, or, for two classes,
    probabilities of class 1. More axes between the first and the last are samples too.

    `result()` is an array (num_classes, num_classes); progress bars leave it out.

    Args:
        num_classes: number of classes.
        normalize: None for sums of weights, "true" for shares of each row, "pred" of each column,
            "all" of the whole, as in scikit-learn.

    Examples:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update_state([0, 1, 1], [0, 1, 0])  # one 1 was taken for a 0
        >>> matrix.result().tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        num_classes: int,
        normalize: Any = None,
        name: str = "confusion_matrix",
        dtype: Any = None,
    ) -> None:
        if normalize not in (None, "true", "pred", "all"):
            raise ValueError(
                "`normalize` must be None, 'true', 'pred' or 'all', "
                f"received: normalize={normalize!r}"
            )
        super().__init__(num_classes, name, dtype)
        self.normalize = normalize

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        scores = y_pred.ndim > 1 and y_pred.shape[-1] == self.num_classes
        if scores and y_true.shape == y_pred.shape:
            y_true = y_true.argmax(axis=-1)
        if scores:
            y_pred = y_pred.argmax(axis=-1)
        elif self.num_classes == 2 and y_pred.dtype.kind == "f":
            y_pred = (y_pred > 0.5).astype(np.int64)
        self._add(_indices(y_true, self.name), _indices(y_pred, self.name), sample_weight)

    def result(self) -> Any:
        matrix = self._matrix.numpy().copy()
        if self.normalize is None:
            return matrix
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        total = np.broadcast_to(matrix.sum(axis=axis, keepdims=True), matrix.shape)
        return np.divide(matrix, total, out=np.zeros_like(matrix), where=total != 0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalize}


class IoU(_Matrix):
    """Intersection over union of some classes: tp / (tp + fp + fn), the mean of those that occur.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes to look at.
        ignore_class: targets of this class do not count.
        sparse_y_true, sparse_y_pred: class indices; False: scores or one-hot, along `axis`.
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: Axis = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype)
        self.target_class_ids = [int(i) for i in target_class_ids]
        if not all(0 <= i < self.num_classes for i in self.target_class_ids):
            raise ValueError(
                f"`target_class_ids` must be classes from 0 to {self.num_classes - 1}, "
                f"received: {self.target_class_ids}"
            )
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        if not self.sparse_y_true:
            y_true = y_true.argmax(axis=self.axis)
        if not self.sparse_y_pred:
            y_pred = y_pred.argmax(axis=self.axis)
        truth, found = _indices(y_true, self.name), _indices(y_pred, self.name)
        self._add(truth, found, sample_weight, self.ignore_class)

    def result(self) -> Any:
        matrix = self._matrix.numpy()
        both = np.diag(matrix)
        union = (matrix.sum(axis=0) + matrix.sum(axis=1) - both)[self.target_class_ids]
        occurs = union > 0
        if not occurs.any():
            return 0.0
        return float(np.mean(both[self.target_class_ids][occurs] / union[occurs]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


class MeanIoU(IoU):
    """Mean intersection over union of all classes that occur; arguments as `IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: Axis = -1,
    ) -> None:
        super().__init__(
            num_classes,
            range(num_classes),
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["target_class_ids"]
        return config
