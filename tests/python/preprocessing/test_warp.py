"""The operators `warp` and `random_uniform` against plain NumPy and SciPy."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fastconv._runtime import core
from one_op import build, run

FILLS = ["constant", "grid-constant", "nearest", "reflect", "wrap", "grid-wrap"]


def extended(i, n, fill):
    """The pixel that stands at place i of an axis of n, None for the fill value."""
    if 0 <= i < n:
        return i
    if fill == "reflect":
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i
    if fill == "grid-wrap":
        return i % n
    if fill == "nearest":
        return min(max(i, 0), n - 1)
    return None


def taps(at, n, order, fill):
    """Pairs (pixel or None, weight) for a position on an axis."""
    if fill == "constant" and not 0 <= at <= n - 1:
        return [(None, 1.0)]
    if fill == "wrap":  # its period is n - 1: the first and the last pixel share a place
        period = n - 1
        if n == 1:
            at = 0
        elif at < 0:  # SciPy's choice between the two
            at += period * (np.floor(-at / period) + 1)
        elif at > period:
            at -= period * np.floor(at / period)
        fill = "nearest"
    if fill == "reflect":  # mirrored before rounding: half-way places matter
        at %= 2 * n
        at = at if at < n else 2 * n - 1 - at
    if order == 0:
        return [(extended(int(np.floor(at + 0.5)), n, fill), 1.0)]
    low = int(np.floor(at))
    return [(extended(low, n, fill), 1 - (at - low)), (extended(low + 1, n, fill), at - low)]


def reference(x, maps, order, fill, value, size=None):
    """`warp` pixel by pixel in float64."""
    n, h, w, c = x.shape
    out = np.zeros((n, *(size or (h, w)), c))
    for i, row, col in np.ndindex(out.shape[:3]):
        m = maps[i]
        y = taps(m[0] * row + m[1] * col + m[2], h, order, fill)
        z = taps(m[3] * row + m[4] * col + m[5], w, order, fill)
        for (a, wa), (b, wb) in [(p, q) for p in y for q in z]:
            pixel = np.full(c, value) if a is None or b is None else x[i, a, b].astype(np.float64)
            out[i, row, col] += wa * wb * pixel
    return out


def positions(maps, size):
    rows, cols = np.indices(size)
    m = maps[:, :, None, None]
    return np.stack([m[:, k] * rows + m[:, k + 1] * cols + m[:, k + 2] for k in (0, 3)], 1)


@st.composite
def cases(draw):
    shape = draw(st.tuples(*(st.integers(1, 6) for _ in range(3)), st.integers(1, 5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.none() | st.tuples(st.integers(1, 7), st.integers(1, 7)))
    kind = draw(st.sampled_from(["near", "far", "shift"]))
    maps = rng.normal(0, 3 if kind == "far" else 0.5, (shape[0], 6))
    if kind == "shift":
        maps[:, [0, 1, 3, 4]] = 1, 0, 0, 1
        maps[:, [2, 5]] = rng.integers(-6, 7, (shape[0], 2)) / draw(st.sampled_from([1, 4]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return rng.normal(size=shape).astype(dtype), maps, size


@given(cases(), st.sampled_from([0, 1]), st.sampled_from(FILLS), st.floats(-2, 2))
@example(
    (np.array([[[[1.0], [2.0]]]]), np.array([[1.0, 0, 0, 0, 1, -1.5]]), None), 0, "reflect", 0.0
)
def test_warp_is_the_reference(case, order, fill, value):
    x, maps, size = case
    at = positions(maps, size or x.shape[1:3])
    # Where a rounding error chooses another pixel, two answers are right.
    ties = at + 0.5 if order == 0 else at
    near = np.abs(ties - np.round(ties)) < 1e-9
    exact = np.abs(at * 4 - np.round(at * 4)).max(initial=0) == 0
    assume(exact or not near.any())
    attrs = {"order": order, "fill": fill, "value": value}
    if size:
        attrs["size"] = list(size)
    y = run("warp", x, maps, **attrs)
    expected = reference(x, maps, order, fill, value, size)
    np.testing.assert_allclose(y, expected, atol=1e-5 if x.dtype == np.float32 else 1e-12)


@given(cases(), st.sampled_from([0, 1]), st.sampled_from(FILLS))
@example((np.ones((1, 1, 1, 1)), np.array([[1.0, 0, 5, 0, 1, -7]]), None), 1, "reflect")
def test_warp_is_scipy(case, order, fill):
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is not installed")
    x, maps, _ = case
    y = run("warp", x, maps, order=order, fill=fill, value=0.5)
    for i, c in np.ndindex(x.shape[0], x.shape[3]):
        m = maps[i].reshape(2, 3)
        expected = ndimage.affine_transform(
            x[i, :, :, c], m[:, :2], m[:, 2], order=order, mode=fill, cval=0.5
        )
        np.testing.assert_allclose(y[i, :, :, c], expected, atol=1e-5)


@given(cases(), st.sampled_from([0, 1]), st.sampled_from(FILLS))
@settings(max_examples=60)
def test_gradient_is_the_adjoint(case, order, fill):
    x, maps, size = case
    x = x.astype(np.float64)
    attrs = {"order": order, "fill": fill, "value": 3.0}
    if size:
        attrs["size"] = list(size)
    graph, out = build("warp", [x, maps], attrs)
    seed = graph.input("seed", graph.shape(out), "float64")
    (dx,) = graph.gradients([out], [seed], [0])
    dy = np.random.default_rng(0).normal(size=graph.shape(out))
    y, grad = core.Plan(graph, [out, dx]).run([x, maps, dy])
    (y0,) = core.Plan(graph, [out]).run([np.zeros_like(x), maps, dy])
    # <warp(x) - warp(0), dy> = <x, adjoint(dy)>
    np.testing.assert_allclose(((y - y0) * dy).sum(), (x * grad).sum(), atol=1e-9)


def test_no_gradient_to_the_maps():
    x, maps = np.ones((1, 2, 2, 1)), np.zeros((1, 6))
    graph, out = build("warp", [x, maps], {})
    with pytest.raises(ValueError, match="not differentiable with respect to its matrices"):
        graph.gradients([out], [None], [1])


def test_identity_and_flips_are_exact():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    identity = np.tile([1.0, 0, 0, 0, 1, 0], (2, 1))
    for order in (0, 1):
        np.testing.assert_array_equal(run("warp", x, identity, order=order), x)
        mirrored = np.tile([-1.0, 0, 4, 0, -1, 3], (2, 1))
        np.testing.assert_array_equal(run("warp", x, mirrored, order=order), x[:, ::-1, ::-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("order", [0, 1])
def test_wild_maps_stay_inside(bad, fill, order):
    x = np.ones((1, 3, 3, 1), np.float32)
    for place in range(6):
        maps = np.array([[1.0, 0, 0, 0, 1, 0]])
        maps[0, place] = bad
        y = run("warp", x, maps, order=order, fill=fill, value=1.0)
        np.testing.assert_array_equal(y, 1)


def test_results_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 33, 29, 3)).astype(np.float32)
    maps = rng.normal(0, 1, (7, 6))
    graph, out = build("warp", [x, maps], {"fill": "reflect"})
    seed = graph.input("seed", x.shape, "float32")
    (dx,) = graph.gradients([out], [seed], [0])
    plan = core.Plan(graph, [out, dx])
    first = plan.run([x, maps, x], threads=1)
    for threads in (2, 5):
        for a, b in zip(first, plan.run([x, maps, x], threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "shape, maps, attrs, message",
    [
        ((1, 2, 2), (1, 6), {}, "expected"),
        ((1, 2, 2, 1), (2, 6), {}, "matrices"),
        ((1, 0, 2, 1), (1, 6), {}, "no pixels"),
        ((1, 2, 2, 1), (1, 6), {"order": 2}, "order is 2, expected 0 or 1"),
        ((1, 2, 2, 1), (1, 6), {"fill": "mirror"}, "fill is"),
        ((1, 2, 2, 1), (1, 6), {"size": [0, 3]}, "each at least 1"),
    ],
)
def test_warp_refuses(shape, maps, attrs, message):
    with pytest.raises(ValueError, match=message):
        build("warp", [np.ones(shape, np.float32), np.ones(maps)], attrs)


def test_warp_refuses_float32_maps():
    with pytest.raises(ValueError, match="expected float64"):
        build("warp", [np.ones((1, 2, 2, 1), np.float32), np.ones((1, 6), np.float32)], {})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_uniform(dtype):
    def draw(seed, salt=0, threads=0):
        graph = core.Graph()
        attrs = {"shape": [200, 300], "low": -1.0, "high": 3.0, "dtype": dtype, "salt": salt}
        (out,) = graph.add("random_uniform", [graph.input("seed", [1], "int64")], attrs)
        (y,) = core.Plan(graph, [out]).run([np.array([seed])], threads=threads)
        return y

    y = draw(1)
    assert y.dtype == dtype and y.min() >= -1 and y.max() <= 3
    np.testing.assert_allclose(np.histogram(y, 8, (-1, 3))[0] / y.size, 1 / 8, atol=0.006)
    assert abs(np.corrcoef(y[:, :-1].ravel(), y[:, 1:].ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(y, draw(1, threads=3))
    for other in (draw(2), draw(1, salt=1)):
        assert abs(np.corrcoef(y.ravel(), other.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize(
    "attrs, message",
    [
        ({"low": 1.0, "high": 0.0}, "low <= high"),
        ({"high": np.inf}, "finite"),
        ({"dtype": "int64"}, "expected float32 or float64"),
    ],
)
def test_random_uniform_refuses(attrs, message):
    with pytest.raises(ValueError, match=message):
        build("random_uniform", [np.zeros(1, np.int64)], {"shape": [2], **attrs})


def test_threads_of_python_warp_at_once():
    from concurrent.futures import ThreadPoolExecutor

    from fastconv.preprocessing.image import apply_affine_transform

    x = np.random.default_rng(0).normal(size=(20, 20, 3)).astype(np.float32)
    expected = apply_affine_transform(x, theta=30, channel_axis=2, row_axis=0, col_axis=1)
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(
            lambda _: apply_affine_transform(x, theta=30, channel_axis=2, row_axis=0, col_axis=1),
            range(40),
        )
        for y in results:
            np.testing.assert_array_equal(y, expected)
