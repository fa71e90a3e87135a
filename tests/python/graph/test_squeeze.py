"""Squeeze and excitation: means from convolutions, factors of 1x1 convolutions, summed products."""

import os

import numpy as np
import pytest

from fastconv._runtime import core

from .graphs import ACTIVATIONS, Net, ops
from .test_depthwise import expanded, on_threads

DTYPES = ["float32", "float64"]
ONE = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}
DEPTHWISE = {"kernel": (3, 3), "pads": (1, 1, 1, 1)}


def mean(net, x, op="adaptive_avg_pool2d"):
    attrs = {"output_size": [1, 1]} if op[0] == "a" else {"axes": [1, -2], "keepdims": True}
    return net.op(lambda v: v.mean((1, 2), keepdims=True), op, [x], attrs)


def gate(net, x):
    return net.activation(mean(net, x), "sigmoid")


GATE = ["adaptive_avg_pool2d", "sigmoid"]
# Few pixels and many channels, where the input is scaled, and the reverse, where the weights are.
SIZES = [
    (1, 7, 7, 96, 40),
    (1, 7, 7, 300, 330),
    (2, 14, 14, 33, 70),
    (3, 1, 1, 20, 5),
    (1, 1, 5, 3, 200),
    (1, 30, 31, 24, 17),
    (1, 56, 56, 40, 1),
    (2, 40, 37, 19, 24),
    (8, 5, 9, 40, 130),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n, h, w, cin, cout", SIZES)
def test_factors_go_into_1x1_convolutions(n, h, w, cin, cout, dtype):
    for swap in (False, True):
        net = Net(n, h, w, cin, dtype=dtype, seed=cin + swap)
        s = gate(net, net.x)
        y = net.conv(net.binary("mul", *((s, net.x) if swap else (net.x, s))), cout, **ONE)
        if swap:
            y = net.binary("add", net.constant(net.arrays(n, h, w, cout)), y)
        y = net.activation(y, "silu" if swap else "relu")
        on_threads(net.check(y, [*GATE, "conv2d"]), net.data)


def test_a_factor_of_each_image():
    net = Net(4, 6, 6, 8)
    net.data[1] = 0
    net.data[2] *= 100
    net.exact[net.x] = np.float64(net.data)
    s = net.constant(np.arange(32).reshape(4, 1, 1, 8))
    net.check(net.conv(net.binary("mul", net.x, s), 9, **ONE), ["conv2d"])


def test_what_is_not_a_factor():
    def steps(build, *shape):
        net = Net(*shape)
        return ops(net.check(build(net)), net.data)

    big = (2, 5, 6, 8)
    taken = steps(lambda n: n.conv(n.binary("mul", n.x, gate(n, n.x)), 4, **ONE), *big)
    assert taken == [*GATE, "conv2d"]
    others = {
        "3x3": {},
        "strided": {**ONE, "strides": (2, 1)},
        "padded": {**ONE, "pads": (1, 0, 0, 0)},
        "grouped": {**ONE, "groups": 2},
    }
    for kind in others.values():
        build = lambda n, kind=kind: n.conv(n.binary("mul", n.x, gate(n, n.x)), 4, **kind)  # noqa: E731
        assert steps(build, *big) == [*GATE, "mul", "conv2d"]
    # One for all images, one a pixel, a whole tensor.
    for shape in [(1, 1, 1, 8), (8,), (2, 5, 6, 1), big]:
        build = lambda n, s=shape: n.conv(n.binary("mul", n.x, n.constant(n.arrays(*s))), 4, **ONE)  # noqa: E731
        assert steps(build, *big) == ["mul", "conv2d"]
    # More than a thread would multiply for itself.
    net = Net(1, 17, 16, 600)
    y = net.conv(net.binary("mul", net.x, gate(net, net.x)), 500, **ONE)
    net.check(y, [*GATE, "mul", "conv2d"], fewer=False, tolerance=1e-4)
    # What others read too.
    net = Net(*big)
    product = net.binary("mul", net.x, gate(net, net.x))
    net.check(net.binary("add", net.conv(product, 8, **ONE), product), [*GATE, "mul", "conv2d"])


def test_a_variable_that_changes_between_product_and_convolution():
    g = core.Graph()
    data = np.random.default_rng(0).standard_normal((1, 4, 4, 3)).astype("float32")
    x = g.input("x", list(data.shape), "float32")
    s = core.Variable(np.float32([1, 2, 3]).reshape(1, 1, 1, 3))
    product = g.add("mul", [x, g.variable(s)])[0]
    rate = g.constant(np.asarray(1, "float32"))
    g.add("sgd_update", [g.variable(s), g.constant(np.ones((1, 1, 1, 3), "float32")), None, rate])
    w = g.constant(np.ones((1, 1, 3, 2), "float32"))
    y = g.add("conv2d", [product, w], {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]})[0]
    (got,) = core.Plan(g, [y]).run([data])
    np.testing.assert_allclose(got[..., 0], data @ np.float32([1, 2, 3]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
def test_products_sums_and_activations_in_one_step(name, dtype):
    for shape in [(2, 5, 7, 64), (1, 3, 3, 211), (1, 40, 40, 70)]:
        net = Net(*shape, dtype=dtype)
        s = net.activation(net.constant(net.arrays(shape[0], 1, 1, shape[3])), "sigmoid")
        other = net.constant(net.arrays(*shape))
        y = net.binary("add", other, net.binary("mul", s, net.x))
        y = net.activation(y, name) if name else y
        on_threads(net.check(y, ["mul_add"]), net.data)


@pytest.mark.parametrize("seed", range(30))
def test_any_product_with_a_sum(seed):
    """Its operator asked for by name, on operands that are broadcast in any way."""
    rng = np.random.default_rng(seed)
    shape = [int(n) for n in rng.integers(1, 12, 3)] + [int(rng.choice([1, 3, 16, 70, 5000]))]
    cut = [[1 if rng.random() < 0.3 else n for n in shape] for _ in range(3)]
    dtype = DTYPES[seed % 2]
    net = Net(*cut[0], dtype=dtype, seed=seed)
    b, c = (net.constant(net.arrays(*s[int(rng.integers(0, 2)) :])) for s in cut[1:])
    attrs, fn = ACTIVATIONS["leaky_relu"]
    (y,) = net.graph.add("mul_add", [net.x, b, c], {"activation": "leaky_relu", **attrs})
    exact = fn(net.exact[net.x] * net.exact[b] + net.exact[c])
    got = on_threads(core.Plan(net.graph, [y]), net.data)
    assert got.shape == exact.shape
    unit = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(got, exact, rtol=0, atol=unit * max(1.0, np.abs(exact).max()))


@pytest.mark.parametrize("place", range(3))
def test_a_product_with_a_sum_works_in_place_of_any_operand(place):
    net = Net(1, 6, 6, 80)
    fresh = net.activation(net.x, "tanh")
    operands = [net.x, net.constant(net.arrays(1, 6, 6, 80))]
    operands.insert(place, fresh)
    y = net.binary("add", net.binary("mul", *operands[:2]), operands[2])
    net.check(net.activation(y, "relu"), ["tanh", "mul_add"])
    square = net.binary("add", net.binary("mul", fresh, fresh), fresh)
    net.check(square, ["tanh", "mul_add"])


def test_which_products_and_sums_stay_apart():
    def steps(build, *shape):
        net = Net(*shape)
        return ops(net.check(build(net)), net.data)

    def affine(n, c=None):
        product = n.binary("mul", n.x, n.constant(n.arrays(*(c or n.data.shape[-1:]))))
        return n.binary("add", product, n.constant(n.arrays(*n.data.shape[-1:])))

    assert steps(affine, 3, 50, 64) == ["mul_add"]
    # Rows too short for a vector a row; a product smaller than the sum; one that others read.
    assert steps(affine, 3, 50, 63) == ["mul", "add"]
    net = Net(1, 64)
    y = net.binary("add", net.binary("mul", net.x, net.x), net.constant(net.arrays(5, 64)))
    net.check(y, ["mul", "add"], fewer=False)
    net = Net(5, 64)
    product = net.binary("mul", net.x, net.x)
    y = net.binary("add", product, net.activation(product, "tanh"))
    net.check(y, ["mul", "tanh", "add"], fewer=False)


LAYERS = {
    "depthwise": lambda n, c: n.conv(n.x, n.data.shape[3], groups=n.data.shape[3], **DEPTHWISE),
    "pointwise": lambda n, c: n.conv(n.x, c, **ONE),
    "expanded": lambda n, c: expanded(n, c, "clip", None, **DEPTHWISE),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["adaptive_avg_pool2d", "reduce_mean"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "n, h, w, cin, cout",
    [(1, 56, 57, 24, 70), (2, 30, 31, 40, 80), (3, 7, 7, 130, 700), (1, 1, 1, 5, 9)],
)
def test_means_come_from_the_convolution(n, h, w, cin, cout, layer, op, dtype):
    for name in (None, "relu", "silu"):
        net = Net(n, h, w, cin, dtype=dtype)
        y = LAYERS[layer](net, cout)
        y = net.activation(y, name) if name else y
        m = mean(net, y, op)
        plan = net.check(m, fewer=False)
        assert not {op, "adaptive_avg_pool2d"} & set(ops(plan, net.data))
        # Both values.
        plan = core.Plan(net.graph, [y, m])
        one = plan.run([net.data], threads=1)
        for got, exact in zip(one, (net.exact[y], net.exact[m]), strict=True):
            unit = 2e-5 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(
                got, exact, rtol=0, atol=unit * max(1.0, np.abs(exact).max())
            )
        for threads in (2, 3):
            for a, b in zip(one, plan.run([net.data], threads=threads), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(
    os.cpu_count() > 32, reason="a machine of many processors runs this layer directly"
)
@pytest.mark.parametrize("name", [None, "relu", "silu"])
def test_means_come_from_strassens_algorithm(name):
    net = Net(2, 29, 27, 256)
    y = net.conv(net.x, 512, **ONE)
    y = net.activation(y, name) if name else y
    m = mean(net, y)
    plan = core.Plan(net.graph, [y, m])
    steps = [(s["op"], s["algorithm"]) for s in plan.profile([net.data])]
    assert steps == [("conv2d", "strassen")]
    one = plan.run([net.data], threads=1)
    for got, exact in zip(one, (net.exact[y], net.exact[m]), strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    for threads in (2, 3, 64):
        for a, b in zip(one, plan.run([net.data], threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)


def test_means_without_their_axes():
    net = Net(2, 9, 8, 6)
    y = net.conv(net.x, 20, **ONE)
    attrs = {"axes": [2, 1], "keepdims": False}
    m = net.op(lambda v: v.mean((1, 2)), "reduce_mean", [y], attrs)
    net.check(net.dense(m, 3), ["conv2d", "dense"], fewer=False)


def test_which_means_stay():
    def steps(build):
        net = Net(2, 6, 7, 8)
        return ops(net.check(build(net), fewer=False), net.data)

    def over(n, axes):
        attrs = {"axes": axes, "keepdims": True}
        y = n.conv(n.x, 5, **ONE)
        return n.op(lambda v: v.mean(tuple(axes), keepdims=True), "reduce_mean", [y], attrs)

    assert steps(lambda n: over(n, [1, 2])) == ["conv2d"]
    for axes in ([1], [0, 1, 2], [1, 2, 3]):
        assert steps(lambda n, axes=axes: over(n, axes)) == ["conv2d", "reduce_mean"]
    assert steps(lambda n: mean(n, n.conv(n.x, 5))) == ["conv2d", "adaptive_avg_pool2d"]
    assert steps(lambda n: mean(n, n.conv(n.x, 16, groups=8))) == ["conv2d", "adaptive_avg_pool2d"]
    assert steps(lambda n: mean(n, n.activation(n.x, "relu"))) == ["relu", "adaptive_avg_pool2d"]
    # Of two the first; both ways of saying it.
    both = steps(
        lambda n: (lambda y: n.binary("add", mean(n, y), mean(n, y)))(n.conv(n.x, 5, **ONE))
    )
    assert both == ["conv2d", "adaptive_avg_pool2d", "add"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [1, 3])
def test_a_block_with_squeeze_and_excitation(images, dtype):
    """As in EfficientNet: three convolutions and the gate's two, five steps."""
    net = Net(images, 28, 28, 24, dtype=dtype)
    y = expanded(net, 144, "silu", "silu", **DEPTHWISE)
    s = net.activation(net.conv(mean(net, y), 6, **ONE), "silu")
    s = net.activation(net.conv(s, 144, **ONE), "sigmoid")
    y = net.binary("add", net.conv(net.binary("mul", y, s), 24, **ONE), net.x)
    plan = net.check(y, ["conv2d_depthwise", "conv2d", "conv2d", "conv2d"])
    on_threads(plan, net.data)


def test_a_residual_block_with_squeeze_and_excitation():
    """As in SE-ResNet: the sum and its activation are one step with the product."""
    net = Net(2, 14, 14, 64)
    y = net.conv(net.activation(net.conv(net.x, 16, **ONE), "relu"), 64, **ONE)
    s = net.activation(net.conv(mean(net, y, "reduce_mean"), 4, **ONE), "relu")
    s = net.activation(net.conv(s, 64, **ONE), "sigmoid")
    y = net.activation(net.binary("add", net.binary("mul", y, s), net.x), "relu")
    on_threads(net.check(y, ["conv2d"] * 4 + ["mul_add"]), net.data)


def test_gradients_through_squeeze_and_excitation():
    """A plan of the gradients gives what a plan gives that must keep every value."""
    net = Net(2, 6, 5, 64, dtype="float64")
    y = net.activation(net.conv(net.x, 64, groups=64), "tanh")
    y = net.binary("mul", y, gate(net, y))
    y = net.binary("add", net.binary("mul", net.conv(y, 64, **ONE), gate(net, y)), net.x)
    loss = net.graph.add("reduce_sum", [net.graph.add("square", [y])[0]])[0]
    weights = [v for v in net.exact if len(net.graph.shape(v)) == 4 and v != net.x]
    grads = net.graph.gradients([loss], [None], [*weights[:2], net.x])
    together = core.Plan(net.graph, [loss, *grads]).run([net.data])
    apart = core.Plan(net.graph, [*net.exact, loss, *grads]).run([net.data])
    for got, expected in zip(together, apart[len(net.exact) :], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    moved, step = net.data.copy(), 1e-6
    moved[1, 2, 3, 1] += step
    slope = (core.Plan(net.graph, [loss]).run([moved])[0] - together[0]) / step
    np.testing.assert_allclose(together[-1][1, 2, 3, 1], slope, rtol=1e-3)


def test_errors_name_what_is_wrong():
    net = Net(2, 5, 5, 3)
    w = net.constant(net.arrays(1, 1, 3, 4))
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    wrong = net.constant(net.arrays(1, 1, 1, 3))
    with pytest.raises(
        ValueError, match=r"factor has shape \(1, 1, 1, 3\), expected \(2, 1, 1, 3\)"
    ):
        net.graph.add("conv2d", [net.x, w, None, None, wrong], attrs)
    s = net.constant(net.arrays(2, 1, 1, 3))
    for change in ({"strides": [2, 2]}, {"pads": [1, 0, 0, 0]}):
        with pytest.raises(ValueError, match="a factor is for 1x1 kernels with stride 1"):
            net.graph.add("conv2d", [net.x, w, None, None, s], attrs | change)
    with pytest.raises(ValueError, match="a factor is for 1x1 kernels"):
        net.graph.add("conv2d", [net.x, net.constant(net.arrays(3, 3, 3, 4)), None, None, s], attrs)
    (y,) = net.graph.add("conv2d", [net.x, w, None, None, s], attrs)
    with pytest.raises(ValueError, match="multiply by the factor in a node of its own"):
        net.graph.gradients([net.graph.add("reduce_sum", [y])[0]], [None], [net.x])
    with pytest.raises(ValueError, match='activation is "swoosh"'):
        net.graph.add("mul_add", [net.x, net.x, net.x], {"activation": "swoosh"})


def test_padding_is_not_folded_into_a_convolution_with_a_factor():
    net = Net(1, 4, 4, 3)
    w, s = net.constant(net.arrays(1, 1, 3, 5)), net.constant(net.arrays(1, 1, 1, 3))
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    (padded,) = net.graph.add("pad", [net.x], {"pads": [0, 1, 1, 0, 0, 1, 1, 0]})
    (y,) = net.graph.add("conv2d", [padded, w, None, None, s], attrs)
    (got,) = core.Plan(net.graph, [y]).run([net.data])
    exact = np.pad(net.exact[net.x], ((0, 0), (1, 1), (1, 1), (0, 0))) * net.exact[s]
    np.testing.assert_allclose(got, exact @ net.exact[w][0, 0], rtol=0, atol=1e-5)
