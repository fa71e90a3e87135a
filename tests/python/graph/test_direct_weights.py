"""Weight gradients of direct convolutions and dense layers, by every layout of their operands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference as ref
from fastconv._runtime import core

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
ERROR = {"float32": 3e-6, "float64": 1e-14}  # of the root of the number of pixels


def gradient(x, dy, threads=1, **attrs):
    g = core.Graph()
    inputs = [g.input(n, list(a.shape), a.dtype.name) for n, a in (("x", x), ("dy", dy))]
    op = "conv2d_backward_weights" if attrs else "dense_backward_weights"
    (dw,) = g.add(op, inputs, attrs)
    return [core.Plan(g, [dw]).run([x, dy], t)[0] for t in np.atleast_1d(threads)]


def exact(x, dy, kernel, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), groups=1):
    top, left, bottom, right = pads
    w = np.zeros((dy.shape[3], x.shape[3] // groups, *kernel))
    nchw = [a.transpose(0, 3, 1, 2) for a in (dy, x)]
    padding = ((top, bottom), (left, right))
    dw = ref.conv2d_backward(*nchw, w, strides, padding, dilations, groups)[1]
    return dw.transpose(2, 3, 1, 0)


def check(shape, channels, kernel, dtype="float32", seed=0, threads=1, **attrs):
    attrs = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), **attrs}
    size = [
        (shape[1 + i] + attrs["pads"][i] + attrs["pads"][i + 2] - (kernel[i] - 1) * d - 1) // s + 1
        for i, (s, d) in enumerate(zip(attrs["strides"], attrs["dilations"], strict=True))
    ]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal((shape[0], *size, channels)).astype(dtype)
    want = exact(x, dy, kernel, **attrs)
    lists = {k: v if k == "groups" else list(v) for k, v in attrs.items()}
    got = gradient(x, dy, threads, kernel=list(kernel), algorithm="direct", **lists)
    atol = 3 * ERROR[dtype] * np.sqrt(max(shape[0] * size[0] * size[1], 1))
    np.testing.assert_allclose(got[0], want, rtol=0, atol=atol)
    for other in got[1:]:
        np.testing.assert_array_equal(other, got[0])


@st.composite
def cases(draw):
    kernel = draw(st.one_of(st.just((1, 1)), st.tuples(*[st.integers(1, 7)] * 2)))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]))
    pads = draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 3)] * 4)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    least = [max(1, reach[i] - pads[i] - pads[i + 2]) for i in range(2)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return {
        "shape": (
            draw(st.integers(1, 9)),
            *(draw(st.integers(s, s + 17)) for s in least),
            groups * draw(st.sampled_from([1, 2, 3, 6, 8, 15, 16, 17, 33, 70, 130])),
        ),
        "channels": groups * draw(st.sampled_from([1, 2, 6, 8, 16, 17, 32, 47, 64, 71, 130, 200])),
        "kernel": kernel,
        "strides": draw(PAIR),
        "pads": pads,
        "dilations": dilations,
        "groups": groups,
        "dtype": draw(st.sampled_from([*ERROR])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(cases())
@settings(max_examples=60)
def test_any_shape(case):
    """Against float64, the same bits at any number of threads."""
    check(**case, threads=(1, 2, 3))


@pytest.mark.parametrize(
    ("shape", "channels", "kernel", "attrs"),
    [
        (
            (3, 9, 9, 1),
            6,
            (5, 5),
            {"pads": (2, 2, 2, 2)},
        ),  # windows, vectors of them
        ((3, 28, 28, 1), 32, (3, 3), {}),
        ((2, 15, 15, 3), 64, (7, 7), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
        ((2, 21, 21, 3), 64, (7, 7), {"strides": (2, 2)}),  # a tap is a row of the window
        ((3, 8, 8, 70), 130, (3, 3), {"strides": (2, 2), "pads": (0, 0, 1, 1)}),
        ((3, 9, 9, 144), 24, (1, 1), {}),  # vectors of the wider input
        ((3, 9, 9, 144), 24, (1, 1), {"strides": (2, 2)}),
        ((1, 7, 7, 1024), 80, (1, 1), {}),  # pixels that are whole pages apart
        ((2, 9, 9, 512), 1024, (1, 1), {"strides": (2, 2)}),
        ((1, 1, 1, 40), 50, (3, 3), {"pads": (1, 1, 1, 1)}),  # taps that meet only zeros
        ((2, 80, 90, 16), 8, (1, 1), {}),  # chunks
        ((2, 6, 6, 8), 512, (3, 3), {"pads": (1, 1, 1, 1), "groups": 4}),
    ],
)
@pytest.mark.parametrize("dtype", ERROR)
def test_layouts(shape, channels, kernel, attrs, dtype):
    check(shape, channels, kernel, dtype, threads=(1, 2, 3), **attrs)


@pytest.mark.parametrize("dtype", ERROR)
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (64, 400, 120), (130, 84, 10), (7, 33, 257)]
)
def test_dense(rows, inputs, outputs, dtype):
    rng = np.random.default_rng(rows)
    x, dy = (rng.standard_normal((rows, n)).astype(dtype) for n in (inputs, outputs))
    got, *others = gradient(x, dy, (1, 2, 3))
    want = np.float64(x).T @ np.float64(dy)
    np.testing.assert_allclose(got, want, rtol=0, atol=3 * ERROR[dtype] * np.sqrt(rows))
    for other in others:
        np.testing.assert_array_equal(other, got)


def test_no_stray_numbers():
    """What lies beyond a window or a channel is not read into the sums, infinities included."""
    x = np.zeros((1, 5, 5, 3), np.float32)
    x[0, 4] = np.inf
    dy = np.zeros((1, 3, 3, 5), np.float32)
    dy[0, 0] = 1
    (dw,) = gradient(x, dy, kernel=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0], dilations=[1, 1])
    assert np.isfinite(dw[:1]).all()
