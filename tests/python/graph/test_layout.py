"""Layers between transposes from and to channels first run without them."""

import numpy as np
import pytest

from fastconv._runtime import core

RNG = np.random.default_rng(5)
LAST, FIRST, OIHW = [0, 2, 3, 1], [0, 3, 1, 2], [2, 3, 1, 0]


def random(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


class Net:
    """A graph of inputs of its own, run on the arrays that it is given."""

    def __init__(self, *arrays):
        self.arrays = arrays
        self.graph = core.Graph()
        self.ids = [self.graph.input(str(i), a.shape, str(a.dtype)) for i, a in enumerate(arrays)]

    def add(self, op, inputs, **attrs):
        return self.graph.add(op, inputs, attrs)

    def run(self, outputs, feeds=None, threads=0):
        """Return the results and the operators that ran, views left out."""
        plan = core.Plan(self.graph, outputs)
        feeds = list(self.arrays) if feeds is None else feeds
        steps = [s["op"] for s in plan.profile(feeds) if s["algorithm"] != "view"]
        return plan.run(feeds, threads), steps


def conv_attrs(rng, h, w):
    return {
        "strides": [int(s) for s in rng.integers(1, 4, 2)],
        "pads": [int(p) for p in rng.integers(0, 3, 4)],
        "dilations": [int(d) for d in rng.integers(1, 3, 2)],
    }


def expected_conv(x, w, b, attrs):
    """The same convolution on channels last, by plain direct summation in float64."""
    g = Net(*(a.astype("float64") for a in (x.transpose(LAST), w.transpose(OIHW), b)))
    (y,), steps = g.run(g.add("conv2d", g.ids, algorithm="direct", **attrs))
    assert steps == ["conv2d"]
    return y.transpose(FIRST)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution(dtype):
    """Odd sizes, strides, padding and dilation; some shapes run on the planes as they lie."""
    without = 0
    for _ in range(60):
        c, k, size = int(RNG.integers(1, 9)), int(RNG.integers(1, 40)), RNG.integers(1, 5, 2)
        h, w = (int(n) for n in RNG.integers(9, 90, 2))
        x, weight = (
            random(int(RNG.integers(1, 3)), c, h, w, dtype=dtype),
            random(k, c, *size, dtype=dtype),
        )
        b, attrs = random(k, dtype=dtype), conv_attrs(RNG, h, w)
        activation = {"activation": "relu"} if RNG.random() < 0.3 else {}
        g = Net(x, weight, b)
        ids = [
            g.add("transpose", g.ids[:1], perm=LAST)[0],
            g.add("transpose", g.ids[1:2], perm=OIHW)[0],
        ]
        y = g.add("conv2d", [*ids, g.ids[2]], **attrs, **activation)
        out = g.add("transpose", y, perm=FIRST)
        (got,), steps = g.run(out)
        without += steps == ["conv2d"]
        expected = expected_conv(x, weight, b, attrs)
        if activation:
            expected = np.maximum(expected, 0)
        assert got.shape == expected.shape
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=tolerance * np.abs(expected).max() + 1e-30
        )
        (again,), _ = g.run(out, threads=3)
        assert np.array_equal(got, again)
    assert without > 8


@pytest.mark.parametrize("activation", ["", "relu", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "c, k, size, kernel, stride",
    [
        (270, 65, 7, 1, 1),
        (300, 150, 7, 3, 2),
        (259, 66, 14, 1, 1),
        (40, 33, 5, 5, 1),
        (9, 90, 10, 3, 2),
    ],
)
def test_pixels_beside_whole_vectors(c, k, size, kernel, stride, dtype, activation):
    """Maps of 7x7, 14x14 and the like, on planes as they lie."""
    hw = size * stride
    x = random(2, c, hw, hw + stride, dtype=dtype)[:, :, :, :hw].copy()
    w, b = random(k, c, kernel, kernel, dtype=dtype), random(k, dtype=dtype)
    attrs = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "dilations": [1, 1]}
    g = Net(x, w, b)
    ids = [
        g.add("transpose", g.ids[:1], perm=LAST)[0],
        g.add("transpose", g.ids[1:2], perm=OIHW)[0],
    ]
    y = g.add("conv2d", [*ids, g.ids[2]], **attrs)
    if activation:
        y = g.add(activation, y)
    out = g.add("transpose", y, perm=FIRST)
    (got,), _ = g.run(out)
    want = expected_conv(x, w, b, attrs)
    want = {"relu": np.maximum(want, 0), "silu": want / (1 + np.exp(-want))}.get(activation, want)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    (again,), _ = g.run(out, threads=3)
    assert np.array_equal(got, again)


