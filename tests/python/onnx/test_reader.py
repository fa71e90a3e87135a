"""Reading sound ONNX models: tensors in every form, constants, functions, versions."""

import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastconv.onnx  # noqa: E402
from onnx import TensorProto, helper, parser  # noqa: E402

NUMBERS = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
    TensorProto.INT8: np.int8,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.UINT8: np.uint8,
    TensorProto.UINT16: np.uint16,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.BOOL: np.bool_,
    TensorProto.COMPLEX64: np.complex64,
    TensorProto.COMPLEX128: np.complex128,
}


def load(text: str):
    return fastconv.onnx.load(parser.parse_model(text))


def tensor_model(tensor):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    graph.initializer.append(tensor)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("number, dtype", NUMBERS.items(), ids=lambda v: getattr(v, "__name__", v))
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_tensors_of_all_types(raw, number, dtype, shape):
    values = np.array([[0, 1, 2], [100, 101, 1]]).astype(dtype)
    if np.dtype(dtype).kind in "if":
        values[0, 1] = -1
    values = values if shape == (2, 3) else values[:0] if shape == (0, 3) else values[1, 0]
    data = values.tobytes() if raw else values.ravel().tolist()
    tensor = helper.make_tensor("w", number, shape, data, raw=raw)
    found = fastconv.onnx.load(tensor_model(tensor)).constants["w"]
    assert found.dtype == dtype and found.shape == shape
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, values)


def test_paths_bytes_and_objects_give_the_same(tmp_path):
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17], producer_name: "me">'
        "g (float[N, 3] x, float y) => (float[N, 3] z) { z = Add(x, y) }"
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    for source in (proto, proto.SerializeToString(), path, str(path)):
        model = fastconv.onnx.load(source)
        assert [(v.name, v.dtype, v.shape) for v in model.inputs] == [
            ("x", "float32", ("N", 3)),
            ("y", "float32", ()),
        ]
        assert [(v.name, v.dtype, v.shape) for v in model.outputs] == [("z", "float32", ("N", 3))]
        assert [(n.op, n.inputs, n.outputs, n.version) for n in model.nodes] == [
            ("Add", ["x", "y"], ["z"], 17)
        ]
        assert model.name == "g" and model.metadata["producer_name"] == "me"


def test_shapes_may_be_unknown():
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, ?, 3] x) => (float[] y) {y = Relu(x)}'
    )
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -1
    proto.graph.output[0].ClearField("type")
    model = fastconv.onnx.load(proto)
    assert model.inputs[0].shape == ("N", None, None)
    assert (model.outputs[0].dtype, model.outputs[0].shape) == ("", None)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert fastconv.onnx.load(proto).inputs[0].shape is None


