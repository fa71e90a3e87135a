"""Layers that change images at random, and MixUp and CutMix."""

import numpy as np
import pytest

import fastconv
from fastconv import layers
from fastconv.models import Model, Sequential, load_model

LAYERS = {
    "flip": lambda **k: layers.RandomFlip(**k),
    "rotation": lambda **k: layers.RandomRotation(0.2, **k),
    "zoom": lambda **k: layers.RandomZoom((-0.3, 0.2), 0.1, fill_mode="nearest", **k),
    "translation": lambda **k: layers.RandomTranslation(0.2, (-0.3, 0.1), **k),
    "crop": lambda **k: layers.RandomCrop(6, 5, **k),
    "contrast": lambda **k: layers.RandomContrast(0.5, value_range=(0, 1), **k),
    "brightness": lambda **k: layers.RandomBrightness(0.3, value_range=(0, 1), **k),
    "erasing": lambda **k: layers.RandomErasing((1.0, 1.0), value_range=(0, 1), **k),
}


def images(n=6, height=8, width=7, channels=3, seed=0):
    shape = (n, height, width, channels)
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_active_only_in_training(name):
    layer, x = LAYERS[name](), images()
    y = np.asarray(layer(x, training=True))
    assert np.isfinite(y).all() and y.min() >= -1e-6 and y.max() <= 1 + 1e-6
    if name == "crop":
        assert y.shape == (6, 6, 5, 3)
        return
    assert y.shape == x.shape and (y != x).any()
    np.testing.assert_array_equal(layer(x, training=False), x)
    # As in Keras, a call without `training` is one in training.
    assert (np.asarray(layer(x)) != x).any()
    assert (np.asarray(Sequential([layer])(x)) != x).any()
    np.testing.assert_array_equal(Sequential([layer]).predict(x, verbose=0), x)


@pytest.mark.parametrize("name", LAYERS)
def test_channels_first_one_image_and_dicts(name):
    first = LAYERS[name](data_format="channels_first")
    y = first(images().transpose(0, 3, 1, 2), training=True)
    assert y.shape == ((6, 3, 6, 5) if name == "crop" else (6, 3, 8, 7))
    one = LAYERS[name]()(images()[0], training=True)
    assert one.shape == ((6, 5, 3) if name == "crop" else (8, 7, 3))
    labels = np.arange(6)
    out = LAYERS[name]()({"images": images(), "labels": labels}, training=True)
    assert out["labels"] is labels and len(out["images"]) == 6
    with pytest.raises(ValueError, match="bounding boxes"):
        LAYERS[name]()({"images": images(), "bounding_boxes": labels})


@pytest.mark.parametrize("name", LAYERS)
def test_configuration(name):
    layer = LAYERS[name](seed=3, name="augment")
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    restored = layers.deserialize(layers.serialize(layer))
    assert type(restored) is type(layer) and restored.get_config() == config


def course_model(augmentation):
    return Sequential(
        [
            layers.Input((8, 8, 1)),
            *augmentation,
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def test_training_saving_and_prediction(tmp_path):
    augmentation = [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
        layers.RandomContrast(0.2, value_range=(0, 2)),
        layers.RandomBrightness(0.1, value_range=(0, 2)),
        layers.RandomErasing(0.3, fill_value=0.5, value_range=(0, 2)),
    ]
    x = images(64, 8, 8, 1)
    y = (np.arange(64) % 2).astype(np.int64)
    x[y == 1, :4] += 1.0  # bright on top or not: flips leave it alone
    model = course_model(augmentation)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=25, batch_size=16, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(expected, model.predict(x, verbose=0))
    model.save(tmp_path / "model.fastconv")
    loaded = load_model(tmp_path / "model.fastconv")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    plain = course_model([])
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain.predict(x, verbose=0), expected, atol=1e-6)


def trained(seed, threads=2, layer_seed=None):
    fastconv.utils.set_random_seed(seed)
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(threads)
    try:
        model = course_model([layers.RandomRotation(0.3, seed=layer_seed), layers.RandomErasing()])
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        model.fit(images(32, 8, 8, 1), np.arange(32) % 2, epochs=2, verbose=0)
        return model.get_weights()
    finally:
        fastconv.set_num_threads(before)


def test_seeds_and_threads():
    first = trained(1)
    for again in (trained(1), trained(1, threads=1)):
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, trained(2), strict=True))
    assert any((a != b).any() for a, b in zip(first, trained(1, layer_seed=5), strict=True))


