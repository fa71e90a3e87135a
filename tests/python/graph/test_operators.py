"""Operators that model files need: matrix products, resampling, normalization."""

import numpy as np
import pytest

from fastconv._runtime import core

from .graphs import Arrays, Net

DTYPES = ["float32", "float64"]
SHAPES = [
    ((4, 5), (5, 6)),
    ((1, 1), (1, 1)),
    ((37, 19), (19, 130)),
    ((2, 3, 100, 33), (33, 17)),
    ((2, 3, 7, 33), (2, 3, 33, 70)),
    ((2, 1, 7, 9), (3, 9, 65)),
    ((7, 9), (2, 3, 9, 65)),
    ((1, 7, 9), (2, 9, 5)),
    ((9,), (9, 5)),
    ((9,), (2, 9, 5)),
    ((7, 9), (9,)),
    ((2, 7, 9), (9,)),
    ((9,), (9,)),
    ((0, 9), (9, 5)),
    ((4, 0), (0, 5)),
    ((2, 4, 0), (2, 0, 5)),
    ((0, 4, 3), (0, 3, 5)),
    ((2, 200, 64), (2, 64, 200)),
]


def run(op, arrays, attrs=None, constant=(), wanted=1):
    g = core.Graph()
    feeds, ids = [], []
    for i, a in enumerate(arrays):
        if a is None:
            ids.append(None)
        elif i in constant:
            ids.append(g.constant(a))
        else:
            ids.append(g.input(f"x{i}", list(a.shape), a.dtype.name))
            feeds.append(a)
    outs = g.add(op, ids, attrs or {})[:wanted]
    return core.Plan(g, outs).run(feeds)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("constant", [(), (1,)])
@pytest.mark.parametrize("a, b", SHAPES)
def test_matmul(a, b, constant, dtype):
    arrays = Arrays(1, dtype)
    a, b = arrays(*a), arrays(*b)
    (y,) = run("matmul", [a, b], constant=constant)
    expected = np.float64(a) @ np.float64(b)
    assert y.shape == expected.shape
    assert y.dtype == dtype
    unit = np.finfo(dtype).eps * (a.shape[-1] + 4)
    bound = unit * max(1, np.max(np.abs(np.float64(a)) @ np.abs(np.float64(b)), initial=0))
    np.testing.assert_allclose(y, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("a, b", SHAPES)
def test_matmul_of_integers_wraps(a, b):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-(2**40), 2**40, s, "int64") for s in (a, b))
    (y,) = run("matmul", [a, b])
    np.testing.assert_array_equal(y, a @ b)


def test_matmul_with_one_matrix_is_a_dense_layer():
    net = Net(2, 3, 7, 9)
    w = net.variable(net.arrays(9, 13))
    y = net.op(np.matmul, "matmul", [net.x, w])
    y = net.activation(net.binary("add", y, net.constant(net.arrays(13))), "gelu")
    net.check(y, ["dense"])


def test_matmul_packs_a_stable_operand_once():
    g = core.Graph()
    x = g.input("x", [3, 8, 9], "float32")
    w = core.Variable(Arrays(0)(3, 9, 40))
    plan = core.Plan(g, g.add("matmul", [x, g.variable(w)]))
    assert plan.memory["prepared"] >= w.numpy().nbytes
    data = Arrays(1)(3, 8, 9)
    np.testing.assert_allclose(plan.run([data])[0], data @ w.numpy(), rtol=1e-4, atol=1e-5)
    w.assign(2 * w.numpy())
    np.testing.assert_allclose(plan.run([data])[0], data @ w.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("a, b", SHAPES)
def test_matmul_gradients(a, b):
    arrays = Arrays(3, "float64")
    a, b = arrays(*a), arrays(*b)
    g = core.Graph()
    ids = [g.input("a", list(a.shape), "float64"), g.input("b", list(b.shape), "float64")]
    (y,) = g.add("matmul", ids)
    seed = arrays(*g.shape(y))
    da, db = core.Plan(g, g.gradients([y], [g.constant(seed)], ids)).run([a, b])
    # The product is linear in each operand: <seed, moved product> is <gradient, move>.
    move = arrays(*a.shape)
    np.testing.assert_allclose(np.sum(da * move), np.sum(seed * (move @ b)), rtol=1e-10, atol=1e-10)
    move = arrays(*b.shape)
    np.testing.assert_allclose(np.sum(db * move), np.sum(seed * (a @ move)), rtol=1e-10, atol=1e-10)


def test_matmul_errors():
    g = core.Graph()
    a = g.input("a", [2, 3], "float32")
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\).*3 elements, expected b's 2"):
        g.add("matmul", [a, a])
    with pytest.raises(ValueError, match="float32 and float64"):
        g.add("matmul", [a, g.input("b", [3, 2], "float64")])
    with pytest.raises(ValueError, match=r"\(\) and \(2, 3\), expected rank 1"):
        g.add("matmul", [g.input("s", [], "float32"), a])
    with pytest.raises(ValueError, match="cannot be broadcast"):
        g.add("matmul", [g.input("c", [2, 4, 3], "float32"), g.input("d", [3, 3, 5], "float32")])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("constant", [(), (1, 2)])
