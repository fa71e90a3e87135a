"""Functions of one floating-point input and their gradients."""

import math

import numpy as np
import pytest

from fastconv._runtime import core
from one_op import FLOATS, run, same


def softplus(x):
    return np.logaddexp(0, x)


FUNCTIONS = {
    "mish": (lambda x: x * np.tanh(softplus(x)), -30, 30),
    "sin": (np.sin, -9, 9),
    "cos": (np.cos, -9, 9),
    "tan": (np.tan, -1.4, 1.4),
    "asin": (np.arcsin, -0.9, 0.9),
    "acos": (np.arccos, -0.9, 0.9),
    "atan": (np.arctan, -9, 9),
    "sinh": (np.sinh, -5, 5),
    "cosh": (np.cosh, -5, 5),
    "asinh": (np.arcsinh, -9, 9),
    "acosh": (np.arccosh, 1.1, 9),
    "atanh": (np.arctanh, -0.9, 0.9),
}


def gradient(op, x, **attrs):
    graph = core.Graph()
    value = graph.input("x", x.shape, str(x.dtype))
    (y,) = graph.add(op, [value], attrs)
    return core.Plan(graph, graph.gradients([y], [None], [value])).run([x])[0]


def points(low, high, n=1001):
    return np.random.default_rng(3).uniform(low, high, n)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_values_and_gradients(op):
    f, low, high = FUNCTIONS[op]
    x = points(low, high)
    np.testing.assert_allclose(run(op, x), f(x), rtol=1e-13, atol=1e-14)
    single = x.astype("float32")
    expected = f(single.astype("float64"))
    np.testing.assert_allclose(run(op, single), expected, rtol=2e-6, atol=1e-7)
    h = 1e-6
    np.testing.assert_allclose(
        gradient(op, x), (f(x + h) - f(x - h)) / (2 * h), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("alpha", [1.0, 0.3, 2.5, -1.5])
def test_celu(alpha):
    x = points(-5, 5)
    expected = np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))
    np.testing.assert_allclose(run("celu", x, alpha=alpha), expected, rtol=1e-13)
    slope = np.where(x > 0, 1, np.exp(x / alpha))
    np.testing.assert_allclose(gradient("celu", x, alpha=alpha), slope, rtol=1e-13)


@pytest.mark.parametrize("alpha", [1.0, 0.0, -0.5])
def test_thresholded_relu(alpha):
    x = np.array([-2, -0.5, 0, 0.5, 1, 1.5, np.inf, -np.inf])
    same(run("thresholded_relu", x, alpha=alpha), np.where(x > alpha, x, 0))
    same(gradient("thresholded_relu", x, alpha=alpha), (x > alpha) * 1.0)
    assert np.isnan(run("thresholded_relu", np.array([np.nan]), alpha=alpha))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op, f", [("floor", np.floor), ("ceil", np.ceil), ("round", np.round)])
def test_rounding(op, f, dtype):
    whole = 2.0 ** np.finfo(dtype).nmant
    hard = [
        0.5,
        1.5,
        2.5,
        1e30,
        np.inf,
        whole,
        whole + 1,
        whole - 0.5,
        whole / 2 - 0.5,
        whole / 2 + 1.5,
    ]
    x = np.concatenate([points(-9, 9), hard, np.negative(hard), [0.0, -0.0, np.nan]]).astype(dtype)
    same(run(op, x), f(x))
    same(gradient(op, x), np.zeros_like(x))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_ends_of_mish(dtype):
    x = np.array([1e30, np.inf, 100, -100, -1e30, np.nan], dtype)
    y = run("mish", x)
    same(y[:3], x[:3])
    assert abs(y[3]) < 1e-40
    assert y[4] == 0
    assert math.isnan(y[5])
    np.testing.assert_allclose(gradient("mish", x[:3]), 1, rtol=1e-6)


def test_gradients_of_mod():
    rng = np.random.default_rng(4)
    a, b = rng.uniform(-9, 9, 300), rng.uniform(1, 3, 300) * rng.choice([-1, 1], 300)
    for fmod in (False, True):
        graph = core.Graph()
        x, y = (graph.input(n, [300], "float64") for n in "xy")
        (z,) = graph.add("mod", [x, y], {"fmod": fmod})
        dx, dy = core.Plan(graph, graph.gradients([z], [None], [x, y])).run([a, b])
        same(dx, np.ones(300))
        np.testing.assert_allclose(dy, -(np.trunc if fmod else np.floor)(a / b), atol=1e-9)


def test_gradients_of_integers_are_refused():
    graph = core.Graph()
    x = graph.input("x", [3], "int32")
    f = graph.input("f", [3], "float32")
    (y,) = graph.add("add", [x, x])
    with pytest.raises(ValueError, match="output 0 is int32"):
        graph.gradients([y], [None], [x])
    (z,) = graph.add("mul", [graph.add("cast", [y], {"dtype": "float32"})[0], f])
    assert graph.gradients([z], [None], [x])[0] is None
    assert graph.gradients([z], [None], [f])[0] is not None
