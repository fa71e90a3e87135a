"""What the passes fuse: the same numbers in fewer steps, and nothing where it would be wrong."""

import math

import numpy as np
import pytest

from fastconv._runtime import core

from .graphs import ACTIVATIONS, ERF, Net, ops

DTYPES = ["float32", "float64"]
# Kind of convolution: input channels, output channels, arguments.
CONVS = {
    "plain": (5, 7, {}),
    "wide": (16, 70, {"kernel": (1, 1), "pads": (0, 0, 0, 0)}),
    "strided": (3, 33, {"strides": (2, 3), "pads": (2, 0, 1, 3)}),
    "dilated": (4, 9, {"dilations": (2, 1), "bias": False}),
    "grouped": (6, 9, {"groups": 3}),
    "depthwise": (19, 19, {"groups": 19}),
    "multiplier": (5, 10, {"groups": 5, "kernel": (2, 3), "bias": False}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kind", CONVS)
def test_activations_fuse_into_convolutions(kind, name, dtype):
    cin, cout, arguments = CONVS[kind]
    net = Net(2, 9, 11, cin, dtype=dtype)
    net.check(net.activation(net.conv(net.x, cout, **arguments), name), ["conv2d"])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_fuse_into_other_layers(name):
    net = Net(3, 5, 4, 6)
    net.check(net.activation(net.dense(net.x, 37), name), ["dense"])
    net = Net(2, 5, 4, 6)
    # A stride above the kernel: some outputs are the bias alone.
    y = net.conv_transpose(net.x, 9, kernel=(2, 2), strides=(3, 3))
    net.check(net.activation(y, name), ["conv_transpose2d"])


@pytest.mark.parametrize("images", [1, 8])
def test_activations_of_pieces_of_few_channels(images):
    """Small images: pieces hold some of the channels only."""
    net = Net(images, 4, 4, 64)
    net.check(net.activation(net.conv(net.x, 300), "silu"), ["conv2d"])
    net = Net(images, 3, 5, 64)
    net.check(net.activation(net.conv(net.x, 4 * 37, groups=4), "silu"), ["conv2d"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("kind", CONVS)
def test_residuals_fuse_into_convolutions(kind, swap, dtype):
    cin, cout, arguments = CONVS[kind]
    net = Net(2, 9, 11, cin, dtype=dtype)
    conv = net.conv(net.x, cout, **arguments)
    other = net.constant(net.arrays(*net.graph.shape(conv)))
    y = net.binary("add", *((other, conv) if swap else (conv, other)))
    net.check(net.activation(y, "leaky_relu"), ["conv2d"])


@pytest.mark.parametrize("cin, groups", [(8, 1), (24, 24)])
def test_a_block_with_a_skip_connection(cin, groups):
    """The residual is what the first convolution reads, and may lie where the output goes."""
    net = Net(2, 6, 7, cin)
    start = net.activation(net.x, "tanh")
    a = net.activation(net.norm(net.conv(start, cin, groups=groups)), "relu")
    y = net.activation(net.binary("add", net.norm(net.conv(a, cin, bias=False)), start), "relu")
    net.check(y, ["tanh", "conv2d", "conv2d"])
    # The convolution reads its own residual at other pixels.
    net = Net(2, 6, 7, cin)
    start = net.activation(net.x, "tanh")
    net.check(net.binary("add", net.conv(start, cin, groups=groups), start), ["tanh", "conv2d"])


def test_of_two_convolutions_the_later_takes_the_sum():
    net = Net(1, 8, 8, 6)
    a, b = net.conv(net.x, 10), net.conv(net.x, 10, kernel=(1, 1), pads=(0,) * 4)
    net.check(net.activation(net.binary("add", a, b), "relu"), ["conv2d", "conv2d"])


def test_what_cannot_be_a_residual():
    net = Net(1, 8, 8, 6)
    conv = net.conv(net.x, 6)
    net.check(net.binary("add", conv, conv))
    assert "add" in ops(core.Plan(net.graph, [net.binary("add", conv, conv)]), net.data)
    # Computed after the convolution; broadcast; behind an activation.
    for other in (
        net.activation(net.x, "tanh"),
        net.op(
            lambda x: x.mean((1, 2), keepdims=True),
            "reduce_mean",
            [net.x],
            {"axes": [1, 2], "keepdims": True},
        ),
    ):
        y = net.binary("add", conv, other)
        assert "add" in ops(core.Plan(net.graph, [y]), net.data)
        net.check(y)
    y = net.binary("add", net.activation(net.conv(net.x, 6), "relu"), net.x)
    assert ops(net.check(y), net.data) == ["conv2d", "add"]


LAYERS = {
    "conv2d": lambda net, **a: net.conv(net.x, 9, **a),
    "grouped": lambda net, **a: net.conv(net.x, 9, groups=3, **a),
    "depthwise": lambda net, **a: net.conv(net.x, 6, groups=6, **a),
    "conv_transpose2d": lambda net, **a: net.conv_transpose(net.x, 9, **a),
    "transpose grouped": lambda net, **a: net.conv_transpose(net.x, 9, groups=3, **a),
    "dense": lambda net, **a: net.dense(net.x, 9, **a),
    "dense transposed": lambda net, **a: net.dense(net.x, 9, transposed=True, **a),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_batch_norms_and_constants_fold_into_layers(layer, bias, dtype):
    def build():
        net = Net(2, 5, 6, 6, dtype=dtype)
        y = LAYERS[layer](net, bias=bias)
        return net, y, net.graph.shape(y)[-1]

    net, y, _ = build()
    op = ops(core.Plan(net.graph, [y]), net.data)
    net.check(net.norm(y), op)
    net, y, _ = build()
    net.check(net.activation(net.norm(net.norm(y), affine=False), "relu"), op)
    for name, swap in [("mul", 0), ("mul", 1), ("add", 0), ("sub", 0), ("sub", 1), ("div", 0)]:
        net, y, c = build()
        for k in (
            net.variable(net.arrays(1, 1, 1, c) + 3),
            net.constant(net.arrays(c)),
            net.constant([1.5]),
        ):
            y = net.binary(name, k, y) if swap else net.binary(name, y, k)
            if name == "div":
                y = net.binary("mul", y, net.constant(2.0))
        net.check(y, op, tolerance=1e-4 if dtype == "float32" else None)
    net, y, c = build()
    y = net.op(lambda v: 2 * v - 3, "scale", [y], {"alpha": 2.0, "beta": -3.0})
    y = net.op(np.negative, "neg", [y])
    net.check(y, op)


def test_what_is_not_folded():
    net = Net(2, 5, 6, 6)
    # Zeros around the image are not what the norm makes of zeros.
    net.check(net.conv(net.norm(net.x), 4))
    assert ops(core.Plan(net.graph, [net.conv(net.norm(net.x), 4)]), net.data) == [
        "batch_norm_inference",
        "conv2d",
    ]
    for shape in [(1, 1, 6, 1), (2, 1, 1, 1), (5, 6, 7)]:
        y = net.binary("mul", net.conv(net.x, 7), net.constant(net.arrays(*shape)))
        assert ops(net.check(y), net.data) == ["conv2d", "mul"]
    y = net.norm(net.activation(net.conv(net.x, 7), "relu"))
    assert ops(net.check(y), net.data) == ["conv2d", "batch_norm_inference"]


def test_a_norm_takes_the_norm_and_the_constants_after_it():
    net = Net(2, 5, 6, 7)
    y = net.norm(net.norm(net.x, affine=False))
    y = net.binary(
        "add", net.binary("mul", y, net.constant(net.arrays(7))), net.constant(net.arrays(1, 1, 7))
    )
    net.check(y, ["batch_norm_inference"])


def test_folded_constants_follow_their_variables():
    net = Net(2, 5, 6, 6)
    factor = core.Variable(net.arrays(7))
    y = net.graph.add("mul", [net.conv(net.x, 7), net.graph.variable(factor)])[0]
    plan = core.Plan(net.graph, [y])
    assert ops(plan, net.data) == ["conv2d"]
    before = plan.run([net.data])[0]
    factor.assign(factor.numpy() * 3)
    np.testing.assert_allclose(plan.run([net.data])[0], 3 * before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CONVS)
def test_padding_becomes_the_convolutions(kind, dtype):
    cin, cout, arguments = CONVS[kind]
    net = Net(2, 9, 8, cin, dtype=dtype)
    pads = [0, 1, 0, 0, 0, 2, 3, 0]
    padded = net.op(
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))), "pad", [net.x], {"pads": pads}
    )
    net.check(net.conv(padded, cout, **arguments), ["conv2d"])


@pytest.mark.parametrize(
    "attrs, fn",
    [
        (
            {"pads": [0, 1, 1, 0, 0, 1, 1, 0], "value": 2.0},
            {"mode": "constant", "constant_values": 2.0},
        ),
        ({"pads": [0, 1, 1, 0, 0, 1, 1, 0], "mode": "reflect"}, {"mode": "reflect"}),
        ({"pads": [0, 1, 1, 1, 0, 1, 1, 0]}, {}),
        ({"pads": [1, 1, 1, 0, 0, 1, 1, 0]}, {}),
    ],
)
def test_other_padding_stays(attrs, fn):
    net = Net(2, 6, 7, 3)
    p = attrs["pads"]
    padded = net.op(
        lambda x: np.pad(x, list(zip(p[:4], p[4:], strict=True)), **fn), "pad", [net.x], attrs
    )
    assert ops(net.check(net.conv(padded, 4)), net.data) == ["pad", "conv2d"]


def test_cropping_and_shared_padding_stay():
    net = Net(2, 6, 7, 3)
    y = net.op(lambda x: x[:, 1:], "pad", [net.x], {"pads": [0, -1, 0, 0, 0, 0, 0, 0]})
    assert ops(net.check(net.conv(y, 4)), net.data) == ["pad", "conv2d"]
    y = net.op(
        lambda x: np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
        "pad",
        [net.x],
        {"pads": [0, 1, 1, 0] * 2},
    )
    both = net.binary("add", net.conv(y, 3, pads=(1,) * 4), y)
    assert sorted(ops(net.check(both), net.data)) == ["conv2d", "pad"]  # the image is needed padded


def silu(net, x):
    return net.binary("mul", x, net.activation(x, "sigmoid"))


def silu_swapped(net, x):
    return net.binary("mul", net.activation(x, "sigmoid"), x)


def hard_sigmoid(net, x):
    a = {"alpha": float(np.float32(1 / 6)), "beta": 0.5}
    return net.op(lambda v: np.clip(v / 6 + 0.5, 0, 1), "hard_sigmoid", [x], a)


def relu6(net, x):
    shifted = net.binary("add", x, net.constant(3.0))
    return net.op(lambda v: np.clip(v, 0, 6), "clip", [shifted], {"min": 0.0, "max": 6.0})


def cdf(net, x, divide=True):
    d = (
        net.binary("div", x, net.constant(math.sqrt(2)))
        if divide
        else net.binary("mul", net.constant(0.5**0.5), x)
    )
    return net.binary("add", net.op(ERF, "erf", [d]), net.constant([1.0]))


PATTERNS = {
    "silu": ("silu", silu),
    "silu, other order": ("silu", silu_swapped),
    "hard_sigmoid gate": ("hard_swish", lambda n, x: n.binary("mul", x, hard_sigmoid(n, x))),
    "relu6 / 6": (
        "hard_swish",
        lambda n, x: n.binary("div", n.binary("mul", x, relu6(n, x)), n.constant(6.0)),
    ),
    "relu6 * 1 / 6": (
        "hard_swish",
        lambda n, x: n.binary("mul", n.binary("mul", relu6(n, x), x), n.constant(1 / 6)),
    ),
    "x * (relu6 / 6)": (
        "hard_swish",
        lambda n, x: n.binary("mul", x, n.binary("div", relu6(n, x), n.constant(6.0))),
    ),
    "gate alone": ("hard_sigmoid", lambda n, x: n.binary("div", relu6(n, x), n.constant([6.0]))),
    "gelu": ("gelu", lambda n, x: n.binary("mul", n.binary("mul", x, cdf(n, x)), n.constant(0.5))),
    "gelu, half first": (
        "gelu",
        lambda n, x: n.binary("mul", n.binary("mul", x, n.constant(0.5)), cdf(n, x, False)),
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_activations_written_as_products(pattern, dtype):
    op, write = PATTERNS[pattern]
    net = Net(3, 7, 5, 6, dtype=dtype)
    net.data *= 3
    net.exact[net.x] = np.float64(net.data)
    net.check(write(net, net.x), [op])
    net = Net(3, 7, 5, 6, dtype=dtype)
    net.check(write(net, net.norm(net.conv(net.x, 8))), ["conv2d"])


def test_products_that_are_something_else():
    def number(net):
        return net.graph.variable(core.Variable(np.asarray(6, "float32")))  # may be assigned

    net = Net(4, 6)
    for wrong in (
        net.binary("mul", net.x, net.activation(net.binary("add", net.x, net.x), "sigmoid")),
        net.binary("mul", net.x, net.activation(net.x, "hard_sigmoid")),
        net.binary("div", net.binary("mul", net.x, relu6(net, net.x)), net.constant(5.0)),
        net.binary("mul", net.binary("mul", net.x, cdf(net, net.x)), net.constant(0.25)),
    ):
        assert "mul" in ops(net.check(wrong), net.data) or "div" in ops(net.check(wrong), net.data)
    y = net.graph.add("div", [net.binary("mul", net.x, relu6(net, net.x)), number(net)])[0]
    assert ops(core.Plan(net.graph, [y]), net.data) == ["add", "clip", "mul", "div"]
    # Half a silu is still a silu; a sigmoid that others read stays.
    half = net.binary("mul", silu(net, net.x), net.constant(0.25))
    assert ops(net.check(half), net.data) == ["silu", "mul"]
    gate = net.activation(net.x, "sigmoid")
    y = net.binary("add", net.binary("mul", net.x, gate), gate)
    assert ops(net.check(y), net.data) == ["sigmoid", "mul_add"]


def test_what_hands_its_input_on_vanishes():
    net = Net(2, 3, 4)
    y = net.op(lambda v: v, "identity", [net.x])
    y = net.op(lambda v: v, "pad", [y], {"pads": [0] * 6})
    y = net.op(lambda v: v, "transpose", [y], {"perm": [0, 1, 2]})
    y = net.op(lambda v: v, "broadcast_to", [y], {"shape": [2, 3, 4]})
    y = net.op(lambda v: v, "concat", [y], {"axis": 1})
    y = net.op(lambda v: v, "slice", [y], {"axis": 1, "start": 0, "end": 3})
    net.check(net.activation(y, "tanh"), ["tanh"], fewer=False)
    net.check(y, [], fewer=False)


def test_an_identity_keeps_a_variable_as_it_was():
    g = core.Graph()
    v = core.Variable(np.float32([1, 2]))
    before = g.add("identity", [g.variable(v)])[0]
    rate = g.constant(np.asarray(1, "float32"))
    g.add("sgd_update", [g.variable(v), g.constant(np.float32([10, 10])), None, rate], {})
    out = g.add("scale", [before], {"alpha": 2.0})[0]
    np.testing.assert_array_equal(core.Plan(g, [out]).run([])[0], [2, 4])
    np.testing.assert_array_equal(v.numpy(), [-9, -8])


def test_transposes_merge():
    def transpose(net, x, *perm):
        return net.op(lambda v: v.transpose(perm), "transpose", [x], {"perm": list(perm)})

    net = Net(2, 3, 4, 5)
    y = transpose(net, transpose(net, transpose(net, net.x, 0, 2, 3, 1), 3, 0, 1, 2), 2, 0, 1, 3)
    net.check(y, ["transpose"])
    # Only axes of one element move: nothing to do.
    net = Net(2, 1, 1, 5)
    net.check(net.activation(transpose(net, net.x, 0, 3, 1, 2), "tanh"), ["tanh"], fewer=False)
    net = Net(2, 1, 5, 6)
    y = net.conv(transpose(net, transpose(net, net.x, 0, 3, 1, 2), 0, 2, 3, 1), 4)
    y = transpose(net, transpose(net, y, 0, 3, 1, 2), 0, 2, 3, 1)
    net.check(net.activation(y, "relu"), ["conv2d"])


def test_training_reads_what_it_needs():
    """A plan with gradients gives the gradients that the plans of single operators give."""

    def build():
        net = Net(2, 6, 7, 4, dtype="float64")
        y = net.norm(net.conv(net.x, 4))
        y = net.binary("mul", y, net.activation(y, "sigmoid"))
        y = net.activation(net.binary("add", net.conv(y, 4), net.x), "silu")
        loss = net.graph.add("reduce_sum", [net.graph.add("square", [y])[0]])[0]
        weights = [v for v in net.exact if net.graph.shape(v) == (3, 3, 4, 4)]
        return net, loss, net.graph.gradients([loss], [None], [*weights, net.x])

    net, loss, grads = build()
    together = core.Plan(net.graph, [loss, *grads]).run([net.data])
    apart = [core.Plan(net.graph, [*net.exact, g]).run([net.data])[-1] for g in grads]
    for got, expected in zip(together[1:], apart, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    step = 1e-6
    moved = net.data.copy()
    moved[1, 2, 3, 1] += step
    slope = (core.Plan(net.graph, [loss]).run([moved])[0] - together[0]) / step
    np.testing.assert_allclose(together[-1][1, 2, 3, 1], slope, rtol=1e-3)


def test_a_residual_has_a_gradient():
    net = Net(2, 5, 5, 3, dtype="float64")
    w = net.constant(net.arrays(3, 3, 3, 3))
    attrs = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1]}
    y = net.graph.add("conv2d", [net.x, w, None, net.x], attrs)[0]
    plain = net.graph.add("add", [net.graph.add("conv2d", [net.x, w], attrs)[0], net.x])[0]
    seed = net.constant(net.arrays(2, 5, 5, 3))
    a, b = (net.graph.gradients([v], [seed], [net.x])[0] for v in (y, plain))
    got, expected = (core.Plan(net.graph, [v]).run([net.data])[0] for v in (a, b))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_errors_name_what_is_wrong():
    net = Net(2, 5, 5, 3)
    w = net.constant(net.arrays(3, 3, 3, 4))
    attrs = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1]}
    with pytest.raises(
        ValueError, match=r"residual has shape \(2, 5, 5, 3\), expected \(2, 5, 5, 4\)"
    ):
        net.graph.add("conv2d", [net.x, w, None, net.x], attrs)
    with pytest.raises(ValueError, match='activation is "swoosh"'):
        net.graph.add("conv2d", [net.x, w], {**attrs, "activation": "swoosh"})
    with pytest.raises(ValueError, match="alpha"):
        net.graph.add("conv2d", [net.x, w], {**attrs, "activation": "leaky_relu", "alpha": "much"})


def test_values_that_are_not_numbers_pass():
    net = Net(1, 3, 3, 2)
    net.data[0, 1, 1, 0] = np.nan
    y = net.activation(net.conv(net.x, 3), "silu")
    assert np.isnan(core.Plan(net.graph, [y]).run([net.data])[0]).all()


@pytest.mark.parametrize("stale", [0.3, "text"])
def test_attributes_that_mean_nothing_to_the_layer_stay_so(stale):
    net = Net(1, 2, 2, 1)
    w = net.constant(np.ones((1, 1, 1, 1)))
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "alpha": stale}
    (y,) = net.graph.add("conv2d", [net.x, w], attrs)
    (y,) = net.graph.add("leaky_relu", [y])
    (out,) = core.Plan(net.graph, [y]).run([-np.ones((1, 2, 2, 1), "float32")])
    np.testing.assert_allclose(out, -0.01, rtol=1e-6)