def test_other_readers_keep_their_layout():
    """The convolution's output is also read channels last: its transpose stays."""
    x, w = random(1, 8, 30, 30), random(16, 8, 3, 3)
    g = Net(x, w)
    ids = [g.add("transpose", g.ids[:1], perm=LAST)[0], g.add("transpose", g.ids[1:], perm=OIHW)[0]]
    y = g.add("conv2d", ids, strides=[2, 2], pads=[0] * 4, dilations=[1, 1])
    out = g.add("transpose", y, perm=FIRST)
    (last, first), steps = g.run([y[0], out[0]])
    assert "transpose" in steps
    assert np.array_equal(last.transpose(FIRST), first)


def test_weights_that_stay_are_packed_once():
    """A network's convolution is channels last also between transposes."""
    g = Net(random(1, 8, 30, 30))
    w = g.add("transpose", [g.graph.variable(core.Variable(random(16, 8, 1, 1)))], perm=OIHW)
    x = g.add("transpose", g.ids, perm=LAST)
    y = g.add("conv2d", [*x, *w], strides=[1, 1], pads=[0] * 4, dilations=[1, 1])
    _, steps = g.run(g.add("transpose", y, perm=FIRST))
    assert steps == ["transpose", "conv2d", "transpose"]


def stem(x, w, b, attrs, activation="", perm=None, **options):
    """A convolution with weights that stay, on x as it lies or through a transpose."""
    g = Net(x)
    ids = g.add("transpose", g.ids, perm=perm) if perm else g.ids
    variables = [g.graph.variable(core.Variable(a)) for a in (w, b)]
    (y,) = g.add("conv2d", [*ids, *variables], **attrs)
    if activation:
        (y,) = g.add(activation, [y])
    plan = core.Plan(g.graph, [y], **options)
    return plan, [s["op"] for s in plan.profile([x]) if s["algorithm"] != "view"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"strict": True}, {"any_size": True}])
def test_few_planes_are_read_as_they_lie(dtype, options):
    """The first layer of networks: the same bits as on channels last."""
    for i in range(40):
        c, k = int(RNG.choice([2, 3, 3, 4])), int(RNG.integers(1, 70))
        n, (h, w) = int(RNG.integers(1, 4)), (int(s) for s in RNG.integers(13, 90, 2))
        attrs = conv_attrs(RNG, h, w)
        if i % 4 == 0:
            attrs["pads"] = [0] * 4
        if i % 5 == 0:
            attrs["algorithm"] = "direct"
        x, b = random(n, c, h, w, dtype=dtype), random(k, dtype=dtype)
        weight = random(*(int(s) for s in RNG.integers(1, 8, 2)), c, k, dtype=dtype)
        activation = str(RNG.choice(["", "relu", "silu"]))
        plan, steps = stem(x, weight, b, attrs, activation, perm=LAST, **options)
        assert steps == ["conv2d"]
        (got,) = plan.run([x])
        last = np.ascontiguousarray(x.transpose(LAST))
        (expected,) = stem(last, weight, b, attrs, activation, **options)[0].run([last])
        assert np.array_equal(got, expected)
        assert np.array_equal(got, plan.run([x], 3)[0])
    exact = Net(*(a.astype("float64") for a in (last, weight, b)))
    attrs["algorithm"] = "direct"
    (want,), _ = exact.run(exact.add("conv2d", exact.ids, **attrs))
    want = {"relu": np.maximum(want, 0), "silu": want / (1 + np.exp(-want))}.get(activation, want)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("c, groups, steps", [(5, 1, 2), (4, 2, 2), (3, 1, 1)])
