"""Gradients of convolutions between transposes run on NCHW arrays and OIHW weights as they lie."""

import numpy as np
import pytest

from fastconv._runtime import core

RNG = np.random.default_rng(11)
LAST, FIRST, HWIO, OIHW = [0, 2, 3, 1], [0, 3, 1, 2], [2, 3, 1, 0], [3, 2, 0, 1]

# batch, input channels, height, width, output channels, kernel, attributes
CASES = [
    # 1x1: input channels or output channels turned, many pixels, more than one part of them
    ((1, 32, 14, 14, 40, (1, 1)), {}),
    ((2, 70, 9, 13, 33, (1, 1)), {}),
    ((1, 90, 30, 29, 17, (1, 1)), {}),
    ((1, 256, 40, 41, 100, (1, 1)), {}),
    ((3, 24, 40, 40, 130, (1, 1)), {}),
    ((1, 1100, 5, 5, 20, (1, 1)), {}),
    # strides leave pixels out
    ((1, 24, 15, 16, 40, (1, 1)), {"strides": [2, 2]}),
    ((2, 40, 17, 11, 24, (1, 1)), {"strides": [3, 2]}),
    ((1, 20, 9, 8, 33, (1, 1)), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    ((1, 18, 12, 30, 19, (1, 3)), {"pads": [0, 1, 0, 1], "strides": [2, 1]}),
    # few pixels
    ((1, 33, 7, 7, 48, (3, 3)), {"pads": [1, 1, 1, 1]}),
    ((2, 40, 5, 6, 24, (3, 3)), {"pads": [1, 1, 1, 1]}),
    ((1, 512, 4, 4, 90, (3, 3)), {"pads": [1, 1, 1, 1]}),
    ((1, 20, 9, 9, 32, (3, 3)), {"pads": [2, 2, 2, 2], "dilations": [2, 2], "strides": [2, 2]}),
    ((1, 16, 6, 7, 16, (4, 2)), {"pads": [3, 0, 1, 2]}),
    ((1, 16, 3, 3, 85, (5, 5)), {"pads": [2, 2, 2, 2]}),
    # 3x3 with strides
    ((1, 48, 33, 31, 64, (3, 3)), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((1, 16, 64, 70, 20, (3, 3)), {"pads": [0, 1, 1, 0], "strides": [3, 3]}),
    ((1, 64, 16, 16, 32, (2, 2)), {"strides": [2, 2]}),
    # so many taps are padding that some read nothing
    ((1, 16, 2, 2, 16, (3, 3)), {"pads": [4, 0, 0, 5], "strides": [2, 2]}),
]


def attributes(given):
    return {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "groups": 1, **given}


def arrays_of(case, attrs, dtype):
    n, c, h, w, k, kernel = case
    shape = (n, c, h, w)
    out = [
        (
            shape[2 + a]
            + attrs["pads"][a]
            + attrs["pads"][a + 2]
            - attrs["dilations"][a] * (kernel[a] - 1)
            - 1
        )
        // attrs["strides"][a]
        + 1
        for a in range(2)
    ]
    return [RNG.standard_normal(s).astype(dtype) for s in (shape, (k, c, *kernel), (n, k, *out))]


def gradients(x, w, dy, attrs, **options):
    """(dx, dw) of NCHW and OIHW arrays, the steps that ran, the plan."""
    graph = core.Graph()
    ids = [graph.input(str(i), a.shape, str(a.dtype)) for i, a in enumerate((x, w, dy))]
    last = [
        graph.add("transpose", [i], {"perm": p})[0]
        for i, p in zip(ids, (LAST, HWIO, LAST), strict=True)
    ]
    inner = {"output_size": list(x.shape[2:]), **attrs}
    dx = graph.add("conv_transpose2d", [last[2], last[1]], inner)
    inner = {"kernel": list(w.shape[2:]), **attrs}
    dw = graph.add("conv2d_backward_weights", [last[0], last[2]], inner)
    outputs = [
        graph.add("transpose", dx, {"perm": FIRST})[0],
        graph.add("transpose", dw, {"perm": OIHW})[0],
    ]
    plan = core.Plan(graph, outputs, **options)
    steps = [(s["op"], s["algorithm"]) for s in plan.profile([x, w, dy])]
    return plan.run([x, w, dy]), steps, plan


def expected(x, w, dy, attrs):
    """The same by direct summation in float64, with the transposes."""
    arrays = [a.astype("float64") for a in (x, w, dy)]
    found, steps, _ = gradients(*arrays, {**attrs, "algorithm": "direct"})
    assert ("transpose", "columns") not in steps
    assert not any(algorithm == "columns" for _, algorithm in steps)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("case", "given"), CASES, ids=lambda v: str(v))
def test_gradients(case, given, dtype):
    attrs = attributes(given)
    arrays = arrays_of(case, attrs, dtype)
    found, steps, plan = gradients(*arrays, attrs)
    assert steps == [("conv_transpose2d", "columns"), ("conv2d_backward_weights", "columns")]
    eps, weight = np.finfo(dtype).eps, arrays[1]
    terms = [weight[:, 0].size, arrays[2][:, 0].size]
    for actual, wanted, count in zip(found, expected(*arrays, attrs), terms, strict=True):
        assert actual.shape == wanted.shape
        # Terms of size 1: a sum of n of them has rounded n times.
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=8 * eps * count)
    for threads in (1, 2, 3, 7):
        again = plan.run(list(arrays), threads)
        assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize(
    ("case", "given", "options"),
    [
        ((1, 32, 14, 14, 40, (1, 1)), {}, {"strict": True}),
        ((1, 32, 14, 14, 40, (1, 1)), {"groups": 2}, {}),
        ((1, 8, 14, 14, 40, (1, 1)), {}, {}),
        ((1, 32, 30, 30, 40, (3, 3)), {}, {}),
        ((8, 32, 30, 30, 40, (3, 3)), {"strides": [2, 2]}, {}),
        ((2, 64, 5, 5, 64, (3, 3)), {}, {}),
    ],
    ids=["strict", "groups", "few channels", "large map", "large batch", "weights of two images"],
)
def test_which_are_transposed(case, given, options):
    attrs = attributes(given)
    x, w, dy = arrays_of(case, attrs, "float32")
    w = w[:, : w.shape[1] // attrs["groups"]].copy()
    found, steps, _ = gradients(x, w, dy, attrs, **options)
    assert ("conv_transpose2d", "columns") not in steps
    assert ("conv2d_backward_weights", "columns") not in steps
    for actual, wanted in zip(found, expected(x, w, dy, attrs), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=2e-4 * abs(wanted).max())


def test_other_readers_keep_their_layout():
    """Transposed tensors that are outputs stay; with a bias nothing is changed."""
    x, w, dy = arrays_of((1, 32, 6, 6, 24, (1, 1)), attributes({}), "float32")
    graph = core.Graph()
    ids = [graph.input(str(i), a.shape, "float32") for i, a in enumerate((x, w, dy))]
    last = [
        graph.add("transpose", [i], {"perm": p})[0]
        for i, p in zip(ids, (LAST, HWIO, LAST), strict=True)
    ]
    attrs = {"output_size": [6, 6], **attributes({})}
    dx = graph.add("conv_transpose2d", [last[2], last[1]], attrs)[0]
    out = graph.add("transpose", [dx], {"perm": FIRST})[0]
    bias = graph.constant(np.arange(32, dtype=np.float32))
    biased = graph.add("conv_transpose2d", [last[2], last[1], bias], attrs)[0]
    biased = graph.add("transpose", [biased], {"perm": FIRST})[0]
    plan = core.Plan(graph, [out, biased, last[2], dx])
    first, second, third, fourth = plan.run([x, w, dy])
    wanted = np.einsum("nkhw,kcab->nchw", dy.astype(np.float64), w.astype(np.float64))
    np.testing.assert_allclose(first, wanted, atol=1e-4)
    np.testing.assert_allclose(second, wanted + np.arange(32)[:, None, None], atol=1e-4)
    assert np.array_equal(third, dy.transpose(LAST))
    np.testing.assert_allclose(fourth, wanted.transpose(LAST), atol=1e-4)
