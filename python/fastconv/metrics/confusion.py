"""Metrics made of counts of true and false positives and negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.metrics.base import Metric, fit_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


def _thresholds(value: Any, default: float = 0.5) -> NDArray[Any]:
    values = np.atleast_1d(default if value is None else value).astype(np.float64)
    if values.ndim != 1 or np.any((values < 0) | (values > 1)):
        raise ValueError(f"`thresholds` must be numbers in [0, 1], received: {value!r}")
    return values


def _aligned(y_true: TensorLike, y_pred: TensorLike, name: str) -> Any:
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
        y_true = y_true[..., None]
    elif y_pred.ndim + 1 == y_true.ndim and y_true.shape[-1] == 1:
        y_pred = y_pred[..., None]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{name}: targets of shape {y_true.shape} and predictions of shape {y_pred.shape} "
            "must have the same shape"
        )
    return y_true, y_pred


class _Counts(Metric):
    """Counts of positives and negatives, right and wrong, for each threshold.

    Args:
        thresholds: a number or several in [0, 1], above which a prediction is positive (0.5).
        top_k: instead, the k largest predictions of a sample are positive.
        class_id: look at this class only.
    """

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self._given = thresholds
        self.top_k = top_k
        self.class_id = class_id
        # With top_k and no thresholds, all of the k best count as positive.
        self.thresholds = _thresholds(thresholds, 0.5 if top_k is None else 0.0)
        n = len(self.thresholds)
        self.true_positives = self.add_weight((n,), name="true_positives")
        self.false_positives = self.add_weight((n,), name="false_positives")
        self.true_negatives = self.add_weight((n,), name="true_negatives")
        self.false_negatives = self.add_weight((n,), name="false_negatives")

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _aligned(y_true, y_pred, self.name)
        if self.top_k is not None:
            kth = -np.partition(-y_pred, self.top_k - 1, axis=-1)[..., self.top_k - 1, None]
            y_pred = np.where(y_pred >= kth, y_pred, -np.inf)
        if self.class_id is not None:
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        weights = 1.0 if sample_weight is None else fit_weights(y_true, sample_weight)
        truth = (y_true > 0.5) * weights
        falsity = (y_true <= 0.5) * weights
        for i, threshold in enumerate(self.thresholds):
            positive = y_pred > threshold
            tp, fp = float(truth[positive].sum()), float(falsity[positive].sum())
            self.true_positives.numpy()[i] += tp
            self.false_positives.numpy()[i] += fp
            self.false_negatives.numpy()[i] += float(truth.sum()) - tp
            self.true_negatives.numpy()[i] += float(falsity.sum()) - fp

    def _scalar(self, values: Any) -> Any:
        return float(values[0]) if len(self.thresholds) == 1 else values

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "thresholds": self._given}
        if isinstance(self, (Precision, Recall)):
            config.update(top_k=self.top_k, class_id=self.class_id)
        return config


def _ratio(a: Any, b: Any) -> Any:
    return np.divide(a, b, out=np.zeros_like(a, dtype=np.float64), where=b != 0)


class Precision(_Counts):
    """True positives / all predicted positives.

    Args:
        thresholds: a number or several in [0, 1], above which a prediction is positive (0.5).
        top_k: instead, the k largest predictions of a sample are positive.
        class_id: look at this class only.
        name, dtype: as of `Metric`.

    Examples:
        >>> precision = Precision()
        >>> precision.update_state([0, 1, 1], [0.9, 0.8, 0.1])
        >>> precision.result()
        0.5
    """

    def result(self) -> Any:
        tp, fp = self.true_positives.numpy(), self.false_positives.numpy()
        return self._scalar(_ratio(tp, tp + fp))


class Recall(_Counts):
    """True positives / all actual positives; arguments as of `Precision`."""

    def result(self) -> Any:
        tp, fn = self.true_positives.numpy(), self.false_negatives.numpy()
        return self._scalar(_ratio(tp, tp + fn))


class TruePositives(_Counts):
    """Number of true positives, for each of the thresholds."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> Any:
        return self._scalar(self.true_positives.numpy())


