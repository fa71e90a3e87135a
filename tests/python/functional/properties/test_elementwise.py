"""Activations, softmax, padding and dropout against the reference, forward and backward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv import functional as F
from functional.tools import Arrays, check, check_exact, dtypes, seeds

_shapes = st.lists(st.integers(0, 5), max_size=4) | st.tuples(st.integers(0, 150))
_full = st.lists(st.integers(1, 6), min_size=1, max_size=4)

PARAMETERS = {
    "leaky_relu": [st.sampled_from((0.01, 0.0, 0.3, -0.5, 2.0))],
    "elu": [st.sampled_from((1.0, 0.5, 0.0, -1.0, 3.0))],
    "gelu": [st.sampled_from(("none", "tanh"))],
    "softplus": [st.sampled_from((1.0, 0.5, 3.0, -2.0)), st.sampled_from((20.0, 5.0, 0.0, 60.0))],
}


@pytest.mark.parametrize("name", sorted(ref.ACTIVATIONS))
@given(st.data(), seeds, dtypes, _shapes, st.sampled_from((1.0, 1.0, 5.0, 30.0)))
def test_activation(name, data, seed, dtype, shape, scale):
    parameters = [data.draw(p) for p in PARAMETERS.get(name, [])]
    function, slope = ref.ACTIVATIONS[name]
    make = Arrays(seed, dtype)
    x = make(*shape)
    x = np.asarray(x * dtype(scale))
    # What multiplies the input's own rounding: alpha of ELU, beta of softplus.
    factor = max([1.0, *(abs(p) for p in parameters[:1] if not isinstance(p, str))])
    y = getattr(F, name)(x, *parameters)
    if not x.size:
        assert y.shape == x.shape
        return
    wide = x.astype(np.float64)
    check(y, function(wide, *parameters), factor * (1 + abs(wide)))
    g = make(*shape)
    found = getattr(F, f"{name}_backward")(g, x, *parameters)
    check(found, g * slope(wide, *parameters), abs(g).max() * factor * (1 + abs(wide)))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@given(st.data(), seeds, dtypes, _full, st.booleans(), st.sampled_from((1.0, 10.0, 1000.0)))
def test_softmax(name, data, seed, dtype, shape, empty, scale):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    if empty and len(shape) > 1:
        shape[(axis + 1) % len(shape)] = 0
    make = Arrays(seed, dtype)
    x = make(*shape)
    x = x * dtype(scale)
    y = getattr(F, name)(x, axis)
    if not x.size:
        assert y.shape == tuple(shape)
        return
    log = name == "log_softmax"
    # Subtracting the maximum rounds at the size of x; exp turns that into a relative error.
    check(y, ref.softmax_family(x, axis, log), 1 + 2 * abs(x).max(), shape[axis])
    g = make(*shape)
    found = getattr(F, f"{name}_backward")(g, x, axis)
    wanted = ref.softmax_family(x, axis, log, g)
    size = abs(g).sum(axis).max() * (1 + 2 * abs(x).max())
    check(found, wanted, size, shape[axis])


@st.composite
def _pad_cases(draw):
    mode = draw(st.sampled_from(("constant", "constant", "reflect", "replicate", "circular")))
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    pads = []
    for size in shape[::-1][: draw(st.integers(0, len(shape)))]:
        if mode == "constant":
            before = draw(st.integers(-size + 1, 4))
            after = draw(st.integers(min(0, -size - min(before, 0) + 1), 4))
        else:
            most = {"reflect": size - 1, "circular": size, "replicate": 4}[mode]
            before, after = draw(st.integers(0, most)), draw(st.integers(0, most))
        pads += [before, after]
    if len(shape) > 1 and len(pads) < 2 * len(shape) and draw(st.booleans()):
        shape[0] = 0
    value = draw(st.sampled_from((0, 1.5, -np.inf, np.nan))) if mode == "constant" else 0
    return draw(seeds), draw(dtypes), shape, tuple(pads), mode, value


@given(_pad_cases())
def test_pad(case):
    seed, dtype, shape, pads, mode, value = case
    make = Arrays(seed, dtype)
    x = make(*shape)
    y = F.pad(x, pads, mode, value)
    assert not np.shares_memory(x, y)
    expected = ref.pad(x, pads, mode, value).astype(dtype)
    check_exact(y, expected)
    g = make(*y.shape)
    found = F.pad_backward(g, x, pads, mode, value)
    wanted = ref.pad_backward(g, x.shape, pads, mode)
    size = ref.pad_backward(abs(g), x.shape, pads, mode)
    check(found, wanted, size, 3 ** len(shape))


@given(seeds, dtypes, _shapes, st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)), st.booleans())
def test_dropout(seed, dtype, shape, p, training):
    make = Arrays(seed, dtype)
    x, g = make(*shape), make(*shape)
    y = F.dropout(x, p, training, seed)
    assert not np.shares_memory(x, y)
    if not training:
        check_exact(y, np.array(x, order="C"))
        return
    kept = y != 0
    scale = 0.0 if p == 1 else 1 / (1 - p)
    expected = np.where(kept, x.astype(np.float64) * scale, 0)
    check(y, expected, abs(expected) if x.size else 1)
    if p == 0:
        check_exact(y, np.array(x, order="C"))
    # The mask belongs to the seed, not to the values or their layout.
    check_exact(F.dropout(np.array(x, order="C"), p, training, seed), y)
    found = F.dropout_backward(g, x, p, training, seed)
    expected = np.where(kept, g.astype(np.float64) * scale, 0)
    check(found, expected, abs(expected) if x.size else 1)