def test_constant_nodes_become_constants():
    model = load(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N] x) => (float[N] y) {
            a = Constant <value = float[2] {1, 2}> ()
            b = Constant <value_float = 2.5> ()
            c = Constant <value_int = 7> ()
            d = Constant <value_ints = [1, 2, 3]> ()
            e = Constant <value_floats = [1.0, 2.0]> ()
            y = Relu(x)
        }"""
    )
    assert [n.op for n in model.nodes] == ["Relu"]
    found = {k: (v.dtype.name, v.shape, v.tolist()) for k, v in model.constants.items()}
    assert found == {
        "a": ("float32", (2,), [1, 2]),
        "b": ("float32", (), 2.5),
        "c": ("int64", (), 7),
        "d": ("int64", (3,), [1, 2, 3]),
        "e": ("float32", (2,), [1, 2]),
    }


def test_attributes_keep_their_types():
    tensor = helper.make_tensor("t", TensorProto.INT64, [2], [3, 4])
    attrs = {"i": 1, "f": 1.0, "s": "same", "is": [1, 2], "fs": [1.0, 2.5], "ss": ["a", "b"]}
    proto = tensor_model(helper.make_tensor("w", TensorProto.FLOAT, [1], [1]))
    proto.graph.node[0].CopyFrom(
        helper.make_node("Op", ["x"], ["y"], domain="own", t=tensor, **attrs)
    )
    (node,) = fastconv.onnx.load(proto).nodes
    np.testing.assert_array_equal(node.attrs.pop("t"), [3, 4])
    assert node.attrs == attrs
    assert {k: type(v) for k, v in node.attrs.items()} == {k: type(v) for k, v in attrs.items()}
    assert (node.domain, node.version) == ("own", 0)


def test_weights_listed_as_inputs_are_constants():
    model = load(
        """<ir_version: 3, opset_import: ["" : 8]>
        g (float[N, 2] x, float[2] w) => (float[N, 2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"""
    )
    assert [v.name for v in model.inputs] == ["x"]
    np.testing.assert_array_equal(model.constants["w"], [1, 2])


def test_unsorted_nodes_are_sorted():
    model = load(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N] x) => (float[N] d) { d = Add(b, c) c = Neg(b) a = Relu(x) b = Abs(a) }"""
    )
    assert [n.outputs[0] for n in model.nodes] == ["a", "b", "c", "d"]


def test_functions_are_inlined():
    model = load(
        """<ir_version: 10, opset_import: ["" : 18, "own" : 1]>
        g (float[N] x) => (float[N] y, float[N] z) {
            y = own.twice <alpha = 0.5> (x)
            z = own.twice (y)
        }
        <opset_import: ["" : 17, "own" : 1], domain: "own">
        twice <alpha: float = 0.25> (a) => (c) { b = own.leaky <alpha: float = @alpha> (a)
                                 c = own.leaky <alpha: float = @alpha> (b) }
        <opset_import: ["" : 16], domain: "own">
        leaky <alpha> (a) => (b) { t = LeakyRelu <alpha: float = @alpha> (a)  b = Identity(t) }
        """
    )
    leaky = [n for n in model.nodes if n.op == "LeakyRelu"]
    assert [n.attrs["alpha"] for n in leaky] == [0.5, 0.5, 0.25, 0.25]
    assert {n.version for n in model.nodes} == {16}
    assert len({name for n in model.nodes for name in n.outputs}) == len(model.nodes) == 8
    assert model.nodes[0].inputs == ["x"] and model.nodes[3].outputs == ["y"]


def test_function_with_omitted_inputs_and_passed_inputs():
    model = load(
        """<ir_version: 10, opset_import: ["" : 17, "own" : 1]>
        g (float[N] x) => (float[N] y, float[N] z) { y, z = own.f(x) }
        <opset_import: ["" : 17], domain: "own">
        f (a, low) => (b, a) { b = Clip(a, low) }"""
    )
    assert [(n.op, n.inputs, n.outputs) for n in model.nodes] == [
        ("Clip", ["x", ""], ["y"]),
        ("Identity", ["x"], ["z"]),
    ]


def test_subgraphs_are_left_out():
    model = load(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = a () => (float[N] p) { p = Relu(x) },
                        else_branch = b () => (float[N] q) { q = Neg(x) }>
        }"""
    )
    (node,) = model.nodes
    assert (node.op, node.inputs, node.attrs) == ("If", ["c"], {})


@pytest.mark.parametrize("opset", [7, onnx.defs.onnx_opset_version()])
def test_operator_sets(opset):
    model = load(
        f'<ir_version: 3, opset_import: ["ai.onnx" : {opset}]> g (float x) => (float y) '
        "{ y = Relu(x) }"
    )
    assert (model.nodes[0].domain, model.nodes[0].version) == ("", opset)


def test_the_given_object_is_left_as_it_is():
    proto = tensor_model(helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2]))
    before = proto.SerializeToString()
    fastconv.onnx.load(proto)
    assert proto.SerializeToString() == before


def test_without_the_package_onnx():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import fastconv.onnx\n"
        "from fastconv.onnx import load\n"
        "try: load(b'')\n"
        "except ImportError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'fastconv[onnx]'" in out.stdout
