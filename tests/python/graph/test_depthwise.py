"""Depthwise convolution against float64, alone and joined with the 1x1 convolution before it."""

import numpy as np
import pytest

from fastconv._runtime import core

from .graphs import Net, ops


def geometry(rng, largest):
    """A random kernel, its strides, dilations and pads, and a size of image that it fits into."""
    kernel = rng.integers(1, 8, 2) if rng.random() < 0.5 else np.full(2, rng.choice([3, 5]))
    dilations = rng.integers(1, 3, 2) if rng.random() < 0.3 else np.ones(2, int)
    pads = rng.integers(0, 5, 4)
    size = np.maximum(rng.integers(1, largest, 2), dilations * (kernel - 1) + 1)
    return size, {
        "kernel": tuple(map(int, kernel)),
        "strides": tuple(map(int, rng.integers(1, 4, 2))),
        "dilations": tuple(map(int, dilations)),
        "pads": tuple(map(int, pads)),
    }


def on_threads(plan, data):
    """The result, which any number of threads must give bit for bit."""
    results = [plan.run([data], threads=n)[0] for n in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


@pytest.mark.parametrize("seed", range(60))
def test_any_depthwise_convolution(seed):
    rng = np.random.default_rng(seed)
    dtype = "float64" if seed % 4 == 3 else "float32"
    channels, multiplier = int(rng.integers(2, 71)), int(rng.choice([1, 1, 1, 2, 3]))
    size, arguments = geometry(rng, 30)
    net = Net(int(rng.integers(1, 4)), *map(int, size), channels, dtype=dtype, seed=seed)
    y = net.conv(
        net.x, channels * multiplier, groups=channels, bias=bool(rng.integers(2)), **arguments
    )
    if seed % 3:
        y = net.activation(y, ["relu", "silu"][seed % 2])
    on_threads(net.check(y, ["conv2d"], fewer=False), net.data)


@pytest.mark.parametrize(
    "size, channels, kernel, stride",
    [(56, 144, 3, 1), (57, 96, 3, 2), (14, 672, 5, 1), (15, 120, 5, 2), (7, 960, 3, 1)],
)
def test_pieces_of_rows_and_channels(size, channels, kernel, stride):
    net = Net(1, size, size, channels)
    pads = (kernel // 2,) * 4
    y = net.conv(net.x, channels, (kernel, kernel), pads, strides=(stride, stride), groups=channels)
    on_threads(net.check(net.activation(y, "hard_swish")), net.data)


def expanded(net, channels, first, second, bias=True, **arguments):
    y = net.conv(net.x, channels, kernel=(1, 1), pads=(0,) * 4, bias=bias)
    y = net.activation(y, first) if first else y
    y = net.conv(y, channels, groups=channels, bias=bias, **arguments)
    return net.activation(y, second) if second else y


@pytest.mark.parametrize("seed", range(40))
def test_expansion_and_depthwise_in_one_step(seed):
    """Its operator asked for by name, at sizes where a plan would not choose it."""
    rng = np.random.default_rng(seed)
    dtype = "float64" if seed % 4 == 3 else "float32"
    cin, channels = int(rng.integers(1, 20)), int(rng.integers(2, 150))
    size, arguments = geometry(rng, 40)
    net = Net(int(rng.integers(1, 3)), *map(int, size), cin, dtype=dtype, seed=seed)
    names = ["", "relu", "clip", "silu"]
    first, second, bias = names[seed % 4], names[seed // 4 % 4], bool(seed % 3)
    v, variable = [], net.variable

    def remember(array):
        v.append(variable(array))
        return v[-1]

    net.variable = remember
    y = expanded(net, channels, first, second, bias, **arguments)
    exact = net.exact[y]
    apart = core.Plan(net.graph, [y])
    attrs = {k: list(v) for k, v in arguments.items() if k != "kernel"} | {"groups": channels}
    for prefix, name in (("expand_", first), ("", second)):
        attrs[prefix + "activation"] = name
        if name == "clip":
            attrs |= {prefix + "min": -0.25, prefix + "max": 0.5}
    inputs = [net.x, v[0], v[1], v[2], v[3]] if bias else [net.x, v[0], None, v[1], None]
    (z,) = net.graph.add("conv2d_depthwise", inputs, attrs)
    together = core.Plan(net.graph, [z])
    got = on_threads(together, net.data)
    unit = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, exact, rtol=0, atol=unit * max(1.0, np.abs(exact).max()))
    if ops(apart, net.data) == ["conv2d", "conv2d"]:
        np.testing.assert_array_equal(got, apart.run([net.data])[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "size, cin, channels, kernel, stride",
    [(28, 16, 72, 3, 2), (56, 8, 40, 5, 1), (30, 24, 144, 5, 2), (14, 20, 200, 3, 1)],
)
def test_plans_join_large_expansions(size, cin, channels, kernel, stride, dtype):
    net = Net(2, size, size, cin, dtype=dtype)
    arguments = {"kernel": (kernel,) * 2, "pads": (kernel // 2,) * 4, "strides": (stride,) * 2}
    y = expanded(net, channels, "clip", "silu", **arguments)
    on_threads(net.check(y, ["conv2d_depthwise"]), net.data)


def test_what_plans_do_not_join():
    def steps(build, *shape):
        net = Net(*shape)
        return ops(net.check(build(net)), net.data)

    one, big = {"kernel": (1, 1), "pads": (0,) * 4}, (1, 32, 32, 8)
    assert steps(lambda n: expanded(n, 64, "relu", "relu"), *big) == ["conv2d_depthwise"]
    # Small; a 3x3 or strided first; several outputs a channel; another reader; something between.
    assert steps(lambda n: expanded(n, 64, "relu", "relu"), 1, 8, 8, 8) == ["conv2d"] * 2
    for first in ({}, {**one, "strides": (2, 2)}, {**one, "pads": (1,) * 4}):
        assert (
            steps(lambda n, first=first: n.conv(n.conv(n.x, 128, **first), 128, groups=128), *big)
            == ["conv2d"] * 2
        )
    assert steps(lambda n: n.conv(n.conv(n.x, 64, **one), 128, groups=64), *big) == ["conv2d"] * 2

    def read_twice(n):
        a = n.conv(n.x, 64, **one)
        return n.binary("mul", n.conv(a, 64, groups=64), a)

    assert steps(read_twice, *big) == ["conv2d", "conv2d", "mul"]
    net = Net(*big)
    a = net.conv(net.x, 64, **one)
    y = net.conv(a, 64, groups=64)
    assert ops(core.Plan(net.graph, [y, a]), net.data) == ["conv2d", "conv2d"]


def test_padding_of_expanded_activations_is_zero():
    """Not what the activation makes of the bias."""
    net = Net(1, 24, 24, 4)
    y = expanded(net, 70, "sigmoid", "", kernel=(5, 5), pads=(4, 0, 2, 3))
    net.check(y, ["conv2d_depthwise"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"groups": 3}, "depthwise convolution of 6"),
        ({"expand_activation": "nonsense"}, "nonsense"),
        ({"pads": [0, 0, 0]}, "pads"),
    ],
)
def test_operator_refuses(change, message):
    net = Net(1, 8, 8, 3)
    w = [net.variable(net.arrays(1, 1, 3, 6)), net.variable(net.arrays(3, 3, 1, 6))]
    attrs = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "groups": 6} | change
    with pytest.raises(ValueError, match=message):
        net.graph.add("conv2d_depthwise", [net.x, w[0], None, w[1], None], attrs)


def test_operator_refuses_a_first_kernel_that_is_not_1x1():
    net = Net(1, 8, 8, 3)
    w = [net.variable(net.arrays(3, 3, 3, 6)), net.variable(net.arrays(3, 3, 1, 6))]
    attrs = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "groups": 6}
    with pytest.raises(ValueError, match="first weight"):
        net.graph.add("conv2d_depthwise", [net.x, w[0], None, w[1], None], attrs)


@pytest.mark.parametrize("seed", range(40))
def test_gradients_of_any_depthwise_convolution(seed):
    """<dy, conv(x, w)> is linear in x and w, whose gradients float64 einsum tells tap by tap."""
    rng = np.random.default_rng(seed)
    dtype = "float64" if seed % 4 == 3 else "float32"
    channels, multiplier = int(rng.integers(2, 71)), int(rng.choice([1, 1, 1, 2]))
    (h, w), a = geometry(rng, 24)
    (kh, kw), (sh, sw), (dh, dw), (t, left, b, r) = (
        a["kernel"],
        a["strides"],
        a["dilations"],
        a["pads"],
    )
    images = int(rng.integers(1, 20))
    h, w = max(1, int(h) - t - b), max(1, int(w) - left - r)
    oh, ow = (
        (n + p - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in ((h, t + b, kh, dh, sh), (w, left + r, kw, dw, sw))
    )
    if oh < 1 or ow < 1:
        h, w, oh, ow = (kh - 1) * dh + 1, (kw - 1) * dw + 1, (t + b) // sh + 1, (left + r) // sw + 1
    x = rng.standard_normal((images, h, w, channels)).astype(dtype)
    dy = rng.standard_normal((images, oh, ow, channels * multiplier)).astype(dtype)
    weight = rng.standard_normal((kh, kw, 1, channels * multiplier)).astype(dtype)

    padded = np.pad(np.float64(x), ((0, 0), (t, b), (left, r), (0, 0))).repeat(multiplier, 3)
    exact_w, exact_x = np.zeros(weight.shape), np.zeros(padded.shape)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
            exact_w[i, j, 0] = np.einsum("nhwc,nhwc->c", padded[:, rows, columns], np.float64(dy))
            exact_x[:, rows, columns] += np.float64(dy) * weight[i, j, 0]
    exact_x = exact_x[:, t : t + h, left : left + w].reshape(images, h, w, channels, -1).sum(-1)

    attrs = {
        "strides": [sh, sw],
        "pads": [t, left, b, r],
        "dilations": [dh, dw],
        "groups": channels,
    }
    for op, feeds, more, exact in (
        ("conv2d_backward_weights", [x, dy], {"kernel": [kh, kw]}, exact_w),
        ("conv_transpose2d", [dy, weight], {"output_size": [h, w]}, exact_x),
    ):
        graph = core.Graph()
        ids = [graph.input(str(i), list(f.shape), dtype) for i, f in enumerate(feeds)]
        plan = core.Plan(graph, graph.add(op, ids, {**attrs, **more}))
        results = [plan.run(feeds, threads=n)[0] for n in (1, 2, 3)]
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)
        unit = 2e-5 if dtype == "float32" else 1e-12
        scale = max(1.0, np.abs(exact).max())
        np.testing.assert_allclose(results[0], exact, rtol=0, atol=unit * scale, err_msg=op)
