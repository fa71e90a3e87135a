"""Makes a network with random weights and writes it as ONNX, for ncnn and for MNN.

python -m peers.models NAME FOLDER BATCH   (from bench/; `networks.prepare` calls it)
"""

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import networks

MIN_SPREAD = 0.03  # of two images' outputs, over the largest value


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense1, self.dense2 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.dense3 = nn.Linear(84, 10)

    def forward(self, x):
        x = functional.max_pool2d(self.conv1(x).relu(), 2)
        x = functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.dense3(self.dense2(self.dense1(x.flatten(1)).relu()).relu())


def build(name):
    """Return the network in evaluation mode; its weights depend on the name only."""
    torch.manual_seed(0)
    if name == "lenet5":
        model = LeNet5()
    elif name == "seresnet50":
        import timm

        model = timm.create_model(name, pretrained=False).eval()
    else:
        import torchvision

        extra = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
        model = getattr(torchvision.models, name)(weights=None, **extra).eval()
    calibrate(model, name)
    return model.eval()


def calibrate(model, name):
    """Give the batch normalizations statistics near to those of the data, as training does.

    With statistics at random, the activations of deep networks become the same for every input.
    Shifts around zero would let rounding errors grow up to tenfold in deep ones, in any engine.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.train().momentum = 1
        nn.init.uniform_(layer.weight, 0.5, 1.5)
        nn.init.normal_(layer.bias, 0.5, 0.3)
    if norms:
        with torch.no_grad():
            model(torch.from_numpy(networks.batch_input(name, 4, seed=1)))
    for layer in norms:
        scale = layer.running_var.sqrt()
        layer.running_mean += 0.1 * scale * torch.randn_like(scale)
        layer.running_var *= torch.empty_like(scale).uniform_(0.7, 1.4)


def load(name, folder):
    """Return the network with the weights that its files have."""
    model = build(name)
    model.load_state_dict(torch.load(networks.files(folder, name, 1)["state"], weights_only=True))
    return model


def example(name):
    return torch.from_numpy(networks.batch_input(name, 1))


def to_onnx(model, name, path):
    torch.onnx.export(
        model,
        (example(name),),
        str(path),
        dynamo=False,
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would fold the batch normalizations
        input_names=[networks.INPUT],
        output_names=[networks.OUTPUT],
        dynamic_axes={networks.INPUT: {0: networks.BATCH}, networks.OUTPUT: {0: networks.BATCH}},
    )


def to_ncnn(model, name, path):
    """Write NAME.ncnn.param and .bin, float32, with pnnx; its other files are dropped."""
    import pnnx

    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        pnnx.export(model, str(Path(work) / f"{name}.pt"), example(name), fp16=False)
        for end in ("bin", "param"):
            os.replace(Path(work) / f"{name}.ncnn.{end}", path.with_suffix(f".{end}"))


def to_mnn(onnx_path, path):
    # Not through the command mnnconvert: it installs packages and reports its use to its makers.
    code = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
    command = [sys.executable, "-c", code, "-f", "ONNX", "--bizCode", "fastconv"]
    command += ["--modelFile", str(onnx_path), "--MNNModel", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def reference(model, name, batch):
    """Return outputs in float64; they must depend on the image, or a comparison shows nothing."""
    images = [networks.batch_input(name, batch), networks.batch_input(name, 1, seed=2)]
    images = np.concatenate(images)
    with torch.inference_mode():
        outputs = model.double()(torch.from_numpy(images).double()).numpy()
    spread = np.abs(outputs[-1] - outputs[0]).max() / np.abs(outputs).max()
    if not spread > MIN_SPREAD:
        raise ValueError(f"two images differ in the output by {spread:.2g} of the largest value")
    return outputs[:batch]


def make(name, folder, batch):
    paths = networks.files(folder, name, batch)

    def write(kind, function):
        if not paths[kind].exists():  # whole or not at all
            temporary = paths[kind].with_name(f"{os.getpid()}-{paths[kind].name}")
            function(temporary)
            os.replace(temporary, paths[kind])

    write("state", lambda path: torch.save(build(name).state_dict(), path))
    model = load(name, folder)
    write("onnx", lambda path: to_onnx(model, name, path))
    write("mnn", lambda path: to_mnn(paths["onnx"], path))
    if not paths["ncnn"].exists():
        to_ncnn(model, name, paths["ncnn"])
    if not paths["reference"].exists():
        np.save(paths["reference"], reference(model, name, batch))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    make(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
