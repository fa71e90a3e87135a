import re

import numpy as np
import pytest

import fastconv
import graph_files
from fastconv.inference.summary import size_text

pytest.importorskip("onnx", reason="needs the onnx package")


def row(out, name):
    return re.split(r"\s{2,}", re.search(f"^{name} .*$", out, re.M).group(0))


def test_table(fast, tmp_path):
    net = graph_files.classifier(tmp_path / "net.onnx")
    status, out, err = fast("summary", net, "--shape", "x=2,3,32,16")
    assert status == 0, err
    assert "input x: (2, 3, 32, 16) float32" in out
    shape = "(2, 8, 32, 16)"
    macs = f"{2 * 512 * 216:,}"
    assert row(out, "first") == ["first", "Conv", shape, "216", macs, "32.0 KiB", "3 x 3"]
    assert row(out, "b") == ["b", "Relu", shape, "32.0 KiB", "3 x 3"]
    assert row(out, "e") == ["e", "Gemm", "(2, 10)", "80", "160", "80 B", "34 x 18"]
    assert "6 layers, 3 more computed while planning" in out
    # weights 216 + 80 floats; the reshape's constants are indices
    assert re.search(r"parameters +296 \(1\.2 KiB\)", out)
    assert re.search(f"multiply-adds +{2 * 512 * 216 + 160:,}$", out, re.M)
    (memory,) = re.findall(r"activations +([\d.]+) KiB", out)
    # At the least the convolution's output, channels last; its input is read as it lies.
    assert float(memory) >= 2 * 512 * 8 * 4 / 1024


def test_own_file_and_batch(fast, tmp_path):
    net = graph_files.classifier(tmp_path / "net.onnx", ("n", 3, 8, 8))
    assert fast("convert", net, tmp_path / "net.fastconv")[0] == 0
    _, expected, _ = fast("summary", net, "--batch", 3)
    assert fast("summary", tmp_path / "net.fastconv", "--batch", 3) == (0, expected, "")


def test_identity_has_no_layers(fast, tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [("Shape", ["x"], ["y"], {})],
        {"x": ("float32", (2, 3))},
        {"y": ("int64", (2,))},
    )
    status, out, _ = fast("summary", net)
    assert status == 0 and "0 layers, 1 more" in out


def macs_of(tmp_path, op, shapes, weight, **attrs):
    names = ["x", "w"]
    net = graph_files.write(
        tmp_path / "m.onnx",
        [(op, names, ["y"], attrs)],
        {"x": ("float32", shapes)},
        {"y": ("float32", None)},
        {"w": np.ones(weight, "float32")},
    )
    session = fastconv.InferenceSession(net)
    summary = session.summary({"x": np.ones(shapes, "float32")})
    assert summary.parameters == np.prod(weight)
    return summary.macs


def test_macs(tmp_path):
    # groups and strides: each of 6 x 4 x 4 outputs sums 2 channels of 3 x 3
    x, w = (1, 4, 8, 8), (6, 2, 3, 3)
    assert (
        macs_of(tmp_path, "Conv", x, w, group=2, strides=[2, 2], pads=[1, 1, 1, 1])
        == 6 * 4 * 4 * 2 * 9
    )
    # each of 4 x 8 x 8 inputs goes to 3 channels of 2 x 2
    assert macs_of(tmp_path, "ConvTranspose", x, (4, 3, 2, 2), strides=[2, 2]) == 256 * 12
    assert macs_of(tmp_path, "Conv", (1, 4, 9), (5, 4, 3)) == 5 * 7 * 12
    assert macs_of(tmp_path, "Gemm", (3, 7), (7, 2)) == 3 * 7 * 2
    assert macs_of(tmp_path, "Gemm", (7, 3), (2, 7), transA=1, transB=1) == 3 * 7 * 2
    assert macs_of(tmp_path, "MatMul", (5, 3, 7), (7, 2)) == 5 * 3 * 7 * 2
    assert macs_of(tmp_path, "Mul", (5, 7), (7,)) == 0


def test_shared_weights_count_once(tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [("MatMul", ["x", "w"], ["a"], {}), ("MatMul", ["a", "w"], ["y"], {})],
        {"x": ("float32", (1, 4))},
        {"y": ("float32", (1, 4))},
        {"w": np.ones((4, 4), "float32")},
    )
    summary = fastconv.InferenceSession(net).summary({"x": np.ones((1, 4), "float32")})
    assert summary.parameters == 16 and [x.parameters for x in summary.layers] == [16, 16]
    assert summary.weight_bytes == 64