@pytest.mark.parametrize(
    "shape, axis",
    [
        ((2, 5, 6, 3), 1),
        ((2, 5, 6, 3), 2),
        ((2, 5, 6, 3), -1),
        ((7,), 0),
        ((4, 9, 70), 1),
        ((3, 5, 8, 16), 2),
        ((3, 5, 8, 17), 0),
    ],
)
@pytest.mark.parametrize("outputs, taps", [(11, 2), (3, 4), (1, 1), (6, 0)])
def test_resample(shape, axis, outputs, taps, constant, dtype):
    arrays = Arrays(4, dtype)
    x, weights = arrays(*shape), arrays(outputs, taps)
    indices = arrays.rng.integers(0, shape[axis], (outputs, taps))
    (y,) = run("resample", [x, indices, weights], {"axis": axis}, constant)
    taken = np.moveaxis(np.float64(x), axis, -1)[..., indices]
    expected = np.moveaxis((taken * weights).sum(-1), -1, axis)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=30 * np.finfo(dtype).eps)


def test_resample_leaves_out_what_weighs_nothing():
    x = np.float32([[1, np.inf, 3]])
    indices, weights = np.int64([[0, 1], [1, 2], [1, 1]]), np.float32([[1, 0], [0, 2], [1, 1]])
    (y,) = run("resample", [x, indices, weights], {"axis": 1})
    np.testing.assert_array_equal(y, [[1, 6, np.inf]])


