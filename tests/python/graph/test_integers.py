"""Arithmetic on integers and truth values: NumPy's results, without its traps."""

import numpy as np
import pytest

from one_op import ALL, FLOATS, INTEGERS, NUMBERS, broadcast_shapes, random, run, same

RNG = np.random.default_rng(0)


def object_div(a, b):
    """Truncated quotients of Python integers; 0 for a division by 0."""
    a, b = np.broadcast_arrays(a, b)
    quotient = [
        0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    ]
    return np.array(quotient, object).reshape(a.shape)


def wrapped(values, dtype):
    bits = np.iinfo(dtype).bits
    low = np.iinfo(dtype).min
    flat = [(int(v) - low) % 2**bits + low for v in np.asarray(values, object).ravel()]
    return np.array(flat, dtype).reshape(np.shape(values))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_arithmetic_wraps_around(op, dtype):
    for _ in range(25):
        a, b = (random(RNG, s, dtype) for s in broadcast_shapes(RNG, 2))
        if RNG.random() < 0.5:
            b = b % np.array(4, dtype)
        wide = [x.astype(object) for x in (a, b)]
        expected = {
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "div": object_div,
            "maximum": np.maximum,
            "minimum": np.minimum,
        }[op](*wide)
        same(run(op, a, b), wrapped(expected, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_and_remainder_at_their_edges(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = np.array([low, low, low, high, 7, 0], dtype)
    zeros = np.zeros(6, dtype)
    for op, attrs in [("div", {}), ("mod", {}), ("mod", {"fmod": True})]:
        same(run(op, a, zeros, **attrs), zeros)
    if low < 0:
        same(run("div", a, np.array(-1, dtype)), wrapped(-a.astype(object), dtype))
        same(run("mod", a, np.array(-1, dtype)), zeros)
        same(run("mod", a, np.array(-1, dtype), fmod=True), zeros)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("fmod", [False, True])
def test_mod(dtype, fmod):
    for _ in range(25):
        a, b = (random(RNG, s, dtype) for s in broadcast_shapes(RNG, 2))
        if RNG.random() < 0.5 and dtype not in FLOATS:
            b = b % np.array(5, dtype)
        with np.errstate(all="ignore"):
            same(run("mod", a, b, fmod=fmod), (np.fmod if fmod else np.mod)(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_mod_of_special_numbers(dtype):
    x = np.array([0.0, -0.0, 1, -1, 2.5, -2.5, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        for f, expected in [(False, np.mod), (True, np.fmod)]:
            y, z = run("mod", x[:, None], x, fmod=f), expected(x[:, None], x)
            np.testing.assert_array_equal(y, z)
            number = ~np.isnan(z)
            np.testing.assert_array_equal(np.signbit(y)[number], np.signbit(z)[number])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_pow(dtype):
    for _ in range(25):
        a, b = broadcast_shapes(RNG, 2)
        a, b = random(RNG, a, dtype, -20, 20), random(RNG, b, dtype, 0, 9)
        same(run("pow", a, b), wrapped(a.astype(object) ** b.astype(object), dtype))
    if np.iinfo(dtype).min < 0:
        a = np.array([2, -2, 1, -1, -1, 0], dtype)
        b = np.array([-1, -3, -5, -4, -3, -1], dtype)
        same(run("pow", a, b), np.array([0, 0, 1, 1, -1, np.iinfo(dtype).max], dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_unary(dtype):
    a = random(RNG, (3, 5, 700), dtype)
    a[0, 0, :4] = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    same(run("neg", a), wrapped(-a.astype(object), dtype))
    same(run("abs", a), wrapped(abs(a.astype(object)), dtype))
    same(run("sign", a), np.sign(a))
    same(run("relu", a), np.maximum(a, 0))
    same(run("identity", a), a)
    same(run("clip", a), a)
    same(run("clip", a, min=3, max=50), np.clip(a, 3, 50))
    same(run("clip", a, min=2.9, max=1e30), np.maximum(a, 2))
    same(run("clip", a, min=-(2**62), max=-1e30), np.full_like(a, np.iinfo(dtype).min))
    for op in ("relu", "neg", "abs", "sign", "clip", "identity"):
        same(run(op, a[:, :0]), a[:, :0])


def test_clip_keeps_all_digits_of_64_bits():
    a = np.array([2**62 + 1, 2**62 + 3], "int64")
    same(run("clip", a, max=2**62 + 2), np.minimum(a, 2**62 + 2))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_prelu(dtype):
    for _ in range(20):
        x, slope = (random(RNG, s, dtype, -9, 9) for s in broadcast_shapes(RNG, 2))
        same(run("prelu", x, slope), np.where(x >= 0, x, slope * x))


def axes_of(rng, rank):
    return [int(i) for i in rng.permutation(rank)[: rng.integers(rank + 1)]]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["sum", "mean", "prod", "max", "min"])
def test_reductions(op, dtype):
    for _ in range(30):
        a = random(RNG, RNG.integers(1, 6, RNG.integers(5)), dtype)
        axes, keepdims = axes_of(RNG, a.ndim), bool(RNG.random() < 0.5)
        y = run("reduce_" + op, a, axes=axes, keepdims=keepdims)
        arguments = {"axis": tuple(axes), "keepdims": keepdims}
        if op in ("max", "min"):
            expected = getattr(np, op)(a, **arguments)
        elif op == "mean":
            total = np.sum(a, dtype="int64" if a.dtype.kind == "i" else "uint64", **arguments)
            expected = object_div(total.astype(object), a.size // max(total.size, 1)).astype(dtype)
        else:
            expected = getattr(np, op)(a, dtype=dtype, **arguments)
        same(y, np.asarray(expected, dtype))


@pytest.mark.parametrize(
    "shape, axes",
    [((100_003,), [0]), ((3, 40_000, 5), [1]), ((70_000, 3), [0, 1]), ((2, 9000), [0])],
)
def test_long_reductions(shape, axes):
    for dtype in ("int64", "uint8", "int32"):
        a = random(RNG, shape, dtype)
        same(run("reduce_sum", a, axes=axes), np.sum(a, axis=tuple(axes), dtype=dtype))
        same(run("reduce_max", a, axes=axes), np.max(a, axis=tuple(axes)))
        mean = np.sum(a.astype(object), axis=tuple(axes))
        if dtype != "int64":
            expected = object_div(np.asarray(mean, object), a.size // np.size(mean)).astype(dtype)
            same(run("reduce_mean", a, axes=axes), expected)


def test_truth_values_reduce_by_any_and_all():
    for _ in range(20):
        a = random(RNG, RNG.integers(1, 6, RNG.integers(5)), bool)
        axes = axes_of(RNG, a.ndim)
        same(run("reduce_max", a, axes=axes), np.any(a, axis=tuple(axes)))
        same(run("reduce_min", a, axes=axes), np.all(a, axis=tuple(axes)))


@pytest.mark.parametrize("dtype", ALL)
def test_empty_reductions(dtype):
    a = np.zeros((2, 0, 3), dtype)
    one = np.ones((2, 3), dtype)
    largest = {"f": np.inf, "b": True}.get(a.dtype.kind) or np.iinfo(dtype).max
    lowest = {"f": -np.inf, "b": False}.get(a.dtype.kind)
    lowest = np.iinfo(dtype).min if lowest is None else lowest
    same(run("reduce_max", a, axes=[1]), np.full((2, 3), lowest, dtype))
    same(run("reduce_min", a, axes=[1]), np.full((2, 3), largest, dtype))
    if dtype == "bool":
        return
    same(run("reduce_sum", a, axes=[1]), one * 0)
    same(run("reduce_prod", a, axes=[1]), one)
    same(
        run("reduce_mean", a, axes=[1]),
        np.full((2, 3), np.nan if a.dtype.kind == "f" else 0, dtype),
    )
    assert run("reduce_sum", a, axes=[0]).shape == (0, 3)


@pytest.mark.parametrize("dtype", FLOATS)
def test_product_of_floats(dtype):
    for _ in range(30):
        a = random(RNG, RNG.integers(1, 20, RNG.integers(4)), dtype)
        axes = axes_of(RNG, a.ndim)
        y = run("reduce_prod", a, axes=axes)
        expected = np.prod(a.astype("float64"), axis=tuple(axes))
        keep = np.abs(expected) < 1e30
        np.testing.assert_allclose(
            np.asarray(y)[keep], expected[keep], rtol=1e-4 if dtype == "float32" else 1e-12
        )
    ones = np.ones(100_000, dtype)
    ones[[5, 99_999]] = 3, 0.5
    assert run("reduce_prod", ones) == 1.5
    ones[77] = np.nan
    assert np.isnan(run("reduce_prod", ones))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_results_do_not_depend_on_the_number_of_threads(dtype):
    from fastconv._runtime import core

    a = random(RNG, (50_000, 7), dtype)
    threads = core.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            core.set_num_threads(n)
            results.append(
                [run("mul", a, a[:1]), run("reduce_sum", a, axes=[0]), run("arg_max", a, axis=0)]
            )
    finally:
        core.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        same(one, three)


@pytest.mark.parametrize(
    "op, dtypes, attrs",
    [
        ("add", ["bool", "bool"], {}),
        ("add", ["int32", "int64"], {}),
        ("relu", ["bool"], {}),
        ("exp", ["int32"], {}),
        ("floor", ["int64"], {}),
        ("reduce_sum", ["bool"], {}),
        ("reduce_mean", ["bool"], {}),
        ("mod", ["int32", "int32"], {"fmod": "yes"}),
        ("softmax", ["int64"], {}),
        ("equal", ["int64", "int64"], {}),
        ("celu", ["float32"], {"alpha": 0}),
        ("clip", ["int32"], {"min": "low"}),
        ("logical_not", ["float32"], {}),
    ],
)
def test_what_an_operator_does_not_take(op, dtypes, attrs):
    with pytest.raises(ValueError, match=op):
        run(op, *(np.zeros((2, 3), d) for d in dtypes), **attrs)