class FalsePositives(_Counts):
    """Number of false positives, for each of the thresholds."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> Any:
        return self._scalar(self.false_positives.numpy())


class TrueNegatives(_Counts):
    """Number of true negatives, for each of the thresholds."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> Any:
        return self._scalar(self.true_negatives.numpy())


class FalseNegatives(_Counts):
    """Number of false negatives, for each of the thresholds."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> Any:
        return self._scalar(self.false_negatives.numpy())


class AUC(Metric):
    """Area under the ROC or precision-recall curve, from counts at fixed thresholds.

    Args:
        num_thresholds: number of thresholds, spread evenly over [0, 1].
        curve: "ROC" or "PR".
        summation_method: "interpolation" (trapezoids for ROC, Davis and Goadrich 2006 for PR),
            "minoring" or "majoring".
        from_logits: predictions are scores before the sigmoid.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
    ) -> None:
        if curve not in ("ROC", "PR"):
            raise ValueError(f"`curve` must be 'ROC' or 'PR', received: curve={curve!r}")
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(f"unknown summation_method {summation_method!r}")
        if num_thresholds <= 1:
            raise ValueError(f"`num_thresholds` must be > 1, received: {num_thresholds}")
        super().__init__(dtype, name)
        self.num_thresholds = int(num_thresholds)
        self.curve = curve
        self.summation_method = summation_method
        self.from_logits = from_logits
        self._positive = self.add_weight((self.num_thresholds + 1,), name="positive")
        self._negative = self.add_weight((self.num_thresholds + 1,), name="negative")
        inner = np.linspace(0, 1, self.num_thresholds)[1:-1]
        # The outermost thresholds make everything positive and everything negative.
        self.thresholds = np.concatenate([[-1e-7], inner, [1.0 + 1e-7]])

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _aligned(y_true, y_pred, self.name)
        if self.from_logits:
            y_pred = 1.0 / (1.0 + np.exp(-y_pred))
        if np.any((y_pred < 0) | (y_pred > 1)):
            raise ValueError("AUC needs predictions in [0, 1]; pass from_logits=True for scores")
        weights = np.ones(y_true.shape)
        if sample_weight is not None:
            weights = fit_weights(y_true, sample_weight)
        bins = np.searchsorted(self.thresholds, y_pred.ravel(), side="left")
        truth = (y_true > 0.5).ravel()
        weights = weights.ravel()
        size = self.num_thresholds + 1
        self._positive.assign_add(np.bincount(bins, weights * truth, size))
        self._negative.assign_add(np.bincount(bins, weights * ~truth, size))

    def result(self) -> Any:
        # A sample in bin b is above the thresholds 0 .. b - 1.
        tp = np.cumsum(self._positive.numpy()[::-1])[::-1][1:]
        fp = np.cumsum(self._negative.numpy()[::-1])[::-1][1:]
        positives, negatives = self._positive.numpy().sum(), self._negative.numpy().sum()
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated_pr(tp, fp, positives)
        recall = _ratio(tp, np.full_like(tp, positives))
        if self.curve == "ROC":
            x, y = _ratio(fp, np.full_like(fp, negatives)), recall
        else:
            x, y = recall, _ratio(tp, tp + fp)
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2
        elif self.summation_method == "minoring":
            heights = np.minimum(y[:-1], y[1:])
        else:
            heights = np.maximum(y[:-1], y[1:])
        return float(np.sum((x[:-1] - x[1:]) * heights))

    @staticmethod
    def _interpolated_pr(tp: NDArray[Any], fp: NDArray[Any], positives: NDArray[Any]) -> float:
        p = tp + fp
        dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
        slope = _ratio(dtp, np.maximum(dp, 0))
        intercept = tp[1:] - slope * p[1:]
        both = (p[:-1] > 0) & (p[1:] > 0)
        ratio = np.where(both, _ratio(p[:-1], np.maximum(p[1:], 0)), 1.0)
        area = _ratio(slope * (dtp + intercept * np.log(ratio)), np.full_like(dtp, positives))
        return float(area.sum())

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "from_logits": self.from_logits,
        }