def test_resample_errors():
    x, w = np.ones((2, 3), "float32"), np.ones((4, 2), "float32")
    for bad in (-1, 3, 2**40):
        indices = np.zeros((4, 2), "int64")
        indices[2, 1] = bad
        with pytest.raises(
            ValueError, match=f"index {bad} of element 2 is out of range for an axis of 3"
        ):
            run("resample", [x, indices, w], {"axis": 1})
    good = np.zeros((4, 2), "int64")
    for arrays, axis, message in [
        ([x, good, w[:3]], 1, "weights has shape"),
        ([x, good, np.float64(w)], 1, "weights are float64, expected the input's float32"),
        ([x, w, w], 1, "indices are float32, expected int64"),
        ([x, good[0], w], 1, "expected rank 2"),
        ([x, good, w], 2, "axis 2 is out of range"),
        ([good, good, w], 1, "expected float32 or float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            run("resample", arrays, {"axis": axis})


def layer_norm(x, gamma, beta, axis, epsilon):
    x = np.longdouble(x)  # the mean far from 0 needs more than float64
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    inv = 1 / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    y = (x - mean) * inv
    return y * (1 if gamma is None else gamma) + (0 if beta is None else beta), mean, inv


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize(
    "shape, axis, gamma, beta",
    [
        ((2, 3, 5, 17), -1, (17,), (17,)),
        ((2, 3, 5, 17), 1, (3, 5, 17), None),
        ((2, 3, 5, 17), 2, None, (5, 17)),
        ((2, 3, 5, 17), 2, (17,), (5, 1)),
        ((4, 3), 0, (1, 3), ()),
        ((700, 64), 1, None, None),
        ((2, 20000), 1, None, None),
        ((0, 3), 1, (3,), None),
    ],
)
def test_layer_norm(shape, axis, gamma, beta, offset, dtype):
    arrays = Arrays(5, dtype)
    x = arrays(*shape) + np.asarray(offset, dtype)
    gamma, beta = (None if s is None else np.asarray(arrays(*s), dtype) for s in (gamma, beta))
    got = run("layer_norm", [x, gamma, beta], {"axis": axis, "epsilon": 1e-3}, wanted=3)
    for g, e in zip(got, layer_norm(x, gamma, beta, axis, 1e-3), strict=True):
        assert g.shape == e.shape
        np.testing.assert_allclose(g, e, rtol=0, atol=(64 + 4 * offset) * np.finfo(dtype).eps)


def group_norm(x, gamma, beta, groups, epsilon):
    x = np.longdouble(x)  # the mean far from 0 needs more than float64
    n, c = x.shape[0], x.shape[-1]
    parts = x.reshape(n, -1, groups, c // groups)
    y = (parts - parts.mean((1, 3), keepdims=True)) / np.sqrt(
        parts.var((1, 3), keepdims=True) + epsilon
    )
    return y.reshape(x.shape) * (1 if gamma is None else gamma) + (0 if beta is None else beta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize(
    "shape, groups",
    [
        ((2, 5, 7, 6), 1),
        ((2, 5, 7, 6), 3),
        ((3, 5, 7, 6), 6),
        ((2, 40), 4),
        ((1, 70, 70, 32), 8),
        ((2, 30, 33, 100), 50),
        ((2, 3, 1), 1),
        ((0, 5, 7, 6), 3),
        ((2, 0, 7, 6), 3),
    ],
)
def test_group_norm(shape, groups, offset, affine, dtype):
    arrays = Arrays(6, dtype)
    x = arrays(*shape) + np.asarray(offset, dtype)
    gamma, beta = (arrays(shape[-1]) if affine else None for _ in range(2))
    (y,) = run("group_norm", [x, gamma, beta], {"groups": groups, "epsilon": 1e-3})
    assert y.shape == x.shape
    if x.size:
        expected = group_norm(x, gamma, beta, groups, 1e-3)
        np.testing.assert_allclose(
            y, expected, rtol=0, atol=(64 + 4 * offset) * np.finfo(dtype).eps
        )


def test_normalization_errors():
    x = np.ones((2, 3, 4), "float32")
    for op, arrays, attrs, message in [
        ("layer_norm", [x], {"axis": 3}, "axis 3 is out of range"),
        ("layer_norm", [x, x[0, 0, :3]], {"axis": -1}, "cannot be broadcast"),
        (
            "layer_norm",
            [x, x],
            {"axis": -1},
            r"gamma has shape \(2, 3, 4\), expected one that broadcasts to \(4,\)",
        ),
        ("layer_norm", [x], {"axis": -1, "epsilon": -1.0}, "epsilon"),
        ("group_norm", [x], {"groups": 3}, "groups is 3, expected a divisor of the 4 channels"),
        ("group_norm", [x], {"groups": 0}, "groups is 0"),
        ("group_norm", [x, x[0]], {"groups": 2}, "gamma has shape"),
        ("group_norm", [x[0, 0]], {"groups": 2}, "rank >= 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(op, arrays, attrs)


@pytest.mark.parametrize(
    "op, shapes, attrs",
    [
        ("matmul", [(3, 200, 70), (3, 70, 90)], {}),
        ("matmul", [(500, 70), (70, 90)], {}),
        ("layer_norm", [(900, 96)], {}),
        ("group_norm", [(2, 60, 60, 24)], {"groups": 4}),
        (
            "conv2d",
            [(2, 19, 23, 8), (3, 3, 8, 40), (40,), (2, 19, 23, 40)],
            {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "activation": "silu"},
        ),
    ],
)
def test_the_same_bits_at_any_number_of_threads(op, shapes, attrs):
    arrays = Arrays(7)
    feeds = [arrays(*s) for s in shapes]
    before = core.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            core.set_num_threads(threads)
            results.append(run(op, feeds, attrs)[0])
    finally:
        core.set_num_threads(before)
    for r in results[1:]:
        np.testing.assert_array_equal(results[0], r)
