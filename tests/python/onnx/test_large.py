"""Large initializers are read apart from the rest of a file: nothing else may differ."""

import io
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastconv.onnx  # noqa: E402
from fastconv.onnx.large import split  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def model(sizes=((300, 100), (3,), (40, 40, 20), (5000,)), dtypes=("float32", "int64", "float64")):
    rng = np.random.default_rng(1)
    tensors = [
        numpy_helper.from_array(
            (rng.standard_normal(size) * 9).astype(dtypes[i % len(dtypes)]), f"w{i}"
        )
        for i, size in enumerate(sizes)
    ]
    nodes = [helper.make_node("Identity", [t.name], [f"y{i}"]) for i, t in enumerate(tensors)]
    outputs = [
        helper.make_tensor_value_info(f"y{i}", t.data_type, t.dims) for i, t in enumerate(tensors)
    ]
    graph = helper.make_graph(nodes, "g", [], outputs, tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def outcome(source):
    """What loading gives, or its error without the source's name."""
    try:
        loaded = fastconv.onnx.load(source)
    except ValueError as error:
        name = "the ONNX model" if isinstance(source, bytes) else str(source)
        return str(error).replace(name, "it")
    parts = {n: (v.dtype.name, v.shape, v.tobytes()) for n, v in loaded.constants.items()}
    return loaded.name, loaded.inputs, loaded.outputs, loaded.nodes, parts, loaded.metadata


def same(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    found = outcome(tmp_path / "m.onnx")
    assert found == outcome(data)
    return found


def test_the_same_as_from_bytes(tmp_path):
    data = model().SerializeToString()
    constants = same(tmp_path, data)[4]
    assert [shape for _, shape, _ in constants.values()] == [
        (300, 100),
        (3,),
        (40, 40, 20),
        (5000,),
    ]
    rest, large = split(io.BytesIO(data))
    assert sorted(large) == [0, 2]
    assert len(rest) < 50000
    loaded = fastconv.onnx.load(tmp_path / "m.onnx").constants["w0"]
    assert loaded.flags.aligned
    assert not loaded.flags.writeable


def test_cut_and_changed_files(tmp_path):
    """Wherever a file is cut or changed: what protobuf says of the whole, an error or a model."""
    rng = random.Random(3)
    data = model(((200, 100), (4,), (200, 100)), ("float32",)).SerializeToString()
    refused = 0
    for _ in range(150):
        refused += isinstance(same(tmp_path, data[: rng.randrange(len(data))]), str)
    assert refused > 100
    # Around the tensors' heads, where lengths and types are.
    heads = [data.find(name) for name in (b"w0", b"w1", b"w2")] + [20]
    for _ in range(300):
        changed = bytearray(data)
        at = rng.choice(heads) + rng.randrange(-24, 40)
        changed[at % len(data)] = rng.randrange(256)
        same(tmp_path, bytes(changed))


def test_what_is_unusual(tmp_path):
    """Messages in several parts, which protobuf merges; of raw data given twice, the last holds."""
    proto = model()
    same(tmp_path, 2 * proto.SerializeToString())
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    tensor = TensorProto(name="w9", data_type=TensorProto.FLOAT, dims=[20000]).SerializeToString()
    for sizes in ([80000], [80000, 80000], [80000, 40000], [40000, 80000]):
        raw = b"".join(TensorProto(raw_data=bytes(n)).SerializeToString() for n in sizes)
        whole = graph + message(5, tensor + raw)
        found = same(tmp_path, proto.SerializeToString() + message(7, whole))
        if sizes[-1] == 80000:
            assert found[4]["w9"] == ("float32", (20000,), bytes(80000))
        else:
            assert "needs 80000 bytes" in found


def message(field, content):
    length = len(content)
    size = bytes([*((length >> s) & 127 | 128 for s in (0, 7, 14)), length >> 21])
    return bytes([field << 3 | 2]) + size + content


def test_refusals(tmp_path):
    proto = model()
    proto.graph.initializer[0].float_data.append(1)
    assert "twice, as raw_data and as float_data" in same(tmp_path, proto.SerializeToString())
    proto = model()
    proto.graph.initializer[2].dims[0] = 41
    assert "needs" in same(tmp_path, proto.SerializeToString())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory(tmp_path):
    """64 MiB of weights are there once while they are read, not as a file and a message as well."""
    onnx.save(model([(1 << 20,)] * 16, ("float32",)), tmp_path / "m.onnx")
    code = """
    import re, sys, fastconv.onnx, onnx, google.protobuf.message
    def high():
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    before = high()
    loaded = fastconv.onnx.load(sys.argv[1])
    print(high() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "m.onnx"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 64 + 16