def test_each_step_and_each_layer_draws_its_own():
    x = images(4)
    layer = layers.RandomRotation(0.5)
    assert (np.asarray(layer(x)) != np.asarray(layer(x))).any()
    first, again = (
        [np.asarray(layer(x)) for _ in range(3)]
        for layer in (layers.RandomRotation(0.5, seed=2), layers.RandomRotation(0.5, seed=2))
    )
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()
    same = np.repeat(images(1), 4, axis=0)
    y = np.asarray(layer(same))
    assert (y[0] != y[1]).any()


def test_gradient_goes_through_layers_that_are_not_first():
    inputs = layers.Input((6, 6, 2))
    scaled = layers.Conv2D(2, 1, use_bias=False, kernel_initializer="ones")(inputs)
    outputs = layers.GlobalAveragePooling2D()(layers.RandomFlip()(scaled))
    model = Model(inputs, outputs)
    model.compile(optimizer=fastconv.optimizers.SGD(1.0), loss="mse")
    x = images(3, 6, 6, 2)
    y = np.zeros((3, 2), np.float32)
    plain = Model(inputs, layers.GlobalAveragePooling2D()(scaled))
    plain.compile(optimizer=fastconv.optimizers.SGD(1.0), loss="mse")
    weights = model.get_weights()
    model.train_on_batch(x, y)
    flipped = model.get_weights()
    model.set_weights(weights)
    plain.train_on_batch(x, y)  # the mean of a mirrored image is the same
    np.testing.assert_allclose(flipped[0], plain.get_weights()[0], rtol=1e-5)
    assert (flipped[0] != weights[0]).all()


def test_flips_are_exact_and_cover_all_cases():
    x = images(400, 3, 4, 1)
    y = np.asarray(layers.RandomFlip()(x))
    kinds = [x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]]
    found = np.array([[(a == b).all() for a, b in zip(y, kind, strict=True)] for kind in kinds])
    assert found.any(axis=0).all()
    assert (found.sum(axis=1) > 60).all()
    y = np.asarray(layers.RandomFlip("vertical")(x))
    assert all((a == b).all() or (a == b[::-1]).all() for a, b in zip(y, x, strict=True))


def test_geometry():
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[0, 4, 6] = 1
    quarter = layers.RandomRotation((0.25, 0.25))(x)
    assert np.unravel_index(np.argmax(quarter), x.shape)[1:3] == (2, 4)  # counter-clockwise
    moved = layers.RandomTranslation((2 / 9, 2 / 9), (-1 / 9, -1 / 9))(x)
    assert np.unravel_index(np.argmax(moved), x.shape)[1:3] == (6, 5)  # down, left
    shrunk = layers.RandomZoom((1.0, 1.0), fill_mode="constant", fill_value=0.5)(x + 1)
    assert shrunk[0, 0, 0, 0] == 0.5 and shrunk[0, 4, 5, 0] == 2


def test_crop():
    x = images(5, 10, 9, 3)
    layer = layers.RandomCrop(4, 6)
    places = set()
    for _ in range(60):
        y = np.asarray(layer(x, training=True))
        found = [
            (i, j) for i in range(7) for j in range(4) if (x[:, i : i + 4, j : j + 6] == y).all()
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15
    # The largest window of the same aspect ratio, resized.
    expected = fastconv.preprocessing.image.smart_resize(x, (4, 6))
    np.testing.assert_allclose(layer(x, training=False), expected, atol=1e-6)
    small = images(2, 3, 4, 3)
    np.testing.assert_allclose(
        layer(small, training=True),
        fastconv.preprocessing.image.smart_resize(small, (4, 6)),
        atol=1e-6,
    )
    inputs = layers.Input((None, None, 3))
    assert layer(inputs).shape == (None, 4, 6, 3)


def test_colors():
    x = images(50)
    y = np.asarray(layers.RandomBrightness((0.2, 0.4), value_range=(0, 10))(x)) - x
    assert y.min() > 1.99 and y.max() < 4.01
    np.testing.assert_allclose(y.max(axis=(1, 2, 3)), y.min(axis=(1, 2, 3)), atol=1e-5)
    y = np.asarray(layers.RandomContrast(0.5, value_range=(-9, 9))(x))
    np.testing.assert_allclose(y.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-5)
    ratio = y.std(axis=(1, 2)) / x.std(axis=(1, 2))
    assert ratio.min() >= 0.49 and ratio.max() <= 1.51 and ratio.std() > 0.2
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3), rtol=1e-3)


