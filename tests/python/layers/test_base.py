"""Layer: names, weights, calling, custom layers."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops


@pytest.fixture(autouse=True)
def fresh_names():
    fastconv.utils.clear_session()


def test_names_are_numbered_as_in_keras():
    made = [
        layers.Conv2D(1, 1),
        layers.Conv2D(1, 1),
        layers.MaxPooling2D(),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.ReLU(),
        layers.Conv2DTranspose(1, 1),
        layers.GlobalAveragePooling2D(),
        layers.UpSampling2D(),
    ]
    assert [layer.name for layer in made] == [
        "conv2d",
        "conv2d_1",
        "max_pooling2d",
        "batch_normalization",
        "leaky_re_lu",
        "re_lu",
        "conv2d_transpose",
        "global_average_pooling2d",
        "up_sampling2d",
    ]


def test_weights_and_their_attributes():
    layer = layers.Conv2D(4, 3, kernel_regularizer="l2", name="first")
    layer.build((None, 8, 8, 2))
    assert layer.built
    assert [w.path for w in layer.weights] == ["first/kernel", "first/bias"]
    assert layer.kernel.shape == (3, 3, 2, 4)
    assert layer.kernel.dtype == "float32"
    assert layer.kernel.trainable
    assert layer.count_params() == 76
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * 2, bias + 1])
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel * 2)
    np.testing.assert_array_equal(np.asarray(layer.bias), [1, 1, 1, 1])
    assert layer.losses[0] == pytest.approx(0.01 * np.sum((kernel * 2) ** 2), rel=1e-5)


def test_set_weights_checks_everything_before_it_changes_anything():
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r'"dense" has 2 weights.*received 1'):
        layer.set_weights(before[:1])
    with pytest.raises(ValueError, match=r"dense/bias.*\(2,\).*\(3,\)"):
        layer.set_weights([before[0] + 1, np.zeros(3)])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_trainable_reaches_inner_layers():
    inner = fastconv.Sequential([layers.Input((3,)), layers.Dense(2), layers.BatchNormalization()])
    assert len(inner.trainable_weights) == 4
    assert len(inner.non_trainable_weights) == 2
    inner.trainable = False
    assert inner.trainable_weights == []
    assert len(inner.non_trainable_weights) == 6
    assert not inner.layers[0].trainable


def test_calling_on_data_runs_at_once():
    layer = layers.Dense(2, kernel_initializer="ones", bias_initializer=0.5 * np.ones(2))
    y = layer(np.arange(6).reshape(2, 3))
    np.testing.assert_allclose(y, [[3.5, 3.5], [12.5, 12.5]])
    assert y.dtype == np.float32
    assert isinstance(y.numpy(), np.ndarray)
    # New weights are seen by the plan that was kept.
    layer.set_weights([np.zeros((3, 2)), np.zeros(2)])
    np.testing.assert_array_equal(layer(np.arange(6).reshape(2, 3)), np.zeros((2, 2)))


def test_dropout_drops_only_in_training():
    x = np.ones((50, 40), "float32")
    layer = layers.Dropout(0.25)
    np.testing.assert_array_equal(layer(x), x)
    y = np.asarray(layer(x, training=True))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs(np.mean(y == 0) - 0.25) < 0.05
    assert not np.array_equal(y, layer(x, training=True))
    # As in Keras, a seed gives each run the same masks, and each call its own.
    first, second = (
        [np.asarray(seeded(x, training=True)) for _ in range(2)]
        for seeded in (layers.Dropout(0.25, seed=3), layers.Dropout(0.25, seed=3))
    )
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).any()
    rows = np.asarray(layers.Dropout(0.5, noise_shape=(None, 1))(x, training=True))
    assert all(len(set(row)) == 1 for row in rows)


def test_batch_norm_moving_statistics():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (64, 5)).astype("float32")
    layer = layers.BatchNormalization(momentum=0.9)
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(0), rtol=1e-5)
    expected = 0.9 + 0.1 * x.var(0)  # biased, unlike PyTorch's
    np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-5)
    before = layer.get_weights()
    layer.trainable = False
    layer(x, training=True)
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_average_pooling_same_does_not_count_padding():
    x = np.arange(1, 10, dtype="float32").reshape(1, 3, 3, 1)
    y = layers.AveragePooling2D(2, padding="same")(x)
    np.testing.assert_allclose(np.asarray(y)[0, :, :, 0], [[3, 4.5], [7.5, 9]])


def test_same_padding_puts_the_odd_zero_at_the_end():
    x = np.ones((1, 4, 4, 1), "float32")
    layer = layers.Conv2D(1, 3, strides=2, padding="same", kernel_initializer="ones")
    np.testing.assert_allclose(np.asarray(layer(x))[0, :, :, 0], [[9, 6], [6, 4]])


def test_local_response_normalization_by_hand():
    x = np.arange(1, 7, dtype="float32").reshape(1, 1, 1, 6)
    y = np.asarray(layers.LocalResponseNormalization(size=3, alpha=0.3, beta=0.5, k=2.0)(x))
    v = x.ravel()
    for i in range(6):
        total = np.sum(v[max(0, i - 1) : i + 2] ** 2)
        assert y.ravel()[i] == pytest.approx(v[i] / (2 + 0.1 * total) ** 0.5, rel=1e-5)


class Scaled(layers.Layer):
    """A custom layer as Keras code writes it."""

    def __init__(self, units, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.factor = factor

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="ones")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=False)

    def call(self, inputs):
        return ops.matmul(inputs, self.w * self.factor) + self.b


def test_custom_layer_without_output_shape():
    x = layers.Input((None, 3))
    layer = Scaled(4)
    y = layer(x)
    assert y.shape == (None, None, 4)
    assert [w.shape for w in layer.trainable_weights] == [(3, 4)]
    np.testing.assert_allclose(layer(np.ones((2, 3))), 6 * np.ones((2, 4)))
    config = layer.get_config()
    assert config["units"] == 4
    again = Scaled.from_config(config)
    assert again.units == 4
    assert again.name == layer.name


class Block(layers.Layer):
    """Layers in attributes and lists are found."""

    def __init__(self):
        super().__init__()
        self.steps = []
        for _ in range(2):
            self.steps.append(layers.Dense(3))
        self.drop = layers.Dropout(0.5)

    def call(self, inputs, training=False):
        for step in self.steps:
            inputs = step(inputs)
        return self.drop(inputs, training=training)


def test_layers_inside_layers():
    block = Block()
    out = block(np.ones((2, 3)))
    assert out.shape == (2, 3)
    assert len(block.weights) == 4
    model = fastconv.Sequential([layers.Input((3,)), block, layers.Dense(1)])
    model.compile("sgd", "mse")
    before = block.steps[0].kernel.numpy()
    model.fit(np.ones((8, 3)), np.zeros(8), verbose=0)
    assert not np.array_equal(before, block.steps[0].kernel.numpy())


def test_float64():
    layer = layers.Dense(2, dtype="float64")
    assert layer(np.ones((1, 3))).dtype == np.float64
    assert layer.kernel.dtype == "float64"
    with pytest.raises(TypeError, match=r"float64.*float32"):
        x = fastconv.Input((3,))
        model = fastconv.Model(x, layers.Dense(2, dtype="float64")(x))
        model.predict(np.ones((1, 3)), verbose=0)


def test_operators_on_symbolic_tensors():
    a = fastconv.Input((4,))
    b = layers.Dense(4, kernel_initializer="identity")(a)
    c = (a + b) * 0.5 - 1.0
    d = 2.0 / (1.0 + ops.exp(-c)) + c[:, 1:2]
    model = fastconv.Model(a, d)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    t = x - 1
    np.testing.assert_allclose(
        model.predict(x, verbose=0), 2 / (1 + np.exp(-t)) + t[:, 1:2], rtol=1e-5
    )
