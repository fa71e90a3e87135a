"""The ways of docs/onnx.md from PyTorch and Keras into `InferenceSession`."""

import importlib.util

import numpy as np
import pytest

import fastconv

pytest.importorskip("onnx")
if importlib.util.find_spec("fastconv.session") is None:
    pytest.skip("there is no InferenceSession yet", allow_module_level=True)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_module_of_pytorch(dynamo, tmp_path):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Hardswish(),
        nn.MaxPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(8, 5),
        nn.Softmax(1),
    )
    nn.init.uniform_(module[1].running_mean)
    nn.init.uniform_(module[1].running_var, 0.5, 2)
    module.eval()
    example, path = torch.randn(2, 3, 33, 30), str(tmp_path / "m.onnx")
    names = {"input_names": ["image"], "output_names": ["scores"]}
    if dynamo:
        names["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        names["verbose"] = False
    else:
        names["dynamic_axes"] = {"image": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(module, (example,), path, dynamo=dynamo, **names)
    session = fastconv.InferenceSession(path)
    for batch in (1, 4):
        x = torch.randn(batch, 3, 33, 30)
        with torch.no_grad():
            wanted = module(x).numpy()
        (found,) = session.run(None, {"image": x.numpy()})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def layer_model(k):
    return k.Sequential(
        [
            k.layers.Input((12, 11, 3)),
            k.layers.Conv2D(6, 3, padding="same", strides=2),
            k.layers.BatchNormalization(),
            k.layers.Activation("relu"),
            k.layers.DepthwiseConv2D(3),
            k.layers.GlobalAveragePooling2D(),
            k.layers.Dense(4, activation="softmax"),
        ]
    )


def test_export_and_run(tmp_path):
    model = layer_model(fastconv)
    fastconv.onnx.export(model, tmp_path / "m.onnx")
    session = fastconv.InferenceSession(str(tmp_path / "m.onnx"))
    x = np.random.default_rng(0).normal(size=(3, 12, 11, 3)).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=0, atol=1e-6)
