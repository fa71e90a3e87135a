"""What a user of onnxruntime relies on: the same outputs for the same calls."""

import numpy as np
import pytest

import fastconv

onnx = pytest.importorskip("onnx", reason="needs the onnx package")
ort = pytest.importorskip("onnxruntime", reason="compares with onnxruntime")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

value = helper.make_tensor_value_info
node = helper.make_node
X = np.float32([[1, -2, 3], [4, 5, -6]])


def model(nodes, inputs, outputs, constants=(), ir=8):
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir)
    return proto.SerializeToString()


def floats(name, *shape):
    return value(name, T.FLOAT, list(shape))


BIAS = [("w", np.float32([1, 2, 3]))]
ADD = model([node("Add", ["x", "w"], ["y"])], [floats("x", None, 3)], [floats("y", None, 3)], BIAS)
RELU = node("Relu", ["x"], ["y"])
IMAGE = np.arange(32, dtype="float32").reshape(1, 2, 4, 4)
KERNEL = [("w", np.ones((3, 2, 3, 3), "float32"))]
CONV = [node("Conv", ["x", "w"], ["c"]), node("GlobalAveragePool", ["c"], ["p"])]

# name: model, feeds, output names
CASES = {
    "lists": (ADD, {"x": X.tolist()}, None),
    "list of arrays": (ADD, {"x": [X[0], X[1]]}, None),
    "fortran order": (ADD, {"x": np.asfortranarray(X)}, None),
    "no rows": (ADD, {"x": X[:0]}, None),
    "no names": (ADD, {"x": X}, []),
    "a name twice": (ADD, {"x": X}, ("y", "y")),
    "scalar": (
        model([node("Mul", ["x", "x"], ["y"])], [floats("x")], [floats("y")]),
        {"x": np.array(3, "float32")},
        None,
    ),
    "bool outputs": (
        model(
            [node("Greater", ["x", "t"], ["y"]), node("Not", ["y"], ["z"])],
            [floats("x", 2, 3)],
            [value("z", T.BOOL, None), value("y", T.BOOL, None)],
            [("t", np.float32(0))],
        ),
        {"x": X},
        None,
    ),
    "an input is an output": (
        model([RELU], [floats("x", 2, 3)], [floats("x", 2, 3), floats("y", 2, 3)]),
        {"x": X},
        ["y", "x"],
    ),
    "a weight is an output": (
        model(
            [node("Add", ["x", "w"], ["y"])],
            [floats("x", 2, 3)],
            [floats("w", 3), floats("y", 2, 3)],
            BIAS,
        ),
        {"x": X},
        None,
    ),
    "an unused input": (
        model([RELU], [floats("x", 2, 3), floats("u", 1)], [floats("y", 2, 3)]),
        {"x": X, "u": np.float32([0])},
        None,
    ),
    "mask of a dropout": (
        model(
            [node("Dropout", ["x"], ["y", "m"])],
            [floats("x", 2, 3)],
            [floats("y", 2, 3), value("m", T.BOOL, None)],
        ),
        {"x": X},
        None,
    ),
    "indices of max-pooling": (
        model(
            [node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])],
            [floats("x", 1, 2, 4, 4)],
            [value("i", T.INT64, None), value("y", T.FLOAT, None)],
        ),
        {"x": IMAGE},
        None,
    ),
    "a weight that is an input": (
        model(
            [node("Add", ["x", "w"], ["y"])],
            [floats("x", 2, 3), floats("w", 3)],
            [floats("y", 2, 3)],
            BIAS,
            ir=3,
        ),
        {"x": X},
        None,
    ),
    "convolution of no images": (
        model(
            [*CONV, node("Flatten", ["p"], ["y"])],
            [floats("x", "N", 2, 4, 4)],
            [floats("y", "N", 3)],
            KERNEL,
        ),
        {"x": IMAGE[:0]},
        None,
    ),
    "names with slashes": (
        model(
            [node("Relu", ["a/b:0"], ["größe/出 力"])],
            [floats("a/b:0", 2, 3)],
            [floats("größe/出 力", 2, 3)],
        ),
        {"a/b:0": X},
        ["größe/出 力"],
    ),
    "int32 indices": (
        model(
            [node("Gather", ["x", "i"], ["y"], axis=1)],
            [floats("x", 2, 3), value("i", T.INT32, [None])],
            [value("y", T.FLOAT, None)],
        ),
        {"x": X, "i": np.int32([-1, 0])},
        None,
    ),
    "constants only": (
        model(
            [
                node("Constant", [], ["c"], value=numpy_helper.from_array(X)),
                node("Relu", ["c"], ["y"]),
            ],
            [],
            [floats("y", 2, 3)],
        ),
        {},
        None,
    ),
    "no nodes": (model([], [], [floats("w", 3)], BIAS), {}, None),
    "shape of nothing": (
        model([node("Shape", ["x"], ["y"])], [floats("x", "a", "b")], [value("y", T.INT64, [2])]),
        {"x": X[:0]},
        None,
    ),
    "unknown rank": (
        model(
            [node("ReduceMax", ["x"], ["y"], keepdims=0)],
            [value("x", T.FLOAT, None)],
            [value("y", T.FLOAT, None)],
        ),
        {"x": np.array(4, "float32")},
        None,
    ),
    "softmax over nothing": (
        model(
            [node("Softmax", ["x"], ["y"], axis=1)],
            [floats("x", None, None)],
            [value("y", T.FLOAT, None)],
        ),
        {"x": np.zeros((2, 0), "float32")},
        None,
    ),
    "integer division": (
        model(
            [node("Div", ["x", "z"], ["y"])],
            [value("x", T.INT32, [2]), value("z", T.INT32, [2])],
            [value("y", T.INT32, [2])],
        ),
        {"x": np.int32([-7, 7]), "z": np.int32([2, -2])},
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_as_onnxruntime(name):
    data, feeds, names = CASES[name]
    ours = fastconv.InferenceSession(data)
    theirs = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    for get in ("get_inputs", "get_outputs"):
        described = [
            [(v.name, v.type) for v in getattr(session, get)()] for session in (ours, theirs)
        ]
        assert described[0] == described[1]
    got, expected = ours.run(names, feeds), theirs.run(names, feeds)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert (g.dtype, g.shape) == (e.dtype, e.shape)
        np.testing.assert_allclose(g, e, rtol=1e-6)
    # Nothing that was given or returned before is written.
    again = ours.run(names, feeds)
    for g, a in zip(got, again, strict=True):
        assert not np.shares_memory(g, a)
        assert all(
            g is not f and not np.shares_memory(g, f)
            for f in feeds.values()
            if isinstance(f, np.ndarray)
        )


def test_double_models():
    data = model(
        [*CONV, node("Flatten", ["p"], ["y"])],
        [value("x", T.DOUBLE, [1, 2, 4, 4])],
        [value("y", T.DOUBLE, None)],
        [("w", KERNEL[0][1].astype("float64"))],
    )
    (y,) = fastconv.InferenceSession(data).run(None, {"x": IMAGE.astype("float64")})
    assert y.dtype == np.float64
    single = model(
        [*CONV, node("Flatten", ["p"], ["y"])],
        [floats("x", 1, 2, 4, 4)],
        [value("y", T.FLOAT, None)],
        KERNEL,
    )
    (expected,) = ort.InferenceSession(single).run(None, {"x": IMAGE})
    np.testing.assert_allclose(y, expected, rtol=1e-6)
