"""Pooling against the reference, forward and backward."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv import functional as F
from functional.tools import (
    Arrays,
    batched,
    batches,
    check,
    check_exact,
    dtypes,
    images,
    pool_cases,
    seeds,
)


def _windows(c):
    stride = c.kernel if c.stride is None else c.stride
    return [
        ref.pool_windows(n, k, s, pads, d, c.ceil_mode)
        for n, k, s, pads, d in zip(c.size, c.kernel, stride, c.padding, c.dilation, strict=True)
    ]


def _input(c, ties=False):
    make = Arrays(c.seed, c.dtype)
    return make, make(*images(c.batch, c.channels, *c.size), ties=ties)


@given(pool_cases(dilated=True), st.booleans(), st.sampled_from((0, 0, 0.1, 1)))
def test_max_pool2d(c, ties, nans):
    make, x = _input(c, ties)
    if nans:
        x = np.where(make.rng.random(x.shape) < nans, c.dtype("nan"), x)
    rows, cols = _windows(c)
    arguments = (c.kernel, c.stride, c.padding, c.dilation, c.ceil_mode)
    expected, places = ref.max_pool(batched(x), rows, cols)
    y, index = F.max_pool2d(x, *arguments, return_indices=True)
    check_exact(y, expected.reshape(y.shape))
    if nans:
        # Which of several NaN of a window is reported is left open.
        planes = batched(x).reshape(*places.shape[:2], c.size[0] * c.size[1])
        picked = np.take_along_axis(
            planes, index.reshape(*places.shape[:2], len(rows) * len(cols)), -1
        )
        check_exact(picked.reshape(y.shape), y)
        places = batched(index)
    check_exact(index, places.reshape(y.shape))
    check_exact(F.max_pool2d(x, *arguments), y)
    assert y.ndim == x.ndim

    g = make(*y.shape)
    found = F.max_pool2d_backward(g, x, *arguments)
    wanted = ref.max_pool_backward(batched(g), batched(x).shape, places)
    size = ref.max_pool_backward(abs(batched(g)), batched(x).shape, places)
    check(found, wanted.reshape(x.shape), size, np.prod(c.kernel))


@st.composite
def _planes(draw):
    """Windows whose gradient runs on NCHW, of rows that are longer than vectors."""
    kernel = draw(st.sampled_from((2, 3)))
    pads = [(draw(st.integers(0, kernel - 2)), draw(st.integers(0, kernel // 2))) for _ in "hw"]
    size = (draw(st.integers(kernel, 12)), draw(st.integers(kernel, 80)))
    channels = draw(st.sampled_from((1, 3, 17)))
    return kernel, tuple(pads), (draw(st.integers(1, 2)), channels, *size), draw(st.booleans())


@given(seeds, dtypes, _planes(), st.booleans(), st.sampled_from((0, 0, 0.02, 1)))
def test_max_pool2d_backward_on_planes(seed, dtype, case, ties, special):
    kernel, pads, shape, ceil_mode = case
    make = Arrays(seed, dtype)
    x = make(*shape, ties=ties)
    infinite = np.where(make.rng.random(shape) < 0.5, dtype("inf"), dtype("-inf"))
    x = np.where(make.rng.random(shape) < special, infinite, x)
    windows = [
        ref.pool_windows(n, kernel, 2, pair, 1, ceil_mode)
        for n, pair in zip(shape[2:], pads, strict=True)
    ]
    y, places = ref.max_pool(x, *windows)
    g = make(*y.shape)
    found = F.max_pool2d_backward(g, x, kernel, 2, pads, 1, ceil_mode)
    size = ref.max_pool_backward(abs(g), shape, places)
    check(found, ref.max_pool_backward(g, shape, places), size, kernel**2)
    np.testing.assert_array_equal(found == 0, size == 0)
    one = F.max_pool2d_backward(g[0], x[0], kernel, 2, pads, 1, ceil_mode)
    check_exact(one, found[0])


@given(seeds, dtypes, _planes())
def test_max_pool2d_backward_on_planes_goes_to_nan(seed, dtype, case):
    kernel, pads, shape, ceil_mode = case
    make = Arrays(seed, dtype)
    x = np.where(make.rng.random(shape) < 0.1, dtype("nan"), make(*shape))
    y, index = F.max_pool2d(x, kernel, 2, pads, 1, ceil_mode, return_indices=True)
    g = make(*y.shape)
    wanted = ref.max_pool_backward(g, shape, index)
    size = ref.max_pool_backward(abs(g), shape, index)
    check(F.max_pool2d_backward(g, x, kernel, 2, pads, 1, ceil_mode), wanted, size, kernel**2)


@given(pool_cases(), st.booleans(), st.sampled_from((None, None, 1, 3, -2)))
def test_avg_pool2d(c, include, divisor):
    make, x = _input(c)
    windows = _windows(c)
    arguments = (c.kernel, c.stride, c.padding, c.ceil_mode, include, divisor)
    y = F.avg_pool2d(x, *arguments)
    x4 = batched(x)
    size = abs(ref.avg_pool(abs(x4), *windows, include, divisor))
    terms = np.prod(c.kernel)
    check(y, ref.avg_pool(x4, *windows, include, divisor).reshape(y.shape), size, terms)
    assert y.ndim == x.ndim

    g = make(*y.shape)
    g4 = batched(g)
    wanted = ref.avg_pool_backward(g4, x4.shape, *windows, include, divisor)
    size = abs(ref.avg_pool_backward(abs(g4), x4.shape, *windows, include, divisor))
    found = F.avg_pool2d_backward(g, x, *arguments)
    check(found, wanted.reshape(x.shape), size, terms)


@given(pool_cases(padded=False), st.sampled_from((1, 2, 2, 3, 4, 1.5)))
def test_lp_pool2d(c, p):
    make, x = _input(c)
    if p not in (2, 4):
        # Roots near 0 amplify any error of a sum of both signs without limit.
        x = abs(x)
    windows = _windows(c)
    arguments = (p, c.kernel, c.stride, c.ceil_mode)
    y = F.lp_pool2d(x, *arguments)
    x4 = batched(x)
    expected = ref.lp_pool(x4, *windows, p, c.kernel)
    check(y, expected.reshape(y.shape), abs(expected) if expected.size else 1, np.prod(c.kernel))

    g = make(*y.shape)
    g4 = batched(g)
    wanted = ref.lp_pool_backward(g4, x4, *windows, p, c.kernel)
    size = ref.lp_pool_backward(abs(g4), abs(x4), *windows, p, c.kernel)
    found = F.lp_pool2d_backward(g, x, *arguments)
    check(found, wanted.reshape(x.shape), size, np.prod(c.kernel))


_axis = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(seeds, dtypes, batches, st.sampled_from((1, 3, 8, 17)), _axis, _axis, st.booleans())
def test_adaptive_avg_pool2d(seed, dtype, batch, channels, size, out, keep):
    out = (None, out[1]) if keep else out
    make = Arrays(seed, dtype)
    x = make(*images(batch, channels, *size))
    x4 = batched(x)
    windows = [ref.adaptive_windows(n, m or n) for n, m in zip(size, out, strict=True)]
    y = F.adaptive_avg_pool2d(x, out)
    magnitude = ref.avg_pool(abs(x4), *windows)
    check(y, ref.avg_pool(x4, *windows).reshape(y.shape), magnitude, np.prod(size))

    g = make(*y.shape)
    g4 = batched(g)
    wanted = ref.avg_pool_backward(g4, x4.shape, *windows)
    magnitude = ref.avg_pool_backward(abs(g4), x4.shape, *windows)
    found = F.adaptive_avg_pool2d_backward(g, x, out)
    check(found, wanted.reshape(x.shape), magnitude, np.prod(out[1]))


@given(seeds, dtypes, batches, st.sampled_from((1, 3, 8, 17)), _axis, _axis, st.booleans())
def test_adaptive_max_pool2d(seed, dtype, batch, channels, size, out, ties):
    make = Arrays(seed, dtype)
    x = make(*images(batch, channels, *size), ties=ties)
    rows, cols = (ref.adaptive_windows(n, m) for n, m in zip(size, out, strict=True))
    expected, places = ref.max_pool(batched(x), rows, cols)
    y, index = F.adaptive_max_pool2d(x, out, return_indices=True)
    check_exact(y, expected.reshape(y.shape))
    check_exact(index, places.reshape(y.shape))
    check_exact(F.adaptive_max_pool2d(x, out), y)

    g = make(*y.shape)
    found = F.adaptive_max_pool2d_backward(g, x, out)
    wanted = ref.max_pool_backward(batched(g), batched(x).shape, places)
    size = ref.max_pool_backward(abs(batched(g)), batched(x).shape, places)
    check(found, wanted.reshape(x.shape), size, np.prod(out))
