"""SqueezeNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("torch")

# Filters that squeeze and, of each size, that expand; None is a max pooling.
_VERSIONS = {
    "1.0": (
        (96, 7),
        [None, (16, 64), (16, 64), (32, 128), None]
        + [(32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256)],
    ),
    "1.1": (
        (64, 3),
        [None, (16, 64), (16, 64), None, (32, 128), (32, 128), None]
        + [(48, 192), (48, 192), (64, 256), (64, 256)],
    ),
}


@application(224, smallest=21)
def SqueezeNet(net: Network, x: TensorLike, version: str = "1.0") -> TensorLike:
    """SqueezeNet 1.0 of 18 layers, 1,248,424 parameters; torchvision's `squeezenet1_0`.

    Eight fire modules: a 1 x 1 convolution to few channels, behind it convolutions of 1 x 1 and
    3 x 3 side by side. No dense layer: the last convolution has a map for each class, whose mean
    is its score. `version="1.1"` (1,235,496 parameters, `squeezenet1_1`) pools earlier and needs
    2.4 times less arithmetic.

    Source: Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, "SqueezeNet: AlexNet-level accuracy
    with 50x fewer parameters and < 0.5MB model size", 2016.
    """
    if version not in _VERSIONS:
        raise ValueError(
            f"SqueezeNet: `version` must be one of {list(_VERSIONS)}, received: {version!r}"
        )

    def conv(
        x: TensorLike, filters: int, kernel: Any, name: str, source: Any, **kwargs: Any
    ) -> TensorLike:
        filters = net.channels(filters)
        return net.conv(x, filters, kernel, activation="relu", name=name, source=source, **kwargs)

    (filters, kernel), steps = _VERSIONS[version]
    x = conv(x, filters, kernel, "conv1", "features.0", strides=2, padding=0)
    number = 1
    for index, step in enumerate(steps, 2):
        if step is None:
            x = net.max_pool(x, 3, 2, f"pool{number}", ceil=True)
            continue
        number += 1
        name, source = f"fire{number}", f"features.{index}"
        x = conv(x, step[0], 1, f"{name}_squeeze", f"{source}.squeeze")
        small = conv(x, step[1], 1, f"{name}_expand1x1", f"{source}.expand1x1")
        large = conv(x, step[1], 3, f"{name}_expand3x3", f"{source}.expand3x3")
        x = layers.Concatenate(name=f"{name}_concat")([small, large])
    if not net.include_top:
        net.left_out.append("classifier")
        return x
    x = layers.Dropout(0.5, name="drop9")(x)
    x = net.conv(x, net.classes, 1, activation="relu", name="conv10", source="classifier.1")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return layers.Activation(net.classifier_activation, name="predictions")(x)
