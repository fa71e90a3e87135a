"""Plans with one store share what they prepare from the same variables."""

import threading

import numpy as np
import pytest

from fastconv._runtime import core

CONV = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1}
CHANNELS = 32


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


class Net:
    """Convolutions with batch-norms that fold, a dense layer, a mul by a computed constant."""

    def __init__(self, layers=2):
        self.weights = [
            core.Variable(random(3, 3, CHANNELS, CHANNELS, seed=i) / 16) for i in range(layers)
        ]
        self.norms = [
            [
                core.Variable(
                    np.random.default_rng(i * 9 + j).uniform(0.5, 2, CHANNELS).astype("float32")
                )
                for j in range(4)
            ]
            for i in range(layers)
        ]
        self.head = core.Variable(random(CHANNELS, 5, seed=50))

    def plan(self, size, store=None, batch=1):
        g = core.Graph()
        y = g.input("x", [batch, size, size, CHANNELS])
        for w, norm in zip(self.weights, self.norms, strict=True):
            y = g.add("conv2d", [y, g.variable(w)], CONV)[0]
            y = g.add("batch_norm_inference", [y, *map(g.variable, norm)], {"eps": 1e-3})[0]
            y = g.add("relu", [y])[0]
        y = g.add("dense", [y, g.variable(self.head)])[0]
        scale = g.add("exp", [g.constant(np.arange(5, dtype="float32"))])[0]
        y = g.add("mul", [y, scale])[0]
        # Strict: one algorithm, and so one pack, whatever the size.
        return core.Plan(g, [y], store, strict=True)

    def check(self, plan, size, batch=1, seed=0):
        """Compare with a plan of its own."""
        x = random(batch, size, size, CHANNELS, seed=seed)
        np.testing.assert_array_equal(plan.run([x])[0], self.plan(size, batch=batch).run([x])[0])


def test_plans_of_other_shapes_need_no_more_memory():
    net, store = Net(), core.PackStore()
    plans = [net.plan(7, store)]
    net.check(plans[0], 7)
    one = store.bytes
    assert one == plans[0].memory["prepared"] > 0
    for size, batch in ((8, 1), (15, 3), (30, 1), (7, 1), (1, 2)):
        plans.append(net.plan(size, store, batch))
        net.check(plans[-1], size, batch)
        assert store.bytes == one
    del plans[:-1]
    assert store.bytes == one
    net.check(plans[0], 1, 2)
    plans.clear()
    assert store.bytes == 0


def test_folded_weights_stay_packed_only():
    net, store = Net(3), core.PackStore()
    plan = net.plan(9, store)
    net.check(plan, 9)
    packed = 3 * 9 * CHANNELS * CHANNELS * 4
    assert packed <= store.bytes < packed + 8192, (
        "the folded weights were kept beside the packed ones"
    )


def test_what_is_assigned_is_seen_by_every_plan():
    net, store = Net(), core.PackStore()
    sizes = (5, 9)
    plans = [net.plan(s, store) for s in sizes]
    x = [random(1, s, s, CHANNELS) for s in sizes]
    before = [p.run([i])[0] for p, i in zip(plans, x, strict=True)]
    used = store.bytes
    for variable in (net.weights[1], net.norms[0][0], net.norms[1][3], net.head):
        variable.assign(variable.numpy() * 1.5)
        for plan, size, i, old in zip(plans, sizes, x, before, strict=True):
            assert not np.array_equal(plan.run([i])[0], old)
            net.check(plan, size)
        assert store.bytes == used
        before = [p.run([i])[0] for p, i in zip(plans, x, strict=True)]


def test_a_new_plan_after_the_old_one_went():
    net, store = Net(), core.PackStore()
    for size in (6, 7, 6):
        plan = net.plan(size, store)
        net.check(plan, size)
        del plan
        assert store.bytes == 0


