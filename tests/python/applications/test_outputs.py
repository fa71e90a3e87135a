"""Every architecture gives what torchvision's, timm's or a plain PyTorch network gives."""

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="torchvision is not installed, nothing to compare with")

import torchvision.models as tv

import torch_networks as reference
from fastconv import applications, models

pytestmark = pytest.mark.usefixtures("zero_weights")


def agree(module, build, size, tmp_path, channels=3, count=2, **options):
    """Load the network's weights from a file and compare all outputs."""
    path = reference.save(module, tmp_path / "weights.safetensors")
    model = build(
        weights=path,
        input_shape=(size, size, channels),
        classifier_activation=None,
        **options,
    )
    path.unlink()  # some have half a gigabyte
    x = reference.images(size, channels, count)
    ours = model.predict(x, verbose=0)
    ours = ours if isinstance(ours, list) else [ours]
    theirs = reference.outputs(module, x)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert reference.difference(a, b) < 1e-4
    return model


TORCHVISION = [
    ("AlexNet2014", tv.alexnet, 63, {}),
    ("VGG11", tv.vgg11, 32, {}),
    ("VGG16", tv.vgg16_bn, 32, {"batch_norm": True}),
    ("InceptionV3", lambda: tv.inception_v3(init_weights=False), 75, {}),
    (
        "GoogLeNet",
        lambda: tv.googlenet(aux_logits=False, init_weights=False),
        33,
        {"batch_norm": True},
    ),
    ("ResNet18", tv.resnet18, 33, {}),
    ("ResNet34", tv.resnet34, 32, {}),
    ("ResNet50", tv.resnet50, 33, {}),
    ("ResNet101", tv.resnet101, 32, {}),
    ("ResNet152", tv.resnet152, 32, {}),
    ("MobileNetV2", tv.mobilenet_v2, 33, {}),
    ("SqueezeNet", tv.squeezenet1_0, 32, {}),
    ("SqueezeNet", tv.squeezenet1_1, 33, {"version": "1.1"}),
    ("DenseNet121", tv.densenet121, 33, {}),
]


@pytest.mark.parametrize(("name", "factory", "size", "options"), TORCHVISION)
def test_torchvision(name, factory, size, options, tmp_path):
    agree(reference.make(factory), getattr(applications, name), size, tmp_path, **options)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("VGG11", [(3,), (3,), (3, 3), (3, 3), (3, 3)]),
        ("VGG13", [(3, 3)] * 5),
        ("VGG16_1x1", [(3, 3)] * 2 + [(3, 3, 1)] * 3),
        ("VGG16", [(3, 3)] * 2 + [(3, 3, 3)] * 3),
        ("VGG19", [(3, 3)] * 2 + [(3, 3, 3, 3)] * 3),
    ],
)
def test_narrow_vgg(name, blocks, batch_norm, tmp_path):
    # torchvision's class with fewer channels: most of a VGG's 550 MB are in its dense layers.
    module = reference.make(lambda: reference.vgg(blocks, batch_norm, divisor=8))
    build = getattr(applications, name)
    agree(module, build, 96, tmp_path, batch_norm=batch_norm, width=1 / 8)


