"""Strassen's algorithm for 1x1 convolutions: close to float64, and chosen where it pays."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv._runtime import core

from .graphs import ACTIVATIONS
from .test_winograd import algorithms, arrays

LARGEST_ERROR = 6e-6  # of the largest value, for up to 1024 channels; direct sums have half


def graph(x, w, stride=1, transposed=False, algorithm="strassen", bias=None, residual=None, **more):
    """The plan of one 1x1 convolution of variables; w is [in, out]."""
    g = core.Graph()
    attrs = {"strides": [stride] * 2, "pads": [0] * 4, "dilations": [1, 1], **more}
    if algorithm:
        attrs["algorithm"] = algorithm
    if transposed:
        attrs["output_size"] = list(x.shape[1:3])
    kernel = w.T if transposed else w
    inputs = [
        g.input("x", list(x.shape), x.dtype.name),
        g.variable(core.Variable(np.ascontiguousarray(kernel.reshape(1, 1, *kernel.shape)))),
        None if bias is None else g.variable(core.Variable(bias)),
    ]
    if residual is not None:
        # It dies here: the output may lie where it does.
        inputs.append(g.add("neg", [g.input("r", list(residual.shape))])[0])
    (y,) = g.add("conv_transpose2d" if transposed else "conv2d", inputs, attrs)
    return g, y


def exact(x, w, stride=1):
    return np.float64(x[:, ::stride, ::stride]) @ np.float64(w)


@st.composite
def cases(draw):
    stride = draw(st.sampled_from([1, 1, 2]))
    transposed = stride == 1 and draw(st.booleans())
    return {
        "stride": stride,
        "transposed": transposed,
        "n": draw(st.integers(1, 3)),
        "size": [
            stride * draw(st.integers(6, 24)) - draw(st.integers(0, stride - 1)) for _ in "hw"
        ],
        "cin": draw(st.sampled_from([64, 96, 160, 256])),
        "cout": draw(st.sampled_from([128, 129, 160, 192, 200, 256, 330, 448])),
        "bias": draw(st.booleans()),
        "residual": draw(st.booleans()) and not transposed,
        "activation": draw(st.sampled_from(["", *ACTIVATIONS])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(cases())
def test_any_shape(c):
    """Against float64, the same bits at any number of threads."""
    xs = (c["n"], *c["size"], c["cin"])
    ys = (c["n"], *(-(-s // c["stride"]) for s in c["size"]), c["cout"])
    x, w, b, r = arrays(c["seed"], xs, (c["cin"], c["cout"]), (c["cout"],), ys)
    want, more, feeds = exact(x, w, c["stride"]), {}, [x]
    scale = np.abs(want).max()
    if c["bias"]:
        want = want + b
    if c["residual"]:
        feeds.append(r)
        want = want - r
    if c["activation"]:
        more, function = ACTIVATIONS[c["activation"]]
        more = {**more, "activation": c["activation"]}
        want = function(want)
    bias, residual = b if c["bias"] else None, r if c["residual"] else None
    g, y = graph(x, w, c["stride"], c["transposed"], bias=bias, residual=residual, **more)
    plan = core.Plan(g, [y])
    assert algorithms(plan, *feeds) == ["strassen"]
    (got,) = plan.run(feeds, 1)
    np.testing.assert_allclose(got, want, rtol=0, atol=LARGEST_ERROR * scale)
    for threads in (2, 3):
        np.testing.assert_array_equal(plan.run(feeds, threads)[0], got)


def run(x, w, algorithm="strassen"):
    g, y = graph(x, w, algorithm=algorithm)
    return core.Plan(g, [y]).run([x])[0]


@pytest.mark.parametrize("cin, cout, size", [(256, 1024, 14), (1024, 256, 14), (512, 128, 28)])
def test_error(cin, cout, size):
    x, w = arrays(1, (1, size, size, cin), (cin, cout))
    want = exact(x, w)
    error = np.abs(run(x, w) - want).max() / np.abs(want).max()
    assert error < LARGEST_ERROR


def test_images_do_not_mix():
    """Nor do their bits depend on the batch."""
    x, w = arrays(2, (3, 10, 14, 64), (64, 256))
    alone = [run(x[i : i + 1], w)[0] for i in (0, 2)]
    x[1] = np.nan
    got = run(x, w)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[[0, 2]], alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(value):
    """It reaches what it must, and no more than one other pixel."""
    x, w = arrays(3, (1, 9, 13, 64), (64, 256))
    clean = run(x, w)
    x[0, 4, 5, 33] = value
    got = run(x, w)
    assert not np.isfinite(got[0, 4, 5]).any()
    assert (got != clean).any(-1).sum() <= 2


def plan_of(shape, cout, dtype="float32", strict=False, **attributes):
    x, w = np.zeros(shape, dtype), np.zeros((shape[-1], cout), dtype)
    g, y = graph(x, w, **{"algorithm": "", **attributes})
    return algorithms(core.Plan(g, [y], None, strict), x)


few_processors = pytest.mark.skipif(
    os.cpu_count() > 8, reason="a machine of many processors runs these layers directly"
)


@few_processors
def test_choice():
    layer = (1, 28, 28, 512), 256
    assert plan_of(*layer) == ["strassen"]
    assert plan_of(*layer, algorithm="direct") == ["direct"]
    assert plan_of(*layer, strict=True) == ["direct"]
    assert plan_of(*layer, strict=True, algorithm="strassen") == ["direct"]
    assert plan_of(*layer, dtype="float64") == ["direct"]
    assert plan_of((1, 56, 56, 256), 512, stride=2) == ["strassen"]
    assert plan_of((1, 28, 28, 64), 256) == ["direct"]  # short sums
    assert plan_of((1, 1, 784, 512), 256, algorithm="strassen") == ["direct"]  # may be samples
    assert plan_of((1, 28, 28, 500), 256, algorithm="strassen") == ["direct"]
    assert plan_of((1, 28, 28, 512), 48, algorithm="strassen") == ["direct"]
    assert plan_of((1, 3, 3, 512), 256, algorithm="strassen") == ["direct"]
    assert plan_of(*layer, pads=[0, 0, 1, 1], algorithm="strassen") == ["direct"]
    assert plan_of((0, 28, 28, 512), 256, algorithm="strassen") == ["direct"]


def test_assigned_weights_are_used():
    x, w = arrays(4, (1, 8, 8, 64), (64, 128))
    g = core.Graph()
    v = core.Variable(w.reshape(1, 1, 64, 128))
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "algorithm": "strassen"}
    (y,) = g.add("conv2d", [g.input("x", list(x.shape)), g.variable(v)], attrs)
    plan = core.Plan(g, [y])
    (before,) = plan.run([x])
    v.assign(2 * w.reshape(1, 1, 64, 128))
    np.testing.assert_array_equal(plan.run([x])[0], 2 * before)
