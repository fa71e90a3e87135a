"""Networks of keras.applications and their files of weights."""

import numpy as np
import pytest

from fastconv import applications

pytest.importorskip("h5py", reason="h5py, which reads Keras's files, is not installed")


def compare_with_keras(theirs, build, path, size):
    rng = np.random.default_rng(0)
    values = [
        rng.uniform(0.5, 1.5, w.shape)
        if w.name in ("gamma", "moving_variance")
        else rng.normal(0, (2 / max(np.prod(w.shape[:-1]), 100)) ** 0.5, w.shape)
        for w in theirs.weights
    ]
    theirs.set_weights(values)
    theirs.save_weights(path)
    ours = build(path)
    x = rng.standard_normal((2, size, size, 3), dtype=np.float32)
    a, b = ours.predict(x, verbose=0), np.asarray(theirs.predict(x, verbose=0))
    assert a.shape == b.shape and np.ptp(b) > 0
    assert np.abs(a - b).max() < 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("size", [64, 75])
def test_mobilenet_of_keras(keras, size, tmp_path):
    arguments = {"alpha": 0.25, "input_shape": (size, size, 3), "classifier_activation": None}
    compare_with_keras(
        keras.applications.MobileNet(weights=None, **arguments),
        lambda path: applications.MobileNet(weights=path, **arguments),
        tmp_path / "m.weights.h5",
        size,
    )


@pytest.mark.parametrize("name", ["VGG16", "DenseNet121"])
def test_features_of_keras(keras, name, tmp_path):
    arguments = {"include_top": False, "input_shape": (32, 32, 3), "pooling": "avg"}
    compare_with_keras(
        getattr(keras.applications, name)(weights=None, **arguments),
        lambda path: getattr(applications, name)(weights=path, **arguments),
        tmp_path / "m.weights.h5",
        32,
    )


def test_other_networks_of_keras_are_refused(keras, tmp_path):
    arguments = {"include_top": False, "input_shape": (32, 32, 3)}
    path = tmp_path / "keras.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(path)
    with pytest.raises(ValueError, match="MobileNetV2 pads"):
        applications.MobileNetV2(weights=path, **arguments)
    keras.applications.ResNet50(weights=None, **arguments).save_weights(path)
    with pytest.raises(ValueError, match=r"does not fit model 'resnet50'.*conv1_conv"):
        applications.ResNet50(weights=path, **arguments)
