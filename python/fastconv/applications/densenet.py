"""DenseNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("torch")


@application(224, smallest=29)
def DenseNet121(net: Network, x: TensorLike) -> TensorLike:
    """DenseNet-BC of 121 layers, growth rate 32, 7,978,856 parameters; torchvision's `densenet121`.

    Four blocks of 6, 12, 24 and 16 layers, each of which reads the maps of all layers before it
    in its block and adds 32 of its own: batch normalization, ReLU, 1 x 1 convolution to 128,
    batch normalization, ReLU, 3 x 3 convolution. Between blocks a 1 x 1 convolution and a mean of
    2 x 2 halve channels and size. Layers have Keras's names; torchvision's weights load, and
    Keras's (whose epsilon is larger by a thousandth).

    Source: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks",
    2016.
    """
    growth = net.channels(32)

    def norm_relu(x: TensorLike, name: str, source: Any) -> TensorLike:
        x = net.norm(x, name=f"{name}_bn", source=source)
        return layers.ReLU(name=f"{name}_relu")(x)

    def conv(
        x: TensorLike, filters: int, kernel: Any, name: str, source: Any, strides: Any = 1
    ) -> TensorLike:
        return net.conv(x, filters, kernel, strides, use_bias=False, name=name, source=source)

    x = conv(x, 2 * growth, 7, "conv1_conv", "features.conv0", 2)
    x = norm_relu(x, "conv1", "features.norm0")
    x = net.max_pool(x, 3, 2, "pool1", padding=1)
    for block, count in enumerate((6, 12, 24, 16), 1):
        for number in range(1, count + 1):
            name = f"conv{block + 1}_block{number}"
            source = f"features.denseblock{block}.denselayer{number}"
            y = norm_relu(x, f"{name}_0", f"{source}.norm1")
            y = conv(y, 4 * growth, 1, f"{name}_1_conv", f"{source}.conv1")
            y = norm_relu(y, f"{name}_1", f"{source}.norm2")
            y = conv(y, growth, 3, f"{name}_2_conv", f"{source}.conv2")
            x = layers.Concatenate(name=f"{name}_concat")([x, y])
        if block < 4:
            name, source = f"pool{block + 1}", f"features.transition{block}"
            x = norm_relu(x, name, f"{source}.norm")
            x = conv(x, x.shape[-1] // 2, 1, f"{name}_conv", f"{source}.conv")
            x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
    x = net.norm(x, name="bn", source="features.norm5")
    x = layers.ReLU(name="relu")(x)
    return net.average_and_classify(x, source="classifier")
