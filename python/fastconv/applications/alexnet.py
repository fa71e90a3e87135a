"""AlexNet, as in 2012 on two GPUs and as in 2014 in one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network


@application(227, smallest=67)
def AlexNet(net: Network, x: TensorLike) -> TensorLike:
    """AlexNet of 2012, 60,965,224 parameters.

    Five convolutions, three of them (2, 4 and 5) in two groups, one for each of the authors' GPUs;
    local response normalization after the first two, max pooling of 3 x 3 windows that overlap,
    dropout of 0.5 before the first two dense layers. The input is (N, 227, 227, 3): the paper says
    224, with which the sizes that it states do not work out.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012.
    """

    def conv(
        x: TensorLike, filters: int, kernel: Any, number: int, groups: int = 1, **kwargs: Any
    ) -> TensorLike:
        filters = net.channels(filters, 2)
        name = f"conv{number}"
        return net.conv(x, filters, kernel, groups=groups, activation="relu", name=name, **kwargs)

    x = conv(x, 96, 11, 1, strides=4, padding=0)
    x = net.local_response_norm(x, "norm1")
    x = net.max_pool(x, 3, 2, "pool1")
    x = conv(x, 256, 5, 2, groups=2)
    x = net.local_response_norm(x, "norm2")
    x = net.max_pool(x, 3, 2, "pool2")
    x = conv(x, 384, 3, 3)
    x = conv(x, 384, 3, 4, groups=2)
    x = conv(x, 256, 3, 5, groups=2)
    x = net.max_pool(x, 3, 2, "pool5")
    return _top(net, x, None, ("fc6", "fc7", "predictions"))


@application(224, smallest=63)
def AlexNet2014(net: Network, x: TensorLike) -> TensorLike:
    """AlexNet in one stream, 61,100,840 parameters; torchvision's `alexnet`, whose weights load.

    Fewer filters, no groups and no normalization across channels; maps of another size than
    6 x 6, from images of another size than 224 x 224, are averaged to it.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    settings = [(64, 11, 4, 0), (192, 5, 1, 3), (384, 3, 1, 6), (256, 3, 1, 8), (256, 3, 1, 10)]
    for number, (filters, kernel, strides, index) in enumerate(settings, 1):
        x = net.conv(
            x,
            net.channels(filters),
            kernel,
            strides,
            padding=2 if number == 1 else None,
            activation="relu",
            name=f"conv{number}",
            source=f"features.{index}",
        )
        if number in (1, 2, 5):
            x = net.max_pool(x, 3, 2, f"pool{number}")
    return _top(net, x, 6, ("classifier.1", "classifier.4", "classifier.6"))


def _top(net: Network, x: TensorLike, size: Any, sources: Any) -> TensorLike:
    if not net.include_top:
        net.left_out += sources
        return x
    x, maps = net.flatten(x, size)
    for number, source in zip((6, 7), sources[:2], strict=True):
        x = layers.Dropout(0.5, name=f"drop{number}")(x)
        units = net.channels(4096)
        x = net.dense(x, units, activation="relu", name=f"fc{number}", source=source, maps=maps)
        maps = None
    return net.classify(x, source=sources[2])
