"""GoogLeNet, the first Inception network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("tf")

# Filters of 1 x 1; before and of 3 x 3; before and of 5 x 5; after the pooling (Table 1).
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


@application(224, smallest=32)
def GoogLeNet(
    net: Network, x: TensorLike, aux_logits: bool = False, batch_norm: bool = False
) -> TensorLike:
    """GoogLeNet of 22 layers, 6,998,552 parameters, 13,378,280 with the auxiliary classifiers.

    Nine inception modules: convolutions of 1 x 1, 3 x 3, 5 x 5 and a pooling side by side, those
    with large kernels behind 1 x 1 convolutions that leave fewer channels.

    `aux_logits=True` gives three outputs, [main, after 4a, after 4d]: the losses of the last two
    count 0.3 each in training (`loss_weights=[1, 0.3, 0.3]`), and the first alone is used
    afterwards: `Model(model.input, model.outputs[0])`. They need images of 79 x 79 or more.

    `batch_norm=True` is torchvision's `googlenet`, whose weights load: batch normalization instead
    of biases and response normalization, 3 x 3 kernels in the place of 5 x 5, pooling of 2 x 2
    before module 5a, and less dropout; 6,624,904 parameters, 13,004,888 with the auxiliary
    classifiers. Its published weights expect images of -1 to 1 (`preprocess_input`).

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014.
    """
    if aux_logits and not net.include_top:
        raise ValueError("GoogLeNet: `aux_logits` needs include_top=True")
    net.epsilon = 1e-3

    def conv(
        x: TensorLike, filters: int, kernel: Any, name: str, source: Any, strides: Any = 1
    ) -> TensorLike:
        filters = net.channels(filters)
        if batch_norm:
            return net.conv_norm_relu(x, filters, kernel, strides, name=name, source=source)
        return net.conv(x, filters, kernel, strides, activation="relu", name=name)

    def inception(x: TensorLike, name: str) -> TensorLike:
        first, before3, after3, before5, after5, projection = _MODULES[name]
        source, name = f"inception{name}", f"inception_{name}"
        a = conv(x, first, 1, f"{name}_1x1", f"{source}.branch1")
        b = conv(x, before3, 1, f"{name}_3x3_reduce", f"{source}.branch2.0")
        b = conv(b, after3, 3, f"{name}_3x3", f"{source}.branch2.1")
        c = conv(x, before5, 1, f"{name}_5x5_reduce", f"{source}.branch3.0")
        c = conv(c, after5, 3 if batch_norm else 5, f"{name}_5x5", f"{source}.branch3.1")
        d = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        d = conv(d, projection, 1, f"{name}_pool_proj", f"{source}.branch4.1")
        return layers.Concatenate(name=f"{name}_output")([a, b, c, d])

    def auxiliary(x: TensorLike, name: str) -> TensorLike:
        if batch_norm:
            x = layers.AdaptiveAveragePooling2D(4, name=f"{name}_pool")(x)
        else:
            x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
        x = conv(x, 128, 1, f"{name}_1x1", f"{name}.conv")
        x, maps = net.flatten(x, name=f"{name}_flatten")
        fc1, fc2 = (f"{name}.fc1", f"{name}.fc2") if batch_norm else (None, None)
        units = net.channels(1024)
        x = net.dense(x, units, activation="relu", name=f"{name}_fc", source=fc1, maps=maps)
        x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
        return net.classify(x, name=name, source=fc2)

    x = conv(x, 64, 7, "conv1_7x7", "conv1", strides=2)
    x = net.max_pool(x, 3, 2, "pool1", ceil=True)
    if not batch_norm:
        x = net.local_response_norm(x, "norm1")
    x = conv(x, 64, 1, "conv2_3x3_reduce", "conv2")
    x = conv(x, 192, 3, "conv2_3x3", "conv3")
    if not batch_norm:
        x = net.local_response_norm(x, "norm2")
    x = net.max_pool(x, 3, 2, "pool2", ceil=True)
    x = inception(inception(x, "3a"), "3b")
    x = net.max_pool(x, 3, 2, "pool3", ceil=True)
    x = first = inception(x, "4a")
    for name in ("4b", "4c", "4d"):
        x = inception(x, name)
    second = x
    x = inception(x, "4e")
    x = net.max_pool(x, 2 if batch_norm else 3, 2, "pool4", ceil=True)
    x = inception(inception(x, "5a"), "5b")
    source, dropout = ("fc", 0.2) if batch_norm else (None, 0.4)
    x = net.average_and_classify(x, source=source, dropout=dropout)
    if not aux_logits:
        net.left_out += [f"aux{i}{part}" for i in (1, 2) for part in ("", "_1x1", "_fc")]
        return x
    return [x, auxiliary(first, "aux1"), auxiliary(second, "aux2")]
