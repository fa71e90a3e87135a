"""Cross-entropy (PyTorch's names)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments as arg
from ._arguments import Shape
from .activation import elementwise_backward, log_softmax_kind, run_elementwise

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REDUCTIONS = ("none", "mean", "sum")


def cross_entropy(
    input: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy between the softmax of `input` over its class axis and `target`.

    With t the target's distribution (one-hot for indices), smoothed to (1 - s) t + s / C, a
    sample's loss is -sum over c of weight[c] t[c] log softmax(x)[c] (label smoothing:
    arXiv:1512.00567, part 7).

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...), float32 or float64.
        target: class indices, an integer array of the input's shape without the class axis; or
            probabilities of the input's shape and dtype.
        weight: (C,), a factor for each class, or None.
        ignore_index: samples of this class index have loss and gradient 0 and do not count in
            the mean; with probabilities it has no meaning and must be negative.
        reduction: "none", "sum", or "mean": for indices the sum divided by the sum of the
            samples' weights, for probabilities divided by the number of samples.
        label_smoothing: s in [0, 1].

    Returns:
        A scalar of the input's dtype, or with "none" an array shaped as the class indices. The
        mean over no sample is NaN.

    Raises:
        TypeError: not an array, a dtype other than the two, mixed dtypes.
        ValueError: shapes that do not fit, a class index outside [0, C), no class at all,
            label_smoothing outside [0, 1].

    Examples:
        >>> import numpy as np
        >>> loss = cross_entropy(np.zeros((2, 4)), np.array([0, 3]))
        >>> round(float(loss), 4)  # log(4)
        1.3863
    """
    fn = "cross_entropy"
    input, target, weight = _check(fn, input, target, weight, reduction)
    smoothing = _smoothing(fn, label_smoothing)
    axis = 0 if input.ndim == 1 else 1
    logp = run_elementwise(fn, log_softmax_kind(axis), input)
    # Infinite logits make NaN where IEEE says so; that is no reason for NumPy's warnings.
    with np.errstate(all="ignore"):
        if target.dtype.kind == "f":
            _check_ignore(fn, ignore_index)
            loss = -(_smooth(target, weight, smoothing, axis) * logp).sum(axis)
            divisor = loss.size
        else:
            labels, valid = _labels(fn, target, input.shape[axis], ignore_index)
            loss, divisor = _index_losses(logp, labels, valid, weight, smoothing, axis)
        if reduction == "none":
            return np.asarray(loss, input.dtype, order="C")
        total = input.dtype.type(loss.sum())
        return total if reduction == "sum" else total / input.dtype.type(divisor)