def test_settings_are_no_parameters(tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [("Clip", ["x", "low", "high"], ["a"], {}), ("Resize", ["a", "", "scales"], ["y"], {})],
        {"x": ("float32", (1, 1, 2, 2))},
        {"y": ("float32", (1, 1, 4, 4))},
        {"low": np.float32(0), "high": np.float32(6), "scales": np.float32([1, 1, 2, 2])},
    )
    summary = fastconv.InferenceSession(net).summary({"x": np.ones((1, 1, 2, 2), "float32")})
    assert summary.parameters == 0
    assert [layer.shapes for layer in summary.layers] == [[(1, 1, 2, 2)], [(1, 1, 4, 4)]]


def test_long_names_are_cut(fast, tmp_path):
    net = graph_files.write(
        tmp_path / "m.onnx",
        [("Relu", ["x"], ["y"], {"name": "a/very/" + "long/" * 20 + "name"})],
        {"x": ("float32", (2,))},
        {"y": ("float32", (2,))},
    )
    _, out, _ = fast("summary", net)
    assert re.search(r"^\.\.\.\S{37}  Relu", out, re.M) and "long/name  Relu" in out


@pytest.mark.parametrize(
    "count, text",
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (3 * 2**30, "3.00 GiB")],
)
def test_sizes(count, text):
    assert size_text(count) == text


def test_errors(fails, tmp_path, layer_model):
    net = graph_files.classifier(tmp_path / "net.onnx")
    assert "open sizes (n, h, w)" in fails("summary", net)
    assert "no model file" in fails("summary", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"not a model")
    assert "text.onnx" in fails("summary", tmp_path / "text.onnx")
    error = fails("summary", layer_model, "--batch", 2)
    assert "--batch is for graphs" in error
    assert "there is no input 'x'" in fails("summary", layer_model, "--shape", "x=6,6,3")
    fastconv.models.load_model(layer_model).save_weights(tmp_path / "w.fastconv")
    assert "weights only" in fails("summary", tmp_path / "w.fastconv")


def test_receptive_fields(tmp_path):
    shape = (1, 2, 16, 16)
    net = graph_files.write(
        tmp_path / "m.onnx",
        [
            ("Conv", ["x", "w"], ["a"], {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
            ("MaxPool", ["a"], ["b"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Conv", ["b", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
            ("ConvTranspose", ["c", "w"], ["d"], {"pads": [1, 1, 1, 1]}),
            ("Add", ["b", "d"], ["e"], {}),
            ("Reshape", ["e", "s"], ["f"], {}),
            ("ReduceMean", ["e"], ["y"], {"axes": [2], "keepdims": 0}),
        ],
        {"x": ("float32", shape)},
        {"y": ("float32", None), "f": ("float32", None)},
        {"w": np.ones((2, 2, 3, 3), "float32"), "s": np.array([1, 2, 64])},
    )
    summary = fastconv.InferenceSession(net).summary({"x": np.ones(shape, "float32")})
    fields = [layer.receptive_field for layer in summary.layers]
    assert fields == [(5, 5), (6, 6), (10, 10), (14, 14), (14, 14), (14, 14), (28, 14)]
    memory = [layer.activation_bytes for layer in summary.layers]
    assert memory == [2048, 512, 512, 512, 512, 0, 64]


def test_layer_models(fast, layer_model, tmp_path):
    status, out, _ = fast("summary", layer_model)
    assert status == 0 and "Total params" in out
    assert f"Multiply-adds: {16 * 4 * 27 + 64 * 5:,}" in out and "Receptive field: 6 x 6" in out
    layers = fastconv.layers
    sizes = layers.Input((None, None, 3), name="image")
    model = fastconv.Model(sizes, layers.Conv2D(4, 3)(sizes))
    model.save(tmp_path / "open.fastconv")
    status, out, err = fast("summary", tmp_path / "open.fastconv")
    assert status == 0 and "Multiply" not in out
    assert err.endswith("give them as --shape image=?,?,3\n")
    for sizes in ("5,7,3", "1,5,7,3"):
        status, out, _ = fast("summary", tmp_path / "open.fastconv", "--shape", f"image={sizes}")
        assert status == 0 and f"Multiply-adds: {15 * 4 * 27:,} for inputs (1, 5, 7, 3)" in out


def test_bad_shapes_of_layer_models(fails, layer_model):
    name = fastconv.models.load_model(layer_model).input_names[0]
    for sizes, message in (("6,6", "takes (6, 6, 3)"), ("6,x,3", "positive integers")):
        assert message in fails("summary", layer_model, "--shape", f"{name}={sizes}")


def test_predict_names_the_command_for_graphs(fails, tmp_path):
    net = graph_files.classifier(tmp_path / "net.onnx")
    assert f"run it with: fastconv run {net}" in fails("predict", net, "x.png")
