"""Zeros around images in training become pads of convolutions and pooling, forward and backward."""

import numpy as np
import pytest

from fastconv._runtime import core

from .graphs import ops

CONV = {"strides": [2, 2], "dilations": [1, 1]}


def training(build, shape, dtype="float64", seed=0):
    """Compare y and all gradients, fused and with nothing fused; return the operators that ran."""
    rng = np.random.default_rng(seed)
    graph = core.Graph()
    x = graph.input("x", list(shape), dtype)
    weights = []

    def weight(*shape):
        weights.append(graph.variable(core.Variable(rng.standard_normal(shape).astype(dtype))))
        return weights[-1]

    values = build(graph, x, weight)
    y = values[-1]
    dy = graph.input("dy", graph.shape(y), dtype)
    wanted = [y, *graph.gradients([y], [dy], [x, *weights])]
    feeds = [
        rng.standard_normal(shape).astype(dtype),
        rng.standard_normal(graph.shape(y)).astype(dtype),
    ]
    plan = core.Plan(graph, wanted)
    results = plan.run(feeds, threads=1)
    # Wanting the padded image keeps it.
    apart = core.Plan(graph, [*wanted, *values[:-1]]).run(feeds)
    for a, b in zip(results, apart, strict=False):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 if dtype == "float64" else 1e-4)
    for threads in (2, 3):
        for a, b in zip(results, plan.run(feeds, threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)
    return ops(plan, *feeds)


def pad(graph, x, top, left, bottom, right, **attrs):
    return graph.add("pad", [x], {"pads": [0, top, left, 0, 0, bottom, right, 0], **attrs})[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2, 10])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 1, 1), (0, 2, 3, 0)])
def test_convolutions_and_their_gradients(groups, pads, dtype):
    def build(graph, x, weight):
        padded = pad(graph, x, *pads)
        attrs = {**CONV, "pads": [0, 1, 0, 0], "groups": groups}
        return padded, graph.add("conv2d", [padded, weight(3, 3, 10 // groups, 10)], attrs)[0]

    ran = training(build, (2, 9, 8, 10), dtype)
    assert sorted(ran) == ["conv2d", "conv2d_backward_weights", "conv_transpose2d"]


def test_two_convolutions_of_one_padded_image():
    def build(graph, x, weight):
        padded = pad(graph, x, 1, 2, 1, 2)
        attrs = {**CONV, "pads": [0] * 4}
        a = graph.add("conv2d", [padded, weight(3, 3, 4, 5)], attrs)[0]
        b = graph.add("conv2d", [padded, weight(3, 3, 4, 5)], attrs)[0]
        return padded, graph.add("mul", [a, b])[0]

    # The sum of both gradients is the second one's residual; it is cropped after that.
    ran = training(build, (2, 6, 7, 4))
    assert ran.count("conv2d") == 2 and ran.count("add") == 0 and ran.count("pad") == 1


def test_an_image_that_something_else_reads_stays():
    def build(graph, x, weight):
        padded = pad(graph, x, 1, 1, 1, 1)
        y = graph.add(
            "conv2d", [padded, weight(3, 3, 4, 4)], {**CONV, "strides": [1, 1], "pads": [1] * 4}
        )[0]
        return padded, graph.add("mul", [y, padded])[0]

    assert training(build, (2, 5, 5, 4)).count("pad") == 2


POOL = {"kernel": [3, 3], "strides": [2, 2]}


@pytest.mark.parametrize("size", [(8, 9), (11, 6)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 1, 2, 0)])
def test_pooling_of_what_is_nowhere_negative(pads, size):
    def build(graph, x, weight):
        y = graph.add(
            "conv2d", [x, weight(1, 1, 3, 7)], {**CONV, "strides": [1, 1], "pads": [0] * 4}
        )[0]
        padded = pad(graph, graph.add("relu", [y])[0], *pads)
        return padded, graph.add("max_pool2d", [padded], POOL)[0]

    assert "pad" not in training(build, (2, *size, 3))


@pytest.mark.parametrize(
    "before, pads, attrs",
    [
        ("tanh", (1, 1, 1, 1), {}),  # zeros may win
        ("relu", (2, 1, 2, 1), {}),  # more than pooling takes
        ("relu", (1, 1, 1, 1), {"ceil_mode": True}),
        ("relu", (1, 1, 1, 1), {"dilations": [2, 2]}),
    ],
)
def test_pooling_of_other_images_keeps_the_zeros(before, pads, attrs):
    def build(graph, x, weight):
        y = graph.add(
            "conv2d", [x, weight(1, 1, 3, 7)], {**CONV, "strides": [1, 1], "pads": [0] * 4}
        )[0]
        padded = pad(graph, graph.add(before, [y])[0], *pads)
        return padded, graph.add("max_pool2d", [padded], {**POOL, **attrs})[0]

    assert "pad" in training(build, (2, 8, 9, 3))


def test_values_other_than_zero_stay():
    def build(graph, x, weight):
        padded = pad(graph, x, 1, 1, 1, 1, value=2.0)
        return padded, graph.add("conv2d", [padded, weight(3, 3, 4, 5)], {**CONV, "pads": [0] * 4})[
            0
        ]

    ran = training(build, (2, 6, 7, 4))
    assert ran.count("pad") == 1  # the gradient's crop is none of the values


def test_cropped_transposed_convolutions():
    rng = np.random.default_rng(0)
    attrs = {"strides": [2, 2], "pads": [0, 1, 0, 0], "dilations": [1, 1], "output_size": [9, 8]}
    graph = core.Graph()
    x = graph.input("x", [2, 4, 4, 3], "float64")
    w, b = graph.constant(rng.standard_normal((3, 3, 5, 3))), graph.constant(rng.standard_normal(5))
    (y,) = graph.add("conv_transpose2d", [x, w, b], attrs)
    cropped = pad(graph, y, -1, 0, -2, -3)
    data = rng.standard_normal((2, 4, 4, 3))
    plan = core.Plan(graph, [cropped])
    assert ops(plan, data) == ["conv_transpose2d"]
    whole = core.Plan(graph, [y]).run([data])[0]
    np.testing.assert_allclose(plan.run([data])[0], whole[:, 1:7, :5], rtol=0, atol=1e-12)
    # Not where more than the crop reads it, nor where the crop adds something too.
    assert ops(core.Plan(graph, [cropped, y]), data) == ["conv_transpose2d", "pad"]
    assert ops(core.Plan(graph, [pad(graph, y, -1, 0, 2, 0)]), data) == ["conv_transpose2d", "pad"]
