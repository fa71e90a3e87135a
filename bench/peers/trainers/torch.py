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


NETWORKS = {f.__name__: f for f in (course, lenet5, vgg11_bn, resnet18, resnet50, mobilenet_v2)}


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
        parameters, self.steps = self.model.parameters(), 0
        if case.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
        else:
            self.optimizer = torch.optim.SGD(parameters, 0.01, momentum=0.9, fused=True)
        self.loss = torch.compile(self.compute_loss) if compiled else self.compute_loss

    def compute_loss(self, x, y):
        return nn.functional.cross_entropy(self.model(x), y)

    def tensors(self, x, y):
        x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.order)
        return x, torch.from_numpy(y)

    def batches(self, x, y, size):
        return [self.tensors(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]

    def step(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        self.steps += 1
        for group in self.optimizer.param_groups:
            if "eps" in group:  # Keras adds its epsilon before the correction of the bias
                group["eps"] = 1e-7 / math.sqrt(1 - group["betas"][1] ** self.steps)
        self.optimizer.step()
        return loss.item()

    def epoch(self, x, y, size):
        x, y = self.tensors(x, y)
        for part in torch.randperm(len(x)).split(size):
            self.step((x[part], y[part]))


def open(name, weights, threads, dropout=True, order="contiguous_format", compiled=False):
    torch.set_num_threads(threads)
    return Trainer(name, weights, dropout, getattr(torch, order), compiled)
