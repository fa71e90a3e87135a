"""What a session takes as inputs, names and models, and what it says of the rest."""

import numpy as np
import pytest

import fastconv
from fastconv.inference import ModelGraph, Node, ValueInfo


def session(op="Relu", dtype="float32", shape=None, **parts):
    attrs = parts.pop("attrs", {})
    node = Node(op, ["x"], ["y"], attrs, "n", version=18)
    model = ModelGraph(
        "m", [ValueInfo("x", dtype, shape)], [ValueInfo("y", dtype, None)], [node], **parts
    )
    return fastconv.InferenceSession(model)


def run(value, dtype="float32", shape=None):
    return session("Abs", dtype, shape).run(None, {"x": value})[0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, -2], [3, 4]], "float32"),
        ([[1.5, -2.5]], "float32"),
        ((1.5, -2), "float64"),
        ([1, -2], "int64"),
        ([1, -2], "int8"),
        (-3.5, "float32"),
        (-3, "int64"),
        (np.float32(-3), "float32"),
        ([np.array([1.0, -2.0]), np.array([3.0, 4.0])], "float32"),
        ([], "float32"),
    ],
)
def test_lists_and_numbers(value, dtype):
    y = run(value, dtype)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.abs(np.asarray(value, dtype)))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1.5], "int64"),
        (["a"], "float32"),
        (None, "float32"),
        ({}, "float32"),
        (np.array([1.0, 2.0]), "float32"),
        (np.array([1], "int32"), "int64"),
        (np.array([1], "int64"), "float32"),
        ([2**70], "int64"),
    ],
)
def test_other_dtypes_are_refused(value, dtype):
    with pytest.raises(TypeError, match=f"input 'x' has dtype .*, expected {dtype}"):
        run(value, dtype)


@pytest.mark.parametrize("value", [[[1], [2, 3]], [300]])
def test_ragged_lists_and_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="input 'x'"):
        run(value, "int8")


def test_other_byte_orders_and_strides():
    x = np.arange(-6, 6, dtype="float32").reshape(3, 4)
    for given in (x.astype(">f4"), np.asfortranarray(x), x[::-1][::-1], x.T.copy().T):
        np.testing.assert_array_equal(run(given), np.abs(x))


def test_no_names_are_all_names():
    s = session(shape=(2,))
    x = np.float32([-1, 2])
    for names in (None, [], ()):
        assert len(s.run(names, {"x": x})) == 1
    assert len(s.run(["y", "y"], {"x": x})) == 2
    with pytest.raises(TypeError, match="string 'y'"):
        s.run("y", {"x": x})
    with pytest.raises(ValueError, match="no output 'z'"):
        s.run(["z"], {"x": x})


@pytest.mark.parametrize("value", [[1, 2], 3, None, "text"])
def test_constants_are_arrays(value):
    with pytest.raises(TypeError, match="constant 'w' is a"):
        session(constants={"w": value})


def test_models_are_checked():
    x = ValueInfo("x", "float32", (2,))
    nodes = [Node("Relu", ["a"], ["y"]), Node("Relu", ["x"], ["a"])]
    out = [ValueInfo("y", "float32", None)]
    turned = fastconv.InferenceSession(ModelGraph("m", [x], out, nodes))
    np.testing.assert_array_equal(turned.run(None, {"x": np.float32([-1, 2])})[0], [0, 2])
    for bad, match in (
        ([Node("Relu", ["nothing"], ["y"])], "'nothing'"),
        ([Node("Relu", ["x"], ["y"]), Node("Abs", ["x"], ["y"])], "'y' is both"),
        ([Node("Relu", ["b"], ["y"]), Node("Relu", ["y"], ["b"])], "cycle"),
        ([Node("Relu", ["x"], ["z"])], "never computed"),
    ):
        with pytest.raises(ValueError, match=f"model 'm'.*{match}"):
            fastconv.InferenceSession(ModelGraph("m", [x], out, bad))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_absurd_sizes(mode):
    x = ValueInfo("x", "float32", (1, 1, 4, 4))
    node = Node("Resize", ["x", "", "", "sizes"], ["y"], {"mode": mode}, "n", version=18)
    model = ModelGraph("m", [x], [ValueInfo("y", "float32", None)], [node])
    model.constants["sizes"] = np.int64([1, 1, 2**33, 4])
    with pytest.raises(ValueError, match=r"'n' \(Resize\).*at most"):
        fastconv.InferenceSession(model)


def test_known_results_larger_than_memory():
    node = Node("ConstantOfShape", ["s"], ["y"], {}, "n", version=18)
    model = ModelGraph("m", [], [ValueInfo("y", "float32", None)], [node])
    model.constants["s"] = np.int64([2**40])
    with pytest.raises(MemoryError, match="GiB"):
        fastconv.InferenceSession(model)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "LpPool"])
def test_pooling_of_absurd_sizes(op):
    for attrs in (
        {"kernel_shape": [5, 5], "pads": [2**40, 2, 2, 2]},
        {"kernel_shape": [2**20, 2**20], "pads": [2**20] * 4},
        {"kernel_shape": [5, 5], "pads": [2**31 - 1, 2, 2, 2], "count_include_pad": 1},
    ):
        with pytest.raises(ValueError, match=f"'n' \\({op}\\)"):
            session(op, shape=(1, 1, 5, 5), attrs=attrs)


@pytest.mark.parametrize("with_pad", [0, 1])
def test_averages_of_dilated_windows_beyond_the_edges(with_pad):
    attrs = {"kernel_shape": [3], "pads": [2, 1], "dilations": [2], "count_include_pad": with_pad}
    x = np.float32([1, 2, 3, 4, 5])
    (y,) = session("AveragePool", shape=(1, 1, 5), attrs=attrs).run(None, {"x": x[None, None]})
    padded = np.pad(x, (2, 1))
    known = np.pad(np.ones(5), (2, 1), constant_values=with_pad)
    expected = [padded[i : i + 5 : 2].sum() / known[i : i + 5 : 2].sum() for i in range(4)]
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-6)
