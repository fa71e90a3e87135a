"""Inception-v3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("tf")


@application(299, smallest=75)
def InceptionV3(net: Network, x: TensorLike, aux_logits: bool = False) -> TensorLike:
    """Inception-v3, 23,834,568 parameters, 27,161,264 with its auxiliary classifier.

    Modules like GoogLeNet's, with 5 x 5 kernels as two of 3 x 3 and 7 x 7 as 1 x 7 and 7 x 1, all
    with batch normalization. The modules' outputs have Keras's names, "mixed0" to "mixed10";
    arithmetic and weights are torchvision's `inception_v3`, whose published weights expect images
    of -1 to 1 (`preprocess_input`). Keras's weights, without scales, do not fit.

    `aux_logits=True` gives two outputs, [main, auxiliary]: the paper's authors let the loss of the
    second count 0.3 in training (`loss_weights=[1, 0.3]`), and the first alone is used afterwards:
    `Model(model.input, model.outputs[0])`. It needs images of 299 x 299 or more.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for
    Computer Vision", 2015.
    """
    if aux_logits and not net.include_top:
        raise ValueError("InceptionV3: `aux_logits` needs include_top=True")
    net.epsilon = 1e-3
    x = _conv(net, x, "Conv2d_1a_3x3", 32, 3, 2, 0)
    x = _conv(net, x, "Conv2d_2a_3x3", 32, 3, 1, 0)
    x = _conv(net, x, "Conv2d_2b_3x3", 64, 3)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _conv(net, x, "Conv2d_3b_1x1", 80, 1)
    x = _conv(net, x, "Conv2d_4a_3x3", 192, 3, 1, 0)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    for number, (letter, projection) in enumerate((("b", 32), ("c", 64), ("d", 64))):
        x = _inception_a(net, x, f"Mixed_5{letter}", number, projection)
    x = _inception_b(net, x)
    for number, (letter, filters) in enumerate((("b", 128), ("c", 160), ("d", 160), ("e", 192)), 4):
        x = _inception_c(net, x, f"Mixed_6{letter}", number, filters)
    middle = x
    x = _inception_d(net, x)
    x = _inception_e(net, x, "Mixed_7b", 9)
    x = _inception_e(net, x, "Mixed_7c", 10)
    x = net.average_and_classify(x, source="fc", dropout=0.5)
    if not aux_logits:
        net.left_out.append("AuxLogits")
        return x
    y = layers.AveragePooling2D(5, 3, name="AuxLogits_pool")(middle)
    y = _conv(net, y, "AuxLogits.conv0", 128, 1)
    y = _conv(net, y, "AuxLogits.conv1", 768, 5, 1, 0)
    y = layers.GlobalAveragePooling2D(name="AuxLogits_avg_pool")(y)
    return [x, net.classify(y, name="AuxLogits", source="AuxLogits.fc")]


def _conv(
    net: Network,
    x: TensorLike,
    source: Any,
    filters: int,
    kernel: Any,
    strides: Any = 1,
    padding: Any = None,
) -> TensorLike:
    return net.conv_norm_relu(
        x,
        net.channels(filters),
        kernel,
        strides,
        padding=padding,
        name=source.replace(".", "_"),
        source=source,
    )


def _chain(net: Network, x: TensorLike, source: Any, *steps: Any) -> TensorLike:
    """Apply convolutions (part of the name, filters, kernel, ...) one behind the other."""
    for part, *setting in steps:
        x = _conv(net, x, f"{source}.branch{part}", *setting)
    return x


def _pooled(net: Network, x: TensorLike, source: Any, filters: int) -> TensorLike:
    """Average 3 x 3 windows, in which zeros around the maps count, and project."""
    x = layers.ZeroPadding2D(1, name=f"{source}_pool_pad")(x)
    x = layers.AveragePooling2D(3, 1, name=f"{source}_pool")(x)
    return _chain(net, x, source, ("_pool", filters, 1))


def _inception_a(
    net: Network, x: TensorLike, source: Any, number: int, projection: int
) -> TensorLike:
    parts = [
        _chain(net, x, source, ("1x1", 64, 1)),
        _chain(net, x, source, ("5x5_1", 48, 1), ("5x5_2", 64, 5)),
        _chain(net, x, source, ("3x3dbl_1", 64, 1), ("3x3dbl_2", 96, 3), ("3x3dbl_3", 96, 3)),
        _pooled(net, x, source, projection),
    ]
    return layers.Concatenate(name=f"mixed{number}")(parts)


def _inception_b(net: Network, x: TensorLike) -> TensorLike:
    source = "Mixed_6a"
    double = [("3x3dbl_1", 64, 1), ("3x3dbl_2", 96, 3), ("3x3dbl_3", 96, 3, 2, 0)]
    parts = [
        _chain(net, x, source, ("3x3", 384, 3, 2, 0)),
        _chain(net, x, source, *double),
        layers.MaxPooling2D(3, 2, name=f"{source}_pool")(x),
    ]
    return layers.Concatenate(name="mixed3")(parts)


def _inception_c(net: Network, x: TensorLike, source: Any, number: int, filters: int) -> TensorLike:
    wide, high = (1, 7), (7, 1)
    single = [("7x7_1", filters, 1), ("7x7_2", filters, wide), ("7x7_3", 192, high)]
    double = [
        ("7x7dbl_1", filters, 1),
        ("7x7dbl_2", filters, high),
        ("7x7dbl_3", filters, wide),
        ("7x7dbl_4", filters, high),
        ("7x7dbl_5", 192, wide),
    ]
    parts = [
        _chain(net, x, source, ("1x1", 192, 1)),
        _chain(net, x, source, *single),
        _chain(net, x, source, *double),
        _pooled(net, x, source, 192),
    ]
    return layers.Concatenate(name=f"mixed{number}")(parts)


def _inception_d(net: Network, x: TensorLike) -> TensorLike:
    source = "Mixed_7a"
    seven = [("7x7x3_1", 192, 1), ("7x7x3_2", 192, (1, 7)), ("7x7x3_3", 192, (7, 1))]
    parts = [
        _chain(net, x, source, ("3x3_1", 192, 1), ("3x3_2", 320, 3, 2, 0)),
        _chain(net, x, source, *seven, ("7x7x3_4", 192, 3, 2, 0)),
        layers.MaxPooling2D(3, 2, name=f"{source}_pool")(x),
    ]
    return layers.Concatenate(name="mixed8")(parts)


def _inception_e(net: Network, x: TensorLike, source: Any, number: int) -> TensorLike:
    def both(x: TensorLike, stem: str, letters: tuple[str, str]) -> list[TensorLike]:
        wide = _chain(net, x, source, (stem + letters[0], 384, (1, 3)))
        high = _chain(net, x, source, (stem + letters[1], 384, (3, 1)))
        return [wide, high]

    single = _chain(net, x, source, ("3x3_1", 384, 1))
    double = _chain(net, x, source, ("3x3dbl_1", 448, 1), ("3x3dbl_2", 384, 3))
    parts = [
        _chain(net, x, source, ("1x1", 320, 1)),
        *both(single, "3x3_", ("2a", "2b")),
        *both(double, "3x3dbl_", ("3a", "3b")),
        _pooled(net, x, source, 192),
    ]
    return layers.Concatenate(name=f"mixed{number}")(parts)
