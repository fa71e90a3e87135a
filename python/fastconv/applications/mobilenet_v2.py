"""MobileNetV2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("torch")

# Expansion, filters, repeats, stride of the first (Table 2).
_STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


@application(224, smallest=32)
def MobileNetV2(net: Network, x: TensorLike, alpha: float | None = None) -> TensorLike:
    """MobileNetV2 of 53 layers, 3,504,872 parameters; torchvision's `mobilenet_v2`.

    Inverted residual blocks: a 1 x 1 convolution to six times the channels, a depthwise 3 x 3, and
    a 1 x 1 back without activation, with a sum where the shape stays. Layers have Keras's names
    ("block_13_expand_relu"), weights and arithmetic are torchvision's (Keras pads on one side only
    and has another epsilon, so its weights are refused). `alpha` is Keras's name of `width`;
    channels become multiples of 8. `preprocess_input` is torchvision's.

    Source: Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear
    Bottlenecks", 2018.
    """
    net.width = net.width if alpha is None else alpha
    net.not_keras = "Keras's MobileNetV2 pads and normalizes in another way"

    def finish(x: TensorLike, name: str, source: Any, activation: Any = True) -> TensorLike:
        x = net.norm(x, name=name, source=source)
        relu = name.replace("_BN", "_relu")
        return layers.ReLU(6.0, name=relu)(x) if activation else x

    x = net.conv(
        x, _multiple_of_8(32 * net.width), 3, 2, use_bias=False, name="Conv1", source="features.0.0"
    )
    x = net.norm(x, name="bn_Conv1", source="features.0.1")
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    number = 0
    for expansion, filters, repeats, first_strides in _STAGES:
        filters = _multiple_of_8(filters * net.width)
        for repeat in range(repeats):
            strides = first_strides if repeat == 0 else 1
            name = f"block_{number}" if number else "expanded_conv"
            source = f"features.{number + 1}.conv"
            y, step = x, 0
            if expansion != 1:
                expand = f"{name}_expand"
                y = net.conv(
                    y,
                    expansion * x.shape[-1],
                    1,
                    use_bias=False,
                    name=expand,
                    source=f"{source}.0.0",
                )
                y = finish(y, f"{expand}_BN", f"{source}.0.1")
                step = 1
            padding = "same"
            if strides == 2:
                y = layers.ZeroPadding2D(1, name=f"{name}_pad")(y)
                padding = "valid"
            depthwise = f"{name}_depthwise"
            y = net.depthwise(
                y, 3, strides, padding=padding, name=depthwise, source=f"{source}.{step}.0"
            )
            y = finish(y, f"{depthwise}_BN", f"{source}.{step}.1")
            project = f"{name}_project"
            y = net.conv(y, filters, 1, use_bias=False, name=project, source=f"{source}.{step + 1}")
            y = finish(y, f"{project}_BN", f"{source}.{step + 2}", activation=False)
            if strides == 1 and x.shape[-1] == filters:
                y = layers.Add(name=f"{name}_add")([x, y])
            x = y
            number += 1
    last = _multiple_of_8(1280 * max(1.0, net.width))
    x = net.conv(x, last, 1, use_bias=False, name="Conv_1", source="features.18.0")
    x = net.norm(x, name="Conv_1_bn", source="features.18.1")
    x = layers.ReLU(6.0, name="out_relu")(x)
    return net.average_and_classify(x, source="classifier.1", dropout=0.2)


def _multiple_of_8(channels: float) -> int:
    """Round to a multiple of 8, at least 8, and not down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
