"""Cross-entropy, one sample after the other."""

import numpy as np

from .elementwise import softmax_family


def _samples(x, target):
    """Logits as (samples, C), targets as indices or rows, and the shape of the loss."""
    axis = 0 if x.ndim == 1 else 1
    rows = np.moveaxis(np.float64(x), axis, -1)
    shape = rows.shape[:-1]
    rows = rows.reshape(-1, x.shape[axis])
    if target.dtype.kind == "f":
        return rows, np.moveaxis(np.float64(target), axis, -1).reshape(rows.shape), shape
    return rows, target.reshape(-1), shape


def _distribution(target, classes, weight, smoothing, ignore_index):
    """The weighted, smoothed target of one sample and its weight in the mean."""
    weight = np.ones(classes) if weight is None else np.float64(weight)
    if np.ndim(target):
        return ((1 - smoothing) * target + smoothing / classes) * weight, 1.0
    if target == ignore_index:
        return np.zeros(classes), 0.0
    t = np.zeros(classes)
    t[target] = 1 - smoothing
    return (t + smoothing / classes) * weight, weight[target]


def cross_entropy(x, target, weight, ignore_index, reduction, smoothing):
    """-sum t log p for each sample, then reduced."""
    rows, targets, shape = _samples(x, target)
    losses, total = [], 0.0
    for row, one in zip(rows, targets, strict=True):
        t, mass = _distribution(one, len(row), weight, smoothing, ignore_index)
        losses.append(-(t * softmax_family(row, 0, True)).sum())
        total += mass
    losses = np.array(losses).reshape(shape)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / total if total else np.nan


def cross_entropy_backward(g, x, target, weight, ignore_index, reduction, smoothing):
    """p sum(t) - t for each sample."""
    rows, targets, shape = _samples(x, target)
    g = np.broadcast_to(np.float64(g), shape).reshape(-1)
    out, total = np.zeros(rows.shape), 0.0
    for i, (row, one) in enumerate(zip(rows, targets, strict=True)):
        t, mass = _distribution(one, len(row), weight, smoothing, ignore_index)
        out[i] = g[i] * (softmax_family(row, 0, False) * t.sum() - t)
        total += mass
    if reduction == "mean":
        out = out / total if total else out * np.nan
    return np.moveaxis(out.reshape(*shape, rows.shape[-1]), -1, 0 if x.ndim == 1 else 1)