@pytest.mark.parametrize(
    ("name", "factory", "size"),
    [("MobileNetV2", lambda: tv.mobilenet_v2(width_mult=0.35), 96)],
)
def test_width_is_torchvisions(name, factory, size, tmp_path):
    agree(reference.make(factory), getattr(applications, name), size, tmp_path, width=0.35)


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_se_resnet(depth, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed, nothing to compare with")
    module = reference.make(lambda: timm.create_model(f"seresnet{depth}"))
    agree(module, getattr(applications, f"SEResNet{depth}"), 64, tmp_path)


@pytest.mark.parametrize("size", [28, 32])
def test_lenet(size, tmp_path):
    agree(reference.make(reference.LeNet5), applications.LeNet5, size, tmp_path, 1)


def test_alexnet_of_2012(tmp_path):
    module = reference.make(lambda: reference.AlexNet(scale=4))
    agree(module, applications.AlexNet, 227, tmp_path, width=1 / 4)


def test_vgg_with_response_normalization(tmp_path):
    module = reference.make(lambda: reference.VGG11_LRN(8))
    agree(module, applications.VGG11_LRN, 64, tmp_path, width=1 / 8)


def test_googlenet_of_the_paper(tmp_path):
    module = reference.make(lambda: reference.GoogLeNet(aux_maps=4))
    # 128 pixels leave 8 x 8 maps, and 2 x 2 after the auxiliary pooling.
    agree(module, applications.GoogLeNet, 128, tmp_path, aux_logits=True)


def test_auxiliary_classifiers_of_torchvision(tmp_path):
    module = reference.make(lambda: tv.googlenet(aux_logits=True, init_weights=False))
    check_auxiliary(module, applications.GoogLeNet, 64, tmp_path, batch_norm=True)


def test_auxiliary_classifier_of_inception_v3(tmp_path):
    module = reference.make(lambda: tv.inception_v3(aux_logits=True, init_weights=False))
    check_auxiliary(module, applications.InceptionV3, 299, tmp_path)


def check_auxiliary(module, build, size, tmp_path, **options):
    """Compare with torchvision's network in training, its statistics and dropout switched off."""
    import torch

    for part in module.modules():
        if not isinstance(part, (torch.nn.BatchNorm2d, torch.nn.Dropout)):
            part.training = True

    class Reordered(torch.nn.Module):
        def forward(self, x):
            main, *rest = module(x)
            return [main, *rest[::-1]]  # torchvision has the last auxiliary classifier first

    theirs = Reordered()
    theirs.state_dict = module.state_dict
    agree(theirs, build, size, tmp_path, count=1, aux_logits=True, **options)


def test_mobilenet(tmp_path):
    module = reference.make(lambda: reference.MobileNet())
    agree(module, applications.MobileNet, 64, tmp_path)


@pytest.mark.parametrize(
    ("name", "depth", "shortcut"),
    [
        ("ResNet20", 20, "A"),
        ("ResNet20", 20, "B"),
        ("ResNet20", 20, "C"),
        ("ResNet56", 56, "A"),
        ("ResNet110", 110, "A"),
        ("PlainNet20", 20, None),
        ("PlainNet56", 56, None),
        ("PlainNet110", 110, None),
    ],
)
def test_cifar_networks(name, depth, shortcut, tmp_path):
    module = reference.make(lambda: reference.CifarNet(depth, shortcut))
    options = {"shortcut": shortcut} if shortcut else {}
    agree(module, getattr(applications, name), 32, tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "factory", "size", "options"),
    [
        ("LeNet5", reference.LeNet5, 32, {"input_shape": (32, 32, 1)}),
        ("AlexNet", lambda: reference.AlexNet(8), 67, {"width": 1 / 8}),
        ("VGG11_LRN", lambda: reference.VGG11_LRN(8), 32, {"width": 1 / 8}),
        ("GoogLeNet", reference.GoogLeNet, 64, {}),
        (
            "GoogLeNet",
            lambda: tv.googlenet(aux_logits=True, init_weights=False),
            64,
            {"batch_norm": True},
        ),
        ("ResNet18", tv.resnet18, 32, {}),
        ("ResNet20", lambda: reference.CifarNet(20, "A"), 32, {}),
        ("MobileNet", reference.MobileNet, 32, {}),
        ("MobileNetV2", tv.mobilenet_v2, 32, {}),
        ("SqueezeNet", tv.squeezenet1_0, 32, {}),
        ("DenseNet121", tv.densenet121, 32, {}),
    ],
)
def test_files_with_more_than_the_features(name, factory, size, options, tmp_path):
    path = reference.save(reference.make(factory), tmp_path / "weights.safetensors")
    build = getattr(applications, name)
    options = {"input_shape": (size, size, 3), **options}
    base = build(include_top=False, weights=path, **options)
    if name != "AlexNet":  # whose dense layers fit 227 x 227 only
        full = build(weights=path, **options)
        x = reference.images(size, options["input_shape"][2])
        inner = full.get_layer(base.layers[-1].name).output
        features = models.Model(full.input, inner).predict(x, verbose=0)
        np.testing.assert_array_equal(base.predict(x, verbose=0), features)
        assert np.ptp(features) > 0
