"""Damaged and hostile ONNX models: a ValueError each time that names what is wrong."""

import random
import resource
import tracemalloc

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastconv.onnx  # noqa: E402
from onnx import TensorProto, helper, parser  # noqa: E402

HEAD = '<ir_version: 10, opset_import: ["" : 17, "own" : 1]> '


def conv_model():
    weight = np.arange(2 * 3 * 3 * 3, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], "relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 8, 8])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 3, 3], weight.tobytes(), raw=True)],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def refused(proto, match):
    with pytest.raises(ValueError, match=match):
        fastconv.onnx.load(proto)


@pytest.mark.parametrize(
    "body, match",
    [
        ("(float x) => (float y) { y = Add(x, z) z = Neg(y) }", "cycle.*Add"),
        ("(float x) => (float y) { y = Add(x, y) }", "cycle.*Add"),
        ("(float x) => (float y) { y = Relu(x) y = Neg(x) }", "'y' is both.*Relu.*Neg"),
        ("(float x) => (float x) { x = Relu(x) }", "'x' is both an input.*Relu"),
        ("(float x, float x) => (float y) { y = Relu(x) }", "'x' is both"),
        ("(float x) => (float y, float y) { y = Relu(x) }", "'y'.*listed twice"),
        ("(float x) => (float y) { y = Add(x, w) }", "Add.* reads 'w'"),
        ("(float x) => (float z) { y = Relu(x) }", "'z' of the graph is never computed"),
        ("(float x) => () { y = Relu(x) }", "no outputs"),
        ("(float x) => (float w) <float w = {1}> { w = Relu(x) }", "'w' is both.*Relu"),
        ("(string x) => (float y) { y = Relu(x) }", "'x' has element type string"),
        ("(seq(float) x) => (float y) { y = Relu(x) }", "'x' is of type sequence"),
        ("(optional(float) x) => (float y) { y = Relu(x) }", "'x' is of type optional"),
        ('(float x) => (float y) { y = Constant <value_string = "a"> () }', "value_string"),
        ("(float x) => (float y) { y = Constant () }", "needs one value"),
        ("(float x) => (float y) { y = Constant <value_int = 1.5> () }", "wrong type"),
        ("(float x) => (float y) { y = Relu <a = 1, a = 2> (x) }", "'a'.*twice"),
        ("(float x) => (float y) { y = Relu <a: int = @b> (x) }", "'a'.*refers to 'b'"),
        ("(float[99999999999, 99999999999] x) => (float y) { y = Relu(x) }", "more elements"),
    ],
)
def test_graphs(body, match):
    refused(parser.parse_model(HEAD + "g " + body), match)


@pytest.mark.parametrize(
    "functions, match",
    [
        ("f (a) => (b) { b = own.f(a) }", "'f' calls itself"),
        (
            "f (a) => (b) { b = own.h(a) } <opset_import: ['own':1]> h (a)=>(b) {b=own.f(a)}",
            "se",
        ),
        ("f (a) => (c) { b = Relu(a) }", "does not compute the output 'c'"),
        ("f (a) => (b) { a = Relu(a)  b = Neg(a) }", "overwrites its input 'a'"),
        ("f () => (b) { b = Constant <value_int = 1> () }", "with 1 inputs"),
        ("f (a, a) => (b) { b = Relu(a) }", "repeated inputs"),
        ("f (a) => (b) { b = Relu(a) b = Neg(a) }", "'y' is both"),
        ("f (a) => (b) { b = Add(a, c) }", "reads.*c'"),
        ("f (a) => (b) { b = Relu(a) } <opset_import: ['':17]> f (a) => (b) {b = Abs(a)}", "twice"),
    ],
)
def test_functions(functions, match):
    text = '<opset_import: ["" : 17, "own" : 1], domain: "own"> ' + functions
    text = text.replace("<opset_import: ['", '<domain: "own", opset_import: ["').replace("':", '":')
    refused(parser.parse_model(HEAD + "g (float x) => (float y) { y = own.f(x) } " + text), match)


@pytest.mark.parametrize("leaf", ["b = Relu(a)", ""])
def test_functions_that_grow_exponentially(leaf):
    # Ten calls a level over twelve levels; without a leaf there would be no node at all.
    text = HEAD + "g (float x) => (float y) { y = own.f0(x) } "
    for level in range(12):
        calls = " ".join(f"b{i} = own.f{level + 1}(a)" for i in range(10))
        text += f'<domain: "own", opset_import: ["own" : 1]> f{level} (a) => (b0) {{ {calls} }} '
    last = "(a) => (b) { b = Relu(a) }" if leaf else "(a) => (a) { b = own.none(a) }"
    text += f'<domain: "own", opset_import: ["" : 17, "own" : 1]> f12 {last}'
    refused(parser.parse_model(text), "more than 200000 nodes")


@pytest.mark.parametrize(
    "dims, match",
    [
        ([-1, 54], "negative size"),
        ([2**62, 2], "more elements"),
        ([2**32, 2**32], "more elements"),
        ([2**62, 4, 0], "more elements"),
        ([2**40], "needs 4398046511104 bytes, the file has 216"),
        ([2, 3, 3], "needs 72 bytes, the file has 216"),
        ([], "needs 4 bytes"),
        ([1] * 40, "40 dimensions"),
    ],
)
def test_shapes_of_tensors(dims, match):
    proto = conv_model()
    proto.graph.initializer[0].dims[:] = dims
    refused(proto, f"the tensor 'w'.*{match}")


