"""VGG networks (Simonyan and Zisserman 2014), with Keras's names of layers ("block5_conv3").

torchvision's weights load, and those of `keras.applications`. Each takes colours in its own way:
`preprocess_input` is Keras's, `mode="torch"` makes it torchvision's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import layers
from fastconv.applications._network import application
from fastconv.applications.imagenet_utils import preprocessing

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network

preprocess_input = preprocessing("caffe")

# Convolutions of each block; a 1 stands for a kernel of 1 x 1.
_A = [(3,), (3,), (3, 3), (3, 3), (3, 3)]
_B = [(3, 3)] * 5
_C = [(3, 3)] * 2 + [(3, 3, 1)] * 3
_D = [(3, 3)] * 2 + [(3, 3, 3)] * 3
_E = [(3, 3)] * 2 + [(3, 3, 3, 3)] * 3


def _vgg(
    net: Network, x: TensorLike, blocks: Any, batch_norm: bool = False, response_norm: bool = False
) -> TensorLike:
    """Build a VGG network.

    Kernels of 3 x 3 (some of 1 x 1) with 64 to 512 filters and max pooling of 2 x 2 after each
    block; maps of another size than 7 x 7 are averaged to it before the dense layers.
    """
    index = 0  # in torchvision's `features`
    for number, kernels in enumerate(blocks, 1):
        filters = net.channels(64 * 2 ** min(number - 1, 3))
        for position, kernel in enumerate(kernels, 1):
            name, source = f"block{number}_conv{position}", f"features.{index}"
            if batch_norm:
                x = net.conv(x, filters, kernel, name=name, source=source)
                x = net.norm(x, name=f"{name}_bn", source=f"features.{index + 1}")
                x = layers.ReLU(name=f"{name}_relu")(x)
            else:
                x = net.conv(x, filters, kernel, activation="relu", name=name, source=source)
            if response_norm and index == 0:
                x = net.local_response_norm(x, f"block{number}_norm")
            index += 3 if batch_norm else 2
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
        index += 1
    if not net.include_top:
        net.left_out.append("classifier")
        return x
    x, maps = net.flatten(x, 7)
    units = net.channels(4096)
    x = net.dense(x, units, activation="relu", name="fc1", source="classifier.0", maps=maps)
    x = layers.Dropout(0.5, name="fc1_dropout")(x)
    x = net.dense(x, units, activation="relu", name="fc2", source="classifier.3")
    x = layers.Dropout(0.5, name="fc2_dropout")(x)
    return net.classify(x, source="classifier.6")


@application(224, smallest=32)
def VGG11(net: Network, x: TensorLike, batch_norm: bool = False) -> TensorLike:
    """VGG network A with 11 layers, 132,863,336 parameters.

    Kernels of 3 x 3, max pooling of 2 x 2 after each of five blocks, two dense layers of 4096
    units, each with dropout of 0.5 behind it (which Keras's networks lack). Maps of another size
    than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    `batch_norm=True` normalizes after every convolution, 132,868,840 parameters.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _A, batch_norm)


@application(224, smallest=32)
def VGG11_LRN(net: Network, x: TensorLike) -> TensorLike:
    """VGG network A-LRN: `VGG11` with response normalization in block 1, 132,863,336 parameters.

    Kernels of 3 x 3, max pooling of 2 x 2 after each of five blocks, two dense layers of 4096
    units, each with dropout of 0.5 behind it (which Keras's networks lack). Maps of another size
    than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _A, response_norm=True)


@application(224, smallest=32)
def VGG13(net: Network, x: TensorLike, batch_norm: bool = False) -> TensorLike:
    """VGG network B with 13 layers, 133,047,848 parameters.

    Kernels of 3 x 3, max pooling of 2 x 2 after each of five blocks, two dense layers of 4096
    units, each with dropout of 0.5 behind it (which Keras's networks lack). Maps of another size
    than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    `batch_norm=True` normalizes after every convolution, 133,053,736 parameters.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _B, batch_norm)


@application(224, smallest=32)
def VGG16_1x1(net: Network, x: TensorLike, batch_norm: bool = False) -> TensorLike:
    """VGG network C with 16 layers, 133,638,952 parameters.

    Kernels of 3 x 3 and, in the last layer of three blocks, of 1 x 1; max pooling of 2 x 2 after
    each of five blocks, two dense layers of 4096 units, each with dropout of 0.5 behind it. Maps of
    another size than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    `batch_norm=True` normalizes after every convolution, 133,647,400 parameters.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _C, batch_norm)


@application(224, smallest=32)
def VGG16(net: Network, x: TensorLike, batch_norm: bool = False) -> TensorLike:
    """VGG network D with 16 layers, 138,357,544 parameters.

    Kernels of 3 x 3, max pooling of 2 x 2 after each of five blocks, two dense layers of 4096
    units, each with dropout of 0.5 behind it (which Keras's networks lack). Maps of another size
    than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    `batch_norm=True` normalizes after every convolution, 138,365,992 parameters.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _D, batch_norm)


@application(224, smallest=32)
def VGG19(net: Network, x: TensorLike, batch_norm: bool = False) -> TensorLike:
    """VGG network E with 19 layers, 143,667,240 parameters.

    Kernels of 3 x 3, max pooling of 2 x 2 after each of five blocks, two dense layers of 4096
    units, each with dropout of 0.5 behind it (which Keras's networks lack). Maps of another size
    than 7 x 7, from images of another size than 224 x 224, are averaged to it first.

    `batch_norm=True` normalizes after every convolution, 143,678,248 parameters.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, Table 1.
    """
    return _vgg(net, x, _E, batch_norm)
