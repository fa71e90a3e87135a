"""Updates of variables move to where their gradients are; who reads a variable sees what it did."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv._runtime import core

SIZE = 256


def _program(data, variables, length):
    """Return a random program: reads, sums of what was read, and updates."""
    program = []
    values = 0
    for _ in range(length):
        kind = data.draw(st.sampled_from(["read", "sum", "update", "update"]))
        if kind == "read" or values == 0:
            program.append(("read", data.draw(st.integers(0, variables - 1))))
            values += 1
        elif kind == "sum":
            program.append(("sum", *data.draw(st.tuples(*[st.integers(0, values - 1)] * 2))))
            values += 1
        else:
            which = data.draw(st.integers(0, variables - 1))
            program.append(("update", which, data.draw(st.integers(0, values - 1))))
    return program, values


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_programs_give_what_their_order_says(data):
    count = data.draw(st.integers(1, 3))
    program, values = _program(data, count, data.draw(st.integers(1, 14)))
    kept = sorted(data.draw(st.sets(st.integers(0, values - 1), max_size=3)))
    start = [np.arange(4, dtype="float64") * (i + 1) for i in range(count)]
    variables = [core.Variable(s, f"v{i}") for i, s in enumerate(start)]
    g = core.Graph()
    rate = g.input("lr", [], "float64")
    ids, known, now = [], [], [s.copy() for s in start]
    for kind, *args in program:
        if kind == "read":  # as (1, 4), so that it is a view or a copy
            ids.append(g.add("reshape", [g.variable(variables[args[0]])], {"shape": [1, 4]})[0])
            known.append(now[args[0]].copy())
        elif kind == "sum":
            ids.append(g.add("add", [ids[a] for a in args])[0])
            known.append(known[args[0]] + known[args[1]])
        else:
            gradient = g.add("reshape", [ids[args[1]]], {"shape": [4]})[0]
            target = g.variable(variables[args[0]])
            g.add("sgd_update", [target, gradient, None, rate], {"momentum": 0.0})
            now[args[0]] = now[args[0]] - 0.5 * known[args[1]]
    plan = core.Plan(g, [ids[k] for k in kept])
    results = plan.run([np.array(0.5)])
    for k, result in zip(kept, results, strict=True):
        np.testing.assert_allclose(result.ravel(), known[k])
    for variable, expected in zip(variables, now, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected)


def _live(layers, clip):
    """Return the bytes that training a chain of wide dense layers keeps besides its weights."""
    import fastconv
    from fastconv import layers as L

    model = fastconv.Sequential(
        [L.Input((SIZE,)), *[L.Dense(SIZE, activation="relu") for _ in range(layers)]]
    )
    model.compile(fastconv.optimizers.SGD(0.1, **clip), "mse")
    batch = np.zeros((2, SIZE), "float32")
    model.train_on_batch(batch, batch)
    (step,) = model._plans.values()
    memory = step.plan.memory
    assert memory["live"] <= memory["arena"] < 1.1 * memory["live"]
    return memory["live"]


@pytest.mark.parametrize("clip", [{}, {"clipvalue": 1.0}, {"clipnorm": 1.0}])
def test_the_gradients_of_all_weights_are_not_there_together(clip):
    matrix = 4 * SIZE * SIZE
    assert _live(8, clip) < 3.5 * matrix
    # Their norm needs all of them.
    assert _live(8, {"global_clipnorm": 1.0}) >= 8 * matrix


def _ops(plan, feeds):
    return [row["op"] for row in plan.profile(feeds)]


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 0, 1, 1], [2, 0, 1, 3]])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 4)])
def test_gradients_of_padded_convolutions_pad_no_image(pads, stride, groups):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 8, 4))
    w = core.Variable(rng.standard_normal((3, 3, 4 // groups, 4)))
    top, left, bottom, right = pads

    def graph(hidden):
        g = core.Graph()
        image = g.input("x", list(x.shape), "float64")
        padded = g.add("pad", [image], {"pads": [0, top, left, 0, 0, bottom, right, 0]})[0]
        attrs = {"strides": [stride] * 2, "pads": [0] * 4, "dilations": [1, 1], "groups": groups}
        y = g.add("conv2d", [padded, g.variable(w), None], attrs)[0]
        total = g.add("reduce_sum", [g.add("square", [y])[0]])[0]
        wrt = [image, g.variable(w)] + ([padded] if hidden else [])
        return core.Plan(g, [total, *g.gradients([total], [None], wrt)])

    folded, whole = graph(False), graph(True)
    assert "pad" not in _ops(folded, [x])
    assert "pad" in _ops(whole, [x])
    results, expected = folded.run([x]), whole.run([x])
    for a, b in zip(results, expected[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    inner = expected[3][:, top : top + 9, left : left + 8]
    np.testing.assert_allclose(inner, results[1], rtol=1e-12, atol=1e-12)
