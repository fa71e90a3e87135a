"""Networks of torchvision and timm, through both of PyTorch's exporters, against onnxruntime."""

import functools
import io
import warnings

import numpy as np
import pytest

from onnx_parity import assert_parity

pytest.importorskip("onnx", reason="needs the onnx package")
pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
torch = pytest.importorskip("torch", reason="exports PyTorch modules")

pytestmark = pytest.mark.slow

# The size of the input's sides.
TORCHVISION = {
    "resnet18": 64,
    "resnet50": 64,
    "vgg16": 224,
    "alexnet": 224,
    "googlenet": 64,
    "squeezenet1_1": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "densenet121": 64,
    "shufflenet_v2_x0_5": 64,
    "convnext_tiny": 64,
    "regnet_y_400mf": 64,
    "inception_v3": 96,
    "mnasnet0_5": 64,
}
TIMM = {"seresnet50": 64, "vit_tiny_patch16_224": 224}
ARCHITECTURES = TORCHVISION | TIMM
ARGUMENTS = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


@functools.lru_cache(1)
def network(name):
    """A network with random weights, whose normalizations all do something."""
    torch.manual_seed(0)
    if name in TIMM:
        model = pytest.importorskip("timm").create_model(name)
    else:
        model = getattr(pytest.importorskip("torchvision").models, name)(**ARGUMENTS.get(name, {}))
    size = ARCHITECTURES[name]
    with torch.no_grad():
        randomize(model)
        calibrate(model, torch.randn(4, 3, size, size))
    return model.eval()


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def randomize(model):
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm, torch.nn.GroupNorm)):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
        elif isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            # Without normalization, PyTorch's own weights let the signal fade behind the biases.
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                module.bias.normal_(0, 0.1)
    for key, parameter in model.named_parameters():
        if key.endswith("layer_scale"):
            parameter.uniform_(0.5, 1)  # starts at 1e-6, which would hide whole blocks


def calibrate(model, batch):
    """Statistics near those of real data keep the activations sane; near, not equal."""
    norms = batch_norms(model)
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
    model.train()(batch)
    for norm in norms:
        spread = norm.running_var.sqrt()
        norm.running_mean += spread * torch.empty_like(spread).uniform_(-0.2, 0.2)
        norm.running_var *= torch.empty_like(spread).uniform_(0.7, 1.4)


def traced(model, example):
    """The exporter that traces (TorchScript); the size of the batch stays free."""
    file = io.BytesIO()
    torch.onnx.export(
        model, (example,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    return file.getvalue()


def captured(model, example):
    """The exporter that captures the program (torch.export); the size of the batch stays free."""
    pytest.importorskip("onnxscript", reason="PyTorch's exporter needs it")
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["x"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    )
    return program.model_proto.SerializeToString()


@pytest.mark.parametrize("exporter", [traced, captured])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture(name, exporter):
    model, size = network(name), ARCHITECTURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' notes on what is deprecated
        exported = exporter(model, torch.zeros(2, 3, size, size))
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((n, 3, size, size), dtype=np.float32)} for n in (1, 3)]
    (outputs,) = assert_parity(exported, *feeds)
    # The images make a difference: the weights are not such that biases decide.
    assert np.ptp(outputs, axis=0).max() > 0.05 * np.abs(outputs).max()
