"""Arguments that all architectures share, and scaling of images."""

import inspect

import numpy as np
import pytest

from fastconv import applications, config, layers, models, utils
from fastconv.applications import imagenet_utils


def test_signature_and_docstring():
    parameters = inspect.signature(applications.VGG16).parameters
    assert list(parameters)[:7] == [
        "include_top",
        "weights",
        "input_tensor",
        "input_shape",
        "pooling",
        "classes",
        "classifier_activation",
    ]
    assert parameters["classes"].default == 1000 and parameters["weights"].default is None
    assert "batch_norm" in parameters
    for name in applications.ARCHITECTURES:
        build = getattr(applications, name)
        assert "Source:" in build.__doc__ and "include_top:" in build.__doc__
        assert build.__name__ == name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weights": "imagenet"}, ValueError, "not downloaded"),
        ({"pooling": "mean"}, ValueError, "pooling"),
        ({"include_top": (64, 64, 3)}, TypeError, "include_top"),
        ({"input_shape": (31, 64, 3)}, ValueError, "at least 32 x 32.*31, 64, 3"),
        ({"input_shape": (64, 64)}, ValueError, r"\(64, 64\)"),
        ({"input_shape": (64, 64, None)}, ValueError, "known channels"),
        ({"width": 0}, ValueError, "width"),
        ({"width": "1"}, ValueError, "width"),
        ({"classes": 0}, ValueError, "units"),
        ({"shortcut": "D"}, ValueError, "shortcut"),
        ({"shortcuts": "A"}, TypeError, "ResNet18 has no arguments.*shortcuts"),
        ({"input_tensor": np.zeros((1, 64, 64, 3))}, ValueError, "symbolic"),
        ({"classifier_activation": "sofmax"}, ValueError, "sofmax"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        applications.ResNet18(**{"width": 1 / 16, **arguments})


def test_other_errors():
    with pytest.raises(ValueError, match="include_top"):
        applications.GoogLeNet(False, aux_logits=True)
    with pytest.raises(ValueError, match="version"):
        applications.SqueezeNet(version="2")
    config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            applications.LeNet5()
    finally:
        config.set_image_data_format("channels_last")


def test_input_tensor():
    utils.set_random_seed(0)
    pixels = layers.Input((40, 40, 3))
    x = layers.Rescaling(1 / 255)(pixels)
    model = applications.ResNet18(input_tensor=x, classes=3, width=1 / 8, name="mine")
    assert model.name == "mine" and model.input is pixels
    inner = models.Model(x, model.output)
    values = np.random.default_rng(0).uniform(0, 255, (2, 40, 40, 3)).astype(np.float32)
    np.testing.assert_allclose(
        model.predict(values, verbose=0), inner.predict(values / 255, verbose=0), rtol=1e-4
    )


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_pooling(pooling):
    base = applications.ResNet18(False, input_shape=(64, 64, 3), width=1 / 8, pooling=pooling)
    assert base.output_shape == ((None, 2, 2, 64) if pooling is None else (None, 64))


def test_width_scales_everything():
    full = applications.LeNet5()
    half = applications.LeNet5(width=0.5)
    assert [w.shape[-1] for w in half.weights[::2]] == [3, 8, 60, 42, 10]
    assert full.count_params() == 61_706
    keras = applications.MobileNet(alpha=0.25, input_shape=(32, 32, 3), weights=None)
    assert keras.get_layer("conv_pw_13").output.shape[-1] == 256


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_preprocessing(mode, data_format):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (2, 5, 4, 3))
    expected = {
        "caffe": x[..., ::-1] - [103.939, 116.779, 123.68],
        "tf": x / 127.5 - 1,
        "torch": (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    }[mode]
    if data_format == "channels_first":
        x, expected = (np.moveaxis(v, -1, 1) for v in (x, expected))
    given = x.copy()
    ours = imagenet_utils.preprocess_input(x, data_format, mode)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(x, given)
    pixels = layers.Input(x.shape[1:])
    model = models.Model(pixels, imagenet_utils.preprocess_input(pixels, data_format, mode))
    again = models.Model.from_config(model.get_config())
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-4)
    one = imagenet_utils.preprocess_input(x[0].astype(np.uint8), data_format, mode)
    assert one.dtype == np.float32 and one.shape == x.shape[1:]


def test_preprocessing_of_families():
    x = np.full((1, 2, 2, 3), 255.0)
    assert applications.vgg16.preprocess_input(x)[0, 0, 0, 0] == pytest.approx(255 - 103.939)
    assert applications.resnet50.preprocess_input(x)[0, 0, 0, 0] == pytest.approx(0.515 / 0.229)
    assert applications.inception_v3.preprocess_input(x).max() == pytest.approx(1)
    with pytest.raises(ValueError, match="mode"):
        imagenet_utils.preprocess_input(x, mode="keras")
    with pytest.raises(ValueError, match="3 channels"):
        imagenet_utils.preprocess_input(x[..., :1])
