"""Additions and activations after batch normalization in training run in its steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv import get_num_threads, set_num_threads
from fastconv._runtime import core

EPS = 1e-3
NORM, BACKWARD, RESIDUAL = (
    "batch_norm_training",
    "batch_norm_training_backward",
    "batch_norm_residual_backward",
)
# name: attributes, function, derivative
ACTIVATIONS = {
    None: ({}, lambda z: z, np.ones_like),
    "relu": ({}, lambda z: np.maximum(z, 0), lambda z: z > 0),
    "clip": (
        {"min": -0.5, "max": 1.0},
        lambda z: np.clip(z, -0.5, 1),
        lambda z: (z > -0.5) & (z < 1),
    ),
    "tanh": ({}, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "silu": (
        {},
        lambda z: z * sigmoid(z),
        lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
    ),
    "leaky_relu": (
        {"alpha": -0.5},
        lambda z: np.where(z > 0, z, -0.5 * z),
        lambda z: np.where(z > 0, 1, -0.5),
    ),
}
KINKS = {"relu": [0.0], "clip": [-0.5, 1.0], "leaky_relu": [0.0]}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, gamma, beta):
    """Returns y and what the gradient needs."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    xhat = (x - mean) / np.sqrt(var + EPS)
    return xhat * gamma + beta, (xhat, gamma / np.sqrt(var + EPS))


def norm_gradient(g, saved):
    """dx, dgamma, dbeta (Ioffe and Szegedy, 2015, section 3)."""
    xhat, scale = saved
    axes = tuple(range(g.ndim - 1))
    dgamma, dbeta = (g * xhat).sum(axes), g.sum(axes)
    n = g.size // g.shape[-1]
    return scale * (g - dbeta / n - xhat * dgamma / n), dgamma, dbeta


class Block:
    """act(norm(x) + residual), gradients of all inputs, and the same in float64."""

    def __init__(self, shape, activation, residual, dtype="float64", seed=0, gamma=True):
        rng = np.random.default_rng(seed)
        c = shape[-1:]
        attrs, f, derivative = ACTIVATIONS[activation]
        self.graph = g = core.Graph()
        self.feeds, self.exact, ids = [], {}, {}

        def feed(name, shape, offset=0.0):
            array = (rng.standard_normal(shape) + offset).astype(dtype)
            ids[name] = g.input(name, list(shape), dtype)
            self.feeds.append(array)
            return np.float64(array)

        x, gam, bet = feed("x", shape, 1.0), feed("gamma", c), feed("beta", c)
        dy = feed("dy", shape)
        scale = ids["gamma"] if gamma else None
        z, saved = norm(x, gam if gamma else 1.0, bet)
        outs = g.add(NORM, [ids["x"], scale, ids["beta"], None, None], {"eps": EPS})
        out = self.z = outs[0]
        if residual == "norm":
            r = feed("r", shape)
            shortcut = g.add(NORM, [ids["r"], None, None, None, None], {"eps": EPS})
            out = g.add("add", [out, shortcut[0]])[0]
            r, saved_r = norm(r, 1.0, 0.0)
        elif residual == "before":
            r = feed("r", shape)
            out = g.add("add", [ids["r"], out])[0]
        elif residual == "channels":  # no addition of the kind
            r = feed("r", c)
            out = g.add("add", [out, ids["r"]])[0]
        else:
            r = 0
        s = z + r
        if activation:
            out = g.add(activation, [out], attrs)[0]
        self.y = out
        wrt = ["x", "beta", *(["gamma"] if gamma else []), *(["r"] if residual else [])]
        grads = g.gradients([out], [ids["dy"]], [ids[name] for name in wrt])
        grad = dy * derivative(s)
        dx, dgamma, dbeta = norm_gradient(grad, saved)
        exact = {"x": dx, "gamma": dgamma, "beta": dbeta}
        if residual:
            exact["r"] = {
                "norm": lambda: norm_gradient(grad, saved_r)[0],
                "before": lambda: grad,
                "channels": lambda: grad.sum(tuple(range(grad.ndim - 1))),
            }[residual]()
        self.outputs = [out, *grads]
        self.want = [f(s), *(exact[name] for name in wrt)]
        # A rounded sum may lie on another side of a kink than the exact one.
        kinks = KINKS.get(activation, []) if dtype == "float32" else []
        self.safe = all(np.abs(s - kink).min() > 1e-5 for kink in kinks)

    def plan(self, more=()):
        return core.Plan(self.graph, [*self.outputs, *more])

    def ops(self, plan):
        return sorted({step["op"] for step in plan.profile(self.feeds)})

    def check(self, plan, tolerance):
        for got, want in zip(plan.run(self.feeds), self.want, strict=False):
            scale = max(1.0, np.abs(want).max())
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


