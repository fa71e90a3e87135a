"""Loss functions: `(y_true, y_pred) -> values` with one value per sample (the last axis reduced).

They work on NumPy arrays and on tensors of a graph, and raise ValueError where the shapes of
y_true and y_pred differ. Names, arguments and formulas are Keras 3's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import ops
from fastconv._graph import Tensor
from fastconv.config import epsilon, floatx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Axis, TensorLike


def _arrays(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """Return both as tensors or float arrays."""
    if isinstance(y_pred, Tensor):
        return y_true, y_pred
    y_pred = np.asarray(y_pred)
    if y_pred.dtype.name not in ("float32", "float64"):
        y_pred = y_pred.astype(floatx())
    return np.asarray(y_true), y_pred


def same_rank(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """Add or drop a last axis of size 1, so that (N,) and (N, 1) do not broadcast to (N, N)."""
    if len(y_true.shape) + 1 == len(y_pred.shape) and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    elif len(y_pred.shape) + 1 == len(y_true.shape) and y_true.shape[-1] == 1:
        if len(y_pred.shape) == 1:
            y_pred = ops.expand_dims(y_pred, -1)
        else:
            y_true = ops.squeeze(y_true, -1)
    return y_true, y_pred


def _same_shape(y_true: TensorLike, y_pred: TensorLike, name: str) -> TensorLike:
    """Return float targets and predictions of one shape; (N,) and (N, 1) are made to agree."""
    y_true, y_pred = _arrays(y_true, y_pred)
    if isinstance(y_true, np.ndarray):
        y_true = y_true.astype(y_pred.dtype)
    y_true, y_pred = same_rank(y_true, y_pred)
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(
            f"{name}: targets of shape {tuple(y_true.shape)} and predictions of shape "
            f"{tuple(y_pred.shape)} must have the same shape"
        )
    return y_true, y_pred


def mean_squared_error(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean((y_true - y_pred)**2) over the last axis."""
    y_true, y_pred = _same_shape(y_true, y_pred, "mean_squared_error")
    return ops.mean(ops.square(y_pred - y_true), axis=-1)


