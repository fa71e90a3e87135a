"""fastconv's own file of inference graphs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastconv
from fastconv.inference import file
from fastconv.inference.model import ModelGraph, Node, ValueInfo

TYPES = [
    *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8", "bool"),
]


def some_model():
    generator = np.random.default_rng(0)
    constants = {
        f"c/{name}": generator.integers(0, 2, (3, 5)).astype(name) for name in reversed(TYPES)
    }
    constants |= {"scalar": np.array(2.5), "none": np.zeros((0, 3))}
    constants |= {"__metadata__": np.ones(2), "ü": np.asfortranarray(generator.random((4, 3)))}
    attrs = {
        "int": -(2**63),
        "float": 1.0,
        "inf": float("-inf"),
        "string": 'say "ü"\n',
        "ints": [1, 2**63 - 1],
        "floats": [0.1, float("inf"), 2.0],
        "strings": ["a", ""],
        "empty": [],
        "tensor": np.array([[True, False]]),
    }
    return ModelGraph(
        "name",
        [ValueInfo("x", "float32", ("N", 3, None)), ValueInfo("z", "int64", None)],
        [ValueInfo("y", "", None), ValueInfo("scalar", "float64", ())],
        [
            Node("Op", ["x", "", "scalar"], ["t", ""], attrs, "first", "own", 3),
            Node("Relu", ["t"], ["y"], {}, "", "", 17),
        ],
        constants,
        {"producer": "test"},
    )


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.fastconv"
    file.save(some_model(), path)
    return path


@pytest.mark.parametrize("source", ["path", "text", "bytes"])
def test_round_trip(path, source):
    given = {"path": path, "text": str(path), "bytes": path.read_bytes()}[source]
    model, found = some_model(), file.load(given)
    for name in ("name", "inputs", "outputs", "metadata"):
        assert getattr(found, name) == getattr(model, name)
    assert found.constants.keys() == model.constants.keys()
    for name, value in model.constants.items():
        assert same(found.constants[name], value), name
        assert found.constants[name].flags.aligned and not found.constants[name].flags.writeable
    for a, b in zip(found.nodes, model.nodes, strict=True):
        for name in ("op", "inputs", "outputs", "name", "domain", "version"):
            assert getattr(a, name) == getattr(b, name)
        assert a.attrs.keys() == b.attrs.keys()
        assert all(same(a.attrs[k], b.attrs[k]) for k in b.attrs)


def test_the_package_safetensors_reads_the_file(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        assert opened.metadata()["kind"] == "graph"
        np.testing.assert_array_equal(opened.get_tensor("constants/ü"), some_model().constants["ü"])


def test_constants_are_mapped(tmp_path):
    size = 100_000_000
    model = ModelGraph(
        "g",
        [],
        [ValueInfo("w", "uint8", (size,))],
        [],
        {"w": np.zeros(size, np.uint8), "b": np.zeros(3)},
    )
    path = tmp_path / "big.fastconv"
    file.save(model, path)
    code = (
        "import resource, sys\n"
        "from fastconv.inference import file\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "model = file.load(sys.argv[1])\n"
        "assert model.constants['w'][::10_000_000].sum() == 0\n"
        "print(peak() - before, 'onnx' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    grown, has_onnx = out.stdout.split()
    assert int(grown) < 20_000 and has_onnx == "False"


def test_saving_does_not_copy_the_weights(tmp_path):
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from fastconv.inference import file, ModelGraph, ValueInfo\n"
        "arrays = {f'w{i}': np.ones(5_000_000, np.float32) for i in range(4)}\n"
        "model = ModelGraph('g', [], [ValueInfo('w0', 'float32', None)], [], arrays)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "file.save(model, sys.argv[1])\n"
        "print(peak() - before)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x"], capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < 10_000


def test_a_file_may_be_saved_over_itself(path):
    found = file.load(path)
    file.save(found, path)
    assert same(file.load(path).constants["ü"], found.constants["ü"])
    assert os.listdir(path.parent) == [path.name]


def test_failed_saving_leaves_the_old_file(path):
    before = path.read_bytes()
    model = some_model()
    for bad in (np.array(["text"]), np.ones(2, np.complex64), np.array([None])):
        model.constants["bad"] = bad
        with pytest.raises(ValueError, match="'constants/bad' has dtype"):
            file.save(model, path)
    model = some_model()
    model.nodes[0].attrs["bad"] = [None]
    with pytest.raises(ValueError, match=r"'first'.*'bad' cannot be saved"):
        file.save(model, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_recognizes(path):
    assert file.recognizes(path.read_bytes()[:9])
    assert not file.recognizes(b"\x08\x08\x12\x03abc: {")
    assert not file.recognizes(b"")


def test_kinds_name_each_other(path, tmp_path):
    model = fastconv.Sequential([fastconv.Input((4,)), fastconv.layers.Dense(2)])
    layers, weights = tmp_path / "layers.fastconv", tmp_path / "weights.fastconv"
    model.save(layers)
    model.save_weights(weights)
    with pytest.raises(ValueError, match=r"layer model.*models\.load_model"):
        file.load(layers)
    with pytest.raises(ValueError, match=r"Model\.load_weights"):
        file.load(weights)
    with pytest.raises(ValueError, match=r"inference graph.*fastconv\.InferenceSession"):
        fastconv.models.load_model(path)
    with pytest.raises(ValueError, match=r"inference graph.*fastconv\.InferenceSession"):
        model.load_weights(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        file.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        file.load(tmp_path)
    with pytest.raises(TypeError, match="not int"):
        file.load(1)


def parts(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def metadata_with(**changes):
    def apply(header):
        header["__metadata__"].update(changes)

    return apply


def content_with(change):
    def apply(header):
        content = json.loads(header["__metadata__"]["content"])
        change(content)
        header["__metadata__"]["content"] = json.dumps(content)

    return apply


def tensor_with(name, **changes):
    return lambda header: header[f"constants/{name}"].update(changes)


@pytest.mark.parametrize(
    "change, match",
    [
        (metadata_with(version="2"), "format version 2.*newer fastconv"),
        (metadata_with(version="x"), "format version is 'x'"),
        (metadata_with(format="pt"), "did not write it"),
        (metadata_with(kind="other"), "unknown kind 'other'"),
        (metadata_with(kind=3), "no table of texts"),
        (metadata_with(content="{"), "content cannot be read"),
        (metadata_with(content="[" * 100_000), "nested too deeply"),
        (metadata_with(content="[]"), "content cannot be read"),
        (lambda h: h.pop("__metadata__"), "did not write it"),
        (lambda h: h["__metadata__"].pop("content"), "content cannot be read"),
        (tensor_with("scalar", dtype="F8"), "'constants/scalar' has the unknown type 'F8'"),
        (tensor_with("scalar", dtype=[]), "unknown type"),
        (tensor_with("scalar", shape=[2]), "'constants/scalar' of type float64 and shape"),
        (tensor_with("scalar", shape=[-1]), "'constants/scalar' has shape"),
        (tensor_with("scalar", shape=[True]), "'constants/scalar' has shape"),
        (tensor_with("scalar", shape=[2**62, 2**62]), "more elements"),
        (tensor_with("scalar", shape=None), "'constants/scalar' has shape"),
        (tensor_with("scalar", data_offsets=[0]), "has offsets"),
        (tensor_with("scalar", data_offsets=[8, 0]), "has offsets"),
        (tensor_with("scalar", data_offsets=[0, 8]), "overlap or leave gaps"),
        (tensor_with("scalar", data_offsets=[2**70, 2**70 + 8]), "lies at bytes"),
        (tensor_with("scalar", extra=1), "is not described by"),
        (tensor_with("c/int8", dtype="BOOL", shape=[15]), None),
        (lambda h: h.pop("constants/scalar"), "overlap or leave gaps"),
        (lambda h: h.update(t=[]), "'t' is not described by"),
        (content_with(lambda c: c.pop("nodes")), "'nodes'"),
        (content_with(lambda c: c.update(nodes={})), "a list was expected"),
        (content_with(lambda c: c.update(name=1)), "a text was expected"),
        (content_with(lambda c: c.update(metadata={"a": 1})), "a text was expected"),
        (content_with(lambda c: c["inputs"][0].update(shape=[1.5])), "64 bits was expected"),
        (content_with(lambda c: c["inputs"][0].update(shape=[-1])), "negative size"),
        (content_with(lambda c: c["inputs"][0].update(shape=[2**62])), "more elements"),
        (content_with(lambda c: c["nodes"][0].update(version=None)), "64 bits was expected"),
        (content_with(lambda c: c["nodes"][0].update(inputs="x")), "a list was expected"),
        (content_with(lambda c: c["nodes"][0].update(inputs=["no"])), "'first'.* reads 'no'"),
        (content_with(lambda c: c["nodes"][0].update(inputs=["y"])), "cycle"),
        (content_with(lambda c: c["nodes"][0].update(outputs=["x", "t"])), "'x' is both"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={})), "content cannot"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={"q": 1})), "'q'"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={"int": 2**63})), "64 bits"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={"float": "x"})), "a number"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={"float": 10**999})), "can"),
        (content_with(lambda c: c["nodes"][0]["attributes"].update(a={"tensor": "x"})), "'x'"),
        (content_with(lambda c: c["outputs"].append(c["outputs"][0])), "listed twice"),
    ],
)
def test_damaged_headers(path, change, match):
    header, data = parts(path.read_bytes())
    change(header)
    damaged = joined(header, data)
    if match is None:
        file.load(damaged)
        return
    path.write_bytes(damaged)
    for source in (damaged, path):
        with pytest.raises(ValueError, match=match):
            file.load(source)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"PK\3\4" + b"\0" * 100,
        (2**63).to_bytes(8, "little") + b"{}",
        joined(b"[]", b""),
        joined(b"{", b""),
        joined(b"\xff\xff", b""),
        joined(b'{"a": 1, "a": 2}', b""),
        joined(b"[" * 100_000, b""),
        joined(b"1" * 10_000, b""),
    ],
)
def test_other_files(data, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ValueError, match=r"model file|other"):
            file.load(source)


def test_bool_bytes_are_checked(path):
    header, data = parts(path.read_bytes())
    begin, _ = header["constants/c/bool"]["data_offsets"]
    with pytest.raises(ValueError, match="'constants/c/bool' has bytes other than 0 and 1"):
        file.load(joined(header, data[:begin] + b"\2" + data[begin + 1 :]))


def test_truncated_and_extended_files(path):
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        with pytest.raises(ValueError, match="the model file"):
            file.load(data[:length])
    with pytest.raises(ValueError, match="tensors take"):
        file.load(data + b"\0")


def test_flipped_bits_are_refused_or_read(path):
    data = path.read_bytes()
    outcomes = {True: 0, False: 0}
    for bit in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            file.load(bytes(flipped))
            outcomes[True] += 1
        except ValueError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 100


def test_tensors_of_other_writers_may_be_unaligned(path):
    header, data = parts(path.read_bytes())
    found = file.load(joined(json.dumps(header).encode() + b" " * 3, data))
    assert same(found.constants["ü"], some_model().constants["ü"])
    assert all(value.flags.aligned for value in found.constants.values())
