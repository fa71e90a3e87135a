"""Strict plans: long sums are made in blocks."""

import numpy as np
import pytest

from fastconv._runtime import core


def errors(op, x, w, *more, **attributes):
    """Of the default and the strict plan, against float64, over the largest value."""
    found = []
    for dtype, strict in (("float64", False), ("float32", False), ("float32", True)):
        g = core.Graph()
        inputs = [g.input("x", x.shape, dtype)]
        inputs += [g.variable(core.Variable(a.astype(dtype))) for a in (w, *more)]
        (y,) = g.add(op, inputs, attributes)
        plan = core.Plan(g, [y], None, strict)
        results = [plan.run([x.astype(dtype)], threads=n)[0] for n in (1, 2)]
        np.testing.assert_array_equal(*results)
        found.append(results[0].astype("float64"))
    want, plain, strict = found
    return [np.abs(y - want).max() / np.abs(want).max() for y in (plain, strict)]


def positive(rng, *shape):
    """Sums of these grow all the way, and so do their rounding errors."""
    return rng.uniform(0.5, 1.5, shape).astype("float32")


CONV = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "algorithm": "direct"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("columns", [5, 70])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_dense(rows, columns, seed):
    rng = np.random.default_rng(seed)
    n = 20_000 + int(rng.integers(999))
    x, w, b = positive(rng, rows, n), positive(rng, n, columns), positive(rng, columns)
    plain, strict = errors("dense", x, w, b)
    assert strict < min(1e-6, plain / 4)
    plain, strict = errors("matmul", x, w)
    assert strict < min(1e-6, plain / 4)


@pytest.mark.parametrize(
    "size, channels, kernel, more",
    [
        (6, 700, 3, {}),
        (9, 513, 3, {"strides": [2, 1], "pads": [0, 1, 2, 1]}),
        (11, 300, 3, {"dilations": [2, 2]}),
        (8, 1030, 1, {"pads": [0] * 4}),
        (8, 20, 3, {}),
        (7, 1200, 3, {"groups": 2, "activation": "clip", "min": 0.0, "max": 9e3}),
        (7, 600, 3, {"groups": 2, "activation": "silu"}),
    ],
)
def test_convolution(size, channels, kernel, more):
    rng = np.random.default_rng(size)
    groups = more.get("groups", 1)
    x = positive(rng, 2, size, size + 1, channels)
    w = positive(rng, kernel, kernel, channels // groups, 36)
    plain, strict = errors("conv2d", x, w, positive(rng, 36), **{**CONV, **more})
    assert strict < 1e-6
    if w[..., 0].size > 2000:
        assert strict < plain / 2


def test_residual_comes_once():
    rng = np.random.default_rng(0)
    x, w = positive(rng, 1, 5, 5, 900), positive(rng, 3, 3, 900, 20)
    residual = 1e4 * positive(rng, 1, 5, 5, 20)
    _, strict = errors("conv2d", x, w, positive(rng, 20), residual, **CONV)
    assert strict < 1e-6
