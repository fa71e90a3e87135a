"""The direct call of the latest plan gives and refuses what the checked path does."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv.inference.model import ModelGraph, Node, ValueInfo


def session(shape=("n", 4)) -> fastconv.InferenceSession:
    model = ModelGraph(
        "m",
        [ValueInfo("a", "float32", shape), ValueInfo("b", "float32", shape)],
        [ValueInfo("sum", "float32", None), ValueInfo("product", "float32", None)],
        [Node("Add", ["a", "b"], ["sum"]), Node("Mul", ["a", "b"], ["product"])],
    )
    return fastconv.InferenceSession(model)


def feed(n=3, dtype=np.float32):
    rng = np.random.default_rng(n)
    return {name: rng.standard_normal((n, 4)).astype(dtype) for name in "ab"}


def check(results, f):
    a, b = (np.asarray(f[name], np.float32) for name in "ab")
    np.testing.assert_array_equal(results[0], a + b)
    np.testing.assert_array_equal(results[1], a * b)


def test_shapes_alternate():
    s = session()
    for n in (3, 3, 5, 3, 5, 5, 1):
        f = feed(n)
        check(s.run(None, f), f)


def test_results_are_new_arrays():
    s = session()
    first, second = s.run(None, feed()), s.run(None, feed())
    assert not np.shares_memory(first[0], second[0])
    assert first[0].flags.writeable and first[0].flags.owndata


@pytest.mark.parametrize("names", [None, [], ["product"], ("product", "sum"), ["sum", "sum"]])
def test_names_of_outputs(names):
    s = session()
    f = feed()
    for _ in range(2):  # the second takes the direct call
        got = s.run(names, f)
        both = dict(zip(("sum", "product"), s.run(None, f), strict=True))
        want = [both[name] for name in names or ("sum", "product")]
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(g, w)
    with pytest.raises(ValueError, match="no output 'x'"):
        s.run(["x"], f)
    with pytest.raises(TypeError, match="output_names is the string"):
        s.run("sum", f)


class Sub(np.ndarray):
    pass


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1][::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.tolist(),
        lambda a: a.view(Sub),
        lambda a: (
            np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape)
        ),
    ],
    ids=["fortran", "strided", "views", "big-endian", "list", "subclass", "unaligned"],
)
def test_other_arrays_take_the_checked_path(convert):
    s = session()
    f = feed()
    s.run(None, f)
    other = {name: convert(a) for name, a in f.items()}
    check(s.run(None, other), f)
    check(s.run(None, {"b": f["b"], "a": other["a"]}), f)


@pytest.mark.parametrize(
    "spoil, error",
    [
        (lambda f: {"a": f["a"]}, ValueError),
        (lambda f: {**f, "c": f["a"]}, ValueError),
        (lambda f: {"a": f["a"], "c": f["b"]}, ValueError),
        (lambda f: {**f, "a": f["a"].astype(np.float64)}, TypeError),
        (lambda f: {**f, "a": f["a"][:2]}, ValueError),
        (lambda f: {**f, "a": f["a"][:, :3]}, ValueError),
        (lambda f: {**f, "a": None}, (ValueError, TypeError)),
        (lambda f: list(f.values()), TypeError),
        (lambda f: {1: f["a"], 2: f["b"]}, (ValueError, TypeError)),
    ],
)
def test_errors_stay(spoil, error):
    s = session()
    f = feed()
    s.run(None, f)
    with pytest.raises(error):
        s.run(None, spoil(f))
    check(s.run(None, f), f)


def test_values_that_shapes_depend_on():
    """The plan of a value is not used for another value of the same shape."""
    model = ModelGraph(
        "m",
        [ValueInfo("x", "float32", (6,)), ValueInfo("shape", "int64", (2,))],
        [ValueInfo("y", "float32", None)],
        [Node("Reshape", ["x", "shape"], ["y"])],
    )
    s = fastconv.InferenceSession(model)
    x = np.arange(6, dtype=np.float32)
    for shape in ([2, 3], [2, 3], [3, 2], [1, 6], [3, 2]):
        (y,) = s.run(None, {"x": x, "shape": np.array(shape)})
        assert list(y.shape) == shape


def test_constant_outputs_are_copies():
    """An output that is known while planning is not handed out itself."""
    model = ModelGraph(
        "m",
        [ValueInfo("x", "float32", (2, 3))],
        [ValueInfo("y", "int64", None)],
        [Node("Shape", ["x"], ["y"], version=13)],
    )
    s = fastconv.InferenceSession(model)
    f = {"x": np.zeros((2, 3), np.float32)}
    s.run(None, f)[0][:] = 9
    assert s.run(None, f)[0].tolist() == [2, 3]