def mean_absolute_error(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean(|y_true - y_pred|) over the last axis."""
    y_true, y_pred = _same_shape(y_true, y_pred, "mean_absolute_error")
    return ops.mean(ops.absolute(y_pred - y_true), axis=-1)


def mean_absolute_percentage_error(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """100 * mean(|(y_true - y_pred) / y_true|) over the last axis, in per cent."""
    y_true, y_pred = _same_shape(y_true, y_pred, "mean_absolute_percentage_error")
    size = ops.maximum(ops.absolute(y_true), epsilon())
    return ops.mean(ops.absolute((y_true - y_pred) / size), axis=-1) * 100.0


def mean_squared_logarithmic_error(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean((log(y_true + 1) - log(y_pred + 1))**2) over the last axis."""
    y_true, y_pred = _same_shape(y_true, y_pred, "mean_squared_logarithmic_error")
    first = ops.log(ops.maximum(y_pred, epsilon()) + 1.0)
    second = ops.log(ops.maximum(y_true, epsilon()) + 1.0)
    return ops.mean(ops.square(first - second), axis=-1)


def huber(y_true: TensorLike, y_pred: TensorLike, delta: float = 1.0) -> TensorLike:
    """(y_true - y_pred)**2 / 2 up to a difference of `delta`, linear beyond (Huber 1964)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "huber")
    error = ops.absolute(y_pred - y_true)
    small = ops.minimum(error, delta)
    return ops.mean(ops.square(small) * 0.5 + (error - small) * delta, axis=-1)


def log_cosh(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean(log(cosh(y_pred - y_true))) over the last axis."""
    y_true, y_pred = _same_shape(y_true, y_pred, "log_cosh")
    x = y_pred - y_true
    return ops.mean(x + ops.softplus(x * -2.0) - math.log(2.0), axis=-1)


def signed_labels(y_true: NDArray[Any]) -> NDArray[Any]:
    """Return labels that are all 0 or 1 as -1 or 1, and others unchanged."""
    if np.all((y_true == 0) | (y_true == 1)):
        return 2.0 * y_true - 1.0
    return y_true


def _hinge_arrays(y_true: TensorLike, y_pred: TensorLike, name: str) -> TensorLike:
    y_true, y_pred = _same_shape(y_true, y_pred, name)
    # Targets of a graph were converted when they were fed: their values are not known here.
    return (signed_labels(y_true) if isinstance(y_true, np.ndarray) else y_true), y_pred


def hinge(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean(max(1 - y_true * y_pred, 0)) (Cortes and Vapnik 1995); labels -1 and 1, or 0 and 1."""
    y_true, y_pred = _hinge_arrays(y_true, y_pred, "hinge")
    return ops.mean(ops.relu(1.0 - y_true * y_pred), axis=-1)


def squared_hinge(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean(max(1 - y_true * y_pred, 0)**2); labels -1 and 1, or 0 and 1."""
    y_true, y_pred = _hinge_arrays(y_true, y_pred, "squared_hinge")
    return ops.mean(ops.square(ops.relu(1.0 - y_true * y_pred)), axis=-1)


def categorical_hinge(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """max(neg - pos + 1, 0) (Crammer and Singer 2001).

    pos is the score y_pred of the true class, where y_true is 1, neg the best of the others.
    """
    y_true, y_pred = _same_shape(y_true, y_pred, "categorical_hinge")
    positive = ops.sum(y_true * y_pred, axis=-1)
    negative = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.relu(negative - positive + 1.0)


def kl_divergence(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """sum(y_true * log(y_true / y_pred)) of probabilities (Kullback and Leibler 1951)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "kl_divergence")
    y_true = ops.clip(y_true, epsilon(), 1.0)
    y_pred = ops.clip(y_pred, epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true: TensorLike, y_pred: TensorLike) -> TensorLike:
    """mean(y_pred - y_true * log(y_pred)), Poisson's log-likelihood but for sign and constants."""
    y_true, y_pred = _same_shape(y_true, y_pred, "poisson")
    return ops.mean(y_pred - y_true * ops.log(y_pred + epsilon()), axis=-1)


def cosine_similarity(y_true: TensorLike, y_pred: TensorLike, axis: Axis = -1) -> TensorLike:
    """Minus the cosine of the angle between y_true and y_pred along `axis`, in [-1, 1]."""
    y_true, y_pred = _same_shape(y_true, y_pred, "cosine_similarity")
    return -ops.sum(ops.normalize(y_true, axis) * ops.normalize(y_pred, axis), axis=axis)


def _origin(y_pred: TensorLike, activation: Any) -> TensorLike:
    """Return the logits where `y_pred` is the result of that activation in a graph."""
    origin = getattr(y_pred, "origin", None)
    return origin[1] if origin is not None and origin[0] == activation else None


def _classes_last(x: TensorLike, axis: int) -> TensorLike:
    rank = len(x.shape)
    if axis in (-1, rank - 1):
        return x
    axis %= rank
    return ops.transpose(x, [i for i in range(rank) if i != axis] + [axis])


def categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> TensorLike:
    """-sum(y_true * log(y_pred)); y_true are one-hot or other probabilities.

    Args:
        y_true, y_pred: probabilities (N, ..., classes).
        from_logits: `y_pred` are scores before the softmax.
        label_smoothing: share in [0, 1] taken from the target and spread over all classes.
        axis: of the classes.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(np.shape(y_true)) != tuple(
        y_pred.shape if hasattr(y_pred, "shape") else np.shape(y_pred)
    ):
        raise ValueError(
            "categorical_crossentropy: targets of shape "
            f"{tuple(np.shape(y_true))} and predictions of shape {tuple(np.shape(y_pred))} "
            "must have the same shape; for integer labels use sparse_categorical_crossentropy"
        )
    y_true, y_pred = _same_shape(y_true, y_pred, "categorical_crossentropy")
    logits = _classes_last(y_pred, axis) if from_logits else _origin(y_pred, "softmax")
    y_true = _classes_last(y_true, axis)
    if logits is not None:
        return ops.softmax_cross_entropy(logits, y_true, label_smoothing)
    y_pred = _classes_last(y_pred, axis)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[-1]
    p = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
    return -ops.sum(y_true * ops.log(ops.clip(p, epsilon(), 1.0 - epsilon())), axis=-1)


def sparse_categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> TensorLike:
    """-log(y_pred[y_true]); y_true are class indices in [0, classes).

    Args:
        y_true: indices (N, ...) or (N, ..., 1).
        y_pred: probabilities (N, ..., classes).
        from_logits: `y_pred` are scores before the softmax.
        ignore_class: label whose samples have loss 0.
        axis: of the classes, the last one.

    Raises:
        ValueError: the shapes do not fit, or a label is out of range.

    Examples:
        >>> import numpy as np
        >>> loss = sparse_categorical_crossentropy(np.array([1]), np.array([[0.25, 0.75]]))
        >>> loss.round(4).tolist()
        [0.2877]
    """
    y_true, y_pred = _arrays(y_true, y_pred)
    if isinstance(y_true, Tensor):
        if y_true.dtype != "int64":
            y_true = y_true.g.index_targets(y_true)
    else:
        y_true = y_true.astype(np.int64)
    logits = _classes_last(y_pred, axis) if from_logits else _origin(y_pred, "softmax")
    if logits is None:
        # softmax(log(p)) is p / sum(p), so the same operator serves probabilities.
        p = _classes_last(y_pred, axis)
        logits = ops.log(ops.clip(p, epsilon(), 1.0 - epsilon()))
    if len(y_true.shape) == len(logits.shape) and y_true.shape[-1] == 1:
        y_true = ops.reshape(y_true, y_true.shape[:-1])
    if tuple(y_true.shape) != tuple(logits.shape[:-1]):
        raise ValueError(
            f"sparse_categorical_crossentropy: labels of shape {tuple(y_true.shape)} do not fit "
            f"predictions of shape {tuple(y_pred.shape)}; expected labels of shape "
            f"{tuple(logits.shape[:-1])} (for one-hot labels use categorical_crossentropy)"
        )
    return ops.softmax_cross_entropy(logits, y_true, ignore_index=ignore_class)


def binary_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> TensorLike:
    """-mean(y_true * log(y_pred) + (1 - y_true) * log(1 - y_pred)).

    Args:
        y_true, y_pred: labels 0 and 1, and probabilities (N, ..., labels).
        from_logits: `y_pred` are scores before the sigmoid.
        label_smoothing: share in [0, 1] by which labels move towards 0.5.
        axis: of the mean.

    Raises:
        ValueError: the shapes differ.
    """
    y_true, y_pred = _same_shape(y_true, y_pred, "binary_crossentropy")
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    logits = y_pred if from_logits else _origin(y_pred, "sigmoid")
    if logits is not None:
        return ops.mean(ops.sigmoid_cross_entropy(logits, y_true), axis=axis)
    p = ops.clip(y_pred, epsilon(), 1.0 - epsilon())
    value = y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p)
    return -ops.mean(value, axis=axis)


def binary_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> TensorLike:
    """Binary cross-entropy times (1 - p of the true class)**gamma (Lin et al. 2017).

    Args:
        y_true, y_pred: labels 0 and 1, and probabilities (N, ..., labels).
        apply_class_balancing: whether label 1 counts alpha and label 0 counts 1 - alpha.
        alpha: weight of label 1 then.
        gamma: how much less easy samples count; 0 is cross-entropy.
        from_logits, label_smoothing, axis: as of `binary_crossentropy`.
    """
    y_true, y_pred = _same_shape(y_true, y_pred, "binary_focal_crossentropy")
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    clipped = ops.clip(p, epsilon(), 1.0 - epsilon())
    entropy = -(y_true * ops.log(clipped) + (1.0 - y_true) * ops.log(1.0 - clipped))
    true_p = y_true * p + (1.0 - y_true) * (1.0 - p)
    value = ops.power(1.0 - true_p, gamma) * entropy
    if apply_class_balancing:
        value = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * value
    return ops.mean(value, axis=axis)


def categorical_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> TensorLike:
    """-sum(alpha * (1 - y_pred)**gamma * y_true * log(y_pred)) (Lin et al. 2017).

    Args:
        y_true, y_pred: probabilities (N, ..., classes).
        alpha: factor of all classes, or one for each.
        gamma: how much less easy samples count; 0 is cross-entropy.
        from_logits, label_smoothing, axis: as of `categorical_crossentropy`.
    """
    y_true, y_pred = _same_shape(y_true, y_pred, "categorical_focal_crossentropy")
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    p = ops.softmax(y_pred, axis) if from_logits else y_pred
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), epsilon(), 1.0 - epsilon())
    value = ops.power(1.0 - p, gamma) * alpha * (y_true * -ops.log(p))
    return ops.sum(value, axis=axis)
