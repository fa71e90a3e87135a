"""PyTorch; the networks are those of `training_networks`, from torchvision where it has them."""

import math

import torch
from torch import nn

from .. import training_networks

PACKAGES = ["torch"]


def course():
    return nn.Sequential(
        *[nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()],
        *[nn.Linear(576, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)],
    )


def lenet5():
    from .. import models

    return models.LeNet5()


def vgg11_bn():
    from torchvision.models import vgg

    features = vgg.make_layers(vgg.cfgs["A"], batch_norm=True)
    return nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))


def resnet18():
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def resnet50():
    from torchvision.models import resnet50

    return resnet50()


def mobilenet_v2():
    from torchvision.models import mobilenet_v2

    return mobilenet_v2(num_classes=200, dropout=0.0)


def fashion_resnet():
    from torchvision.models.resnet import BasicBlock

    blocks, channels = [], 32
    for filters, strides in ((32, 1), (48, 2), (48, 1)):
        shortcut = None
        if channels != filters:
            shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, strides, bias=False), nn.BatchNorm2d(filters)
            )
        blocks.append(BasicBlock(channels, filters, strides, shortcut))
        channels = filters
    return nn.Sequential(
        *[nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()],
        *[nn.MaxPool2d(2), *blocks],
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)],
    )


NETWORKS = {
    make.__name__: make
    for make in (course, lenet5, vgg11_bn, resnet18, resnet50, mobilenet_v2, fashion_resnet)
}


def load(model, weights):
    """Set all weights from arrays in Keras's form."""
    channels = None  # of the maps that a dense layer may read
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            order = (2, 3, 0, 1) if layer.groups > 1 else (3, 2, 0, 1)
            arrays = [next(weights).transpose(order)]
            channels = layer.out_channels
        elif isinstance(layer, nn.BatchNorm2d):
            arrays = [next(weights)]
        elif isinstance(layer, nn.Linear):
            array = next(weights).T
            if channels is not None:  # flattened maps, channels first
                side = math.isqrt(layer.in_features // channels)
                array = array.reshape(-1, side, side, channels).transpose(0, 3, 1, 2)
                array = array.reshape(layer.out_features, -1)
            arrays, channels = [array], None
        else:
            continue
        targets = [layer.weight, layer.bias, *layer.buffers()]
        targets = [t for t in targets if t is not None and t.dim()]  # not the number of batches
        arrays += [next(weights) for _ in targets[1:]]
        with torch.no_grad():
            for target, array in zip(targets, arrays, strict=True):
                if target.shape != array.shape:
                    raise ValueError(f"{layer}: expected {target.shape}, received {array.shape}")
                target.copy_(torch.from_numpy(array.copy()))


class Trainer:
    def __init__(self, name, weights, dropout, order, compiled):
        torch.manual_seed(0)
        case = training_networks.NETWORKS[name]
        self.order = order
        self.model = NETWORKS[name]()
        load(self.model, weights)
        self.model = self.model.to(memory_format=order).train()
        if not dropout:
            for layer in self.model.modules():
                if isinstance(layer, nn.Dropout):
                    layer.p = 0.0
        self.parameters = list(self.model.parameters())
        self.steps, self.decay, self.smoothing = 0, 0.0, case.smoothing
        if case.optimizer == "adam":
            self.optimizer = torch.optim.Adam(self.parameters, 1e-3, fused=True)
        elif case.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(self.parameters, 0.01, momentum=0.9, fused=True)
        else:
            options = {"momentum": 0.9, "nesterov": True, "fused": True}
            self.optimizer = torch.optim.SGD(self.parameters, 0.1, **options)
            self.decay = 3e-3  # Keras's: not part of the gradient, so not of the momentum
        self.loss = torch.compile(self.compute_loss) if compiled else self.compute_loss

    def compute_loss(self, x, y):
        return nn.functional.cross_entropy(self.model(x), y, label_smoothing=self.smoothing)

    def images(self, x):
        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.order)

    def batches(self, x, y, size):
        parts = [slice(i, i + size) for i in range(0, len(x), size)]
        return [(self.images(x[part]), torch.from_numpy(y[part])) for part in parts]

    def step(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        self.steps += 1
        for group in self.optimizer.param_groups:
            if "eps" in group:  # Keras adds its epsilon before the correction of the bias
                group["eps"] = 1e-7 / math.sqrt(1 - group["betas"][1] ** self.steps)
        if self.decay:
            with torch.no_grad():
                for parameter in self.parameters:
                    parameter.mul_(1 - self.decay * self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        return loss.item()

    def epoch(self, x, y, size):
        x, y = self.images(x), torch.from_numpy(y)
        for part in torch.randperm(len(x)).split(size):
            self.step((x[part], y[part]))

    def set_rate(self, rate):
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def predict(self, x):
        self.model.eval()
        with torch.no_grad():
            parts = [self.model(self.images(x[i : i + 500])) for i in range(0, len(x), 500)]
        self.model.train()
        return torch.cat(parts).numpy()


def open(name, weights, threads, dropout=True, order="contiguous_format", compiled=False):
    torch.set_num_threads(threads)
    return Trainer(name, weights, dropout, getattr(torch, order), compiled)
