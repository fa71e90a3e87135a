"""Weight gradients by Winograd: as close to float64 as direct sums, and chosen where it pays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv._runtime import core

# Kernel size and stride of each, and its largest error, of the gradient's largest value.
ALGORITHMS = {
    "winograd F(2,3)": (3, 1, 4e-6),
    "winograd F(3,3)": (3, 1, 1e-5),
    "winograd F(4,3)": (3, 1, 1e-5),
    "winograd F(5,3)": (3, 1, 5e-5),
    "winograd F(6,3)": (3, 1, 5e-5),
    "winograd F(2,5)": (5, 1, 1e-5),
    "winograd F(3,5)": (5, 1, 5e-5),
    "winograd F(4,5)": (5, 1, 5e-5),
    "winograd F(2,3)/2": (3, 2, 4e-6),
    "winograd F(4,3)/2": (3, 2, 1e-5),
}


def plan_of(
    shape, channels, kernel, pads=(1, 1, 1, 1), dtype="float32", strict=False, stride=1, **attrs
):
    """The gradient's plan, and the shape of the output's gradient."""
    size = [(n + pads[i] + pads[i + 2] - kernel) // stride + 1 for i, n in enumerate(shape[1:3])]
    dy = (shape[0], *size, channels)
    g = core.Graph()
    attributes = {
        "strides": [stride] * 2,
        "pads": list(pads),
        "dilations": [1, 1],
        "kernel": [kernel] * 2,
    }
    attributes.update(attrs)
    inputs = [g.input("x", list(shape), dtype), g.input("dy", list(dy), dtype)]
    (dw,) = g.add("conv2d_backward_weights", inputs, attributes)
    return core.Plan(g, [dw], None, strict), dy


def algorithm_of(plan, *shapes, dtype="float32"):
    (step,) = plan.profile([np.zeros(s, dtype) for s in shapes])
    return step["algorithm"]


def exact(x, dy, kernel, pads, stride=1):
    top, left, bottom, right = pads
    w = np.zeros((dy.shape[3], x.shape[3], kernel, kernel))
    nchw = [a.transpose(0, 3, 1, 2) for a in (dy, x)]
    gradients = ref.conv2d_backward(
        *nchw, w, stride=(stride, stride), padding=((top, bottom), (left, right))
    )
    return gradients[1].transpose(2, 3, 1, 0)


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype("float32") for s in shapes]


@st.composite
def cases(draw):
    algorithm = draw(st.sampled_from([*ALGORITHMS]))
    kernel, _, _ = ALGORITHMS[algorithm]
    pads = draw(st.tuples(*[st.integers(0, kernel - 1)] * 4))
    least = [max(1, kernel - pads[i] - pads[i + 2]) for i in range(2)]
    return {
        "algorithm": algorithm,
        "pads": pads,
        "shape": (
            draw(st.integers(1, 9)),
            *(draw(st.integers(s, s + 20)) for s in least),
            draw(st.sampled_from([8, 9, 16, 31, 64, 70, 129])),
        ),
        "channels": draw(st.sampled_from([1, 3, 8, 16, 17, 33, 64, 71, 130])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(cases())
def test_any_shape(c):
    """Against float64, the same bits at any number of threads."""
    kernel, stride, most = ALGORITHMS[c["algorithm"]]
    attrs = {"stride": stride, "algorithm": c["algorithm"]}
    plan, shape = plan_of(c["shape"], c["channels"], kernel, c["pads"], **attrs)
    assert algorithm_of(plan, c["shape"], shape) == c["algorithm"]
    x, dy = arrays(c["seed"], c["shape"], shape)
    want = exact(x, dy, kernel, c["pads"], stride)
    (got,) = plan.run([x, dy], 1)
    scale = max(np.abs(want).max(), np.sqrt(shape[0] * shape[1] * shape[2]))
    np.testing.assert_allclose(got, want, rtol=0, atol=2 * most * scale)
    for threads in (2, 3):
        np.testing.assert_array_equal(plan.run([x, dy], threads)[0], got)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_error(algorithm):
    """No more than a few times that of direct sums."""
    kernel, stride, most = ALGORITHMS[algorithm]
    plan, shape = plan_of((8, 28, 28, 64), 64, kernel, stride=stride, algorithm=algorithm)
    x, dy = arrays(0, (8, 28, 28, 64), shape)
    want = exact(x, dy, kernel, (1, 1, 1, 1), stride)
    error = np.abs(plan.run([x, dy])[0] - want).max() / np.abs(want).max()
    assert error < most


def test_choice():
    def chosen(shape, channels, kernel=3, dtype="float32", **more):
        plan, dy = plan_of(shape, channels, kernel, dtype=dtype, **more)
        return algorithm_of(plan, shape, dy, dtype=dtype)

    layer = (64, 32, 32, 64), 64
    assert chosen(*layer) == "winograd F(4,3)"
    assert chosen((64, 4, 4, 512), 512) == "winograd F(4,3)"
    assert chosen(*layer, strict=True) == "direct"
    assert chosen(*layer, dtype="float64") == "direct"
    assert chosen(*layer, algorithm="direct") == "direct"
    assert chosen((64, 32, 32, 3), 64) == "direct"
    assert chosen((16, 56, 56, 128), 128, stride=2) == "winograd F(2,3)/2"
    assert chosen((16, 14, 14, 512), 512, stride=2) == "direct"
