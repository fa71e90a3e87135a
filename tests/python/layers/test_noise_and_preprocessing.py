"""Noise layers by their statistics, Normalization and Resizing against Keras and plain NumPy."""

import numpy as np
import pytest

import fastconv
from fastconv import layers

X = np.random.default_rng(0).standard_normal((64, 32, 32, 3)).astype("float32")


def test_gaussian_noise_has_its_deviation_and_is_new_each_time():
    layer = layers.GaussianNoise(0.5)
    first, second = (layer(X, training=True) - X for _ in range(2))
    assert abs(first.mean()) < 0.01 and abs(first.std() - 0.5) < 0.01
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
    # Of a normal distribution, 4.55 % lie beyond two deviations.
    assert abs((np.abs(first) > 1).mean() - 0.0455) < 0.003
    np.testing.assert_array_equal(layer(X), X)
    seeded = [layers.GaussianNoise(0.5, seed=3)(X, training=True) for _ in range(2)]
    np.testing.assert_array_equal(*seeded)


def test_gaussian_dropout_multiplies():
    factor = layers.GaussianDropout(0.2)(X, training=True) / X
    assert abs(np.median(factor) - 1) < 0.01
    away = np.abs(X) > 0.1  # elsewhere the quotient is a matter of rounding
    assert abs(factor[away].std() - 0.5) < 0.01


def test_alpha_dropout_keeps_mean_and_variance():
    y = layers.AlphaDropout(0.3)(X, training=True)
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / y.size - 0.3) < 0.01 and values[counts.argmax()] < -1
    shared = layers.AlphaDropout(0.3, noise_shape=(None, 1, 1, None))(X, training=True)
    dropped = shared == values[counts.argmax()]
    np.testing.assert_array_equal(dropped, dropped[:, :1, :1].repeat(32, 1).repeat(32, 2))


def test_noise_layers_train_and_load(tmp_path):
    model = fastconv.Sequential(
        [
            fastconv.Input((6,)),
            layers.GaussianNoise(0.1),
            layers.Dense(4, activation="selu"),
            layers.AlphaDropout(0.1),
            layers.GaussianDropout(0.1),
            layers.ActivityRegularization(l2=0.1),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    history = model.fit(X[0, :, :2].reshape(-1, 6), X[0, :, 0, :1], epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "m.fastconv")
    again = fastconv.models.load_model(tmp_path / "m.fastconv")
    x = np.ones((2, 6), "float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_activity_regularization_matches_keras(keras):
    results = []
    for k in (keras, fastconv):
        model = k.Sequential([k.Input((3,)), k.layers.ActivityRegularization(0.1, 0.2)])
        model.add(k.layers.Dense(1, kernel_initializer="ones"))
        model.compile("sgd", "mse")
        results.append(model.evaluate(X[0, 0], X[0, 0, :, :1], batch_size=32, verbose=0))
    assert results[1] == pytest.approx(results[0], rel=1e-5)


@pytest.mark.parametrize("axis", [-1, None, (1, 3), 1])
@pytest.mark.parametrize("invert", [False, True])
def test_normalization_matches_keras(keras, axis, invert):
    data = X[:, :4, :5] * np.array([1.0, 2.0, 5.0], "float32") + np.array([0, 100.0, -3], "float32")
    theirs = keras.layers.Normalization(axis=axis, invert=invert)
    ours = layers.Normalization(axis=axis, invert=invert)
    theirs.adapt(data)
    ours.adapt(data)
    np.testing.assert_allclose(ours(data), np.asarray(theirs(data)), rtol=1e-4, atol=1e-4)
    batches = layers.Normalization(axis=axis, invert=invert)
    batches.adapt([(data[i : i + 10], 0) for i in range(0, 64, 10)][k] for k in range(7))
    for mine, other in zip(batches.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


def test_normalization_with_given_numbers():
    layer = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 1.0, 0.0])
    expected = (X - [1, 2, 3]) / [2, 1, 1e-7]
    np.testing.assert_allclose(layer(X), expected, rtol=1e-4)
    again = layers.Normalization.from_config(layer.get_config())
    np.testing.assert_array_equal(again(X), layer(X))
    with pytest.raises(ValueError, match="given mean"):
        layer.adapt(X)
    with pytest.raises(ValueError, match="both"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ValueError, match="axis"):
        layers.Normalization(axis=7)(X)
    with pytest.raises(ValueError, match="no data"):
        layers.Normalization().adapt(iter([]))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_resizing_matches_keras(keras, interpolation):
    theirs = keras.layers.Resizing(20, 45, interpolation=interpolation)
    ours = layers.Resizing(20, 45, interpolation=interpolation)
    np.testing.assert_allclose(ours(X[:4]), np.asarray(theirs(X[:4])), atol=1e-5)
    assert ours.compute_output_shape((None, 8, 9, 3)) == (None, 20, 45, 3)
    with pytest.raises(ValueError, match="interpolation"):
        layers.Resizing(4, 4, interpolation="area")
