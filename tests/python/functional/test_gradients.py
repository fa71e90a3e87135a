"""Finite differences of every operator in float64."""

import numpy as np
import pytest

from fastconv import functional as F
from functional.cases import CASES
from functional.test_reference import check_slope
from functional.tools import backward_arguments


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_slope(case):
    forward, backward = getattr(F, case.name), getattr(F, f"{case.name}_backward")
    arrays = case.make(np.float64)
    g = np.random.default_rng(1).standard_normal(forward(**arrays, **case.arguments).shape)
    found = backward(g, **backward_arguments(backward, {**arrays, **case.arguments}))
    found = found if isinstance(found, tuple) else (found,)
    found = found[: len(arrays)]
    check_slope(lambda moved: forward(**moved, **case.arguments), arrays, found, g)


@pytest.mark.parametrize("training", [False, True])
def test_slope_batch_norm(training):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 4, 5)), rng.standard_normal(4), rng.standard_normal(4)
    m, v, g = rng.standard_normal(4), rng.random(4) + 0.5, rng.standard_normal((3, 4, 5))
    found = F.batch_norm_backward(g, x, w, m, v, training, 1e-5)

    def forward(a):
        return F.batch_norm(a["x"], m.copy(), v.copy(), a["w"], a["b"], training, 0.1, 1e-5)

    check_slope(forward, {"x": x, "w": w, "b": b}, found, g)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_slope_cross_entropy(reduction):
    rng = np.random.default_rng(0)
    x, weight, target = rng.standard_normal((4, 5, 2)), rng.random(5), rng.integers(0, 5, (4, 2))
    rest = (target, weight, 2, reduction, 0.1)
    g = np.asarray(rng.standard_normal((4, 2) if reduction == "none" else ()))
    found = F.cross_entropy_backward(g, x, *rest)
    check_slope(lambda a: F.cross_entropy(a["x"], *rest), {"x": x}, (found,), g)


def test_slope_dropout():
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((5, 6)), rng.standard_normal((5, 6))
    found = F.dropout_backward(g, x, 0.4, True, 7)
    check_slope(lambda a: F.dropout(a["x"], 0.4, True, 7), {"x": x}, (found,), g)
