"""Comparisons, logic, where, cast, and the functions that tell numbers from NaN and infinity."""

import warnings

import numpy as np
import pytest

from fastconv._runtime import core
from one_op import ALL, FLOATS, INTEGERS, broadcast_shapes, random, random_shape, run, same

RNG = np.random.default_rng(1)
KINDS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_compare(kind, dtype):
    for _ in range(15):
        a, b = (random(RNG, s, dtype, -2, 2) for s in broadcast_shapes(RNG, 2))
        if dtype in FLOATS:
            a, b = np.round(a), np.round(b)
            a.flat[:1] = np.nan
        same(run("compare", a, b, kind=kind), KINDS[kind](a, b))
        same(run("compare", a, a.copy(), kind=kind), KINDS[kind](a, a))


def test_compare_the_full_range():
    for dtype in INTEGERS:
        info = np.iinfo(dtype)
        a = np.array([info.min, info.max, info.max - 1, 0, 1], dtype)
        for kind, f in KINDS.items():
            same(run("compare", a[:, None], a, kind=kind), f(a[:, None], a))


@pytest.mark.parametrize(
    "kind, f", [("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)]
)
def test_logical(kind, f):
    for _ in range(20):
        a, b = (random(RNG, s, bool) for s in broadcast_shapes(RNG, 2))
        same(run("logical", a, b, kind=kind), f(a, b))
    same(run("logical_not", a), ~a)


def test_any_byte_is_a_truth_value():
    odd = np.arange(6, dtype="uint8").view(bool)
    truth = np.arange(6) != 0
    same(run("logical_not", odd), ~truth)
    same(run("logical", odd, truth[::-1].copy(), kind="and"), truth & truth[::-1])
    same(run("logical", odd, truth, kind="xor"), np.zeros(6, bool))
    same(run("where", odd, np.ones(6), np.zeros(6)), truth * 1.0)
    same(run("cast", odd, dtype="int32"), truth.astype("int32"))


@pytest.mark.parametrize("dtype", ALL)
def test_where(dtype):
    for _ in range(25):
        c, a, b = broadcast_shapes(RNG, 3)
        c, a, b = random(RNG, c, bool), random(RNG, a, dtype), random(RNG, b, dtype)
        same(run("where", c, a, b), np.where(c, a, b))


@pytest.mark.parametrize(
    "shapes",
    [
        ((300, 400), (400,), (1,)),
        ((300, 1), (300, 400), (400,)),
        ((1,), (90_000,), ()),
        ((), (), (90_000,)),
    ],
)
def test_where_in_pieces(shapes):
    c, a, b = (
        random(RNG, shapes[0], bool),
        random(RNG, shapes[1], "float32"),
        random(RNG, shapes[2], "float32"),
    )
    same(run("where", c, a, b), np.where(c, a, b))
    same(run("where", ~c, a, b), np.where(~c, a, b))


def test_where_takes_over_memory():
    graph = core.Graph()
    x = graph.input("x", [70_000], "float32")
    (c,) = graph.add("compare", [x, graph.constant(np.zeros((), "float32"))], {"kind": "gt"})
    (a,), (b,) = graph.add("scale", [x], {"alpha": 2.0}), graph.add("neg", [x])
    (y,) = graph.add("where", [c, a, b])
    (z,) = graph.add("relu", [y])
    data = random(RNG, [70_000], "float32")
    same(core.Plan(graph, [z]).run([data])[0], np.where(data > 0, 2 * data, -data))


@pytest.mark.parametrize("source", ALL)
@pytest.mark.parametrize("target", ALL)
def test_cast(source, target):
    for _ in range(4):
        a = random(RNG, random_shape(RNG), source)
        if a.dtype.kind == "f" and np.dtype(target).kind in "iu":
            a = np.clip(a * 30, np.iinfo(target).min, np.iinfo(target).max / 2).astype(source)
        same(run("cast", a, dtype=target), a.astype(target))


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", INTEGERS)
def test_cast_saturates(source, target):
    info = np.iinfo(target)
    edge = np.array([info.min, info.max], source)
    around = np.concatenate([np.nextafter(edge, np.array(s, source)) for s in (-np.inf, np.inf)])
    specials = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, -0.9, 0.9, -1.5, 2.99], source)
    x = np.concatenate([edge, around, specials])
    exact = [
        0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
        for v in x.tolist()
    ]
    same(run("cast", x, dtype=target), np.array(exact, target))
    big = np.resize(x, 50_000)
    same(run("cast", big, dtype=target), np.resize(np.array(exact, target), 50_000))


