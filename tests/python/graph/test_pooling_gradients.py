"""Gradients of ReLU and bias before max-pooling are computed from the pooled maps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv._runtime import core


@st.composite
def cases(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return {
        "shape": (2, draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 5))),
        "kernel": kernel,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def steps(plan, feeds):
    return {s["op"]: tuple(s["shape"]) for s in plan.profile(feeds)}


@given(cases())
def test_relu_before_max_pooling(c):
    """Both gradients are those of the definition, and ReLU's runs on the pooled map."""
    rng = np.random.default_rng(c["seed"])
    x = np.round(rng.standard_normal(c["shape"]), 1)  # equal ones in a window and zeros too
    g = core.Graph()
    v = g.input("x", list(x.shape), "float64")
    bias = g.input("b", [x.shape[3]], "float64")
    (z,) = g.add("add", [v, bias], {})
    (y,) = g.add("relu", [z], {})
    pads = [*c["padding"], *c["padding"]]
    attrs = {"kernel": list(c["kernel"]), "strides": list(c["stride"]), "pads": pads}
    (p,) = g.add("max_pool2d", [y], attrs)
    seed = g.input("dy", g.shape(p), "float64")
    dx, db = g.gradients([p], [seed], [v, bias])
    plan = core.Plan(g, [dx, db])
    dy = rng.standard_normal(g.shape(p))
    feeds = [x, np.zeros(x.shape[3]), dy]
    got = plan.run(feeds)
    relu = np.maximum(x, 0).transpose(0, 3, 1, 2)
    windows = [
        ref.pool_windows(
            relu.shape[2 + i], c["kernel"][i], c["stride"][i], [c["padding"][i]] * 2, 1, False
        )
        for i in range(2)
    ]
    index = ref.max_pool(relu, *windows)[1]
    spread = ref.max_pool_backward(dy.transpose(0, 3, 1, 2), relu.shape, index)
    want = spread.transpose(0, 2, 3, 1) * (x > 0)
    np.testing.assert_allclose(got[0], want, atol=1e-12)
    np.testing.assert_allclose(got[1], want.sum((0, 1, 2)), atol=1e-12)
    assert steps(plan, feeds)["relu_grad"] == tuple(g.shape(p))


def test_other_readers():
    """Where the spread gradient itself is asked for, it stays as it is."""
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 2))
    g = core.Graph()
    v = g.input("x", list(x.shape), "float64")
    (y,) = g.add("relu", [v], {})
    (p,) = g.add("max_pool2d", [y], {"kernel": [2, 2], "strides": [2, 2], "pads": [0] * 4})
    seed = g.input("dy", g.shape(p), "float64")
    dx, dv = g.gradients([p], [seed], [y, v])
    plan = core.Plan(g, [dx, dv])
    dy = np.ones(g.shape(p))
    spread, masked = plan.run([x, dy])
    np.testing.assert_array_equal(masked, spread * (x > 0))
    assert spread.sum() == dy.sum()
