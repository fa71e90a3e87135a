"""Residual networks for ImageNet and CIFAR-10, plain ones, and those with squeeze-and-excitation.

Layers have Keras's names ("conv5_block3_out"); arithmetic and weights are torchvision's, which puts
the stride of a bottleneck into its 3 x 3 convolution (version 1.5) and needs `preprocess_input` in
its mode "torch", the default here.

Shortcuts, where a block changes the shape, come from the paper's section 4.1: option "A" takes
every second pixel and adds channels of zeros, "B" is a 1 x 1 convolution, "C" is one in all blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("torch")

_OPTIONS = ("A", "B", "C")


def _conv_norm(
    net: Network,
    x: TensorLike,
    filters: int,
    kernel: Any,
    strides: Any,
    name: str,
    source: Any,
    number: int,
) -> TensorLike:
    x = net.conv(
        x,
        filters,
        kernel,
        strides,
        use_bias=False,
        name=f"{name}_{number}_conv",
        source=f"{source}.conv{number}",
    )
    return net.norm(x, name=f"{name}_{number}_bn", source=f"{source}.bn{number}")


def _shortcut(
    net: Network, x: TensorLike, filters: int, strides: Any, option: str, name: str, source: Any
) -> TensorLike:
    changes = strides != 1 or x.shape[-1] != filters
    if option == "C" or (option == "B" and changes):
        x = net.conv(
            x,
            filters,
            1,
            strides,
            use_bias=False,
            name=f"{name}_0_conv",
            source=f"{source}.downsample.0",
        )
        return net.norm(x, name=f"{name}_0_bn", source=f"{source}.downsample.1")
    if strides != 1:
        x = layers.MaxPooling2D(1, strides, name=f"{name}_0_pick")(x)
    if x.shape[-1] < filters:
        # "channels_first" makes the layer pad the last two axes, here width and channels.
        sides = ((0, 0), (0, filters - x.shape[-1]))
        x = layers.ZeroPadding2D(sides, "channels_first", name=f"{name}_0_channels")(x)
    return x


def _block(
    net: Network,
    x: TensorLike,
    filters: int,
    strides: Any,
    name: str,
    source: Any,
    *,
    bottleneck: bool,
    shortcut: str | None,
    ratio: int | None = None,
) -> TensorLike:
    """Build a residual block; a plain one where `shortcut` is None."""
    if bottleneck:
        settings = [(filters, 1, 1), (filters, 3, strides), (4 * filters, 1, 1)]
    else:
        settings = [(filters, 3, strides), (filters, 3, 1)]
    y = x
    for number, setting in enumerate(settings, 1):
        y = _conv_norm(net, y, *setting, name, source, number)
        if number < len(settings):
            y = layers.ReLU(name=f"{name}_{number}_relu")(y)
    if ratio is not None:
        net.sources[f"{name}_se"] = f"{source}.se"
        y = layers.SEBlock(ratio, name=f"{name}_se")(y)
    if shortcut is not None:
        x = _shortcut(net, x, settings[-1][0], strides, shortcut, name, source)
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_out")(y)


def _imagenet(
    net: Network,
    x: TensorLike,
    blocks: Any,
    bottleneck: bool,
    shortcut: str,
    ratio: int | None = None,
) -> TensorLike:
    _check_shortcut(shortcut)
    x = net.conv(x, net.channels(64), 7, 2, use_bias=False, name="conv1_conv", source="conv1")
    x = net.norm(x, name="conv1_bn", source="bn1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = net.max_pool(x, 3, 2, "pool1_pool", padding=1)
    for stage, count in enumerate(blocks, 1):
        for block in range(1, count + 1):
            x = _block(
                net,
                x,
                net.channels(32 * 2**stage),
                2 if stage > 1 and block == 1 else 1,
                f"conv{stage + 1}_block{block}",
                f"layer{stage}.{block - 1}",
                bottleneck=bottleneck,
                shortcut=shortcut,
                ratio=ratio,
            )
    return net.average_and_classify(x, source="fc")


def _cifar(net: Network, x: TensorLike, depth: int, shortcut: str | None) -> TensorLike:
    """Build the network of 6 n + 2 layers of the paper's section 4.2."""
    if shortcut is not None:
        _check_shortcut(shortcut)
    x = net.conv(x, net.channels(16), 3, use_bias=False, name="conv1_conv", source="conv1")
    x = net.norm(x, name="conv1_bn", source="bn1")
    x = layers.ReLU(name="conv1_relu")(x)
    for stage in (1, 2, 3):
        for block in range(1, (depth - 2) // 6 + 1):
            x = _block(
                net,
                x,
                net.channels(8 * 2**stage),
                2 if stage > 1 and block == 1 else 1,
                f"conv{stage + 1}_block{block}",
                f"layer{stage}.{block - 1}",
                bottleneck=False,
                shortcut=shortcut,
            )
    return net.average_and_classify(x, source="fc")


def _check_shortcut(shortcut: str) -> None:
    if shortcut not in _OPTIONS:
        raise ValueError(f"`shortcut` must be one of {_OPTIONS}, received: shortcut={shortcut!r}")


@application(224, smallest=32)
def ResNet18(net: Network, x: TensorLike, shortcut: str = "B") -> TensorLike:
    """Residual network of 18 layers, 11,689,512 parameters; torchvision's `resnet18`.

    8 blocks of two layers. `shortcut`: "A", "B" or "C", as the module tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
    """
    return _imagenet(net, x, (2, 2, 2, 2), False, shortcut)


@application(224, smallest=32)
def ResNet34(net: Network, x: TensorLike, shortcut: str = "B") -> TensorLike:
    """Residual network of 34 layers, 21,797,672 parameters; torchvision's `resnet34`.

    16 blocks of two layers. `shortcut`: "A", "B" or "C", as the module tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
    """
    return _imagenet(net, x, (3, 4, 6, 3), False, shortcut)


@application(224, smallest=32)
def ResNet50(net: Network, x: TensorLike, shortcut: str = "B") -> TensorLike:
    """Residual network of 50 layers, 25,557,032 parameters; torchvision's `resnet50`.

    16 bottleneck blocks of three layers. `shortcut`: "A", "B" or "C", as the module tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
    """
    return _imagenet(net, x, (3, 4, 6, 3), True, shortcut)


@application(224, smallest=32)
def ResNet101(net: Network, x: TensorLike, shortcut: str = "B") -> TensorLike:
    """Residual network of 101 layers, 44,549,160 parameters; torchvision's `resnet101`.

    33 bottleneck blocks of three layers. `shortcut`: "A", "B" or "C", as the module tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
    """
    return _imagenet(net, x, (3, 4, 23, 3), True, shortcut)


@application(224, smallest=32)
def ResNet152(net: Network, x: TensorLike, shortcut: str = "B") -> TensorLike:
    """Residual network of 152 layers, 60,192,808 parameters; torchvision's `resnet152`.

    50 bottleneck blocks of three layers. `shortcut`: "A", "B" or "C", as the module tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
    """
    return _imagenet(net, x, (3, 8, 36, 3), True, shortcut)


@application(224, smallest=32)
def SEResNet18(net: Network, x: TensorLike, shortcut: str = "B", ratio: int = 16) -> TensorLike:
    """`ResNet18` with squeeze-and-excitation, 11,779,624 parameters; timm's `seresnet18`.

    Every block scales its channels before the sum by `fastconv.layers.SEBlock(ratio)`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017.
    """
    return _imagenet(net, x, (2, 2, 2, 2), False, shortcut, ratio)


@application(224, smallest=32)
def SEResNet50(net: Network, x: TensorLike, shortcut: str = "B", ratio: int = 16) -> TensorLike:
    """`ResNet50` with squeeze-and-excitation, 28,088,024 parameters; timm's `seresnet50`.

    Every block scales its channels before the sum by `fastconv.layers.SEBlock(ratio)`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017.
    """
    return _imagenet(net, x, (3, 4, 6, 3), True, shortcut, ratio)


@application(224, smallest=32)
def SEResNet101(net: Network, x: TensorLike, shortcut: str = "B", ratio: int = 16) -> TensorLike:
    """`ResNet101` with squeeze-and-excitation, 49,326,872 parameters; timm's `seresnet101`.

    Every block scales its channels before the sum by `fastconv.layers.SEBlock(ratio)`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017.
    """
    return _imagenet(net, x, (3, 4, 23, 3), True, shortcut, ratio)


@application(32, smallest=8, classes=10)
def ResNet20(net: Network, x: TensorLike, shortcut: str = "A") -> TensorLike:
    """Residual network of 20 layers for CIFAR-10, 269,722 parameters with shortcuts "A".

    9 blocks of two layers with 16, 32 and 64 filters. `shortcut`: "A", "B" or "C", as the module
    tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 20, shortcut)


@application(32, smallest=8, classes=10)
def ResNet56(net: Network, x: TensorLike, shortcut: str = "A") -> TensorLike:
    """Residual network of 56 layers for CIFAR-10, 853,018 parameters with shortcuts "A".

    27 blocks of two layers with 16, 32 and 64 filters. `shortcut`: "A", "B" or "C", as the module
    tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 56, shortcut)


@application(32, smallest=8, classes=10)
def ResNet110(net: Network, x: TensorLike, shortcut: str = "A") -> TensorLike:
    """Residual network of 110 layers for CIFAR-10, 1,727,962 parameters with shortcuts "A".

    54 blocks of two layers with 16, 32 and 64 filters. `shortcut`: "A", "B" or "C", as the module
    tells.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 110, shortcut)


@application(32, smallest=8, classes=10)
def PlainNet20(net: Network, x: TensorLike) -> TensorLike:
    """`ResNet20` without shortcuts, 269,722 parameters, which trains worse the deeper it is.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 20, None)


@application(32, smallest=8, classes=10)
def PlainNet56(net: Network, x: TensorLike) -> TensorLike:
    """`ResNet56` without shortcuts, 853,018 parameters, which trains worse the deeper it is.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 56, None)


@application(32, smallest=8, classes=10)
def PlainNet110(net: Network, x: TensorLike) -> TensorLike:
    """`ResNet110` without shortcuts, 1,727,962 parameters, which trains worse the deeper it is.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.2.
    """
    return _cifar(net, x, 110, None)
