"""Graphs written as ONNX: attributes, types and operator sets come back as they were."""

import numpy as np
import pytest

import fastconv
from fastconv.inference import ModelGraph, Node, ValueInfo
from fastconv.onnx.writer import save, to_proto

onnx = pytest.importorskip("onnx", reason="needs the onnx package")


def graph(*nodes, output=("y", "float32", None), constants=None, dtype="float32", shape=(2,)):
    inputs = [ValueInfo("x", dtype, shape)]
    return ModelGraph("g", inputs, [ValueInfo(*output)], list(nodes), dict(constants or {}))


def back(model):
    return fastconv.onnx.load(to_proto(model))


def test_everything_comes_back():
    attrs = {
        "axis": -1,
        "alpha": 2.0,
        "mode": "text",
        "ints": [1, 2],
        "floats": [0.5, 1.0],
        "strings": ["a", "b"],
        "tensor": np.arange(3),
    }
    model = graph(
        Node("Mine", ["x", "", "c"], ["y", "", "z"], attrs, "node", "my.domain", 3),
        shape=("n", None, 4),
        constants={"c": np.array([True, False])},
    )
    model.metadata = {"producer_name": "me", "doc_string": "words", "key": "value"}
    read = back(model)
    assert read.inputs == model.inputs and read.outputs == model.outputs
    assert read.metadata == model.metadata and read.name == "g"
    np.testing.assert_array_equal(read.constants["c"], [True, False])
    (node,) = read.nodes
    tensor = node.attrs.pop("tensor")
    np.testing.assert_array_equal(tensor, attrs.pop("tensor"))
    assert node == Node("Mine", ["x", "", "c"], ["y", "", "z"], attrs, "node", "my.domain", 3)


def test_types_that_values_do_not_tell():
    # An integer for a float, and a list without elements.
    nodes = [
        Node("LeakyRelu", ["x"], ["a"], {"alpha": 1}, version=17),
        Node("Clip", ["a"], ["b"], {}, version=17),
        Node("Other", ["b"], ["y"], {"empty": []}, domain="my", version=1),
    ]
    first, _, last = back(graph(*nodes)).nodes
    assert first.attrs == {"alpha": 1.0} and type(first.attrs["alpha"]) is float
    assert last.attrs == {"empty": []}


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int64", "bool", "bfloat16"]
)
def test_types(dtype):
    read = back(graph(Node("Identity", ["x"], ["y"], version=19), dtype=dtype))
    assert read.inputs[0].dtype == dtype


def test_output_without_a_type():
    model = graph(Node("Shape", ["x"], ["y"], version=15), output=("y", "", None))
    assert back(model).outputs == [ValueInfo("y", "int64", (1,))]


def test_nodes_of_several_sets():
    relu = Node("Relu", ["x"], ["a"], version=14)
    assert back(graph(relu, Node("Abs", ["a"], ["y"], version=17))).nodes[0].version == 17
    old = Node("Softmax", ["x"], ["a"], {}, "soft", version=11)  # its axis changed with 13
    with pytest.raises(ValueError, match=r"'soft' .* operator set 11 and changed until 17"):
        to_proto(graph(old, Node("Abs", ["a"], ["y"], version=17)))


def test_versions_that_are_not_known():
    assert back(graph(Node("Relu", ["x"], ["y"]))).nodes[0].version > 17


def test_what_the_checker_refuses():
    with pytest.raises(ValueError, match="cannot be written as ONNX"):
        to_proto(graph(Node("Relu", ["x", "x"], ["y"], version=17)))


def test_too_large():
    huge = np.broadcast_to(np.float32(0), (2**30, 1))
    with pytest.raises(ValueError, match=r"4\.3 GB, an ONNX file can hold 2 GB"):
        to_proto(graph(Node("Relu", ["x"], ["y"], version=17), constants={"c": huge}))


def test_failing_save_keeps_the_old_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError):
        save(graph(Node("Relu", ["x", "x"], ["y"], version=17)), path)
    assert path.read_bytes() == b"old"
    save(graph(Node("Relu", ["x"], ["y"], version=17)), path)
    x = np.float32([-1, 1])
    assert fastconv.InferenceSession(path).run(None, {"x": x})[0].tolist() == [0, 1]
    with pytest.raises(FileNotFoundError):
        save(graph(Node("Relu", ["x"], ["y"], version=17)), tmp_path / "no" / "m.onnx")