def test_other_variables_and_attributes_are_not_taken_for_the_same():
    store = core.PackStore()
    x = random(1, 6, 6, 8)
    w = [core.Variable(random(3, 3, 8, 8, seed=s)) for s in (1, 2)]
    cases = [(w[0], {}), (w[1], {}), (w[0], {"dilations": [2, 1]}), (w[0], {"strides": [2, 2]})]
    plans, expected = [], []
    for variable, changes in cases:
        for op in ("conv2d", "conv_transpose2d"):
            g = core.Graph()
            attrs = {**CONV, **changes}
            if op == "conv_transpose2d":
                sizes = zip(attrs["strides"], attrs["dilations"], strict=True)
                attrs["output_size"] = [5 * s + 2 * d + 1 - 2 for s, d in sizes]
            y = g.add(op, [g.input("x", x.shape), g.variable(variable)], attrs)[0]
            plans.append(core.Plan(g, [y], store))
            expected.append(core.Plan(g, [y]).run([x])[0])
    for _ in range(2):
        for plan, y in zip(plans, expected, strict=True):
            np.testing.assert_array_equal(plan.run([x])[0], y)


def computed(store, build):
    """Run a graph of variables alone."""
    g = core.Graph()
    return core.Plan(g, [build(g)], store), core.Plan(g, [build(g)]).run([])[0]


def test_computed_constants_differ_by_attribute_shape_and_content():
    store = core.PackStore()
    v = core.Variable(random(4, 6))

    def reduced(shape, axis):
        def build(g):
            y = g.add("reshape", [g.variable(v)], {"shape": shape})[0]
            return g.add("reduce_sum", [y], {"axes": [axis]})[0]

        return build

    def scaled(alpha, constant):
        def build(g):
            y = g.add("scale", [g.variable(v)], {"alpha": alpha})[0]
            return g.add("add", [y, g.constant(np.array(constant, "float32"))])[0]

        return build

    builds = [reduced([4, 6], 0), reduced([4, 6], 1), reduced([6, 4], 0), reduced([6, 4], 1)]
    builds += [scaled(2.0, 1), scaled(2.0, 1.5), scaled(2.0 + 1e-15, 1), scaled(2.0, [1])]
    builds += [scaled(-0.0, 0), scaled(0.0, -0.0)]
    pairs = [computed(store, b) for b in builds]
    for plan, expected in pairs:
        result = plan.run([])[0]
        np.testing.assert_array_equal(result, expected)
        assert result.shape == expected.shape


def test_equal_small_constants_are_one():
    store = core.PackStore()

    def build(g):
        return g.add("exp", [g.constant(np.arange(1000, dtype="float32"))])[0]

    plans = [computed(store, build)[0] for _ in range(3)]
    for plan in plans:
        plan.run([])
    assert store.bytes == 4000


def test_a_value_that_another_plan_only_passes_through():
    # One plan keeps exp(v), the other only its square: neither may free or miss the other's.
    store, v = core.PackStore(), core.Variable(random(100))

    def build(square):
        g = core.Graph()
        y = g.add("exp", [g.variable(v)])[0]
        return core.Plan(g, [g.add("square", [y])[0] if square else y], store)

    inner, outer = build(False), build(True)
    for _ in range(2):
        e = np.exp(v.numpy())
        np.testing.assert_allclose(outer.run([])[0], e * e, rtol=1e-5)
        np.testing.assert_allclose(inner.run([])[0], e, rtol=1e-5)
        v.assign(v.numpy() + 1)
    assert store.bytes == 800
    inner.run([])
    del inner
    assert store.bytes == 400
    np.testing.assert_allclose(outer.run([])[0], np.exp(v.numpy()) ** 2, rtol=1e-5)