def test_erasing():
    x = images(300, 20, 20, 3) * 0.5
    layer = layers.RandomErasing((1.0, 1.0), (0.1, 0.3), fill_value=(0.9, 0.8, 0.7))
    erased = (np.asarray(layer(x)) != x).any(axis=-1)
    np.testing.assert_allclose(np.asarray(layer(x)).max(axis=(0, 1, 2)), (0.9, 0.8, 0.7))
    rows, columns = erased.any(axis=2), erased.any(axis=1)
    np.testing.assert_array_equal(erased, rows[:, :, None] & columns[:, None, :])
    for side in (rows.sum(axis=1), columns.sum(axis=1)):
        assert (side >= np.floor(20 * 0.1**0.5)).all() and (side <= np.ceil(20 * 0.3**0.5)).all()
    half = layers.RandomErasing(1.0)(x)
    share = (np.asarray(half) != x).any(axis=(1, 2, 3)).mean()
    assert 0.35 < share < 0.65  # the probability itself is drawn from [0, 1]
    noise = np.asarray(layers.RandomErasing((1.0, 1.0), (1, 1), value_range=(-90, 20))(x)) / 20
    assert abs(np.quantile(noise, 0.1587) + 1) < 0.05 and abs(np.median(noise)) < 0.02


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.RandomFlip("diagonal"), "`mode` must be one of"),
        (lambda: layers.RandomRotation(1.5), r"`factor` must be in \[-1, 1\]"),
        (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), "a number or two numbers"),
        (lambda: layers.RandomZoom(0.1, fill_mode="mirror"), "`fill_mode` must be one of"),
        (lambda: layers.RandomZoom(0.1, interpolation="bicubic"), "`interpolation` must be one"),
        (lambda: layers.RandomCrop(0, 3), "`height` must be a positive integer"),
        (lambda: layers.RandomContrast(-0.5), r"`factor` must be in \[0, 1\]"),
        (lambda: layers.RandomBrightness(0.5, value_range=3), "`value_range` must be two numbers"),
        (lambda: layers.RandomErasing(fill_value=(1, 2))(images()), "has 2 numbers"),
        (lambda: layers.RandomFlip()(np.ones((3, 4), np.float32)), "expected ndim=4"),
        (lambda: layers.MixUp(alpha=0), "`alpha` must be > 0"),
        (lambda: layers.CutMix(factor=2), r"`factor` must be in \[0, 1\]"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_mixing(name, data_format):
    layer = getattr(layers, name)(seed=1, data_format=data_format)
    n = 40
    value = np.arange(n, dtype=np.float32)
    x = np.tile(value[:, None, None, None], (1, 10, 8, 3))
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    y = np.eye(n, dtype=np.float32)
    out = layer({"images": x, "labels": y})
    np.testing.assert_allclose(out["labels"].sum(axis=1), 1, rtol=1e-6)
    assert (out["labels"] != y).any()
    # Each label weighs as much as its image's values.
    np.testing.assert_allclose(out["images"].mean(axis=(1, 2, 3)), out["labels"] @ value, rtol=1e-4)
    if name == "CutMix":
        assert all(set(np.unique(image)) <= set(value) for image in out["images"])
    again = getattr(layers, name)(seed=1, data_format=data_format)
    np.testing.assert_array_equal(again(x), out["images"])
    assert layer({"images": x, "labels": y}, training=False)["images"] is x
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixing_refuses(name):
    layer = getattr(layers, name)()
    x = images()
    with pytest.raises(ValueError, match="to_categorical"):
        layer({"images": x, "labels": np.arange(6)})
    with pytest.raises(ValueError, match="images with four axes"):
        layer(x[0])
    with pytest.raises(TypeError, match="not inside a model"):
        layer(layers.Input((8, 7, 3)))
    with pytest.raises(ValueError, match="dict of"):
        layer({"images": x, "boxes": x})


def test_aliases():
    assert layers.Mixup is layers.MixUp and layers.Cutmix is layers.CutMix
