"""Architectures of convolutional networks, from LeNet-5 to MobileNetV2, with Keras's arguments.

Every function returns a new `Model` and takes `include_top`, `weights`, `input_tensor`,
`input_shape`, `pooling`, `classes`, `classifier_activation`, `name` and `width`; images are
channels last. Networks that torchvision or timm have compute what those compute and load their
weights. docs/applications.md has a table of them all.
"""

from fastconv.applications import (
    alexnet,
    densenet,
    googlenet,
    imagenet_utils,
    inception_v3,
    lenet,
    mobilenet,
    mobilenet_v2,
    resnet,
    resnet50,
    squeezenet,
    vgg,
    vgg16,
    vgg19,
)
from fastconv.applications.alexnet import AlexNet, AlexNet2014
from fastconv.applications.densenet import DenseNet121
from fastconv.applications.googlenet import GoogLeNet
from fastconv.applications.inception_v3 import InceptionV3
from fastconv.applications.lenet import LeNet5
from fastconv.applications.mobilenet import MobileNet
from fastconv.applications.mobilenet_v2 import MobileNetV2
from fastconv.applications.resnet import (
    PlainNet20,
    PlainNet56,
    PlainNet110,
    ResNet18,
    ResNet20,
    ResNet34,
    ResNet50,
    ResNet56,
    ResNet101,
    ResNet110,
    ResNet152,
    SEResNet18,
    SEResNet50,
    SEResNet101,
)
from fastconv.applications.squeezenet import SqueezeNet
from fastconv.applications.vgg import VGG11, VGG11_LRN, VGG13, VGG16, VGG19, VGG16_1x1

ARCHITECTURES = (
    "LeNet5",
    "AlexNet",
    "AlexNet2014",
    "VGG11",
    "VGG11_LRN",
    "VGG13",
    "VGG16_1x1",
    "VGG16",
    "VGG19",
    "GoogLeNet",
    "InceptionV3",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet20",
    "ResNet56",
    "ResNet110",
    "PlainNet20",
    "PlainNet56",
    "PlainNet110",
    "SEResNet18",
    "SEResNet50",
    "SEResNet101",
    "MobileNet",
    "MobileNetV2",
    "SqueezeNet",
    "DenseNet121",
)

__all__ = [
    "ARCHITECTURES",
    "VGG11",
    "VGG11_LRN",
    "VGG13",
    "VGG16",
    "VGG19",
    "AlexNet",
    "AlexNet2014",
    "DenseNet121",
    "GoogLeNet",
    "InceptionV3",
    "LeNet5",
    "MobileNet",
    "MobileNetV2",
    "PlainNet20",
    "PlainNet56",
    "PlainNet110",
    "ResNet18",
    "ResNet20",
    "ResNet34",
    "ResNet50",
    "ResNet56",
    "ResNet101",
    "ResNet110",
    "ResNet152",
    "SEResNet18",
    "SEResNet50",
    "SEResNet101",
    "SqueezeNet",
    "VGG16_1x1",
    "alexnet",
    "densenet",
    "googlenet",
    "imagenet_utils",
    "inception_v3",
    "lenet",
    "mobilenet",
    "mobilenet_v2",
    "resnet",
    "resnet50",
    "squeezenet",
    "vgg",
    "vgg16",
    "vgg19",
]