@st.composite
def cases(draw):
    shape = draw(
        st.one_of(
            st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 70)),
            st.tuples(st.integers(2, 300), st.integers(1, 40)),
            st.tuples(st.just(1), st.integers(1, 40), st.integers(60, 300)),
        )
    )
    return {
        "shape": shape,
        "activation": draw(st.sampled_from(list(ACTIVATIONS))),
        "residual": draw(st.sampled_from([None, "norm", "before", "channels"])),
        "dtype": draw(st.sampled_from(["float64", "float32"])),
        "gamma": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@settings(max_examples=150)
@given(cases())
def test_values_and_gradients(c):
    block = Block(**c)
    if block.safe:
        block.check(block.plan(), 3e-4 if c["dtype"] == "float32" else 1e-9)


@pytest.mark.parametrize("activation", ["relu", "clip"])
@pytest.mark.parametrize(
    "residual, steps",
    [
        (None, [NORM, BACKWARD]),
        ("before", [RESIDUAL, NORM]),
        ("norm", [RESIDUAL, NORM, BACKWARD]),
    ],
)
def test_no_pass_of_its_own_is_left(activation, residual, steps):
    block = Block((2, 5, 4, 24), activation, residual)
    plan = block.plan()
    assert block.ops(plan) == steps
    block.check(plan, 1e-9)


def test_an_addition_alone():
    block = Block((2, 5, 4, 24), None, "before")
    plan = block.plan()
    assert block.ops(plan) == [NORM, BACKWARD]
    block.check(plan, 1e-9)


@pytest.mark.parametrize("shape", [(2, 5, 4, 24), (700, 70), (3, 20000)])
@pytest.mark.parametrize("activation", ["tanh", "silu", "leaky_relu"])
def test_other_activations(activation, shape):
    """What they got is computed again, so it need not be kept."""
    block = Block(shape, activation, None)
    plan = block.plan()
    assert block.ops(plan) == [NORM, BACKWARD]
    block.check(plan, 1e-9)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_other_activations_of_a_sum_keep_their_gradient(activation):
    block = Block((2, 5, 4, 24), activation, "before")
    plan = block.plan()
    assert {NORM, BACKWARD, activation + "_grad"} <= set(block.ops(plan))
    assert "add" not in block.ops(plan)
    block.check(plan, 1e-9)


def test_an_activation_twice():
    """The second one's gradient reads the first one's output: it is not the first one's."""
    g = core.Graph()
    x, dy = (g.input(name, [40, 6], "float64") for name in ("x", "dy"))
    z = g.add(NORM, [x, None, None, None, None], {"eps": EPS})[0]
    y = g.add("silu", [g.add("silu", [z])[0]])[0]
    (dx,) = g.gradients([y], [dy], [x])
    plan = core.Plan(g, [y, dx])
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal((40, 6)) for _ in range(2)]
    assert [s["op"] for s in plan.profile(feeds)] == [NORM, "silu", "silu_grad", BACKWARD]
    z, saved = norm(feeds[0], 1.0, 0.0)
    _, f, derivative = ACTIVATIONS["silu"]
    want = [f(f(z)), norm_gradient(feeds[1] * derivative(f(z)) * derivative(z), saved)[0]]
    for a, b in zip(plan.run(feeds), want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("residual", [None, "before"])
def test_what_others_read_stays(residual):
    block = Block((2, 5, 4, 6), "relu", residual)
    plan = block.plan([block.z])
    assert "relu" in block.ops(plan)
    block.check(plan, 1e-9)
    results = plan.run(block.feeds)
    r = block.feeds[4] if residual else 0
    np.testing.assert_allclose(np.maximum(results[-1] + r, 0), results[0], atol=1e-12)


def test_a_gradient_that_others_read():
    """The activation's gradient is asked for: it is an output of the step that computes it."""
    g = core.Graph()
    x, dy = (g.input(name, [40, 6], "float64") for name in ("x", "dy"))
    z = g.add(NORM, [x, None, None, None, None], {"eps": EPS})[0]
    y = g.add("relu", [z])[0]
    dx, dz = g.gradients([y], [dy], [x, z])
    plan = core.Plan(g, [y, dx, dz])
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal((40, 6)) for _ in range(2)]
    assert [s["op"] for s in plan.profile(feeds)] == [NORM, RESIDUAL]
    got = plan.run(feeds)
    z, saved = norm(feeds[0], 1.0, 0.0)
    grad = feeds[1] * (z > 0)
    want = [np.maximum(z, 0), norm_gradient(grad, saved)[0], grad]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_a_scale_that_changes_in_between():
    """The gradient is the new gamma's, the mask that of the output as it was."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((50, 3)) for _ in range(2)]
    g = core.Graph()
    x, dy = (g.input(name, [50, 3], "float64") for name in ("x", "dy"))
    gamma = g.variable(core.Variable(np.array([1.0, 2.0, 3.0])))
    y = g.add("relu", [g.add(NORM, [x, gamma, None, None, None], {"eps": EPS})[0]])[0]
    rate, step = (g.constant(np.array(v)) for v in (1.0, [0.0, 4.0, 1.0]))
    g.add("sgd_update", [gamma, step, None, rate])
    (dx,) = g.gradients([y], [dy], [x])
    plan = core.Plan(g, [y, dx])
    got = plan.run(arrays)
    before, _ = norm(arrays[0], np.array([1.0, 2.0, 3.0]), 0.0)
    _, after = norm(arrays[0], np.array([1.0, -2.0, 2.0]), 0.0)
    np.testing.assert_allclose(got[0], np.maximum(before, 0), atol=1e-10)
    want = norm_gradient(arrays[1] * (before > 0), after)[0]
    np.testing.assert_allclose(got[1], want, atol=1e-10)


def test_infinities_and_nan_as_apart():
    """Not finite: what the steps one by one give."""
    block = Block((30, 4), "relu", "before", gamma=False)
    block.feeds[3][3, 1] = np.nan  # r
    block.feeds[3][4, 2] = np.inf
    block.feeds[0][5, 3] = np.nan  # x: its channel
    apart = block.plan([block.z]).run(block.feeds)
    for a, b in zip(block.plan().run(block.feeds), apart, strict=False):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("channels", [24, 64, 77])
@pytest.mark.parametrize(
    "activation, residual", [("relu", None), ("relu", "norm"), ("relu", "before"), ("silu", None)]
)
def test_the_same_bits_at_any_number_of_threads(activation, residual, channels):
    """Also of outputs so large that they are stored past the caches."""
    block = Block((8, 40, 40, channels), activation, residual, "float32")
    plan, results, before = block.plan(), [], get_num_threads()
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            results.append([r.tobytes() for r in plan.run(block.feeds)])
    finally:
        set_num_threads(before)
    assert results[0] == results[1] == results[2]
    if block.safe:
        block.check(plan, 1e-4)


@pytest.mark.parametrize(
    "activation, residual", [("relu", False), ("silu", False), ("clip", True), (None, True)]
)
def test_written_as_one_operator(activation, residual):
    """An activation and a residual given to the operator itself differentiate as well."""
    shape = (6, 5, 8)
    rng = np.random.default_rng(1)
    x, r, dy = (rng.standard_normal(shape) for _ in range(3))
    attrs, f, derivative = ACTIVATIONS[activation]
    g = core.Graph()
    ids = [g.input(name, list(shape), "float64") for name in ("x", "r", "dy")]
    more = {"activation": activation, **attrs} if activation else {}
    inputs = [ids[0], None, None, None, None, ids[1] if residual else None]
    outs = g.add(NORM, inputs, {"eps": EPS, **more})
    assert len(outs) == (5 if activation else 4)
    grads = [v for v in g.gradients([outs[0]], [ids[2]], ids[:2]) if v is not None]
    got = core.Plan(g, [outs[0], *grads]).run([x, r, dy])
    z, saved = norm(x, 1.0, 0.0)
    s = z + r if residual else z
    grad = dy * derivative(s)
    want = [f(s), norm_gradient(grad, saved)[0], *([grad] if residual else [])]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_errors():
    g = core.Graph()
    x, other = g.input("x", [4, 3], "float32"), g.input("y", [4, 2], "float32")
    c = g.input("c", [3], "float32")
    with pytest.raises(ValueError, match=r"residual has shape \(4, 2\), expected \(4, 3\)"):
        g.add(NORM, [x, None, None, None, None, other])
    with pytest.raises(ValueError, match='activation is "swoosh", expected the name'):
        g.add(NORM, [x, None, None, None, None], {"activation": "swoosh"})
    with pytest.raises(ValueError, match='activation is "sin", expected one whose gradient is an'):
        g.add(BACKWARD, [x, None, c, c, x, c], {"activation": "sin"})
    with pytest.raises(ValueError, match="expected both shift and activation, or neither"):
        g.add(BACKWARD, [x, None, c, c, x], {"activation": "relu"})
    with pytest.raises(ValueError, match=r"y has shape \(4, 2\), expected \(4, 3\)"):
        g.add(RESIDUAL, [x, None, c, c, x, other], {"activation": "relu"})
    with pytest.raises(ValueError, match='activation is "", expected "relu" or "clip"'):
        g.add(RESIDUAL, [x, None, c, c, x, x])
    y = g.add(NORM, [x, None, None, None, None], {"activation": "sin"})
    with pytest.raises(ValueError, match="add the activation as a node of its own"):
        g.gradients([y[0]], [None], [x])


def test_memory_of_a_residual_block():
    """dresidual takes dy's memory and dx x's: only these two and y are there in that step."""
    shape = (8, 32, 32, 64)
    size = 4 * int(np.prod(shape))
    g = core.Graph()
    x, r = (g.input(name, list(shape), "float32") for name in ("x", "r"))
    a = g.add("scale", [x], {"alpha": 2.0})[0]
    y = g.add("relu", [g.add("add", [g.add(NORM, [a, None, None, None, None])[0], r])[0]])[0]
    grads = g.gradients([g.add("reduce_sum", [g.add("mul", [y, y])[0]])[0]], [None], [x, r])
    sums = [g.add("reduce_sum", [v])[0] for v in grads]
    assert core.Plan(g, sums).memory["arena"] < 3.2 * size
