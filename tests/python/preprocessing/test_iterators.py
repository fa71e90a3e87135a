"""`ImageDataGenerator` and its iterators without Keras: what they are used for."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as keras
from fastconv.preprocessing.image import ImageDataGenerator, Iterator, apply_affine_transform

Image = pytest.importorskip("PIL.Image", reason="needs pillow")


def images(n=10, shape=(6, 5, 3), seed=0):
    return (np.random.default_rng(seed).random((n, *shape)) * 255).astype(np.float32)


def folder(path, sizes, mode="RGB"):
    """Make class folders with so many images each; pixels tell the class."""
    for label, (name, count) in enumerate(sizes.items()):
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.new(mode, (4 + i, 5), 40 * label).save(path / name / f"{i}.png")
    return path


@given(
    n=st.integers(1, 12),
    batch_size=st.integers(1, 5),
    shuffle=st.booleans(),
    seed=st.none() | st.integers(0, 1000),
)
@settings(max_examples=40)
def test_an_epoch_holds_each_sample_once(n, batch_size, shuffle, seed):
    x, y = images(n, (2, 2, 1)), np.arange(n)
    flow = ImageDataGenerator().flow(x, y, batch_size, shuffle, seed=seed)
    assert len(flow) == -(-n // batch_size) and flow.n == n
    by_index = [flow[i] for i in range(len(flow))]
    for batches in (by_index, [next(flow) for _ in range(len(flow))]):
        labels = np.concatenate([label for _, label in batches])
        assert sorted(labels) == list(range(n))
        assert shuffle or (labels == np.arange(n)).all()
        for a, label in batches:
            np.testing.assert_array_equal(a, x[label])


def test_equal_seeds_give_equal_batches_and_epochs_differ():
    def batches(seed):
        flow = ImageDataGenerator(rotation_range=90).flow(images(), np.arange(10), 5, seed=seed)
        return [next(flow) for _ in range(4)]

    first = batches(3)
    for (a, la), (b, lb) in zip(first, batches(3), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(la, lb)
    assert any((a[0] != b[0]).any() for a, b in zip(first, batches(4), strict=True))
    assert (first[0][1] != first[2][1]).any()


def test_the_seed_leaves_numpys_generator_alone():
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    next(ImageDataGenerator(rotation_range=9).flow(images(), seed=5))
    assert np.random.random() == expected  # noqa: NPY002


def test_set_random_seed_reaches_generators_without_a_seed():
    def batch():
        keras.utils.set_random_seed(7)
        return next(ImageDataGenerator(zoom_range=0.5).flow(images()))

    np.testing.assert_array_equal(batch(), batch())


def test_reset_and_limits():
    flow = ImageDataGenerator().flow(images(), np.arange(10), 4, shuffle=False)
    next(flow)
    flow.reset()
    np.testing.assert_array_equal(next(flow)[1], np.arange(4))
    with pytest.raises(IndexError, match="batch 3 of 3"):
        flow[3]
    with pytest.raises(NotImplementedError, match="_get_batches_of_transformed_samples"):
        Iterator(3, 1, False, None)[0]


COMBINATIONS = {
    "nothing": {},
    "angles": {"rotation_range": 50, "shear_range": 20},
    "pixels": {"width_shift_range": 3, "height_shift_range": [-2, 1, 4], "rotation_range": 9},
    "list of shares": {"width_shift_range": [0.1, 0.4], "zoom_range": (0.5, 1.5)},
    "flips": {"horizontal_flip": True, "vertical_flip": True},
    "one flip": {"vertical_flip": True, "height_shift_range": np.float32(0.2)},
    "colours": {"channel_shift_range": 40.0, "brightness_range": (0.5, 1.5)},
    "all": {
        "rotation_range": 30,
        "width_shift_range": 0.2,
        "height_shift_range": 2.5,
        "shear_range": 10,
        "zoom_range": 0.3,
        "horizontal_flip": True,
        "channel_shift_range": 20.0,
        "brightness_range": (0.7, 1.3),
    },
}


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_batch_is_its_images_one_by_one(name, data_format):
    generator = ImageDataGenerator(
        **COMBINATIONS[name], fill_mode="reflect", data_format=data_format
    )
    x = images(7, (6, 9, 3) if data_format == "channels_last" else (3, 6, 9))
    flow = generator.flow(x, batch_size=7, shuffle=False)
    np.random.seed(2)  # noqa: NPY002 - what both draw from
    batch = flow[0]
    after = np.random.random()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    alone = np.stack([generator.random_transform(image) for image in x])
    assert np.random.random() == after  # noqa: NPY002
    if name == "all":  # brightness rounds to 8 bits, either way at the edge of a step
        assert (np.abs(batch - alone) > 1e-3).mean() < 0.01
        np.testing.assert_allclose(batch, alone, atol=1.001)
    else:
        # NumPy's sine of one number and of seven may differ in the last bit.
        np.testing.assert_allclose(batch, alone, atol=1e-3)
    assert name == "nothing" or (batch != x).any()


def test_parameters_are_those_of_apply_affine_transform():
    generator = ImageDataGenerator(rotation_range=50, shear_range=20, fill_mode="reflect")
    x = images(1)[0]
    parameters = generator.get_random_transform(x.shape, seed=2)
    expected = apply_affine_transform(
        x,
        theta=parameters["theta"],
        shear=parameters["shear"],
        row_axis=0,
        col_axis=1,
        channel_axis=2,
        fill_mode="reflect",
    )
    np.testing.assert_array_equal(generator.apply_transform(x, parameters), expected)


@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
def test_whole_pixels_are_moved_unchanged(fill_mode):
    x = images(1)[0]
    x[2, 2] = np.inf  # would turn its neighbours into NaN, were they mixed
    generator = ImageDataGenerator(fill_mode=fill_mode, cval=np.pi)
    y = generator.apply_transform(x, {"tx": 1, "ty": -2, "flip_horizontal": True})
    y = y[:, ::-1]
    np.testing.assert_array_equal(y[2:, :-1], x[:-2, 1:])
    if fill_mode == "constant":
        assert (y[:2] == np.float32(np.pi)).all() and (y[:, -1] == np.float32(np.pi)).all()


def test_preprocessing_function_and_rescale():
    seen = []

    def function(x):
        seen.append(x.shape)
        return x + 1

    generator = ImageDataGenerator(preprocessing_function=function, rescale=0.5)
    x = images(3)
    np.testing.assert_allclose(generator.flow(x, shuffle=False)[0], (x + 1) * 0.5)
    assert seen == [(6, 5, 3)] * 3
    np.testing.assert_allclose(generator.standardize(np.ones((2, 2, 1), np.uint8)), 1.0)


def test_integers_stay_integers_and_input_stays_whole():
    x = (np.arange(48) % 256).astype(np.uint8).reshape(4, 4, 3)
    before = x.copy()
    y = ImageDataGenerator().apply_transform(x, {"theta": 30, "flip_vertical": True})
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(x, before)
    flow = ImageDataGenerator(rescale=2.0, samplewise_center=True).flow(x[None].astype(np.float32))
    next(flow)
    np.testing.assert_array_equal(flow.x[0], before)


def test_save_to_dir(tmp_path):
    flow = ImageDataGenerator(horizontal_flip=True).flow(
        images(5), batch_size=2, save_to_dir=tmp_path, save_prefix="aug", save_format="jpeg"
    )
    next(flow)
    next(flow)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4 and all(f.name.startswith("aug_") for f in files)
    with Image.open(files[0]) as image:
        assert image.size == (5, 6) and image.format == "JPEG"


def small_model(shape, classes):
    model = keras.Sequential(
        [
            keras.layers.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "categorical_crossentropy", metrics=["accuracy"])
    return model


def test_training_on_a_folder(tmp_path):
    folder(tmp_path, {"dark": 12, "light": 8, "pale": 9})
    generator = ImageDataGenerator(
        horizontal_flip=True, width_shift_range=0.1, validation_split=0.25
    )
    train, valid = (
        generator.flow_from_directory(
            tmp_path, (4, 4), color_mode="rgb", batch_size=6, subset=subset, seed=0
        )
        for subset in ("training", "validation")
    )
    assert train.class_indices == {"dark": 0, "light": 1, "pale": 2}
    assert (train.samples, valid.samples) == (22, 7) and train.num_classes == 3
    assert not set(train.filenames) & set(valid.filenames)
    np.testing.assert_array_equal(np.bincount(train.classes), [9, 6, 7])
    model = small_model((4, 4, 3), 3)
    history = model.fit(train, validation_data=valid, epochs=15, verbose=0)
    assert history.history["accuracy"][-1] > 0.7 and len(history.history["val_loss"]) == 15
    test = ImageDataGenerator().flow_from_directory(tmp_path, (4, 4), batch_size=4, shuffle=False)
    predicted = model.predict(test, verbose=0).argmax(axis=1)
    assert len(predicted) == len(test.classes) == 29
    _, accuracy = model.evaluate(test, verbose=0)
    assert accuracy == pytest.approx((predicted == test.labels).mean())


def test_training_on_arrays_with_weights_and_steps():
    x, y = images(20, (4, 4, 1)), np.eye(2)[np.arange(20) % 2]
    flow = ImageDataGenerator(rotation_range=5).flow(x, y, batch_size=8, sample_weight=np.ones(20))
    history = small_model((4, 4, 1), 2).fit(flow, steps_per_epoch=7, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


@pytest.mark.parametrize("color_mode, channels", [("rgb", 3), ("rgba", 4), ("grayscale", 1)])
def test_color_modes_classes_and_channels_first(tmp_path, color_mode, channels):
    folder(tmp_path, {"a": 2, "b": 3, "c": 1}, mode="L")
    flow = ImageDataGenerator(data_format="channels_first").flow_from_directory(
        str(tmp_path), (3, 4), color_mode, classes=["c", "a"], class_mode="sparse", shuffle=False
    )
    x, y = flow[0]
    assert x.shape == (3, channels, 3, 4) and flow.image_shape == (channels, 3, 4)
    np.testing.assert_array_equal(y, [0, 1, 1])
    np.testing.assert_array_equal(x[:, 0, 0, 0], [80, 0, 0])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda g, x: g.flow(x[0]), ValueError, "images with four axes"),
        (lambda g, x: g.flow(x, np.arange(3)), ValueError, "`y` must have as many samples"),
        (lambda g, x: g.flow(x, subset="test"), ValueError, "`subset` must be"),
        (lambda g, x: g.flow(x, subset="training"), ValueError, "needs a `validation_split`"),
        (lambda g, x: g.flow(x, batch_size=0), ValueError, "`batch_size` must be >= 1"),
        (lambda g, x: g.fit(x[0]), ValueError, "received shape"),
        (lambda g, x: g.flow_from_directory("nowhere"), FileNotFoundError, "nowhere"),
        (lambda g, x: g.flow_from_directory(".", class_mode="multi"), ValueError, "class_mode"),
        (lambda g, x: g.flow_from_directory(".", color_mode="hsv"), ValueError, "color_mode"),
        (lambda g, x: g.flow_from_directory(".", (3, 0)), ValueError, "two positive integers"),
        (lambda g, x: ImageDataGenerator(fill_mode="mirror"), ValueError, "fill_mode"),
        (lambda g, x: ImageDataGenerator(interpolation_order=3), ValueError, "nearest pixel"),
        (lambda g, x: ImageDataGenerator(validation_split=2), ValueError, "between 0 and 1"),
        (lambda g, x: ImageDataGenerator(zoom_range=(1, 2, 3)), ValueError, "two numbers"),
        (lambda g, x: ImageDataGenerator(brightness_range=0.3), ValueError, "two numbers"),
        (lambda g, x: ImageDataGenerator(rotation_range="9"), TypeError, "rotation_range"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(ImageDataGenerator(), images())


def test_subsets_of_sorted_labels_are_refused():
    generator = ImageDataGenerator(validation_split=0.5)
    y = np.repeat([0, 1], 5)
    with pytest.raises(ValueError, match="ignore_class_split"):
        generator.flow(images(), y, subset="training")
    assert generator.flow(images(), y, subset="training", ignore_class_split=True).n == 5


def test_names_of_keras():
    from fastconv.keras.preprocessing.image import ImageDataGenerator as again

    assert again is keras.preprocessing.image.ImageDataGenerator is ImageDataGenerator
    for name in ("load_img", "save_img", "img_to_array", "array_to_img"):
        assert getattr(keras.utils, name) is getattr(keras.preprocessing.image, name)
    assert (
        keras.utils.image_dataset_from_directory
        is keras.preprocessing.image_dataset_from_directory
        is keras.preprocessing.image.image_dataset_from_directory
    )


def test_warnings(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.warns(UserWarning, match="no images in the class folders"):
        ImageDataGenerator().flow_from_directory(tmp_path)
    with pytest.warns(UserWarning, match="samplewise_center=True"):
        ImageDataGenerator(samplewise_std_normalization=True)
    with pytest.warns(UserWarning, match="call fit"):
        next(ImageDataGenerator(featurewise_center=True).flow(images()))
    with pytest.warns(UserWarning, match="1, 3 or 4 channels"):
        ImageDataGenerator().flow(images(2, (4, 4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(ImageDataGenerator(rotation_range=3).flow(images()))
