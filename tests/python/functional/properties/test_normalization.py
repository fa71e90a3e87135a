"""Batch and local response normalization against the reference, forward and backward."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import reference as ref
from fastconv import functional as F
from functional.tools import Arrays, check, dtypes, seeds

_shapes = st.builds(
    lambda n, c, rest: (n, c, *rest),
    st.integers(0, 4),
    st.sampled_from((1, 2, 3, 8, 17)),
    st.lists(st.integers(1, 5), max_size=3),
)
_eps = st.sampled_from((1e-5, 1e-3, 0.1))


def _channelwise(v, ndim):
    return np.reshape(v, (1, -1, *[1] * (ndim - 2)))


@given(
    seeds,
    dtypes,
    _shapes,
    st.booleans(),
    st.sampled_from((True, True, False)),
    _eps,
    st.sampled_from((0.0, 0.1, 1.0)),
    st.sampled_from((0.0, 3.0, 100.0)),
)
def test_batch_norm(seed, dtype, shape, training, tracked, eps, momentum, shift):
    count = int(np.prod(shape)) // shape[1]
    assume(not training or count != 1)
    make = Arrays(seed, dtype)
    c, ndim = shape[1], len(shape)
    x = make(*shape)
    x = x + dtype(shift)
    weight = make(c) if seed % 2 else None
    bias = make(c) if seed % 3 else None
    mean = var = None
    if tracked or not training:
        mean, var = np.array(make(c)), abs(make(c)) + dtype(0.1)
    old_mean, old_var = (None, None) if mean is None else (mean.copy(), var.copy())
    y = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    if not x.size:
        assert y.shape == shape
        if mean is not None:
            np.testing.assert_array_equal(mean, old_mean)
            np.testing.assert_array_equal(var, old_var)
        return
    expected, m, v = ref.batch_norm(x, old_mean, old_var, weight, bias, training, eps)
    sigma = np.sqrt(v + eps)
    # The rounding of x - mean is magnified by 1 / sigma, and enters through the variance too.
    noise = _channelwise((abs(x).max() + abs(m)) / sigma, ndim)
    xhat = (x - _channelwise(m, ndim)) / _channelwise(sigma, ndim)
    w = _channelwise(np.ones(c) if weight is None else abs(weight), ndim)
    magnitude = w * noise * (1 + abs(xhat)) + (0 if bias is None else abs(bias).max())
    check(y, expected, magnitude, count)
    if mean is not None:
        if training:
            unbiased = v * count / (count - 1)
            want_mean = (1 - momentum) * np.float64(old_mean) + momentum * m
            want_var = (1 - momentum) * np.float64(old_var) + momentum * unbiased
        else:
            want_mean, want_var = old_mean, old_var
        check(mean, want_mean, abs(old_mean) + abs(x).max(), count)
        # Two-pass variance: rounding of the mean enters squared, rounding of x linearly.
        check(var, want_var, abs(old_var) + 2 * v + np.sqrt(v) * abs(x).max(), count)

    g = make(*shape)
    found = F.batch_norm_backward(g, x, weight, old_mean, old_var, training, eps)
    wanted = ref.batch_norm_backward(g, x, weight, old_mean, old_var, training, eps)
    peak = 1 + abs(xhat).max()
    check(
        found[0], wanted[0], w / _channelwise(sigma, ndim) * noise * abs(g).max() * peak**2, count
    )
    check(found[1], wanted[1], noise * peak * abs(g).sum(), count)
    check(found[2], wanted[2], abs(g).sum(), count)


@given(
    seeds,
    dtypes,
    st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(4, 40), st.integers(4, 40)),
    st.sampled_from((0.0, 10.0, 1e4)),
    st.sampled_from((0.0, 1.0)),
)
def test_batch_norm_backward_on_planes(seed, dtype, shape, offset, trend):
    """Whole vectors of images of different means, far from 0; gradients that do not cancel."""
    if dtype is np.float64:
        offset = 0.0  # the reference has no more digits than what it checks
    make = Arrays(seed, dtype)
    images = np.arange(shape[0], dtype=dtype).reshape(-1, 1, 1, 1)
    x = make(*shape) + dtype(offset) + dtype(trend) * images
    x[:, :, 0, 0] += dtype(30)
    weight, g, eps = make(shape[1]), make(*shape) + dtype(trend), 1e-5
    found = F.batch_norm_backward(g, x, weight, None, None, True, eps)
    wanted = ref.batch_norm_backward(g, x, weight, None, None, True, eps)
    axes, count = (0, 2, 3), x[:, 0].size
    exact = np.float64(x)
    sigma = np.sqrt(exact.var(axes, keepdims=True) + eps)
    away = abs(exact - exact.mean(axes, keepdims=True)) / sigma
    terms = abs(g) * (1 + away)
    check(found[2], wanted[2], abs(g).sum(axes), count)
    check(found[1], wanted[1], terms.sum(axes), count)
    slope = abs(weight.reshape(1, -1, 1, 1)) / sigma
    size = slope * (abs(g) + (1 + away) * terms.mean(axes, keepdims=True))
    check(found[0], wanted[0], size, count)


@given(
    seeds,
    dtypes,
    st.builds(
        lambda n, c, rest: (n, c, *rest),
        st.integers(0, 3),
        st.sampled_from((1, 2, 3, 8, 17)),
        st.lists(st.integers(1, 5), min_size=1, max_size=3),
    ),
    st.integers(1, 7),
    st.sampled_from((0.0, 1e-4, 0.5, 2.0)),
    st.sampled_from((0.0, 0.5, 0.75, 1.0, 1.3)),
    st.sampled_from((0.5, 1.0, 2.0)),
)
def test_local_response_norm(seed, dtype, shape, size, alpha, beta, k):
    make = Arrays(seed, dtype)
    x = make(*shape)
    y = F.local_response_norm(x, size, alpha, beta, k)
    expected = ref.local_response_norm(x, size, alpha, beta, k)
    check(y, expected, abs(expected) if x.size else 1, size)
    g = make(*shape)
    found = F.local_response_norm_backward(g, x, size, alpha, beta, k)
    wanted = ref.local_response_norm_backward(g, x, size, alpha, beta, k)
    # All terms taken positive.
    magnitude = ref.local_response_norm_backward(abs(g), abs(x), size, alpha, -beta, k)
    magnitude = magnitude if x.size else 1
    check(found, wanted, magnitude, 2 * size)
