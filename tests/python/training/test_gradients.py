"""Whole networks in float64: the step of plain SGD is minus the gradient by finite differences."""

import numpy as np
import pytest

import fastconv
from fastconv import layers


@pytest.fixture
def float64():
    fastconv.config.set_floatx("float64")
    yield
    fastconv.config.set_floatx("float32")


def _networks():
    image = (5, 6, 2)
    yield "conv", [layers.Conv2D(3, 3, padding="same", activation="tanh")], image
    yield "strided", [layers.Conv2D(4, 3, strides=2, padding="same", groups=2)], image
    yield "dilated", [layers.Conv2D(2, 2, dilation_rate=2)], image
    yield "depthwise", [layers.DepthwiseConv2D(3, depth_multiplier=2)], image
    yield "separable", [layers.SeparableConv2D(3, 3, padding="same")], image
    yield "transposed", [layers.Conv2DTranspose(2, 3, strides=2, padding="same")], image
    yield "conv1d", [layers.Conv1D(3, 3, padding="causal")], (6, 2)
    yield "first", [layers.Conv2D(3, 3, data_format="channels_first")], (2, 5, 6)
    yield (
        "pools",
        [layers.Conv2D(3, 2), layers.MaxPooling2D(), layers.AveragePooling2D(2, 1)],
        image,
    )
    yield "same pool", [layers.Conv2D(2, 2), layers.AveragePooling2D(3, 2, "same")], image
    yield "batch norm", [layers.Conv2D(3, 2), layers.BatchNormalization()], image
    yield "layer norm", [layers.Conv2D(3, 2), layers.LayerNormalization()], image
    yield "lrn", [layers.Conv2D(4, 2), layers.LocalResponseNormalization(3, 0.5)], image
    yield "prelu", [layers.Conv2D(3, 2), layers.PReLU("ones", shared_axes=[1, 2])], image
    yield "elu", [layers.Conv2D(3, 2, activation="elu"), layers.LeakyReLU()], image
    yield "gelu", [layers.Conv2D(3, 2, activation="gelu"), layers.Activation("silu")], image
    yield (
        "upsampling",
        [layers.UpSampling2D(2, interpolation="bilinear"), layers.Conv2D(2, 3)],
        image,
    )
    yield "borders", [layers.ZeroPadding2D(1), layers.Conv2D(2, 2), layers.Cropping2D(1)], image
    yield "global", [layers.Conv2D(3, 2), layers.GlobalAveragePooling2D()], image


NAMES = [name for name, _, _ in _networks()]


@pytest.mark.parametrize("name", NAMES)
def test_gradients(float64, name):
    fastconv.utils.set_random_seed(3)
    stack, shape = next((s, i) for n, s, i in _networks() if n == name)
    rate = 1e-3
    model = fastconv.Sequential(
        [layers.Input(shape), *stack, layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    model.compile(fastconv.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, *shape))
    y = rng.integers(0, 3, 4)
    start = model.get_weights()
    frozen = fastconv.optimizers.SGD(0.0)

    def loss():
        model.reset_metrics()
        return model.train_on_batch(x, y)

    model.train_on_batch(x, y)
    steps = [(a - b) / rate for a, b in zip(start, model.get_weights(), strict=True)]
    trainable = [w.trainable for w in model.weights]
    model.compile(frozen, "sparse_categorical_crossentropy")
    for i, (weights, gradient) in enumerate(zip(start, steps, strict=True)):
        if not trainable[i]:
            continue
        for _ in range(3):
            index = tuple(rng.integers(0, d) for d in weights.shape)
            values = []
            for sign in (1, -1):
                moved = [w.copy() for w in start]
                moved[i][index] += sign * 1e-5
                model.set_weights(moved)
                values.append(loss())
            expected = (values[0] - values[1]) / 2e-5
            assert gradient[index] == pytest.approx(expected, rel=1e-5, abs=1e-8), (i, index)
