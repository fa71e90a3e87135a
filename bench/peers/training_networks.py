"""The networks of the training benchmark in Keras's code, for fastconv and for Keras alike.

Needs nothing but the standard library; `keras` is the module whose layers are used. The same
networks in PyTorch are in `trainers/torch.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One network and how it is trained.

    Args:
        build: function from (`Builder`, input tensor, whether with dropout) to the class scores.
        shape: (height, width, channels) of an image.
        optimizer: "adam" (1e-3, epsilon 1e-7), "sgd" (0.01, momentum 0.9), or "nesterov" (0.1,
            momentum 0.9, decoupled weight decay 3e-3).
        bar: ratio to the fastest peer that fastconv is meant to reach; None where the network is
            for `bench/accuracy.py`.
        norm: with batch normalization, which makes losses drift apart after two steps.
        losses: number of steps whose losses are compared.
        fashion: trained on Fashion-MNIST instead of random images.
        epoch: timed by whole epochs of `fit` instead of single steps.
        smoothing: of the labels, which are given as one number a class then.
    """

    build: Callable
    shape: tuple
    classes: int
    batch: int
    optimizer: str
    bar: float | None
    norm: bool = True
    losses: int = 10
    fashion: bool = False
    epoch: bool = False
    smoothing: float = 0.0

    @property
    def compared(self):
        """Number of steps during which losses have to agree.

        Later the rounding of sums decides: the course network's losses, computed by direct sums
        alone, leave those of PyTorch by 1e-3 after some 20 to 30 steps at these rates.
        """
        return 2 if self.norm else 5


class Builder:
    """Makes layers that compute what PyTorch's do, and notes those with weights, in order."""

    def __init__(self, keras):
        self.keras, self.layers = keras, keras.layers
        self.weighted = []

    def add(self, x, layer):
        self.weighted.append(layer)
        return layer(x)

    def conv(self, x, filters, kernel, strides=1, pad=None, bias=True, activation=None):
        """Convolve with `pad` zeros on every side, half the kernel where it is None."""
        pad = kernel // 2 if pad is None else pad
        same = pad == kernel // 2 and strides == 1
        if pad and not same:
            x = self.layers.ZeroPadding2D(pad)(x)
        padding = "same" if same else "valid"
        options = {"use_bias": bias, "activation": activation, "kernel_initializer": "he_normal"}
        return self.add(x, self.layers.Conv2D(filters, kernel, strides, padding=padding, **options))

    def depthwise(self, x, strides):
        if strides != 1:
            x = self.layers.ZeroPadding2D(1)(x)
        padding = "same" if strides == 1 else "valid"
        options = {"use_bias": False, "depthwise_initializer": "he_normal"}
        return self.add(x, self.layers.DepthwiseConv2D(3, strides, padding=padding, **options))

    def norm(self, x):
        return self.add(x, self.layers.BatchNormalization(momentum=0.9, epsilon=1e-5))

    def relu(self, x, highest=None):
        return self.layers.ReLU(highest)(x)

    def pool(self, x):
        return self.layers.MaxPooling2D(2)(x)

    def flatten(self, x):
        return self.layers.Flatten()(x)

    def dense(self, x, units, activation=None):
        return self.add(x, self.layers.Dense(units, activation=activation))

    def average_and_classify(self, x, classes):
        """Apply the top of residual networks; its weights start small, as in torchvision.

        Larger ones make float32's rounding decide about MobileNetV2's losses from the second step.
        """
        start = self.keras.initializers.RandomNormal(stddev=0.01)
        x = self.layers.GlobalAveragePooling2D()(x)
        return self.add(x, self.layers.Dense(classes, kernel_initializer=start))


def course(net, x, dropout):
    x = net.pool(net.conv(x, 32, 3, pad=0, activation="relu"))
    x = net.pool(net.conv(x, 64, 3, pad=0, activation="relu"))
    x = net.conv(x, 64, 3, pad=0, activation="relu")
    x = net.dense(net.flatten(x), 64, "relu")
    if dropout:
        x = net.layers.Dropout(0.2)(x)
    return net.dense(x, 10)


def lenet5(net, x, dropout):
    x = net.pool(net.conv(x, 6, 5, activation="relu"))
    x = net.pool(net.conv(x, 16, 5, pad=0, activation="relu"))
    x = net.dense(net.dense(net.flatten(x), 120, "relu"), 84, "relu")
    return net.dense(x, 10)