@pytest.mark.parametrize("dims", [[-2, 3], [2**62, 3], [2**31, 2**31]])
@pytest.mark.parametrize("values", ["input", "output"])
def test_shapes_of_inputs_and_outputs(dims, values):
    proto = conv_model()
    value = getattr(proto.graph, values)[0]
    del value.type.tensor_type.shape.dim[:]
    for size in dims:
        value.type.tensor_type.shape.dim.add().dim_value = size
    refused(proto, f"the {values} '{value.name}'.*(negative|more elements)")


def change(**fields):
    def apply(proto):
        tensor = proto.graph.initializer[0]
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return apply


@pytest.mark.parametrize(
    "apply, match",
    [
        (change(data_type=TensorProto.STRING), "'w' has element type string"),
        (change(data_type=0), "'w' has element type undefined"),
        (change(data_type=99), "'w' has the unknown element type 99"),
        (change(data_type=TensorProto.INT4), "'w' has element type int4"),
        (change(data_type=TensorProto.DOUBLE), "needs 432 bytes, the file has 216"),
        (change(float_data=[1.0]), "twice, as raw_data and as float_data"),
        (lambda p: p.graph.initializer[0].ClearField("raw_data"), "54 numbers in float_data"),
        (lambda p: p.graph.initializer[0].ClearField("name"), "no name"),
        (lambda p: setattr(p.graph.initializer[0].segment, "begin", 1), "segments"),
        (lambda p: p.graph.initializer.append(p.graph.initializer[0]), "'w' is defined twice"),
        (lambda p: p.graph.ClearField("initializer"), "'conv'.* reads 'w'"),
        (lambda p: p.graph.input[0].ClearField("type"), "'x' is of type none"),
        (lambda p: p.graph.input[0].ClearField("name"), "empty name"),
        (lambda p: p.graph.node[1].ClearField("op_type"), "'relu' has no operator type"),
        (lambda p: p.graph.node[0].attribute[0].ClearField("type"), "'pads' of node 'conv'.*type"),
        (lambda p: p.graph.node[0].attribute[0].ClearField("name"), "'conv'.*without a name"),
        (lambda p: p.ClearField("graph"), "no graph"),
        (lambda p: p.ClearField("opset_import"), "operator set"),
        (lambda p: setattr(p.opset_import[0], "version", 6), "operator set 6.*7 and newer"),
        (lambda p: setattr(p.opset_import[0], "version", 999), "set 999.*install --upgrade onnx"),
        (lambda p: setattr(p, "ir_version", 999), "version 999.*install --upgrade onnx"),
        (lambda p: p.opset_import.add(domain="ai.onnx", version=9), "versions 17 and 9"),
        (lambda p: p.graph.sparse_initializer.add(), "sparse"),
    ],
)
def test_fields(apply, match):
    proto = conv_model()
    apply(proto)
    refused(proto, match)


def test_bool_bytes_are_checked():
    proto = conv_model()
    proto.graph.initializer.add(name="b", data_type=TensorProto.BOOL, dims=[3], raw_data=b"\0\1\2")
    refused(proto, "'b' of type bool has bytes other than 0 and 1")


def test_default_value_of_another_type():
    proto = conv_model()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.INT64, [2, 3, 3, 3]))
    refused(proto, "'w' is declared as int64")


def test_names_that_are_not_utf8():
    data = conv_model().SerializeToString().replace(b"conv", b"\xff\xfe\xfd\xfc")
    refused(data, "UTF-8")


@pytest.mark.parametrize("data", [b"", b"\0", b"no model", b"PK\3\4", b"{" * 1000, b"\n" * 1000])
def test_other_files(data, tmp_path):
    refused(data, "not an ONNX model")
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    refused(path, "other.onnx is not an ONNX model")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        fastconv.onnx.load(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError):
        fastconv.onnx.load(tmp_path)
    with pytest.raises(TypeError, match="not int"):
        fastconv.onnx.load(3)


def test_truncated_files():
    data = conv_model().SerializeToString()
    for length in range(len(data)):
        refused(data[:length], "the ONNX model")


def test_flipped_bits_are_refused_or_read():
    data = conv_model().SerializeToString()
    outcomes = {True: 0, False: 0}
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            model = fastconv.onnx.load(bytes(flipped))
            assert sum(v.nbytes for v in model.constants.values()) <= len(data)
            outcomes[True] += 1
        except ValueError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 100


def test_small_files_allocate_little():
    """Declared sizes cost nothing: neither the interpreter's memory nor the process grows."""
    generator = random.Random(0)
    protos = []
    for _ in range(200):
        proto = conv_model()
        tensor = proto.graph.initializer[0]
        tensor.dims[:] = [2 ** generator.randrange(47) for _ in range(generator.randrange(1, 4))]
        if generator.random() < 0.5:
            tensor.ClearField("raw_data")
        protos.append(proto.SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        for data in protos:
            refused(data, "'w'")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_nothing_is_printed(capfd):
    data = conv_model().SerializeToString()
    for length in range(0, len(data), 7):
        refused(data[:length], "the ONNX model")
    assert capfd.readouterr() == ("", "")
