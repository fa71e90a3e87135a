"""Convolution of one input channel to few output channels: vectors along the pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv._runtime import core


def plan(x, w, bias=None, activation="", **attributes):
    g = core.Graph()
    attrs = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], **attributes}
    inputs = [g.input("x", list(x.shape), x.dtype.name), g.variable(core.Variable(w))]
    if bias is not None:
        inputs.append(g.variable(core.Variable(bias)))
    (y,) = g.add("conv2d", inputs, attrs)
    if activation:
        (y,) = g.add(activation, [y], {})
    return core.Plan(g, [y])


def algorithm(p, x):
    return [s["algorithm"] for s in p.profile([x]) if s["op"] == "conv2d"]


@st.composite
def cases(draw):
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(2, 6)))
    dilations = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*[st.integers(0, 4)] * 4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return {
        "n": draw(st.integers(1, 3)),
        "h": draw(st.integers(1, 20)) + max(0, spans[0] - pads[0] - pads[2]),
        "w": draw(st.integers(17, 70)) + max(0, spans[1] - pads[1] - pads[3]),
        "channels": draw(st.integers(1, 8)),
        "kernel": kernel,
        "stride": draw(st.integers(1, 3)),
        "pads": pads,
        "dilations": dilations,
        "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(["", "relu", "silu"])),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "seed": draw(st.integers(0, 999)),
    }


@given(cases())
def test_exact(c):
    rng = np.random.default_rng(c["seed"])
    x = rng.standard_normal((c["n"], c["h"], c["w"], 1)).astype(c["dtype"])
    w = rng.standard_normal((*c["kernel"], 1, c["channels"])).astype(c["dtype"])
    bias = rng.standard_normal(c["channels"]).astype(c["dtype"]) if c["bias"] else None
    attrs = {
        "strides": [c["stride"], 1],
        "pads": list(c["pads"]),
        "dilations": list(c["dilations"]),
    }
    p = plan(x, w, bias, c["activation"], **attrs)
    (got,) = p.run([x])
    t, left, b, r = c["pads"]
    want = ref.conv2d(
        np.float64(x).transpose(0, 3, 1, 2),
        np.float64(w).transpose(3, 2, 0, 1),
        None if bias is None else np.float64(bias),
        stride=(c["stride"], 1),
        padding=((t, b), (left, r)),
        dilation=c["dilations"],
    ).transpose(0, 2, 3, 1)
    if c["activation"] == "relu":
        want = np.maximum(want, 0)
    if c["activation"] == "silu":
        want = want / (1 + np.exp(-want))
    (direct,) = plan(x, w, bias, c["activation"], algorithm="direct", **attrs).run([x])
    np.testing.assert_array_equal(got, direct)
    tolerance = 2e-5 if c["dtype"] == "float32" else 1e-12
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.sqrt(w.size))


def lenet(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 28, 28, 1)).astype("float32")
    w = rng.standard_normal((5, 5, 1, 6)).astype("float32")
    return x, w


def test_chosen_where_it_pays():
    wide = core.config()["isa"] != "scalar"  # 4 lanes are filled by 6 channels
    x, w = lenet()
    p = plan(x, w, pads=[2, 2, 2, 2])
    assert (algorithm(p, x) == ["narrow"]) == wide
    two = np.repeat(x, 2, axis=3)
    assert algorithm(plan(two, np.repeat(w, 2, axis=2)), two) == ["direct"]
    many = np.repeat(w, 3, axis=3)
    assert algorithm(plan(x, many), x) == ["direct"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_where_it_is(value):
    x, w = lenet()
    clean = plan(x, w, pads=[2, 2, 2, 2]).run([x])[0]
    x[0, 13, 17, 0] = value
    got = plan(x, w, pads=[2, 2, 2, 2]).run([x])[0]
    touched = np.zeros((1, 28, 28, 6), bool)
    touched[:, 11:16, 15:20] = True
    assert not np.isfinite(got[touched]).any()
    np.testing.assert_array_equal(got[~touched], clean[~touched])


def test_same_bits_at_any_number_of_threads():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 200, 131, 1)).astype("float32")
    w = rng.standard_normal((3, 3, 1, 5)).astype("float32")
    p = plan(x, w, pads=[1, 1, 1, 1])
    one = p.run([x], 1)[0]
    for threads in (2, 3, 5):
        np.testing.assert_array_equal(p.run([x], threads)[0], one)