def test_a_variable_that_one_plan_changes():
    # The training plan reads w as it is; the other plan's packed weights follow.
    store, w = core.PackStore(), core.Variable(random(3, 2))
    g = core.Graph()
    y = g.add("dense", [g.input("x", [4, 3]), g.variable(w)])[0]
    predict = core.Plan(g, [y], store)
    (grad,) = g.gradients([y], [None], [g.variable(w)])
    g.add("sgd_update", [g.variable(w), grad, None, g.constant(np.array(0.1, "float32"))])
    train = core.Plan(g, [y], store)
    x = random(4, 3)
    for _ in range(3):
        np.testing.assert_allclose(predict.run([x])[0], x @ w.numpy(), rtol=1e-5, atol=1e-6)
        before = w.numpy()
        np.testing.assert_allclose(train.run([x])[0], x @ before, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(before, w.numpy())


def test_threads_that_assign_run_and_make_plans():
    net, store = Net(), core.PackStore()
    x = {s: random(1, s, s, CHANNELS) for s in (4, 6, 9)}
    start = net.weights[0].numpy()
    expected = {}
    for scale in (1, 2):
        net.weights[0].assign(start * scale)
        for s in x:
            expected[s, scale] = net.plan(s).run([x[s]])[0]
    net.weights[0].assign(start)
    shared = {s: net.plan(s, store) for s in x}
    failures, stop = [], threading.Event()

    def run(size, fresh):
        try:
            while not stop.is_set():
                plan = net.plan(size, store) if fresh else shared[size]
                y = plan.run([x[size]])[0]
                # A run that an assignment overtakes may see both, but never anything else.
                low = np.minimum(expected[size, 1], expected[size, 2])
                high = np.maximum(expected[size, 1], expected[size, 2])
                if not np.isfinite(y).all() or y.shape != low.shape or y.max() > 2 * high.max() + 1:
                    failures.append(size)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(s, f)) for s in x for f in (False, True)]
    for t in threads:
        t.start()
    for i in range(60):
        net.weights[0].assign(start * (1 + i % 2))
    stop.set()
    for t in threads:
        t.join()
    assert failures == []
    net.weights[0].assign(start * 2)
    for s, plan in shared.items():
        np.testing.assert_array_equal(plan.run([x[s]])[0], expected[s, 2])


def test_plans_that_start_together():
    net, store = Net(), core.PackStore()
    plans = [net.plan(s, store) for s in (4, 5, 6, 7) * 2]
    x = [random(1, s, s, CHANNELS) for s in (4, 5, 6, 7) * 2]
    results = [None] * len(plans)
    gate = threading.Barrier(len(plans))

    def run(i):
        gate.wait()
        results[i] = plans[i].run([x[i]])[0]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(plans))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for s, i, y in zip((4, 5, 6, 7) * 2, x, results, strict=True):
        np.testing.assert_array_equal(y, net.plan(s).run([i])[0])
    assert store.bytes == plans[0].memory["prepared"]


def test_a_preparation_that_raises_leaves_the_store_usable():
    store = core.PackStore()
    label = core.Variable(np.array([0, 7]))
    logits = core.Variable(random(2, 3))
    g = core.Graph()
    y = g.add("softmax_cross_entropy", [g.variable(logits), g.variable(label)])[0]
    plan = core.Plan(g, [y], store)
    for _ in range(2):
        with pytest.raises(ValueError, match="target 7 at index 1"):
            plan.run([])
        assert store.bytes == 0
    label.assign(np.array([0, 2]))
    assert np.isfinite(plan.run([])[0]).all()


def test_a_long_chain_of_constants():
    # Neither planning nor freeing may recurse along it.
    store, v = core.PackStore(), core.Variable(np.zeros(3, "float32"))
    g = core.Graph()
    y = g.variable(v)
    for _ in range(20_000):
        y = g.add("scale", [y], {"beta": 1.0})[0]
    plan = core.Plan(g, [y], store)
    np.testing.assert_array_equal(plan.run([])[0], [20_000] * 3)
    assert store.bytes == 12
    del plan
    assert store.bytes == 0


def test_store_argument():
    g = core.Graph()
    y = g.add("relu", [g.input("x", [2])])[0]
    core.Plan(g, [y], store=None).run([random(2)])
    with pytest.raises(TypeError):
        core.Plan(g, [y], store=3)
