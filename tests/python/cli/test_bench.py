import re
import sys

import numpy as np
import pytest

import graph_files

pytest.importorskip("onnx", reason="needs the onnx package")


@pytest.fixture
def net(tmp_path):
    return graph_files.classifier(tmp_path / "net.onnx")


def test_report(command, net):
    status, out, err = command(
        "bench", net, "--shape", "x=4,3,32,32", "--rounds", 7, "--threads", 1, "--profile"
    )
    assert status == 0, err
    assert "input x: (4, 3, 32, 32) float32" in out and "threads     1," in out
    numbers = r"latency +([\d.]+) ms median, ([\d.]+) ms minimum, ([\d.]+) ms 90th percentile \(7 "
    median, least, most = map(float, re.search(numbers, out).groups())
    assert 0 < least <= median <= most
    throughput = float(re.search(r"throughput +([\d.]+) items/s \(batch of 4\)", out).group(1))
    assert throughput == pytest.approx(4000 / median, rel=0.05)
    # 3x3 convolution of 3 to 8 channels and a dense layer 8 to 10, multiplications and additions.
    work = 2 * 4 * (32 * 32 * 8 * 27 + 80) * 1e-9
    assert float(re.search(r"\(([\d.e-]+) GFLOP a run", out).group(1)) == pytest.approx(work, 0.01)
    speed = float(re.search(r"([\d.]+) GFLOP/s \(", out).group(1))
    assert speed == pytest.approx(work / median * 1e3, rel=0.1, abs=0.1)
    assert re.search(r"load +[\d.]+ ms, first run [\d.]+ ms", out)
    assert float(re.search(r"memory +([\d.]+) MiB", out).group(1)) > 10
    assert "operator" in out and "conv2d" in out and re.search(r"\d+ steps", out)


def test_seconds(fast, net):
    status, out, _ = fast("bench", net, "--shape", "x=1,3,8,8", "--seconds", 0.2)
    assert status == 0 and int(re.search(r"\((\d+) runs\)", out).group(1)) > 3
    assert "operator" not in out


@pytest.mark.parametrize(
    "options, shape",
    [
        (["--batch", 2, "--shape", "h=6", "--shape", "w=7"], (2, 3, 6, 7)),
        (["--shape", "n=1", "--shape", "h=6", "--shape", "w=7"], (1, 3, 6, 7)),
        (["--shape", "5,3,6,7"], None),
        (["--shape", "x=5,3,6,7", "--batch", 5], (5, 3, 6, 7)),
    ],
)
def test_ways_to_give_sizes(fast, net, options, shape):
    status, out, err = fast("bench", net, *options, "--rounds", 1)
    if shape is None:
        assert status == 2 and "expected NAME=SIZES" in err
    else:
        assert status == 0 and f"input x: {shape}" in out


def test_one_symbol_serves_two_inputs(fast, tmp_path):
    model = graph_files.two_inputs(tmp_path / "two.onnx")
    for options in (["--shape", "a=5,2"], ["--shape", "n=5"], ["--batch", 5]):
        status, out, _ = fast("bench", model, *options, "--rounds", 1)
        assert status == 0 and "input a: (5, 2)" in out and "input b: (5, 1)" in out
        assert "GFLOP" not in out


@pytest.mark.parametrize("dtype", ["float64", "bool", "uint8", "int8", "int64", "int32"])
def test_types(fast, tmp_path, dtype):
    model = graph_files.identity(tmp_path / "id.onnx", dtype, (2, 3))
    status, out, err = fast("bench", model, "--rounds", 1)
    assert status == 0, err
    assert f"input x: (2, 3) {dtype}" in out


def test_sizes_that_stay_open(fails, net, tmp_path):
    error = fails("bench", net)
    assert "'x' has the shape (n, 3, h, w) with open sizes (n, h, w)" in error
    assert "--shape x=N,3,H,W" in error and "--batch" not in error
    error = fails("bench", net, "--batch", 1)
    assert "open sizes (h, w)" in error
    model = graph_files.identity(tmp_path / "id.onnx", shape=("n", 4))
    assert "--shape x=N,4 or --batch B" in fails("bench", model)
    model = graph_files.identity(tmp_path / "id.onnx", shape=(None, 4, None))
    error = fails("bench", model)
    assert "open sizes (axis 0, axis 2)" in error and "(?, 4, ?)" in error
    model = graph_files.identity(tmp_path / "id.onnx", shape=None)
    assert "shape of input 'x' is not known" in fails("bench", model)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--shape", "x=1,4,8,8"], "input 'x' has the shape (n, 3, h, w)"),
        (["--shape", "x=1,3,8"], "input 'x' has the shape (n, 3, h, w)"),
        (["--shape", "x=1,3,8,0"], "expected NAME=SIZES"),
        (["--shape", "x=1,3,8,-8"], "expected NAME=SIZES"),
        (["--shape", "x=1,3,eight,8"], "expected NAME=SIZES"),
        (["--shape", "x="], "expected NAME=SIZES"),
        (["--shape", "q=1"], "no input or symbolic size 'q', expected one of ['x', 'h', 'n', 'w']"),
        (["--shape", "h=1,2"], "no input or symbolic size 'h'"),
        (["--shape", "x=1,3,8,8", "--shape", "h=9"], "size 'h' is given as 8 and 9"),
        (["--shape", "x=1,3,8,8", "--batch", "2"], "no input has an open first axis"),
        (["--shape", "n=1", "--batch", "2"], "--shape gives 'n' as 1"),
        (["--shape", "x=1,3,16777216,16777216"], "more than any memory holds"),
        (["--shape", "x=1,3,9999999999,9999999999"], "more than any memory holds"),
    ],
)
def test_wrong_sizes(fails, net, options, message):
    assert message in fails("bench", net, *options)


def test_fixed_batch(fails, tmp_path):
    model = graph_files.identity(tmp_path / "id.onnx")
    assert "no input has an open first axis: x (1, 3, 4, 5)" in fails("bench", model, "--batch", 2)


def test_bad_files(fails, tmp_path, layer_model, monkeypatch, net):
    assert "no model file" in fails("bench", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"not a model")
    assert "text.onnx" in fails("bench", tmp_path / "text.onnx")
    assert "is a layer model" in fails("bench", layer_model)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'fastconv[onnx]'" in fails("bench", net)


def test_models_that_fail(fails, tmp_path):
    model = graph_files.write(
        tmp_path / "m.onnx",
        [("Add", ["x", "c"], ["y"], {"name": "sum"})],
        {"x": ("float32", ("n",))},
        {"y": ("float32", ("n",))},
        {"c": np.ones(3, "float32")},
    )
    assert "'sum'" in fails("bench", model, "--batch", 4)


@pytest.mark.parametrize("option", [["--rounds", "0"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_wrong_options(command, option):
    status, out, err = command("bench", "m.onnx", *option)
    assert status == 2 and out == "" and err.count("\n") == 1 and option[0] in err