def vgg11_bn(net, x, dropout):
    for filters, count in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        for _ in range(count):
            x = net.relu(net.norm(net.conv(x, filters, 3)))
        x = net.pool(x)
    return net.dense(net.flatten(x), 10)


def residual(net, x, settings):
    """Add a residual block; settings are (filters, kernel, strides) of its convolutions."""
    y, strides = x, 1
    for number, (filters, kernel, step) in enumerate(settings, 1):
        y = net.norm(net.conv(y, filters, kernel, step, bias=False))
        if number < len(settings):
            y = net.relu(y)
        strides *= step
    if strides != 1 or x.shape[-1] != filters:
        x = net.norm(net.conv(x, filters, 1, strides, bias=False))
    return net.relu(net.layers.Add()([x, y]))


def resnet18(net, x, dropout):
    x = net.relu(net.norm(net.conv(x, 64, 3, bias=False)))
    for stage in range(4):
        filters = 64 * 2**stage
        for block in range(2):
            strides = 2 if stage and not block else 1
            x = residual(net, x, [(filters, 3, strides), (filters, 3, 1)])
    return net.average_and_classify(x, 10)


def resnet50(net, x, dropout):
    x = net.relu(net.norm(net.conv(x, 64, 7, 2, bias=False)))
    x = net.layers.ZeroPadding2D(1)(x)  # not negative, so zeros never win
    x = net.layers.MaxPooling2D(3, 2)(x)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            x = residual(net, x, [(filters, 1, 1), (filters, 3, strides), (4 * filters, 1, 1)])
    return net.average_and_classify(x, 1000)


def fashion_resnet(net, x, dropout):
    """Build the small network of examples/fashion_resnet.py."""
    x = net.pool(net.relu(net.norm(net.conv(x, 32, 3, bias=False))))
    for filters, strides in ((32, 1), (48, 2), (48, 1)):
        x = residual(net, x, [(filters, 3, strides), (filters, 3, 1)])
    return net.average_and_classify(x, 10)


MOBILENET_V2 = [  # expansion, filters, repeats, strides of the first (Sandler et al. 2018)
    *[(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)],
    *[(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)],
]


def mobilenet_v2(net, x, dropout):
    x = net.relu(net.norm(net.conv(x, 32, 3, 2, bias=False)), 6.0)
    for expansion, filters, repeats, first in MOBILENET_V2:
        for repeat in range(repeats):
            y, strides = x, 1 if repeat else first
            if expansion != 1:
                y = net.conv(y, expansion * x.shape[-1], 1, bias=False)
                y = net.relu(net.norm(y), 6.0)
            y = net.relu(net.norm(net.depthwise(y, strides)), 6.0)
            y = net.norm(net.conv(y, filters, 1, bias=False))
            x = net.layers.Add()([x, y]) if repeat else y
    x = net.relu(net.norm(net.conv(x, 1280, 1, bias=False)), 6.0)
    return net.average_and_classify(x, 200)


FASHION = {"shape": (28, 28, 1), "classes": 10, "fashion": True}
PLAIN = {"norm": False, "losses": 50}
NETWORKS = {
    "course": Case(course, batch=128, optimizer="adam", bar=4, epoch=True, **FASHION, **PLAIN),
    "lenet5": Case(lenet5, batch=64, optimizer="adam", bar=4, **FASHION, **PLAIN),
    "vgg11_bn": Case(vgg11_bn, (32, 32, 3), 10, 64, "sgd", 1.8),
    "resnet18": Case(resnet18, (32, 32, 3), 10, 64, "sgd", 1.8),
    "mobilenet_v2": Case(mobilenet_v2, (64, 64, 3), 200, 32, "sgd", 2.5),
    "resnet50": Case(resnet50, (224, 224, 3), 1000, 8, "sgd", 1.5, losses=5),
    "fashion_resnet": Case(
        fashion_resnet, batch=128, optimizer="nesterov", bar=None, smoothing=0.05, **FASHION
    ),
}
SPEED = [name for name, case in NETWORKS.items() if case.bar]


def build(keras, name, dropout=True):
    """Return the model, with class scores as its output, and its layers with weights in order."""
    case = NETWORKS[name]
    net = Builder(keras)
    inputs = keras.layers.Input(case.shape)
    return keras.Model(inputs, case.build(net, inputs, dropout)), net.weighted
