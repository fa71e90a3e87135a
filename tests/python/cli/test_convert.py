import dataclasses
import os
import sys

import numpy as np
import pytest

import fastconv
import graph_files
from fastconv.cli import _convert
from fastconv.inference import file

onnx = pytest.importorskip("onnx", reason="needs the onnx package")
RNG = np.random.default_rng(2)


@pytest.fixture
def net(tmp_path):
    return graph_files.classifier(tmp_path / "net.onnx")


def same(a, b, feeds):
    for x, y in zip(
        fastconv.InferenceSession(a).run(None, feeds),
        fastconv.InferenceSession(b).run(None, feeds),
        strict=True,
    ):
        np.testing.assert_array_equal(x, y)


def test_there_and_back(fast, net, tmp_path, monkeypatch):
    own, back = tmp_path / "net.fastconv", tmp_path / "back.onnx"
    status, out, err = fast("convert", net, own)
    assert status == 0, err
    assert out.startswith(f"written to {own}: ") and out.endswith("iB, checked\n")
    status, _, err = fast("convert", own, back)
    assert status == 0, err
    onnx.checker.check_model(onnx.load(back), full_check=True)
    x = RNG.random((2, 3, 7, 9)).astype("float32")
    same(net, own, {"x": x})
    same(net, back, {"x": x})
    assert sorted(os.listdir(tmp_path)) == ["back.onnx", "net.fastconv", "net.onnx"]
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert fastconv.InferenceSession(own).get_inputs()[0].shape == ["n", 3, "h", "w"]


def test_onnxruntime_reads_it(fast, net, tmp_path):
    ort = pytest.importorskip("onnxruntime", reason="the reference")
    assert fast("convert", net, tmp_path / "simple.onnx")[0] == 0
    x = RNG.random((2, 3, 7, 9)).astype("float32")
    results = [
        ort.InferenceSession(str(p), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for p in (net, tmp_path / "simple.onnx")
    ]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_constant_parts_are_computed(fast, tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [
            ("Add", ["c", "c"], ["d"], {}),
            ("Identity", ["x"], ["z"], {}),
            ("Mul", ["z", "d"], ["y"], {}),
            ("Relu", ["x"], ["unused"], {}),
        ],
        {"x": ("float32", (3,))},
        {"y": ("float32", (3,))},
        {"c": np.float32([1, 2, 3])},
    )
    assert fast("convert", net, tmp_path / "out.onnx")[0] == 0
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert [node.op_type for node in graph.node] == ["Mul"]
    assert [tensor.name for tensor in graph.initializer] == ["d"]


@pytest.mark.parametrize("suffix", [".onnx", ".fastconv"])
def test_layer_models(fast, layer_model, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    status, out, err = fast("convert", layer_model, target)
    assert status == 0, err
    assert "checked" in out
    x = RNG.random((2, 6, 6, 3)).astype("float32")
    session = fastconv.InferenceSession(target)
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    expected = fastconv.models.load_model(layer_model).predict(x, verbose=0)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_check_can_be_left_out(fast, net, tmp_path, monkeypatch):
    monkeypatch.setattr(_convert, "_check", None)
    status, out, _ = fast("convert", net, tmp_path / "net.fastconv", "--no-check")
    assert status == 0 and "checked" not in out
    assert file.load(tmp_path / "net.fastconv").nodes


def test_check_finds_wrong_files(fails, net, tmp_path, monkeypatch):
    target = tmp_path / "net.fastconv"
    target.write_bytes(b"old")
    write = file.save

    def damaged(model, path):
        constants = {**model.constants, "w1": model.constants["w1"] * 1.01}
        write(dataclasses.replace(model, constants=constants), path)

    monkeypatch.setattr(file, "save", damaged)
    error = fails("convert", net, target)
    assert "another output 'y' than" in error and "nothing was written" in error
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["net.fastconv", "net.onnx"]


def test_check_needs_sizes_that_work(fails, fast, tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [("Add", ["x", "c"], ["y"], {})],
        {"x": ("float32", ("n", "k"))},
        {"y": ("float32", ("n", 3))},
        {"c": np.ones(3, "float32")},
    )
    error = fails("convert", net, tmp_path / "m.fastconv")
    assert "fails on random input x (1, 64)" in error and "--no-check" in error
    assert not (tmp_path / "m.fastconv").exists()
    assert fast("convert", net, tmp_path / "m.fastconv", "--shape", "k=3")[0] == 0


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ([1, 4], [1, 4], 0),
        ([1, 4], [1, 3], 0.25),
        ([0, 0], [0, 1], 1),
        ([1, np.nan], [1, np.nan], 0),
        ([1, np.inf], [1, -np.inf], np.inf),
        ([1, 2], [1, 2, 3], np.inf),
    ],
)
def test_difference(a, b, expected):
    assert _convert._difference(np.float32(a), np.float32(b)) == expected


def test_difference_of_finite_and_not():
    assert not _convert._difference(np.float32([1, 2]), np.float32([1, np.nan])) <= 1
    assert _convert._difference(np.array([1]), np.array([2])) == np.inf


# Errors


def test_names(fails, net, tmp_path, fast):
    assert "should end in .onnx or .fastconv" in fails("convert", net, tmp_path / "a.txt")
    assert "folder does not exist" in fails("convert", net, tmp_path / "no" / "a.fastconv")
    (tmp_path / "dir.fastconv").mkdir()
    assert "it is a folder" in fails("convert", net, tmp_path / "dir.fastconv")
    assert "is the file to convert" in fails("convert", net, net)
    assert "no model file" in fails("convert", tmp_path / "none.onnx", tmp_path / "a.fastconv")
    assert fast("convert", net, tmp_path / "net.fastconv")[0] == 0
    error = fails("convert", tmp_path / "net.fastconv", tmp_path / "a.fastconv")
    assert "is an inference graph already" in error


def test_bad_files(fails, tmp_path, layer_model):
    (tmp_path / "text.onnx").write_bytes(b"not a model")
    assert "text.onnx" in fails("convert", tmp_path / "text.onnx", tmp_path / "a.fastconv")
    (tmp_path / "text.fastconv").write_bytes(b"not a model")
    assert "text.fastconv" in fails("convert", tmp_path / "text.fastconv", tmp_path / "a.onnx")
    fastconv.models.load_model(layer_model).save_weights(tmp_path / "w.fastconv")
    assert "weights only" in fails("convert", tmp_path / "w.fastconv", tmp_path / "a.onnx")


def test_without_onnx(fails, fast, net, tmp_path, monkeypatch):
    assert fast("convert", net, tmp_path / "net.fastconv")[0] == 0
    monkeypatch.setitem(sys.modules, "onnx", None)
    for source, target in (("net.onnx", "a.fastconv"), ("net.fastconv", "a.onnx")):
        error = fails("convert", tmp_path / source, tmp_path / target)
        assert "pip install 'fastconv[onnx]'" in error
    assert not (tmp_path / "a.onnx").exists()