def cross_entropy_backward(
    grad_output: Any,
    input: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> NDArray[Any]:
    """Gradient of `cross_entropy` to its input.

    grad_output is a scalar, or with reduction "none" an array of the loss's shape and dtype. The
    other arguments and the errors are those of `cross_entropy`.
    """
    fn = "cross_entropy_backward"
    input, target, weight = _check(fn, input, target, weight, reduction)
    smoothing = _smoothing(fn, label_smoothing)
    axis = 0 if input.ndim == 1 else 1
    grad = _grad_output(fn, grad_output, input, axis, reduction)
    with np.errstate(all="ignore"):
        if target.dtype.kind == "f":
            _check_ignore(fn, ignore_index)
            seed = _smooth(target, weight, smoothing, axis)
            divisor = input.size // input.shape[axis]
        else:
            labels, valid = _labels(fn, target, input.shape[axis], ignore_index)
            seed, divisor = _index_targets(input, labels, valid, weight, smoothing, axis)
        if reduction == "mean":
            grad = grad / input.dtype.type(divisor)
        if grad.ndim:
            grad = np.expand_dims(grad, axis)
        seed = (seed * -grad).astype(input.dtype, copy=False)
    return elementwise_backward(fn, log_softmax_kind(axis), seed, input)


def _class_axis(values: NDArray[Any], ndim: int, axis: int) -> NDArray[Any]:
    """One number a class, shaped to broadcast over the input."""
    return values.reshape(-1, *[1] * (ndim - axis - 1))


def _index_losses(
    logp: NDArray[Any],
    labels: NDArray[Any],
    valid: NDArray[Any],
    weight: NDArray[Any] | None,
    smoothing: float,
    axis: int,
) -> tuple[NDArray[Any], Any]:
    """The samples' losses and the sum of their weights."""
    loss = -np.take_along_axis(logp, np.expand_dims(labels, axis), axis).squeeze(axis)
    mass = valid
    if weight is not None:
        loss = loss * weight[labels]
        mass = weight[labels] * valid
        logp = logp * _class_axis(weight, logp.ndim, axis) if smoothing else logp
    if smoothing:
        loss = (1 - smoothing) * loss - (smoothing / logp.shape[axis]) * logp.sum(axis)
    # `where` rather than a product: 0 * inf is not 0.
    return np.where(valid, loss, 0), mass.sum()


def _index_targets(
    input: NDArray[Any],
    labels: NDArray[Any],
    valid: NDArray[Any],
    weight: NDArray[Any] | None,
    smoothing: float,
    axis: int,
) -> tuple[NDArray[Any], Any]:
    """The smoothed and weighted one-hot targets, and the sum of the samples' weights."""
    dtype, classes = input.dtype, input.shape[axis]
    mass = valid.astype(dtype) if weight is None else weight[labels] * valid
    targets = np.zeros(input.shape, dtype)
    places = np.expand_dims(labels, axis)
    np.put_along_axis(targets, places, np.expand_dims((1 - smoothing) * mass, axis), axis)
    if smoothing:
        each = np.ones(classes, dtype) if weight is None else weight
        each = _class_axis(each, input.ndim, axis) * (smoothing / classes)
        targets += each * np.expand_dims(valid, axis)
    return targets, mass.sum()


def _check(
    fn: str, input: Any, target: Any, weight: Any, reduction: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    if type(input) is not np.ndarray:
        input = arg.array(input, fn, "input")
    if type(target) is not np.ndarray:
        # A scalar of NumPy is what indexing a label array gives.
        target = np.asarray(target) if isinstance(target, np.generic) else target
        target = arg.array(target, fn, "target")
    arg.choice(reduction, _REDUCTIONS, fn, "reduction")
    arg.check_float(input.dtype, fn, "input")
    shape = input.shape
    if not shape:
        raise ValueError(f"{fn}: input must be (C,), (N, C) or (N, C, d1, ...), got shape ()")
    axis = 0 if len(shape) == 1 else 1
    if 0 in shape[axis:]:
        raise ValueError(f"{fn}: input may be empty in its batch axis only, got shape {shape}")
    if target.dtype.kind in "iu":
        expected = shape[:axis] + shape[axis + 1 :]
        if target.shape != expected:
            raise ValueError(
                f"{fn}: class indices for an input of shape {shape} must have shape {expected},"
                f" got {target.shape}"
            )
    elif target.dtype.kind == "f":
        arg.check_same_dtype(target.dtype, input.dtype, fn, "target")
        arg.check_shape(target.shape, shape, fn, "target (probabilities)")
    else:
        raise TypeError(
            f"{fn}: target must hold integer class indices or probabilities of dtype"
            f" {input.dtype}, got {target.dtype}"
        )
    if weight is not None:
        if type(weight) is not np.ndarray:
            weight = arg.array(weight, fn, "weight")
        arg.check_same_dtype(weight.dtype, input.dtype, fn, "weight")
        arg.check_shape(weight.shape, (shape[axis],), fn, "weight")
    return input, target, weight


def _smoothing(fn: str, value: Any) -> float:
    smoothing = arg.number(value, fn, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{fn}: label_smoothing must be between 0 and 1, got {smoothing}")
    return smoothing


def _ignored(fn: str, ignore_index: Any) -> int:
    return arg.integer(ignore_index, fn, "ignore_index", -(2**63), 2**63 - 1)


def _check_ignore(fn: str, ignore_index: Any) -> None:
    if _ignored(fn, ignore_index) >= 0:
        raise ValueError(f"{fn}: ignore_index {ignore_index} has no meaning for probabilities")


def _labels(
    fn: str, target: NDArray[Any], classes: int, ignore_index: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices with 0 in place of ignored ones, and which ones count."""
    valid = target != _ignored(fn, ignore_index)
    labels = np.where(valid, target, 0)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        bad = labels[(labels < 0) | (labels >= classes)].flat[0]
        raise ValueError(f"{fn}: target {bad} is not a class index in [0, {classes})")
    return labels.astype(np.int64, copy=False), valid


def _smooth(
    target: NDArray[Any], weight: NDArray[Any] | None, smoothing: float, axis: int
) -> NDArray[Any]:
    """The smoothed and weighted target distribution."""
    if smoothing:
        target = target * (1 - smoothing) + smoothing / target.shape[axis]
    if weight is None:
        return target
    weighted: NDArray[Any] = target * _class_axis(weight, target.ndim, axis)
    return weighted


def _grad_output(
    fn: str, value: Any, input: NDArray[Any], axis: int, reduction: str
) -> NDArray[Any]:
    shape: Shape = input.shape[:axis] + input.shape[axis + 1 :]
    if reduction != "none":
        shape = ()
        if not isinstance(value, np.ndarray):
            value = np.asarray(arg.number(value, fn, "grad_output"), input.dtype)
    gradient: NDArray[Any] = arg.array(value, fn, "grad_output")
    arg.check_same_dtype(gradient.dtype, input.dtype, fn, "grad_output")
    arg.check_shape(gradient.shape, shape, fn, "grad_output")
    return gradient
