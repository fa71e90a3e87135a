"""Batch and local response normalization."""

import numpy as np


def _each(v, ndim):
    return np.float64(v).reshape(1, -1, *[1] * (ndim - 2))


def batch_norm(x, mean, var, weight, bias, training, eps):
    """Returns y and the batch's mean and (biased) variance, or the given ones."""
    x = np.float64(x)
    axes = (0, *range(2, x.ndim))
    if training:
        mean = x.mean(axes)
        var = ((x - _each(mean, x.ndim)) ** 2).mean(axes)
    y = (x - _each(mean, x.ndim)) / np.sqrt(_each(var, x.ndim) + eps)
    if weight is not None:
        y = y * _each(weight, x.ndim)
    if bias is not None:
        y = y + _each(bias, x.ndim)
    return y, np.float64(mean), np.float64(var)


def batch_norm_backward(g, x, weight, mean, var, training, eps):
    """In training dx is the product with each channel's Jacobian: identity less mean less xhat."""
    g, x = np.float64(g), np.float64(x)
    c = x.shape[1]
    weight = np.ones(c) if weight is None else np.float64(weight)
    _, mean, var = batch_norm(x, mean, var, None, None, training, eps)
    dx, dw = np.zeros(x.shape), np.zeros(c)
    for k in range(c):
        xs, gs = x[:, k].ravel(), g[:, k].ravel()
        sigma = np.sqrt(var[k] + eps)
        xhat = (xs - mean[k]) / sigma
        dw[k] = (gs * xhat).sum()
        product = gs / sigma
        if training:
            product = product - (gs.sum() + (gs * xhat).sum() * xhat) / (xs.size * sigma)
        dx[:, k] = (weight[k] * product).reshape(x[:, k].shape)
    return dx, dw, g.sum((0, *range(2, x.ndim)))


def _window(c, size, channels):
    return range(max(c - size // 2, 0), min(c + (size - 1) // 2 + 1, channels))


def _scales(x, size, alpha, k):
    """k + alpha / size * sum of squares over each channel's window."""
    d = np.full(x.shape, float(k))
    for c in range(x.shape[1]):
        for other in _window(c, size, x.shape[1]):
            d[:, c] += alpha / size * x[:, other] ** 2
    return d


def local_response_norm(x, size, alpha, beta, k):
    """x / d ** beta."""
    x = np.float64(x)
    return x / _scales(x, size, alpha, k) ** beta


def local_response_norm_backward(g, x, size, alpha, beta, k):
    """y_c depends on x_c directly, and on every x of its window through d_c."""
    g, x = np.float64(g), np.float64(x)
    d = _scales(x, size, alpha, k)
    dx = g * d**-beta
    for c in range(x.shape[1]):
        for other in _window(c, size, x.shape[1]):
            inner = 2 * alpha / size * x[:, other]
            dx[:, other] += g[:, c] * x[:, c] * -beta * d[:, c] ** (-beta - 1) * inner
    return dx
