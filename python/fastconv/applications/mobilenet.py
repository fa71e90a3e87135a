"""MobileNet, the first version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("tf")

# Filters and strides of the pairs of depthwise and 1 x 1 convolutions (Table 1).
_PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
_PAIRS += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]


@application(224, smallest=32)
def MobileNet(
    net: Network,
    x: TensorLike,
    alpha: float | None = None,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
) -> TensorLike:
    """MobileNet of 28 layers, 4,231,976 parameters; Keras's model, whose weights load.

    Thirteen pairs of a depthwise 3 x 3 and a 1 x 1 convolution, each with batch normalization
    and ReLU cut off at 6. torchvision has none. `alpha` is Keras's name of `width`,
    `depth_multiplier` the number of maps that the depthwise convolutions make of each, `dropout`
    the rate before the last layer. Images of -1 to 1 (`preprocess_input`).

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications", 2017.
    """
    net.width = net.width if alpha is None else alpha
    net.epsilon, net.momentum = 1e-3, 0.99

    def finish(x: TensorLike, name: str) -> TensorLike:
        x = net.norm(x, name=f"{name}_bn")
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    x = layers.Conv2D(
        int(32 * net.width),
        3,
        2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="conv1",
    )(x)
    x = finish(x, "conv1")
    for number, (filters, strides) in enumerate(_PAIRS, 1):
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
        x = net.depthwise(
            x,
            3,
            strides,
            padding="same" if strides == 1 else "valid",
            depth_multiplier=depth_multiplier,
            name=f"conv_dw_{number}",
        )
        x = finish(x, f"conv_dw_{number}")
        name = f"conv_pw_{number}"
        x = net.conv(x, int(filters * net.width), 1, use_bias=False, name=name)
        x = finish(x, name)
    if not net.include_top:
        net.left_out.append("conv_preds")
        return x
    x = layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = net.conv(x, net.classes, 1, name="conv_preds")
    x = layers.Reshape((net.classes,), name="reshape_2")(x)
    return layers.Activation(net.classifier_activation, name="predictions")(x)
