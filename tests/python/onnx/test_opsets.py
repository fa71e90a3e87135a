"""Operators whose form changed between operator sets, each form against onnxruntime."""

import numpy as np
import pytest

import fastconv

onnx = pytest.importorskip("onnx", reason="needs the onnx package")
ort = pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 6, 7)).astype("float32")


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def ints(*values):
    return np.array(values, np.int64)


# operator set, operator, attributes, further inputs ("" = omitted), number of outputs
CASES = [
    (7, "Upsample", {"scales": [1.0, 1.0, 2.0, 3.0]}, [], 1),
    (7, "Upsample", {"scales": [1.0, 1.0, 2.0, 1.5], "mode": "linear"}, [], 1),
    (9, "Upsample", {}, [np.array([1, 1, 2, 2], "f4")], 1),
    (10, "Resize", {}, [np.array([1, 1, 1.5, 2], "f4")], 1),
    (10, "Resize", {"mode": "linear"}, [np.array([1, 1, 2, 2], "f4")], 1),
    (11, "Resize", {"mode": "linear"}, [np.zeros(0, "f4"), np.array([1, 1, 0.5, 2], "f4")], 1),
    (11, "Resize", {}, [np.zeros(0, "f4"), np.zeros(0, "f4"), ints(2, 3, 12, 5)], 1),
    (13, "Resize", {"mode": "cubic"}, ["", np.array([1, 1, 2, 2], "f4")], 1),
    (18, "Resize", {"axes": [2, 3], "antialias": 1, "mode": "linear"}, ["", "", ints(3, 4)], 1),
    (19, "Resize", {"axes": [3], "mode": "linear"}, ["", "", ints(4)], 1),
    (7, "Clip", {"min": -0.5, "max": 0.5}, [], 1),
    (7, "Clip", {"max": 0.5}, [], 1),
    (11, "Clip", {}, [np.float32(-0.25)], 1),
    (12, "Clip", {}, ["", np.float32(0.25)], 1),
    (13, "Clip", {}, [np.float32(0.5), np.float32(-0.5)], 1),
    (7, "Pad", {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 2.0}, [], 1),
    (7, "Pad", {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "mode": "reflect"}, [], 1),
    (11, "Pad", {"mode": "edge"}, [ints(0, 1, 1, 2, 0, 1, 3, 4)], 1),
    (13, "Pad", {}, [ints(0, 0, -1, 2, 0, 0, 3, -2), np.float32(1.5)], 1),
    (18, "Pad", {}, [ints(1, 2, 3, 4), np.float32(0), ints(-1, 2)], 1),
    (19, "Pad", {"mode": "wrap"}, [ints(0, 0, 1, 2, 0, 0, 3, 4)], 1),
    (7, "Slice", {"starts": [1, -3], "ends": [2, 100], "axes": [0, 2]}, [], 1),
    (10, "Slice", {}, [ints(5, 0), ints(-100, 6), ints(2, 3), ints(-2, 3)], 1),
    (13, "Slice", {}, [ints(0, 1), ints(2, 3)], 1),
    (7, "Squeeze", {"axes": [0]}, [], 1),
    (7, "Unsqueeze", {"axes": [0, 5]}, [], 1),
    (13, "Unsqueeze", {}, [ints(-1, 1)], 1),
    (7, "Softmax", {}, [], 1),
    (11, "Softmax", {"axis": 2}, [], 1),
    (11, "LogSoftmax", {"axis": 0}, [], 1),
    (13, "Softmax", {}, [], 1),
    (13, "LogSoftmax", {"axis": 1}, [], 1),
    (7, "ReduceSum", {"axes": [1, 3], "keepdims": 0}, [], 1),
    (13, "ReduceSum", {"keepdims": 1}, [ints(-1)], 1),
    (13, "ReduceSum", {"noop_with_empty_axes": 1}, [], 1),
    (11, "ReduceMean", {"axes": [-1, -2]}, [], 1),
    (18, "ReduceMean", {}, [ints(2, 3)], 1),
    (18, "ReduceL2", {"keepdims": 0}, [ints(1)], 1),
    (7, "Split", {"axis": 3, "split": [2, 5]}, [], 2),
    (7, "Split", {"axis": 1}, [], 3),
    (13, "Split", {"axis": 3}, [ints(3, 4)], 2),
    (18, "Split", {"axis": 3, "num_outputs": 3}, [], 3),
    (7, "Dropout", {"ratio": 0.3}, [], 1),
    (12, "Dropout", {}, [np.float32(0.3)], 1),
    (7, "BatchNormalization", {}, [floats(3), floats(3), floats(3), np.abs(floats(3)) + 1], 1),
    (15, "BatchNormalization", {}, [floats(3), floats(3), floats(3), np.abs(floats(3)) + 1], 1),
    (7, "AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}, [], 1),
    (7, "AveragePool", {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}, [], 1),
    (11, "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, [], 1),
    (19, "AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 1]}, [], 1),
    (7, "MaxPool", {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}, [], 1),
    (8, "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [], 2),
    (10, "MaxPool", {"kernel_shape": [3, 3], "ceil_mode": 1, "dilations": [2, 1]}, [], 1),
    (12, "MaxPool", {"kernel_shape": [3, 3], "storage_order": 1, "strides": [2, 2]}, [], 2),
    (7, "LRN", {"size": 3}, [], 1),
    (13, "LRN", {"size": 4, "alpha": 0.1, "bias": 2.0}, [], 1),
    (7, "PRelu", {}, [floats(3, 1, 1)], 1),
    (16, "PRelu", {}, [floats(1)], 1),
    (7, "Conv", {"pads": [2, 2, 2, 2], "dilations": [2, 2]}, [floats(4, 3, 3, 3), floats(4)], 1),
    (7, "Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [floats(4, 3, 3, 3)], 1),
    (11, "Conv", {"group": 3, "pads": [0, 1, 0, 0]}, [floats(6, 1, 2, 3)], 1),
    (7, "ConvTranspose", {"strides": [2, 3], "output_padding": [1, 2]}, [floats(3, 2, 3, 3)], 1),
    (11, "ConvTranspose", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [floats(3, 2, 3, 3)], 1),
    (11, "ConvTranspose", {"strides": [2, 2], "output_shape": [11, 14]}, [floats(3, 2, 3, 3)], 1),
    (11, "ConvTranspose", {"group": 3, "pads": [1, 0, 1, 1]}, [floats(3, 2, 3, 2), floats(6)], 1),
    (7, "InstanceNormalization", {}, [floats(3), floats(3)], 1),
    (17, "LayerNormalization", {"axis": 2}, [floats(6, 7), floats(6, 7)], 1),
    (7, "Flatten", {"axis": 2}, [], 1),
    (11, "Flatten", {"axis": -1}, [], 1),
    (7, "Tile", {}, [ints(1, 2, 1, 3)], 1),
    (8, "Expand", {}, [ints(2, 1, 3, 1, 7)], 1),
    (7, "Gather", {"axis": 3}, [ints(0, 6, 2)], 1),
    (11, "Gather", {"axis": 1}, [np.array([[-1, 0], [1, -3]])], 1),
    (7, "ArgMax", {"axis": 1, "keepdims": 0}, [], 1),
    (12, "ArgMax", {"axis": -1, "select_last_index": 1}, [], 1),
    (11, "DepthToSpace", {"blocksize": 1, "mode": "CRD"}, [], 1),
    (7, "Reshape", {}, [ints(0, -1, 7)], 1),
    (14, "Reshape", {"allowzero": 1}, [ints(2, 18, 7)], 1),
    (20, "Gelu", {}, [], 1),
    (20, "Gelu", {"approximate": "tanh"}, [], 1),
    (18, "Mish", {}, [], 1),
    (14, "HardSwish", {}, [], 1),
    (7, "Pow", {}, [np.float32(2)], 1),
    (12, "Pow", {}, [ints(3)], 1),
    (7, "Sum", {}, [floats(7), floats(3, 1, 1)], 1),
    (8, "Max", {}, [floats(7), floats(2, 1, 6, 1)], 1),
    (7, "Sub", {}, [floats(1, 6, 1)], 1),
    (7, "LpPool", {"kernel_shape": [2, 2], "p": 3}, [], 1),
    (18, "LpPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [], 1),
]


def model_of(opset, op, attrs, further, outputs, x):
    constants, names = [], ["x"]
    for i, value in enumerate(further):
        names.append("" if isinstance(value, str) else f"c{i}")
        if names[-1]:
            constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attrs)
    kinds = [TensorProto.FLOAT] * outputs
    if op in ("ArgMax", "ArgMin"):
        kinds = [TensorProto.INT64]
    elif op == "MaxPool":
        kinds[1:] = [TensorProto.INT64] * (outputs - 1)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(n, k, None) for n, k in zip(results, kinds, strict=True)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


@pytest.mark.parametrize("case", CASES, ids=[f"{c[1]}-{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_against_onnxruntime(case):
    opset, op, attrs, further, outputs = case
    x = X[:1] if op == "Squeeze" else X
    if op == "LRN":  # onnx's evaluator normalizes as many channels as there are images
        x = floats(3, 3, 6, 7)
    data = model_of(opset, op, attrs, further, outputs, x).SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        peer = ort.InferenceSession(data, options)
        expected = peer.run(None, {"x": x})
    except Exception as error:
        # onnxruntime dropped some old forms: then the reference evaluator decides.
        reference = pytest.importorskip("onnx.reference")
        try:
            expected = reference.ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"x": x})
        except Exception:
            pytest.skip(f"neither onnxruntime nor onnx run this form: {error}")
    results = fastconv.InferenceSession(data).run(None, {"x": x})
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)