def test_which_planes_are_read(c, groups, steps):
    x, w, b = random(1, c, 20, 30), random(3, 3, c // groups, 8), random(8)
    attrs = {"strides": [2, 2], "pads": [1] * 4, "dilations": [1, 1], "groups": groups}
    plan, ran = stem(x, w, b, attrs, perm=LAST)
    assert len(ran) == steps
    last = np.ascontiguousarray(x.transpose(LAST))
    assert np.array_equal(plan.run([x])[0], stem(last, w, b, attrs)[0].run([last])[0])


def test_winograd_on_few_planes_keeps_the_transpose():
    x, w, b = random(1, 3, 20, 30), random(3, 3, 3, 8), random(8)
    attrs = {
        "strides": [1, 1],
        "pads": [1] * 4,
        "dilations": [1, 1],
        "algorithm": "winograd F(4,3)",
    }
    plan, ran = stem(x, w, b, attrs, perm=LAST)
    assert ran == ["transpose", "conv2d"]
    exact = stem(x, w, b, {**attrs, "algorithm": "direct"}, perm=LAST)[0]
    np.testing.assert_allclose(plan.run([x])[0], exact.run([x])[0], atol=1e-4)


def test_few_planes_into_a_concat():
    """The output's rows lie further apart than they are long."""
    x, w, b = random(2, 3, 33, 31), random(3, 3, 3, 24), random(24)
    attrs = {"strides": [2, 2], "pads": [1] * 4, "dilations": [1, 1]}
    g = Net(x)
    last = g.add("transpose", g.ids, perm=LAST)
    parts = []
    for scale in (1, 2):
        variables = [g.graph.variable(core.Variable(a * np.float32(scale))) for a in (w, b)]
        parts += g.add("conv2d", [*last, *variables], **attrs)
    (got,), steps = g.run(g.add("concat", parts, axis=3))
    assert "transpose" not in steps
    expected = stem(x, w, b, attrs, perm=LAST)[0].run([x])[0]
    assert np.array_equal(got, np.concatenate([expected, 2 * expected], axis=3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folded_weights_are_packed_as_they_lie(dtype):
    """The bits of the same network with the weights channels last; kernels of up to 13 x 13."""
    for trial in range(60):
        c, k, n = int(RNG.integers(1, 70)), int(RNG.integers(1, 90)), int(RNG.integers(1, 3))
        size = [int(s) for s in RNG.integers(1, 4, 2)] if trial % 4 else [13, 12 + trial % 8 // 4]
        x, w = random(n, 20, 17, c, dtype=dtype), random(k, c, *size, dtype=dtype)
        norm = [random(k, dtype=dtype) for _ in range(3)] + [random(k, dtype=dtype) ** 2 + 1]
        attrs = {**conv_attrs(RNG, 20, 17), "pads": [6, 6, 6, 6]}
        results = []
        for first in (True, False):
            g = Net(x)
            weights = w if first else np.ascontiguousarray(w.transpose(OIHW))
            weights = [g.graph.variable(core.Variable(weights))]
            if first:
                weights = g.add("transpose", weights, perm=OIHW)
            y = g.add("conv2d", [*g.ids, *weights], **attrs)
            variables = [g.graph.variable(core.Variable(a)) for a in norm]
            if trial % 3:
                y = g.add("batch_norm_inference", [*y, *variables])
            y = g.add("relu", y)
            (got,), steps = g.run(y)
            assert steps == ["conv2d"]
            (again,), _ = g.run(y, threads=3)
            np.testing.assert_array_equal(got, again)
            results.append(got)
        np.testing.assert_array_equal(*results)
        exact = expected_conv(x.transpose(FIRST), w, np.zeros(k), attrs).transpose(LAST)
        if trial % 3:
            scale, shift, mean, var = (a.astype("float64") for a in norm)
            exact = (exact - mean) / np.sqrt(var + 1e-5) * scale + shift
        np.testing.assert_allclose(
            results[0],
            np.maximum(exact, 0),
            rtol=0,
            atol=(2e-5 if dtype == "float32" else 1e-12) * np.abs(exact).max(),
        )


def test_weights_of_two_layers():
    """Shared weights, each layer with a scale of its own."""
    x, w = random(1, 9, 9, 24), random(24, 24, 3, 3) / 10
    results = []
    for first in (True, False):
        g = Net(x)
        weights = w if first else np.ascontiguousarray(w.transpose(OIHW))
        weights = [g.graph.variable(core.Variable(weights))]
        if first:
            weights = g.add("transpose", weights, perm=OIHW)
        y, rng = g.ids, np.random.default_rng(3)
        for _ in range(3):
            y = g.add("conv2d", [*y, *weights], strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1])
            norm = [rng.uniform(0.5, 2, 24).astype("float32") for _ in range(4)]
            y = g.add(
                "batch_norm_inference", [*y, *(g.graph.variable(core.Variable(a)) for a in norm)]
            )
        results.append(g.run([*y, *weights])[0])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], w.transpose(OIHW))


POOLS = [
    ("max_pool2d", {"kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("max_pool2d", {"kernel": [2, 3], "strides": [1, 3], "pads": [0] * 4, "dilations": [2, 2]}),
    ("max_pool2d", {"kernel": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "ceil_mode": True}),
    ("avg_pool2d", {"kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]}),
    ("avg_pool2d", {"kernel": [2, 2], "strides": [2, 2], "ceil_mode": True}),
    (
        "avg_pool2d",
        {"kernel": [3, 3], "strides": [1, 1], "pads": [1] * 4, "count_include_pad": False},
    ),
    ("adaptive_avg_pool2d", {"output_size": [1, 1]}),
    ("adaptive_max_pool2d", {"output_size": [1, 1]}),
    ("adaptive_avg_pool2d", {"output_size": [3, 4]}),
    ("adaptive_max_pool2d", {"output_size": [5, 7]}),
]


@pytest.mark.parametrize("op, attrs", POOLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pooling(op, attrs, dtype):
    for shape in [(1, 3, 7, 9), (2, 5, 20, 33), (1, 1, 300, 301), (3, 40, 8, 8)]:
        x = random(*shape, dtype=dtype)
        x[0, 0, 3, 4] = np.nan if op.endswith("max_pool2d") else 1
        g = Net(x)
        y = g.add(op, g.add("transpose", g.ids, perm=LAST), **attrs)
        out = g.add("transpose", y, perm=FIRST)
        (got,), steps = g.run(out)
        assert steps == [op] or shape[1] == 1
        (again,), _ = g.run(out, threads=3)
        assert np.array_equal(got, again, equal_nan=True)
        plain = Net(np.ascontiguousarray(x.transpose(LAST)))
        (expected,), _ = plain.run(plain.add(op, plain.ids, **attrs))
        np.testing.assert_allclose(got, expected.transpose(FIRST), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 17), (1, 40, 6, 7), (3, 2, 33, 31), (2, 3, 70, 70)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm(shape, training, dtype):
    perm = LAST if len(shape) == 4 else [0, 2, 1]
    x = random(*shape, dtype=dtype) * 2 + 1000  # statistics around 0 would lose their digits
    c = shape[1]
    weight, bias, mean = (random(c, dtype=dtype) for _ in range(3))
    mean += 1000
    var = random(c, dtype=dtype) ** 2
    g = Net(x, weight, bias, mean, var)
    last = g.add("transpose", g.ids[:1], perm=perm)[0]
    if training:
        running = [g.graph.variable(core.Variable(a)) for a in (mean, var)]
        y, *_ = g.add("batch_norm_training", [last, *g.ids[1:3], *running], momentum=0.25)
        axes = (0, *range(2, len(shape)))
        exact = x.astype("float64")
        m, v = exact.mean(axes), exact.var(axes)
    else:
        (y,) = g.add("batch_norm_inference", [last, *g.ids[1:]])
        m, v = mean.astype("float64"), var.astype("float64")
    out = g.add("transpose", [y], perm=np.argsort(perm).tolist())
    (got,), steps = g.run(out)
    assert len(steps) == 1
    column = (slice(None), *[None] * (len(shape) - 2))
    expected = (x - m[column]) / np.sqrt(v + 1e-5)[column] * weight[column] + bias[column]
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_training_updates_running_statistics():
    x = random(3, 4, 9, 11)
    mean, var = core.Variable(random(4)), core.Variable(random(4) ** 2)
    before = mean.numpy(), var.numpy()
    g = Net(x)
    running = [g.graph.variable(v) for v in (mean, var)]
    last = g.add("transpose", g.ids, perm=LAST)
    y, *_ = g.add("batch_norm_training", [*last, None, None, *running], momentum=0.25)
    core.Plan(g.graph, g.add("transpose", [y], perm=FIRST)).run([x])
    axes = (0, 2, 3)
    np.testing.assert_allclose(mean.numpy(), 0.75 * before[0] + 0.25 * x.mean(axes), atol=1e-6)
    np.testing.assert_allclose(
        var.numpy(), 0.75 * before[1] + 0.25 * x.var(axes, ddof=1), atol=1e-6
    )


def test_two_in_a_row():
    """A sequence's transposes are their own inverses: each is left out once."""
    x, ones = random(2, 3, 40), np.ones(3, "float32")
    g = Net(x, ones)
    value = g.ids[0]
    for _ in range(3):
        (last,) = g.add("transpose", [value], perm=[0, 2, 1])
        (y,) = g.add("batch_norm_inference", [last, None, None, g.ids[1], g.ids[1]], eps=0.0)
        (value,) = g.add("transpose", [y], perm=[0, 2, 1])
    (got,), _ = g.run([value])
    np.testing.assert_allclose(got, x - 3, atol=1e-6)
