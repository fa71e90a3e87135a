"""Loss classes with Keras 3's names, arguments and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import ops
from fastconv._graph import Tensor
from fastconv.losses import functions
from fastconv.utils.naming import auto_name, snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Axis, TensorLike

_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss:
    """Base class: subclasses define `call(y_true, y_pred)`, one value per sample.

    Args:
        name: name of the loss.
        reduction: "sum_over_batch_size" (mean over all values), "mean" (the same), "sum",
            "mean_with_sample_weight" (divided by the sum of weights), or None.
        dtype: accepted for Keras code, no effect.

    Raises:
        ValueError: an unknown reduction.
    """

    _aligns = True  # False: `call` brings targets and predictions to one rank itself
    index_targets = False  # True: targets are class indices and are fed as int64
    ignore_class: int | None = None

    def __init__(
        self, name: str | None = None, reduction: str = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(
                f"`reduction` must be one of {_REDUCTIONS}, received: reduction={reduction!r}"
            )
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.reduction = reduction
        self.dtype = dtype

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
        """Return one value per sample."""
        raise NotImplementedError(f"{type(self).__name__} does not define call()")

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> TensorLike:
        """Return the reduced loss, a number (or a tensor inside a graph).

        `sample_weight` has one number per sample, or the shape of the unreduced values.
        """
        if not isinstance(y_pred, Tensor):
            y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
            sample_weight = self.merged_weights(y_true, sample_weight)
        if self._aligns and not self.index_targets:
            y_true, y_pred = functions.same_rank(y_true, y_pred)
        values = self.call(y_true, y_pred)
        if values is None:
            raise TypeError(f"loss {self.name!r} returned None; it must return the loss values")
        if sample_weight is not None:
            values = values * _fit(sample_weight, values)
        if self.reduction in ("none", None):
            return values
        if self.reduction == "sum":
            return ops.sum(values)
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            return ops.sum(values) / ops.sum(sample_weight)
        return ops.mean(values)

    def prepare(self, y_true: NDArray[Any]) -> NDArray[Any]:
        """Convert targets before they are fed to a graph."""
        return y_true

    def merged_weights(self, y_true: NDArray[Any], sample_weight: TensorLike) -> Any:
        """Return `sample_weight` with ignored samples at 0 and the others scaled up."""
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)
        if self.ignore_class is None:
            return sample_weight
        if y_true.ndim > 1 and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        valid = y_true != self.ignore_class
        count = np.count_nonzero(valid)
        scale = valid.size / count if count and self.reduction != "sum" else 1.0
        if self.reduction == "mean_with_sample_weight":
            scale = 1.0
        weights = valid * scale
        if sample_weight is None:
            return weights
        return weights * sample_weight.reshape(
            sample_weight.shape + (1,) * (weights.ndim - sample_weight.ndim)
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a loss from what `get_config()` returned, `config`."""
        return cls(**config)


def _fit(weight: Any, values: Any) -> Any:
    """Return weights with axes added or dropped so that they broadcast to `values`."""
    rank = len(values.shape)
    shape = tuple(weight.shape)
    while len(shape) > rank and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > rank:
        raise ValueError(
            f"sample weights of shape {tuple(weight.shape)} do not fit loss values of shape "
            f"{tuple(values.shape)}"
        )
    shape = shape + (1,) * (rank - len(shape))
    if any(w not in (1, v) for w, v in zip(shape, values.shape, strict=True)):
        raise ValueError(
            f"sample weights of shape {tuple(weight.shape)} do not fit loss values of shape "
            f"{tuple(values.shape)}"
        )
    return ops.reshape(weight, shape)


class LossFunctionWrapper(Loss):
    """A loss made of a function `fn(y_true, y_pred, **kwargs)` of one value per sample."""

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        self._aligns = getattr(fn, "__module__", None) != functions.__name__
        self.index_targets = fn is functions.sparse_categorical_crossentropy
        self.ignore_class = kwargs.get("ignore_class")
        self._signed = fn in (functions.hinge, functions.squared_hinge)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def prepare(self, y_true: TensorLike) -> Any:
        return functions.signed_labels(y_true) if self._signed else y_true

    def get_config(self) -> dict[str, Any]:
        if type(self) is LossFunctionWrapper:
            return {**super().get_config(), "fn": self.fn, **self._fn_kwargs}
        return {**super().get_config(), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        if isinstance(config.get("fn"), str):
            from fastconv.losses import get

            return get(config["fn"])
        return cls(**config)


class MeanSquaredError(LossFunctionWrapper):
    """mean((y_true - y_pred)**2)."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """mean(|y_true - y_pred|)."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """100 * mean(|(y_true - y_pred) / y_true|)."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """mean((log(y_true + 1) - log(y_pred + 1))**2)."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(LossFunctionWrapper):
    """Squared error / 2 up to `delta`, linear beyond (Huber 1964)."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.huber, reduction, name, dtype, delta=delta)


class LogCosh(LossFunctionWrapper):
    """mean(log(cosh(y_pred - y_true)))."""

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "log_cosh", dtype: Any = None
    ) -> None:
        super().__init__(functions.log_cosh, reduction, name, dtype)


class Hinge(LossFunctionWrapper):
    """mean(max(1 - y_true * y_pred, 0)) (Cortes and Vapnik 1995); labels -1 and 1, or 0 and 1."""

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "hinge", dtype: Any = None
    ) -> None:
        super().__init__(functions.hinge, reduction, name, dtype)


class SquaredHinge(LossFunctionWrapper):
    """mean(max(1 - y_true * y_pred, 0)**2); labels -1 and 1, or 0 and 1."""

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(functions.squared_hinge, reduction, name, dtype)


class CategoricalHinge(LossFunctionWrapper):
    """max(neg - pos + 1, 0) of one-hot targets (Crammer and Singer 2001)."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.categorical_hinge, reduction, name, dtype)


class KLDivergence(LossFunctionWrapper):
    """sum(y_true * log(y_true / y_pred)) of probabilities (Kullback and Leibler 1951)."""

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(functions.kl_divergence, reduction, name, dtype)


class Poisson(LossFunctionWrapper):
    """mean(y_pred - y_true * log(y_pred))."""

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "poisson", dtype: Any = None
    ) -> None:
        super().__init__(functions.poisson, reduction, name, dtype)


class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between targets and predictions along `axis`, in [-1, 1]."""

    def __init__(
        self,
        axis: Axis = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(functions.cosine_similarity, reduction, name, dtype, axis=axis)


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of one-hot targets (N, ..., classes).

    The arguments and the formula are those of `losses.categorical_crossentropy`.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            functions.categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of class indices (N, ...) or (N, ..., 1); predictions (N, ..., classes).

    The arguments and the formula are those of `losses.sparse_categorical_crossentropy`.
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str = "sum_over_batch_size",
        axis: Axis = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            functions.sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross-entropy of labels 0 and 1, for one or several sigmoid outputs (N, ..., labels).

    The arguments and the formula are those of `losses.binary_crossentropy`.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            functions.binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """Binary cross-entropy with less weight on easy samples (Lin et al. 2017).

    The arguments and the formula are those of `losses.binary_focal_crossentropy`.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            functions.binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Categorical cross-entropy with less weight on easy samples (Lin et al. 2017).

    The arguments and the formula are those of `losses.categorical_focal_crossentropy`.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            functions.categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
