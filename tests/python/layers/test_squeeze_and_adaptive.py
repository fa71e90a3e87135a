"""Squeeze-and-excitation, and pooling to a given size."""

import numpy as np
import pytest

from fastconv import layers, models, optimizers, utils


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_se_block_is_the_formula(data_format):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 4, 32), dtype=np.float32)
    given = x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)
    block = layers.SEBlock(4, data_format=data_format)
    y = block(given)
    down, bias, up, shift = block.get_weights()
    assert down.shape == (1, 1, 32, 8) and up.shape == (1, 1, 8, 32)
    bias, shift = rng.standard_normal(8), rng.standard_normal(32)
    block.set_weights([down, bias, up, shift])
    y = np.asarray(block(given))
    hidden = np.maximum(x.mean((1, 2)) @ down[0, 0] + bias, 0)
    expected = x * sigmoid(hidden @ up[0, 0] + shift)[:, None, None]
    y = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_se_block_units():
    def units(channels, **arguments):
        block = layers.SEBlock(**arguments)
        block.build((None, None, None, channels))
        return block.fc1.filters

    assert units(64) == 8 and units(256) == 16 and units(512, ratio=8) == 64
    assert units(64, divisor=1) == 4
    with pytest.raises(ValueError, match="ratio"):
        layers.SEBlock(0)
    with pytest.raises(ValueError, match="channel axis"):
        layers.SEBlock().build((None, 4, 4, None))


def test_se_block_learns_and_is_saved(tmp_path):
    utils.set_random_seed(0)
    inputs = layers.Input((6, 6, 8))
    outputs = layers.Dense(2)(layers.Flatten()(layers.SEBlock(2, name="se")(inputs)))
    model = models.Model(inputs, outputs)
    before = model.get_layer("se").get_weights()
    model.compile(optimizers.SGD(0.01), "mse")
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 8), dtype=np.float32)
    losses = [model.train_on_batch(x, np.ones((4, 2))) for _ in range(5)]
    assert losses[-1] < losses[0]
    after = model.get_layer("se").get_weights()
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    model.save(tmp_path / "m.fastconv")
    loaded = models.load_model(tmp_path / "m.fastconv")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("kind", ["Average", "Max"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("size", [(2, 3), (7, 7), (1, 1), (9, 5)])
def test_adaptive_pooling(kind, data_format, size):
    x = np.random.default_rng(0).standard_normal((2, 7, 5, 3), dtype=np.float32)
    given = x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)
    layer = getattr(layers, f"Adaptive{kind}Pooling2D")(size, data_format)
    y = np.asarray(layer(given))
    assert y.shape == layer.compute_output_shape(given.shape)
    y = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    reduce = np.mean if kind == "Average" else np.max
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * 7 // size[0], -(-(i + 1) * 7 // size[0]))
            columns = slice(j * 5 // size[1], -(-(j + 1) * 5 // size[1]))
            window = reduce(x[:, rows, columns], axis=(1, 2))
            np.testing.assert_allclose(y[:, i, j], window, rtol=1e-5, atol=1e-6)
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(np.asarray(again(given)), np.asarray(layer(given)))


def test_adaptive_pooling_takes_any_size():
    inputs = layers.Input((None, None, 4))
    model = models.Model(inputs, layers.AdaptiveAveragePooling2D(2)(inputs))
    assert model.output_shape == (None, 2, 2, 4)
    for size in (2, 5, 8):
        assert model.predict(np.ones((1, size, size, 4)), verbose=0).shape == (1, 2, 2, 4)
    with pytest.raises(ValueError, match="output_size"):
        layers.AdaptiveMaxPooling2D(0)
