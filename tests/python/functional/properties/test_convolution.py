"""Convolution and dense layers against the reference, forward and backward."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv import functional as F
from functional.tools import (
    Arrays,
    batched,
    batches,
    channels,
    check,
    conv_cases,
    dtypes,
    images,
    seeds,
)


def _inputs(c, rank):
    make = Arrays(c.seed, c.dtype)
    x = make(*images(c.batch, c.cin, *c.size))
    w = make(c.cout, c.cin // c.groups, *c.kernel)
    b = make(c.cout) if c.seed % 2 else None
    return make, x, w, b


def _as_2d(c, x, w, rank):
    """The same arrays and attributes as a 2-D convolution with a batch axis."""
    x = batched(x, rank + 2)
    stride, pairs, dilation = c.stride, c.pairs, c.dilation
    if rank == 1:
        x, w = x[:, :, None], w[:, :, None]
        stride, pairs, dilation = (1, *stride), ((0, 0), *pairs), (1, *dilation)
    return x, w, (stride, pairs, dilation, c.groups)


def _check_conv(c, rank):
    make, x, w, b = _inputs(c, rank)
    forward, backward = (
        (F.conv1d, F.conv1d_backward) if rank == 1 else (F.conv2d, F.conv2d_backward)
    )
    attributes = (c.stride, c.padding, c.dilation, c.groups)
    y = forward(x, w, b, *attributes)
    x2, w2, plain = _as_2d(c, x, w, rank)
    expected = ref.conv2d(x2, w2, b, *plain)
    size = ref.conv2d(abs(x2), abs(w2), None if b is None else abs(b), *plain)
    check(y, expected.reshape(y.shape), size, w2[0].size)
    assert y.shape == images(c.batch, c.cout, *expected.shape[4 - rank :])

    g = make(*y.shape)
    g2 = g.reshape(expected.shape)
    terms = max(g2[:, 0].size, w2[:, 0].size)
    found = backward(g, x, w, *attributes)
    wanted = ref.conv2d_backward(g2, x2, w2, *plain)
    sizes = ref.conv2d_backward(abs(g2), abs(x2), abs(w2), *plain)
    shapes = (x.shape, w.shape, (c.cout,))
    for actual, want, magnitude, shape in zip(found, wanted, sizes, shapes, strict=True):
        check(actual, want.reshape(shape), magnitude, terms)


@given(conv_cases())
def test_conv2d(c):
    _check_conv(c, 2)


@given(conv_cases(rank=1))
def test_conv1d(c):
    _check_conv(c, 1)


@given(
    seeds,
    dtypes,
    st.integers(1, 2),
    st.tuples(st.integers(16, 40), st.integers(16, 40)),
    st.sampled_from(((1, 1), (3, 3), (1, 3), (3, 2))),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(5, 12), st.integers(5, 12)),
    st.integers(0, 2),
)
def test_conv2d_backward_of_many_channels(seed, dtype, batch, width, kernel, stride, size, pad):
    """Channels that are enough for the gradients' products with the weights as they lie."""
    make = Arrays(seed, dtype)
    x, w = make(batch, width[0], *size), make(width[1], width[0], *kernel)
    plain = (stride, ((pad, pad), (pad, pad)), (1, 1), 1)
    g = make(*F.conv2d(x, w, None, stride, (pad, pad)).shape)
    found = F.conv2d_backward(g, x, w, stride, (pad, pad))
    sizes = ref.conv2d_backward(abs(g), abs(x), abs(w), *plain)
    terms = max(g[:, 0].size, w[:, 0].size)
    for actual, want, magnitude in zip(
        found, ref.conv2d_backward(g, x, w, *plain), sizes, strict=True
    ):
        check(actual, want, magnitude, terms)


def _check_padding_mode(c, rank):
    _, x, w, b = _inputs(c, rank)
    forward = F.conv1d if rank == 1 else F.conv2d
    y = forward(x, w, b, c.stride, c.padding, c.dilation, c.groups, padding_mode=c.mode)
    x2, w2, (stride, pairs, dilation, groups) = _as_2d(c, x, w, rank)
    flat = (*pairs[1], *pairs[0])
    padded = ref.pad(x2, flat, "constant" if c.mode == "zeros" else c.mode, 0)
    plain = (stride, ((0, 0), (0, 0)), dilation, groups)
    expected = ref.conv2d(padded, w2, b, *plain)
    size = ref.conv2d(abs(padded), abs(w2), None if b is None else abs(b), *plain)
    check(y, expected.reshape(y.shape), size, w2[0].size)


@given(conv_cases(modes=("reflect", "replicate", "circular")))
def test_conv2d_padding_modes(c):
    _check_padding_mode(c, 2)


@given(conv_cases(rank=1, modes=("reflect", "replicate", "circular")))
def test_conv1d_padding_modes(c):
    _check_padding_mode(c, 1)


@st.composite
def _transpose_cases(draw):
    groups, cout, cin = draw(channels())
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size, padding = [], []
    for a in range(2):
        size.append(draw(st.integers(1, 5)))
        room = (size[a] - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + more[a]
        before = draw(st.integers(0, min(room, 4)))
        padding.append((before, draw(st.integers(0, min(room - before, 4)))))
    attributes = (stride, tuple(padding), more, groups, dilation)
    batch = draw(batches)
    return draw(seeds), draw(dtypes), batch, cin, cout, kernel, tuple(size), attributes


@given(_transpose_cases())
def test_conv_transpose2d(case):
    seed, dtype, batch, cin, cout, kernel, size, attributes = case
    make = Arrays(seed, dtype)
    groups = attributes[3]
    x = make(*images(batch, cin, *size))
    w = make(cin, cout // groups, *kernel)
    b = make(cout) if seed % 2 else None
    y = F.conv_transpose2d(x, w, b, *attributes)
    x4 = batched(x)
    expected = ref.conv_transpose2d(x4, w, b, *attributes)
    magnitude = ref.conv_transpose2d(abs(x4), abs(w), None if b is None else abs(b), *attributes)
    check(y, expected.reshape(y.shape), magnitude, w[:, 0].size)

    g = make(*y.shape)
    g4 = batched(g)
    found = F.conv_transpose2d_backward(g, x, w, *attributes)
    wanted = ref.conv_transpose2d_backward(g4, x4, w, *attributes)
    sizes = ref.conv_transpose2d_backward(abs(g4), abs(x4), abs(w), *attributes)
    shapes = (x.shape, w.shape, (cout,))
    terms = max(w[0].size, g4[:, 0].size)
    for actual, want, magnitude, shape in zip(found, wanted, sizes, shapes, strict=True):
        check(actual, want.reshape(shape), magnitude, terms)


@given(
    seeds,
    dtypes,
    st.lists(st.integers(0, 5), max_size=3),
    st.sampled_from((1, 2, 3, 8, 17, 33, 64)),
    st.sampled_from((1, 2, 5, 8, 16, 31, 65)),
)
def test_linear(seed, dtype, lead, k, m):
    make = Arrays(seed, dtype)
    x, w = make(*lead, k), make(m, k)
    b = make(m) if seed % 2 else None
    y = F.linear(x, w, b)
    check(y, ref.linear(x, w, b), ref.linear(abs(x), abs(w), None if b is None else abs(b)), k)
    g = make(*lead, m)
    found = F.linear_backward(g, x, w)
    sizes = ref.linear_backward(abs(g), abs(x), abs(w))
    terms = max(m, int(np.prod(lead)))
    for actual, want, magnitude in zip(found, ref.linear_backward(g, x, w), sizes, strict=True):
        check(actual, want, magnitude, terms)
