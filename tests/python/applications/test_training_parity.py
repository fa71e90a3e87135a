"""Training takes PyTorch's course: the same weights, batches and optimizer give the same losses."""

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="torchvision is not installed, nothing to compare with")

import torch
import torchvision.models as tv
from torch import nn

import small_networks
import torch_networks as reference
from fastconv import applications, layers, optimizers

pytestmark = pytest.mark.usefixtures("zero_weights")

L = layers
BATCH = 8
ROUNDING = 1e-3
VGG11 = [(3,), (3,), (3, 3), (3, 3), (3, 3)]


class CourseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.conv3, self.fc1, self.fc2 = nn.Conv2d(64, 64, 3), nn.Linear(576, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.conv3(x)).permute(0, 2, 3, 1).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


def course_network(module, folder):
    model = small_networks.course()
    arrays = [p.detach().numpy() for p in module.parameters()]
    model.set_weights([a.transpose(2, 3, 1, 0) if a.ndim == 4 else a.T for a in arrays])
    return model


def application(name, **options):
    def build(module, folder):
        path = reference.save(module, folder / "weights.safetensors")
        return getattr(applications, name)(weights=path, **options)

    return build


# PyTorch's network, ours with its weights, the shape of an image.
PLAIN = {
    "course": (CourseNetwork, course_network, (28, 28, 1)),
    "LeNet5": (reference.LeNet5, application("LeNet5", input_shape=(28, 28, 1)), (28, 28, 1)),
    "AlexNet": (
        lambda: reference.AlexNet(16),
        application("AlexNet", width=1 / 16),
        (227, 227, 3),
    ),
    "VGG11": (
        lambda: reference.vgg(VGG11, divisor=8),
        application("VGG11", width=1 / 8, input_shape=(32, 32, 3)),
        (32, 32, 3),
    ),
}
NORMALIZED = {
    "VGG11": (
        lambda: reference.vgg(VGG11, True, 8),
        application("VGG11", width=1 / 8, batch_norm=True, input_shape=(64, 64, 3)),
        (64, 64, 3),
    ),
    "ResNet18": (tv.resnet18, application("ResNet18", input_shape=(64, 64, 3)), (64, 64, 3)),
    "MobileNetV2": (
        lambda: tv.mobilenet_v2(width_mult=0.35),
        application("MobileNetV2", width=0.35, input_shape=(64, 64, 3)),
        (64, 64, 3),
    ),
    "ResNet50": (tv.resnet50, application("ResNet50", input_shape=(48, 48, 3)), (48, 48, 3)),
}
OPTIMIZERS = {
    "momentum": (
        lambda parameters: torch.optim.SGD(parameters, 0.0005, momentum=0.9),
        lambda: optimizers.SGD(0.0005, momentum=0.9),
    ),
    "adam": (
        lambda parameters: torch.optim.Adam(parameters, 1e-4),
        lambda: optimizers.Adam(1e-4),
    ),
}


def start(factory):
    """Return PyTorch's network with random weights and outputs near zero, as training starts."""
    module = reference.make(factory)
    with torch.no_grad():
        for parameter in list(module.parameters())[-2:]:
            parameter *= 0.05
    return module


def batches(shape, steps):
    """Return images and labels of some steps; every fourth step has the same."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 10, (4, BATCH))
    x = rng.standard_normal((4, BATCH, *shape), dtype=np.float32) + y[..., None, None, None] / 10
    return [(x[step % 4].astype(np.float32), y[step % 4]) for step in range(steps)]


def torch_losses(module, optimizer, data, layout=torch.contiguous_format):
    module = module.to(memory_format=layout).train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    found = []
    for step, (x, y) in enumerate(data, 1):
        if isinstance(optimizer, torch.optim.Adam):
            # Keras adds epsilon before it corrects the second moment's bias, PyTorch after.
            optimizer.param_groups[0]["eps"] = 1e-7 / (1 - 0.999**step) ** 0.5
        images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(images), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


def our_losses(model, optimizer, data):
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return np.array([model.train_on_batch(x, y) for x, y in data])


def _check(found, expected, allowed):
    assert np.isfinite(expected).all()
    worst = int(np.argmax(np.abs(found - expected) - allowed))
    assert (np.abs(found - expected) <= allowed).all(), (
        f"step {worst + 1}: loss {found[worst]}, PyTorch {expected[worst]},"
        f" allowed difference {allowed[worst]}"
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", PLAIN)
def test_fifty_steps(name, optimizer, tmp_path):
    factory, build, shape = PLAIN[name]
    theirs, ours = OPTIMIZERS[optimizer]
    module, data = start(factory), batches(shape, 50)
    found = our_losses(build(module, tmp_path), ours(), data)
    expected = torch_losses(module, theirs(module.parameters()), data)
    assert expected[-4:].mean() < 0.99 * expected[:4].mean()
    _check(found, expected, np.full(50, ROUNDING / 10))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NORMALIZED)
def test_batch_normalization(name, optimizer, tmp_path):
    # Rounding grows from step to step: by how much, PyTorch's own two layouts tell.
    factory, build, shape = NORMALIZED[name]
    theirs, ours = OPTIMIZERS[optimizer]
    module, again, data = start(factory), start(factory), batches(shape, 5)
    found = our_losses(build(module, tmp_path), ours(), data)
    expected = torch_losses(module, theirs(module.parameters()), data)
    other = torch_losses(again, theirs(again.parameters()), data, torch.channels_last)
    allowed = np.maximum(ROUNDING * expected, np.maximum.accumulate(np.abs(other - expected)))
    allowed[:2] = ROUNDING
    _check(found, expected, allowed)
