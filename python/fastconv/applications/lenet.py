"""LeNet-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastconv import layers
from fastconv.applications._network import application

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network


@application(32, smallest=16, channels=1, classes=10)
def LeNet5(net: Network, x: TensorLike) -> TensorLike:
    """LeNet-5 for digits, 61,706 parameters.

    Two 5 x 5 convolutions, each followed by a mean of 2 x 2, and three dense layers, all with
    tanh. As in today's courses, the second convolution reads all maps of the first (the paper's
    reads a part of them), the means have no weights, and softmax takes the place of the RBF units.
    Images of 28 x 28 get the margin of two pixels that the paper gives them. The input is
    (N, 32, 32, 1) or (N, 28, 28, 1), about 0 to 1.

    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998.
    """
    if tuple(x.shape[1:3]) == (28, 28):
        x = layers.ZeroPadding2D(2, name="c1_pad")(x)
    x = net.conv(x, net.channels(6), 5, padding=0, activation="tanh", name="c1")
    x = layers.AveragePooling2D(2, name="s2")(x)
    x = net.conv(x, net.channels(16), 5, padding=0, activation="tanh", name="c3")
    x = layers.AveragePooling2D(2, name="s4")(x)
    if not net.include_top:
        net.left_out += ["c5", "f6", "predictions"]
        return x
    x, maps = net.flatten(x)
    x = net.dense(x, net.channels(120), activation="tanh", name="c5", maps=maps)
    x = net.dense(x, net.channels(84), activation="tanh", name="f6")
    return net.classify(x)
