"""Activations and their derivatives, softmax."""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def _gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def _gelu_slope(x, approximate="none"):
    if approximate == "tanh":
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + _erf(x / math.sqrt(2))) + x * density


def _softplus(x, beta=1.0, threshold=20.0):
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def _silu_slope(x):
    s = _sigmoid(x)
    return s + x * s * (1 - s)


# Name: (f(x, *parameters), f'(x, *parameters)).
ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x <= 0, 0.0, 1.0)),
    "leaky_relu": (
        lambda x, slope=0.01: np.where(x > 0, x, slope * x),
        lambda x, slope=0.01: np.where(x > 0, 1.0, slope),
    ),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "elu": (
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x, alpha=1.0: np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
    ),
    "gelu": (_gelu, _gelu_slope),
    "silu": (lambda x: x * _sigmoid(x), _silu_slope),
    "hardswish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5)),
    ),
    "hardsigmoid": (
        lambda x: np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where((x > -3) & (x < 3), 1 / 6, 0.0),
    ),
    "softplus": (
        _softplus,
        lambda x, beta=1.0, threshold=20.0: np.where(beta * x > threshold, 1.0, _sigmoid(beta * x)),
    ),
}


def softmax_family(x, axis, log, g=None):
    """softmax or log_softmax over an axis, or with g the product of g and the Jacobian."""
    x = np.moveaxis(np.float64(x), axis, -1)
    shape = x.shape
    rows = x.reshape(-1, shape[-1])
    shifted = np.exp(rows - rows.max(-1, keepdims=True))
    p = shifted / shifted.sum(-1, keepdims=True)
    if g is None:
        logs = rows - rows.max(-1, keepdims=True) - np.log(shifted.sum(-1, keepdims=True))
        y = logs if log else p
        return np.moveaxis(y.reshape(shape), -1, axis)
    gs = np.moveaxis(np.float64(g), axis, -1).reshape(rows.shape)
    out = np.zeros(rows.shape)
    for r in range(len(rows)):
        eye = np.eye(shape[-1])
        jacobian = eye - p[r] if log else p[r][:, None] * (eye - p[r])
        out[r] = gs[r] @ jacobian
    return np.moveaxis(out.reshape(shape), -1, axis)
