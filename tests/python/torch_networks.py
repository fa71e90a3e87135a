"""PyTorch networks to compare architectures with: random weights for any of them, and plain
versions of those that torchvision and timm lack, whose modules are named like fastconv's layers."""

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F


def make(factory, seed=0):
    """Return the network of a factory with random weights and statistics, for inference."""
    with torch.device("meta"):  # PyTorch's own random numbers take seconds
        module = factory()
    module = module.to_empty(device="cpu")
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(1_000_003, np.float32)
    for name, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif len(shape) > 1:
            start, count = rng.integers(1000), int(np.prod(shape))
            values = np.resize(normal[start:], count).reshape(shape)
            tensor.copy_(torch.from_numpy(values))
            tensor.mul_((2 / np.prod(shape[1:])) ** 0.5)
        elif name.endswith("running_var"):
            tensor.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, shape)))
        elif name.endswith("weight"):
            # Small, so that values do not grow from block to block of residual networks: float32
            # would lose digits in squeeze-and-excitation, in PyTorch too.
            tensor.copy_(torch.from_numpy(rng.uniform(0.2, 0.6, shape)))
        else:
            tensor.copy_(torch.from_numpy(rng.normal(0, 0.1, shape)))
    return module.eval()


def images(size, channels=3, count=2, seed=1):
    """Return random images (N, H, W, C)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, size, size, channels), dtype=np.float32)


def outputs(module, x):
    """Return the outputs for channels-last images as a list of arrays."""
    with torch.no_grad():
        y = module(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous())
    return [v.numpy() for v in (y if isinstance(y, (tuple, list)) else [y])]


def save(module, path):
    """Write the state dict as safetensors."""
    from safetensors.torch import save_file

    save_file(module.state_dict(), path)
    return path


def difference(ours, theirs):
    """Return the largest difference, as a share of the largest value."""
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all() and np.ptp(theirs) > 1e-3 * np.abs(theirs).max()
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.predictions = nn.Linear(84, 10)

    def forward(self, x):
        if x.shape[2] == 28:
            x = F.pad(x, (2, 2, 2, 2))
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2).flatten(1)
        return self.predictions(torch.tanh(self.f6(torch.tanh(self.c5(x)))))


def _response_norm(x):
    return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """The network of 2012; `scale` divides all numbers of channels."""

    def __init__(self, scale=1):
        super().__init__()
        a, b, c, fc = 96 // scale, 256 // scale, 384 // scale, 4096 // scale
        self.conv1 = nn.Conv2d(3, a, 11, 4)
        self.conv2 = nn.Conv2d(a, b, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(b, c, 3, padding=1)
        self.conv4 = nn.Conv2d(c, c, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(c, b, 3, padding=1, groups=2)
        self.fc6, self.fc7 = nn.Linear(36 * b, fc), nn.Linear(fc, fc)
        self.predictions = nn.Linear(fc, 1000)

    def forward(self, x):
        x = F.max_pool2d(_response_norm(F.relu(self.conv1(x))), 3, 2)
        x = F.max_pool2d(_response_norm(F.relu(self.conv2(x))), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2).flatten(1)
        return self.predictions(F.relu(self.fc7(F.relu(self.fc6(x)))))


def vgg(blocks, batch_norm=False, divisor=1):
    """Return torchvision's VGG class for blocks of kernel sizes, channels divided by `divisor`."""
    features, channels = [], 3
    for number, kernels in enumerate(blocks):
        filters = 64 * 2 ** min(number, 3) // divisor
        for kernel in kernels:
            features.append(nn.Conv2d(channels, filters, kernel, padding=kernel // 2))
            features += [nn.BatchNorm2d(filters)] if batch_norm else []
            features.append(nn.ReLU())
            channels = filters
        features.append(nn.MaxPool2d(2))
    network = torchvision.models.VGG(nn.Sequential(*features), init_weights=False)
    if divisor > 1:
        hidden = 4096 // divisor
        network.classifier[0] = nn.Linear(channels * 49, hidden)
        network.classifier[3] = nn.Linear(hidden, hidden)
        network.classifier[6] = nn.Linear(hidden, 1000)
    return network


class VGG11_LRN(nn.Module):
    """Network A-LRN around the modules of A, so that the names of these stay."""

    def __init__(self, divisor):
        super().__init__()
        inner = vgg([(3,), (3,), (3, 3), (3, 3), (3, 3)], divisor=divisor)
        self.features, self.avgpool = inner.features, inner.avgpool
        self.classifier = inner.classifier

    def forward(self, x):
        x = _response_norm(self.features[:2](x))
        return self.classifier(self.avgpool(self.features[2:](x)).flatten(1))


# Channels in; of 1 x 1; before and of 3 x 3; before and of 5 x 5; after the pooling.
_MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class GoogLeNet(nn.Module):
    """The network of the paper, with both auxiliary classifiers."""

    def __init__(self, aux_maps=16):
        super().__init__()
        self.conv1_7x7 = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.conv2_3x3_reduce = nn.Conv2d(64, 64, 1)
        self.conv2_3x3 = nn.Conv2d(64, 192, 3, padding=1)
        for name, (n, a, b1, b, c1, c, d) in _MODULES.items():
            for part, first, filters, kernel in (
                ("1x1", n, a, 1),
                ("3x3_reduce", n, b1, 1),
                ("3x3", b1, b, 3),
                ("5x5_reduce", n, c1, 1),
                ("5x5", c1, c, 5),
                ("pool_proj", n, d, 1),
            ):
                conv = nn.Conv2d(first, filters, kernel, padding=kernel // 2)
                setattr(self, f"inception_{name}_{part}", conv)
        for name, channels in (("aux1", 512), ("aux2", 528)):
            setattr(self, f"{name}_1x1", nn.Conv2d(channels, 128, 1))
            setattr(self, f"{name}_fc", nn.Linear(128 * aux_maps, 1024))
            setattr(self, name, nn.Linear(1024, 1000))
        self.predictions = nn.Linear(1024, 1000)

    def inception(self, x, name):
        def conv(x, part):
            return F.relu(getattr(self, f"inception_{name}_{part}")(x))

        return torch.cat(
            [
                conv(x, "1x1"),
                conv(conv(x, "3x3_reduce"), "3x3"),
                conv(conv(x, "5x5_reduce"), "5x5"),
                conv(F.max_pool2d(x, 3, 1, padding=1), "pool_proj"),
            ],
            1,
        )

    def auxiliary(self, x, name):
        x = F.relu(getattr(self, f"{name}_1x1")(F.avg_pool2d(x, 5, 3))).flatten(1)
        return getattr(self, name)(F.relu(getattr(self, f"{name}_fc")(x)))

    def forward(self, x):
        def pool(x):
            return F.max_pool2d(x, 3, 2, ceil_mode=True)

        x = _response_norm(pool(F.relu(self.conv1_7x7(x))))
        x = F.relu(self.conv2_3x3(F.relu(self.conv2_3x3_reduce(x))))
        x = pool(_response_norm(x))
        x = pool(self.inception(self.inception(x, "3a"), "3b"))
        first = self.inception(x, "4a")
        second = self.inception(self.inception(self.inception(first, "4b"), "4c"), "4d")
        x = pool(self.inception(second, "4e"))
        x = self.inception(self.inception(x, "5a"), "5b").mean((2, 3))
        return self.predictions(x), self.auxiliary(first, "aux1"), self.auxiliary(second, "aux2")


class MobileNet(nn.Module):
    def __init__(self, alpha=1.0):
        super().__init__()
        self.strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        filters = [32, 64, 128, 128, 256, 256] + [512] * 6 + [1024] * 2
        filters = [int(n * alpha) for n in filters]
        self.conv1 = nn.Conv2d(3, filters[0], 3, 2, bias=False)
        self.conv1_bn = nn.BatchNorm2d(filters[0], eps=1e-3)
        for i, stride in enumerate(self.strides, 1):
            n, m = filters[i - 1], filters[i]
            setattr(self, f"conv_dw_{i}", nn.Conv2d(n, n, 3, stride, groups=n, bias=False))
            setattr(self, f"conv_dw_{i}_bn", nn.BatchNorm2d(n, eps=1e-3))
            setattr(self, f"conv_pw_{i}", nn.Conv2d(n, m, 1, bias=False))
            setattr(self, f"conv_pw_{i}_bn", nn.BatchNorm2d(m, eps=1e-3))
        self.conv_preds = nn.Conv2d(filters[-1], 1000, 1)

    def forward(self, x):
        def step(x, name):
            return F.relu6(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

        x = step(F.pad(x, (0, 1, 0, 1)), "conv1")  # even sizes only
        for i, stride in enumerate(self.strides, 1):
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
            x = step(step(x, f"conv_dw_{i}"), f"conv_pw_{i}")
        return self.conv_preds(x.mean((2, 3), keepdim=True)).flatten(1)


class _CifarBlock(nn.Module):
    def __init__(self, n, m, stride, shortcut):
        super().__init__()
        self.shortcut, self.stride, self.extra = shortcut, stride, m - n
        self.conv1, self.bn1 = nn.Conv2d(n, m, 3, stride, 1, bias=False), nn.BatchNorm2d(m)
        self.conv2, self.bn2 = nn.Conv2d(m, m, 3, 1, 1, bias=False), nn.BatchNorm2d(m)
        if shortcut == "C" or (shortcut == "B" and n != m):
            conv = nn.Conv2d(n, m, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(m))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            y = y + self.downsample(x)
        elif self.shortcut:
            s = self.stride
            y = y + F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, 0, self.extra))
        return F.relu(y)


class CifarNet(nn.Module):
    """6 n + 2 layers, with shortcuts "A", "B" or "C", or without."""

    def __init__(self, depth, shortcut):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        channels = 16
        for stage in (1, 2, 3):
            blocks = []
            for i in range((depth - 2) // 6):
                filters = 8 * 2**stage
                stride = 2 if i == 0 and stage > 1 else 1
                blocks.append(_CifarBlock(channels, filters, stride, shortcut))
                channels = filters
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))
