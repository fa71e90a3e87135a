"""The planner: what its passes change, what it must not change, and where it puts memory."""

import numpy as np
import pytest

from fastconv._runtime import core

CONV = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1}


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def steps(plan, feeds):
    return [s["op"] for s in plan.profile(feeds) if s["algorithm"] != "view"]


def variables(channels, seed=0):
    """Return gamma, beta, mean and variance."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.uniform(0.5, 2, channels),
        rng.standard_normal(channels),
        rng.standard_normal(channels),
        rng.uniform(0.5, 2, channels),
    ]
    return [core.Variable(a.astype("float32")) for a in arrays]


def conv_bn_relu(bias=True):
    """Return a graph, its output and a function that computes it in float64 through the parts."""
    g = core.Graph()
    x = g.input("x", [2, 9, 7, 5], "float32")
    w = core.Variable(random(3, 3, 5, 6, seed=1))
    b = core.Variable(random(6, seed=2))
    norm = variables(6)
    conv = g.add("conv2d", [x, g.variable(w), g.variable(b) if bias else None], CONV)[0]
    y = g.add("batch_norm_inference", [conv, *map(g.variable, norm)], {"eps": 1e-3})[0]
    out = g.add("relu", [y])[0]

    def expected(data):
        p = core.Graph()
        xi = p.input("x", list(data.shape), "float32")
        c = p.add("conv2d", [xi, p.variable(w), p.variable(b) if bias else None], CONV)[0]
        values = core.Plan(p, [c]).run([data])[0].astype("float64")
        gamma, beta, mean, var = (v.numpy().astype("float64") for v in norm)
        return np.maximum((values - mean) / np.sqrt(var + 1e-3) * gamma + beta, 0)

    return g, out, expected, norm


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_and_relu_fold_into_the_convolution(bias):
    g, out, expected, _ = conv_bn_relu(bias)
    plan = core.Plan(g, [out])
    x = random(2, 9, 7, 5)
    assert steps(plan, [x]) == ["conv2d"]
    np.testing.assert_allclose(plan.run([x])[0], expected(x), rtol=1e-4, atol=1e-4)


def test_folded_weights_follow_their_variables():
    g, out, expected, norm = conv_bn_relu()
    plan = core.Plan(g, [out])
    x = random(2, 9, 7, 5)
    before = plan.run([x])[0]
    norm[0].assign(norm[0].numpy() * 3)
    after = plan.run([x])[0]
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, expected(x), rtol=1e-4, atol=1e-4)


def test_a_value_that_is_wanted_is_not_folded_away():
    g = core.Graph()
    x = g.input("x", [1, 5, 5, 3], "float32")
    conv = g.add("conv2d", [x, g.constant(random(3, 3, 3, 4))], CONV)[0]
    relu = g.add("relu", [conv])[0]
    plan = core.Plan(g, [conv, relu])
    data = random(1, 5, 5, 3)
    a, b = plan.run([data])
    assert (a < 0).any()
    np.testing.assert_array_equal(np.maximum(a, 0), b)


def test_a_convolution_read_twice_keeps_its_output():
    g = core.Graph()
    x = g.input("x", [1, 5, 5, 3], "float32")
    conv = g.add("conv2d", [x, g.constant(random(3, 3, 3, 4))], CONV)[0]
    total = g.add("add", [g.add("relu", [conv])[0], conv])[0]
    (alone,) = core.Plan(g, [conv]).run([random(1, 5, 5, 3)])
    (y,) = core.Plan(g, [total]).run([random(1, 5, 5, 3)])
    np.testing.assert_allclose(y, np.maximum(alone, 0) + alone, rtol=1e-6)


def test_transposes_that_undo_each_other_vanish():
    g = core.Graph()
    x = g.input("x", [2, 3, 4, 5], "float32")
    there = g.add("transpose", [x], {"perm": [0, 2, 3, 1]})[0]
    back = g.add("transpose", [there], {"perm": [0, 3, 1, 2]})[0]
    out = g.add("relu", [back])[0]
    plan = core.Plan(g, [out])
    data = random(2, 3, 4, 5)
    assert steps(plan, [data]) == ["relu"]
    np.testing.assert_array_equal(plan.run([data])[0], np.maximum(data, 0))
    np.testing.assert_array_equal(core.Plan(g, [back]).run([data])[0], data)
    other = g.add("transpose", [there], {"perm": [0, 2, 3, 1]})[0]
    result = core.Plan(g, [other]).run([data])[0]
    np.testing.assert_array_equal(result, data.transpose(0, 2, 3, 1).transpose(0, 2, 3, 1))


def test_what_nobody_wants_is_not_computed():
    g = core.Graph()
    x = g.input("x", [4, 4], "float32")
    g.add("exp", [x])
    plan = core.Plan(g, [g.add("relu", [x])[0]])
    assert steps(plan, [random(4, 4)]) == ["relu"]


def test_inputs_variables_and_views_as_outputs():
    g = core.Graph()
    x = g.input("x", [2, 6], "float32")
    v = core.Variable(random(3))
    view = g.add("reshape", [x], {"shape": [3, 4]})[0]
    y = g.add("relu", [x])[0]
    flat = g.add("reshape", [y], {"shape": [12]})[0]
    data = random(2, 6)
    results = core.Plan(g, [x, g.variable(v), view, y, flat, y]).run([data])
    wanted = np.maximum(data, 0)
    for got, expected in zip(
        results,
        [data, v.numpy(), data.reshape(3, 4), wanted, wanted.reshape(12), wanted],
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)
    assert not np.shares_memory(results[0], data)


def test_elementwise_chains_work_in_place():
    g = core.Graph()
    x = g.input("x", [1000, 1000], "float32")
    y = x
    for _ in range(6):
        y = g.add("scale", [y], {"alpha": 1.5})[0]
    plan = core.Plan(g, [g.add("reduce_sum", [y])[0]])
    assert plan.memory["arena"] < 2 * 4_000_000
    data = np.ones((1000, 1000), "float32")
    np.testing.assert_allclose(plan.run([data])[0], 1.5**6 * 1e6, rtol=1e-5)
    assert (data == 1).all(), "the caller's array was written"


def test_in_place_spares_what_is_read_later():
    g = core.Graph()
    x = g.input("x", [64], "float32")
    a = g.add("scale", [x], {"alpha": 2.0})[0]
    b = g.add("neg", [a])[0]
    c = g.add("mul", [a, b])[0]
    d = g.add("add", [c, g.add("reshape", [a], {"shape": [64]})[0]])[0]
    data = random(64)
    np.testing.assert_allclose(core.Plan(g, [d]).run([data])[0], -4 * data**2 + 2 * data, rtol=1e-5)


def test_memory_is_reused_along_a_chain():
    g = core.Graph()
    y = g.input("x", [1, 32, 32, 16], "float32")
    w = g.constant(random(3, 3, 16, 16))
    for _ in range(10):
        y = g.add("conv2d", [y, w], CONV)[0]
    tensor = 32 * 32 * 16 * 4
    assert core.Plan(g, [y], strict=True).memory["arena"] <= 2 * tensor + 4096


def test_a_training_step_changes_variables_once():
    g = core.Graph()
    w = core.Variable(np.full((3, 2), 0.5, "float32"))
    x = g.input("x", [4, 3], "float32")
    y = g.add("dense", [x, g.variable(w)])[0]
    (grad,) = g.gradients([y], [None], [g.variable(w)])
    rate = g.input("lr", [], "float32")
    g.add("sgd_update", [g.variable(w), grad, None, rate])
    plan = core.Plan(g, [y])
    data = random(4, 3)
    version = w.version
    before = w.numpy()
    (out,) = plan.run([data, np.array(0.1, "float32")])
    np.testing.assert_allclose(out, data @ before, rtol=1e-5, atol=1e-6)
    expected = before - 0.1 * data.sum(0)[:, None] * np.ones((1, 2))
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert w.version > version


def test_gradients_without_a_path_are_none():
    g = core.Graph()
    x, z = (g.input(n, [3], "float32") for n in "xz")
    y = g.add("relu", [x])[0]
    assert g.gradients([y], [None], [z]) == [None]


def test_feeds_are_checked():
    g = core.Graph()
    x = g.input("image", [2, 3], "float32")
    plan = core.Plan(g, [g.add("relu", [x])[0]])
    with pytest.raises(ValueError, match=r"got 0 arrays, expected 1"):
        plan.run([])
    with pytest.raises(ValueError, match=r"'image' has shape \(3, 2\).*expected \(2, 3\)"):
        plan.run([random(3, 2)])
    with pytest.raises(ValueError, match="float64, expected"):
        plan.run([random(2, 3).astype("float64")])
    with pytest.raises(TypeError, match="not a NumPy array"):
        plan.run([[1.0]])


@pytest.mark.parametrize(
    "op, attrs, message",
    [
        ("conv2d", {**CONV, "strides": [0, 1]}, "strides is .0, 1., expected numbers from 1"),
        ("conv2d", {**CONV, "pads": [0, 0, 0]}, "pads has 3 numbers, expected 4"),
        ("conv2d", {**CONV, "pads": [0, 0, 0, -1]}, "expected numbers from 0"),
        ("conv2d", {**CONV, "groups": 2}, "channels"),
        ("conv2d", {**CONV, "dilations": [9, 1]}, "more than the padded input"),
        ("conv2d", {"strides": [1, 1]}, "attribute .* is missing"),
        ("conv2d", {**CONV, "strides": [2**70, 1]}, "64-bit integer"),
        ("no_such", {}, "there is no operator 'no_such'"),
    ],
)
def test_bad_nodes_name_themselves(op, attrs, message):
    g = core.Graph()
    x = g.input("x", [1, 5, 5, 3], "float32")
    w = g.input("w", [3, 3, 3, 4], "float32")
    with pytest.raises(ValueError, match=message):
        g.add(op, [x, w], attrs, "layer7")
    if op == "conv2d":
        with pytest.raises(ValueError, match=r"conv2d 'layer7'|attribute"):
            g.add(op, [x, w], attrs, "layer7")


def test_shapes_that_cannot_be():
    g = core.Graph()
    for shape in ([-1, 2], [2**62, 2**62], [2**31, 2**31]):
        with pytest.raises(ValueError, match=r"negative dimension|too large"):
            g.input("x", shape, "float32")


def test_plans_share_one_arena():
    resource = pytest.importorskip("resource", reason="needs getrusage")
    plans, feeds = [], []
    for n in range(20):
        g = core.Graph()
        x = g.input("x", [1, 500 + n, 500, 8], "float32")
        a = g.add("exp", [x])[0]
        b = g.add("reduce_sum", [g.add("mul", [a, x])[0]])[0]
        plans.append(core.Plan(g, [b]))
        feeds.append(np.zeros((1, 500 + n, 500, 8), "float32"))
    for plan, x in zip(plans, feeds, strict=True):
        plan.run([x])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        for plan, x in zip(plans, feeds, strict=True):
            plan.run([x])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 20_000, f"{grown} KiB more"


def test_a_run_that_raises_still_tells_that_variables_changed():
    # Batch-norm has updated its running mean when the bad label is found: folded weights are old.
    g = core.Graph()
    x = g.input("x", [4, 3], "float32")
    label = g.input("label", [4], "int64")
    mean, var = core.Variable(np.zeros(3, "float32")), core.Variable(np.ones(3, "float32"))
    inputs = [x, None, None, g.variable(mean), g.variable(var)]
    y = g.add("batch_norm_training", inputs, {"eps": 1e-3, "momentum": 0.5})[0]
    loss = g.add("softmax_cross_entropy", [y, label])[0]
    plan = core.Plan(g, [loss])
    version = mean.version
    with pytest.raises(ValueError, match=r"target 7 at index 1 is outside \[0, 3\)"):
        plan.run([random(4, 3) + 5, np.array([0, 7, 1, 2])])
    assert (mean.numpy() != 0).all()
    assert mean.version > version


@pytest.mark.parametrize("op", ["reshape", "transposes"])
def test_what_was_read_before_an_update_keeps_its_value(op):
    g = core.Graph()
    v = core.Variable(np.ones((2, 2), "float32"))
    vi = g.variable(v)
    if op == "reshape":
        before = g.add("reshape", [vi], {"shape": [4]})[0]
    else:
        turned = g.add("transpose", [vi], {"perm": [1, 0]})[0]
        before = g.add("transpose", [turned], {"perm": [1, 0]})[0]
    rate = g.constant(np.array(1, "float32"))
    g.add("sgd_update", [vi, g.constant(np.ones((2, 2), "float32")), None, rate])
    after = g.add("scale", [vi], {"alpha": 1.0})[0]
    total = g.add("reduce_sum", [before])[0]
    a, b, c = core.Plan(g, [before, after, total]).run([])
    assert (a == 1).all() and (b == 0).all() and c == 4


def test_empty_sizes_do_not_divide():
    g = core.Graph()
    x = g.input("x", [3, 0], "float32")
    y = g.add("softmax", [x], {"axis": 0})[0]
    rows = g.input("rows", [0, 5], "float32")
    dy = g.input("dy", [0, 2], "float32")
    dw = g.add("dense_backward_weights", [rows, dy])[0]
    feeds = [np.zeros(s, "float32") for s in ((3, 0), (0, 5), (0, 2))]
    soft, gradient = core.Plan(g, [y, dw]).run(feeds)
    assert soft.shape == (3, 0)
    np.testing.assert_array_equal(gradient, np.zeros((5, 2)))


def test_nonsense_arguments():
    g = core.Graph()
    x = g.input("x", [2, 3], "float32")
    with pytest.raises((ValueError, TypeError)):
        g.variable(None)
    y = g.add("transpose", [x], {"perm": np.array([1, 0])})[0]
    assert g.shape(y) == (3, 2)
    logits, label = g.input("l", [2, 3], "float32"), g.input("t", [2], "int64")
    with pytest.raises(ValueError, match="got 3 inputs, expected at most 2"):
        g.add("softmax_cross_entropy", [logits, label, logits])


def test_padding_larger_than_any_memory_is_refused_or_not_needed():
    from fastconv import functional

    x, far = np.ones((1, 1, 1, 1), "float32"), 2**26
    try:
        y = functional.conv2d(x, x, stride=far, padding=far)
    except (MemoryError, ValueError):
        return
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_unaligned_arrays():
    g = core.Graph()
    label = g.input("t", [5], "int64")
    logits = g.input("l", [5, 3], "float32")
    plan = core.Plan(g, [g.add("softmax_cross_entropy", [logits, label])[0]])
    labels = np.frombuffer(b"x" + np.arange(5).clip(0, 2).tobytes(), "int64", offset=1)
    assert not labels.flags.aligned
    values = random(5, 3)
    expected = plan.run([labels.copy(), values])[0]
    np.testing.assert_array_equal(plan.run([labels, values])[0], expected)
