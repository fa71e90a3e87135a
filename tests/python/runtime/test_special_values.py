"""Infinities, NaN and denormals in the input: no image of a batch changes another's result."""

import warnings

import numpy as np
import pytest

import fastconv
from fastconv import layers

SIZE, BATCH = 24, 5
LAYERS = {
    "conv 3x3": lambda: layers.Conv2D(32, 3, padding="same"),
    "conv 5x5": lambda: layers.Conv2D(16, 5, activation="relu"),
    "conv 1x1": lambda: layers.Conv2D(256, 1),
    "strided": lambda: layers.Conv2D(16, 3, strides=2),
    "depthwise": lambda: layers.DepthwiseConv2D(3),
    "separable": lambda: layers.SeparableConv2D(16, 3, activation="gelu"),
    "transposed": lambda: layers.Conv2DTranspose(8, 3, strides=2),
    "max pooling": lambda: layers.MaxPooling2D(3, 2),
    "average pooling": lambda: layers.AveragePooling2D(),
    "global": lambda: layers.GlobalAveragePooling2D(),
    "batch norm": lambda: layers.BatchNormalization(),
    "layer norm": lambda: layers.LayerNormalization(),
    "softmax": lambda: layers.Softmax(),
    "swish": lambda: layers.Activation("swish"),
    "resize": lambda: layers.UpSampling2D(interpolation="bilinear"),
}
VALUES = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "both": None,
    "denormal": 1e-40,
    "huge": 3e38,
}


def images(channels):
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, SIZE, SIZE, channels)).astype("f4")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", LAYERS)
def test_only_its_own_image(name, value):
    x = images(128 if name == "conv 1x1" else 16)
    model = fastconv.Sequential([layers.Input(x.shape[1:]), LAYERS[name]()])
    expected = model.predict(x, verbose=0)
    spoilt = x.copy()
    spoilt[2, 3:7, 4:9] = np.inf if VALUES[value] is None else VALUES[value]
    if VALUES[value] is None:
        spoilt[2, 5, ::2] = -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.predict(spoilt, verbose=0)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found[others], expected[others])
    if value == "denormal":
        assert np.isfinite(found).all()
    elif value == "nan" and name not in ("max pooling",):
        assert np.isnan(found[2]).any()


@pytest.mark.parametrize("value", ["nan", "inf", "denormal", "huge"])
def test_training_goes_on(value):
    x, y = images(4), np.arange(BATCH) % 3
    x[1, 2:5] = VALUES[value]
    model = fastconv.Sequential(
        [
            layers.Input(x.shape[1:]),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert len(history["loss"]) == 2
    assert np.isfinite(history["loss"]).all() == (value == "denormal")
    stop = fastconv.callbacks.TerminateOnNaN()
    again = model.fit(x, y, epochs=5, verbose=0, callbacks=[stop])
    assert len(again.epoch) == (5 if value == "denormal" else 1)
