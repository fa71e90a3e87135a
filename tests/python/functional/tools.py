"""What the tests of `fastconv.functional` share: memory layouts, random cases, comparisons."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

DTYPES = (np.float32, np.float64)
LAYOUTS = ("c", "fortran", "reversed", "strided", "channels_last", "unaligned", "readonly")

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(DTYPES)
batches = st.sampled_from((None, 0, 1, 1, 2, 3))


def lay_out(a: np.ndarray, layout: str) -> np.ndarray:
    """An equal array in another memory layout."""
    if not a.ndim:
        return a
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "reversed":
        back = (slice(None, None, -1),) * a.ndim
        return a[back].copy()[back]
    if layout == "strided":
        wide = np.full([2 * n + 1 for n in a.shape], np.nan).astype(a.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
        view[...] = a
        return view
    if layout == "channels_last" and a.ndim > 2:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
    if layout == "unaligned":
        out = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        out[...] = a
        return out
    if layout == "readonly":
        a = a.copy()
        a.flags.writeable = False
    return a


class Arrays:
    """Standard normal arrays of one dtype from a seed, in a layout drawn from the same seed."""

    def __init__(self, seed: int, dtype: type) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype

    def __call__(self, *shape: int, ties: bool = False) -> np.ndarray:
        a = np.asarray(self.rng.standard_normal(shape))
        a = np.round(2 * a) / 2 if ties else a
        return lay_out(a.astype(self.dtype), LAYOUTS[self.rng.integers(len(LAYOUTS))])


def images(batch: int | None, *shape: int) -> tuple[int, ...]:
    """An image shape with or without a batch axis."""
    return shape if batch is None else (batch, *shape)


def batched(a: np.ndarray, rank: int = 4) -> np.ndarray:
    """The view with a batch axis that the reference wants."""
    return a if a.ndim == rank else a[None]


def nest(padding, n: int = 2):
    """Any form of numeric padding as ((before, after), ...)."""
    if isinstance(padding, int):
        return ((padding, padding),) * n
    return tuple((p, p) if isinstance(p, int) else tuple(p) for p in padding)


def check(actual, expected, magnitude, terms: int = 1) -> None:
    """Compares with a float64 reference, within what rounding explains.

    A sum of `terms` products in any order is off by at most terms * u * sum |a b| (u = eps / 2;
    Higham, "Accuracy and Stability of Numerical Algorithms", 3.1). `magnitude` is that sum of
    absolute values, so cancellation does not count against the bound. 64 u more cover the few
    roundings of elementary functions and of fast convolution's transforms.
    """
    expected = np.asarray(expected)
    assert isinstance(actual, np.ndarray)
    assert actual.dtype in DTYPES
    assert actual.shape == expected.shape
    assert actual.flags.c_contiguous
    assert actual.flags.writeable
    if not actual.size:
        return
    unit = np.finfo(actual.dtype).eps / 2
    bound = (terms + 64) * unit * np.max(magnitude)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


def check_exact(actual, expected) -> None:
    """The same values bit for bit, NaN equal to NaN."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.flags.c_contiguous
    np.testing.assert_array_equal(actual, expected)


def backward_arguments(backward, kwargs: dict) -> dict:
    """Those of the forward's arguments that its gradient takes."""
    return {k: v for k, v in kwargs.items() if k in inspect.signature(backward).parameters}


@st.composite
def conv_cases(draw, rank: int = 2, modes=("zeros",)):
    """Random valid arguments of conv1d / conv2d."""
    c = SimpleNamespace(seed=draw(seeds), dtype=draw(dtypes), batch=draw(batches))
    c.groups, c.cin, c.cout = draw(channels())
    c.kernel = draw(st.tuples(*[st.integers(1, 4)] * rank))
    c.dilation = draw(st.tuples(*[st.integers(1, 3)] * rank))
    c.mode = draw(st.sampled_from(modes))
    form = draw(st.sampled_from(("same", "valid", "int", "each", "pairs", "pairs")))
    c.stride = (1,) * rank if form == "same" else draw(st.tuples(*[st.integers(1, 3)] * rank))
    if form == "same":
        totals = [d * (k - 1) for k, d in zip(c.kernel, c.dilation, strict=True)]
        c.pairs = tuple((t // 2, t - t // 2) for t in totals)
        c.padding = "same"
    elif form == "valid":
        c.padding, c.pairs = "valid", ((0, 0),) * rank
    elif form == "int":
        c.padding = draw(st.integers(0, 3))
        c.pairs = nest(c.padding, rank)
    elif form == "each":
        c.padding = draw(st.tuples(*[st.integers(0, 3)] * rank))
        c.pairs = nest(c.padding, rank)
    else:
        pair = st.tuples(st.integers(0, 3), st.integers(0, 3))
        c.padding = c.pairs = draw(st.tuples(*[pair] * rank))
    c.size = []
    for k, d, pair in zip(c.kernel, c.dilation, c.pairs, strict=True):
        least = max(1, d * (k - 1) + 1 - sum(pair))
        if c.mode in ("reflect", "circular"):
            least = max(least, max(pair) + (c.mode == "reflect"))
        c.size.append(least + draw(st.integers(0, 9)))
    return c


@st.composite
def channels(draw):
    """(groups, input channels, output channels): dense, grouped or depthwise with multiplier."""
    kind = draw(st.sampled_from(("dense", "dense", "grouped", "depthwise")))
    if kind == "dense":
        some = st.sampled_from((1, 2, 3, 4, 7, 8, 16, 17))
        return 1, draw(some), draw(st.sampled_from((1, 2, 3, 5, 8, 16, 18, 33, 66)))
    if kind == "depthwise":
        groups = draw(st.sampled_from((1, 2, 3, 8, 16, 19, 33)))
        return groups, groups, groups * draw(st.integers(1, 3))
    groups = draw(st.integers(2, 4))
    return groups, groups * draw(st.integers(1, 4)), groups * draw(st.sampled_from((1, 2, 3, 8)))


@st.composite
def pool_cases(draw, dilated: bool = False, padded: bool = True):
    """Random valid arguments of the pooling operators."""
    c = SimpleNamespace(seed=draw(seeds), dtype=draw(dtypes), batch=draw(batches))
    c.channels = draw(st.sampled_from((1, 2, 3, 8, 17)))
    c.kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    c.stride = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    c.dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if dilated else (1, 1)
    c.ceil_mode = draw(st.booleans())
    c.padding = ((0, 0), (0, 0))
    if padded and draw(st.booleans()):
        c.padding = tuple(
            (draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in c.kernel
        )
    c.size, c.windows = [], []
    for k, d, pair in zip(c.kernel, c.dilation, c.padding, strict=True):
        # One less than the dilation at least, or a window may see padding alone.
        least = max(d, d * (k - 1) + 1 - sum(pair))
        c.size.append(least + draw(st.integers(0, 6)))
    return c