def test_cast_to_bool_and_between_floats():
    x = np.array([0, -0.0, 0.4, np.nan, np.inf, 1e-30], "float32")
    same(run("cast", x, dtype="bool"), np.array([0, 0, 1, 1, 1, 1], bool))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = np.array([1e300, -1e300, np.nan, 1 / 3])
        same(run("cast", y, dtype="float32"), y.astype("float32"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_isnan_and_isinf(dtype):
    x = random(RNG, (7, 9), dtype).copy()
    x[0, :4] = np.nan, np.inf, -np.inf, np.finfo(dtype).max
    same(run("isnan", x), np.isnan(x))
    same(run("isinf", x), np.isinf(x))
    same(run("isinf", x, detect_negative=False), np.isposinf(x))
    same(run("isinf", x, detect_positive=False), np.isneginf(x))
    same(run("isinf", x, detect_positive=False, detect_negative=False), np.zeros((7, 9), bool))


def test_gradients_of_where_cast_and_prelu():
    graph = core.Graph()
    x = graph.input("x", [3, 4], "float64")
    slope = graph.input("slope", [4], "float64")
    c = graph.input("c", [3, 1], "bool")
    (narrow,) = graph.add("cast", [x], {"dtype": "float32"})
    (wide,) = graph.add("cast", [narrow], {"dtype": "float64"})
    (y,) = graph.add("where", [c, wide, slope])
    (p,) = graph.add("prelu", [x, slope])
    grads = graph.gradients([y, p], [None, None], [x, slope])
    data, s, cond = (
        random(RNG, (3, 4), "float64"),
        random(RNG, (4,), "float64"),
        np.array([[1], [0], [1]], bool),
    )
    dx, ds = core.Plan(graph, grads).run([data, s, cond])
    np.testing.assert_allclose(dx, cond * 1.0 + np.where(data >= 0, 1, s))
    np.testing.assert_allclose(ds, np.sum(~cond * np.ones((3, 4)) + np.minimum(data, 0), 0))


@pytest.mark.parametrize(
    "op, arrays, attrs",
    [
        ("compare", [np.zeros(3), np.zeros(3)], {}),
        ("compare", [np.zeros(3), np.zeros(3)], {"kind": "<"}),
        ("compare", [np.zeros(3), np.zeros(3)], {"kind": 3}),
        ("compare", [np.zeros(3), np.zeros(4)], {"kind": "eq"}),
        ("compare", [np.zeros(3), np.zeros(3, "int64")], {"kind": "eq"}),
        ("compare", [np.zeros(3)], {"kind": "eq"}),
        ("logical", [np.zeros(3, bool), np.zeros(3)], {"kind": "and"}),
        ("logical", [np.zeros(3, bool)] * 2, {"kind": "nand"}),
        ("where", [np.zeros(3), np.zeros(3), np.zeros(3)], {}),
        ("where", [np.zeros(3, bool), np.zeros(3), np.zeros(3, "float32")], {}),
        ("where", [np.zeros(3, bool), np.zeros(3)], {}),
        ("where", [np.zeros(3, bool), np.zeros(2), np.zeros(3)], {}),
        ("cast", [np.zeros(3)], {}),
        ("cast", [np.zeros(3)], {"dtype": "float16"}),
        ("cast", [np.zeros(3)], {"dtype": 1}),
        ("cast", [], {"dtype": "bool"}),
        ("isnan", [np.zeros(3, "int64")], {}),
        ("isinf", [np.zeros(3)], {"detect_negative": "no"}),
    ],
)
def test_bad_arguments(op, arrays, attrs):
    with pytest.raises(ValueError, match=op):
        run(op, *arrays, **attrs)