class _AtThreshold(_Counts):
    """The best value of one rate among the thresholds where another rate is large enough."""

    argument = ""

    def __init__(
        self,
        value: Any,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"`{self.argument}` must be in [0, 1], received: {value!r}")
        if num_thresholds <= 0:
            raise ValueError(f"`num_thresholds` must be > 0, received: {num_thresholds}")
        thresholds = np.linspace(0, 1, num_thresholds) if num_thresholds > 1 else [0.5]
        super().__init__(thresholds, class_id=class_id, name=name, dtype=dtype)
        self.value = float(value)
        self.num_thresholds = int(num_thresholds)

    def _rates(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return (the rate that must be large enough, the wanted rate), one a threshold."""
        raise NotImplementedError(f"{type(self).__name__} does not define _rates()")

    def result(self) -> Any:
        limited, wanted = self._rates()
        return float(np.max(wanted, where=limited >= self.value, initial=0.0))

    def _rate(self, of: Any, other: Any) -> Any:
        found, rest = getattr(self, of).numpy(), getattr(self, other).numpy()
        return _ratio(found, found + rest)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            self.argument: self.value,
            "num_thresholds": self.num_thresholds,
            "class_id": self.class_id,
        }


class SensitivityAtSpecificity(_AtThreshold):
    """The best sensitivity (recall) among thresholds with at least the given specificity.

    Arguments as of `PrecisionAtRecall`.
    """

    argument = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return (
            self._rate("true_negatives", "false_positives"),
            self._rate("true_positives", "false_negatives"),
        )


class SpecificityAtSensitivity(_AtThreshold):
    """The best specificity among thresholds with at least the given sensitivity (recall).

    Arguments as of `PrecisionAtRecall`.
    """

    argument = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return (
            self._rate("true_positives", "false_negatives"),
            self._rate("true_negatives", "false_positives"),
        )


class PrecisionAtRecall(_AtThreshold):
    """The best precision among thresholds with at least the given recall.

    Args:
        recall: in [0, 1].
        num_thresholds: thresholds, spread evenly over [0, 1].
        class_id: look at this class only.
        name, dtype: as of `Metric`.
    """

    argument = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return (
            self._rate("true_positives", "false_negatives"),
            self._rate("true_positives", "false_positives"),
        )


class RecallAtPrecision(_AtThreshold):
    """The best recall among thresholds with at least the given precision.

    Arguments as of `PrecisionAtRecall`.
    """

    argument = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return (
            self._rate("true_positives", "false_positives"),
            self._rate("true_positives", "false_negatives"),
        )


class FBetaScore(Metric):
    """(1 + beta**2) * precision * recall / (beta**2 * precision + recall) of each class.

    Args:
        average: None (one value a class), "micro", "macro" or "weighted".
        beta: how many times as much recall counts as precision.
        threshold: above it a prediction is positive; None takes the largest of each sample.
    """

    _tp: Any  # a number, or one for each class
    _fp: Any
    _fn: Any

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"unknown `average`: {average!r}")
        if not beta > 0:
            raise ValueError(f"`beta` must be positive, received: beta={beta!r}")
        super().__init__(dtype, name)
        self.average = average
        self.beta = float(beta)
        self.threshold = threshold
        self.reset_state()

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _aligned(y_true, y_pred, self.name)
        if self.threshold is None:
            # A sample without any score has no class.
            chosen = (y_pred >= y_pred.max(axis=-1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        weights = 1.0 if sample_weight is None else fit_weights(y_true, sample_weight)
        truth = y_true > 0.5
        self._tp = self._tp + np.sum((chosen & truth) * weights, axis=0)
        self._fp = self._fp + np.sum((chosen & ~truth) * weights, axis=0)
        self._fn = self._fn + np.sum((~chosen & truth) * weights, axis=0)

    def result(self) -> Any:
        tp, fp, fn = (np.atleast_1d(v).astype(np.float64) for v in (self._tp, self._fp, self._fn))
        if self.average == "micro":
            tp, fp, fn = (np.atleast_1d(v.sum()) for v in (tp, fp, fn))
        square = self.beta**2
        score = _ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp)
        if self.average is None:
            return score
        if self.average == "weighted":
            return float(np.sum(score * _ratio(tp + fn, np.full_like(tp, np.sum(tp + fn)))))
        return float(score.mean())

    def reset_state(self) -> None:
        self._tp = self._fp = self._fn = 0.0

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """2 * precision * recall / (precision + recall) of each class; arguments as `FBetaScore`."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config
