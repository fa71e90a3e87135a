"""`image_dataset_from_directory`, image files and resizing."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as keras
from fastconv.preprocessing import _resize
from fastconv.preprocessing.image import (
    array_to_img,
    img_to_array,
    load_img,
    save_img,
    smart_resize,
)
from fastconv.utils import image_dataset_from_directory

Image = pytest.importorskip("PIL.Image", reason="needs pillow")


@pytest.fixture
def folder(tmp_path):
    """11 images: class a has 5, b 6; each has a colour of its own."""
    number = 0
    for name, count in (("a", 5), ("b", 6)):
        (tmp_path / name / "inner").mkdir(parents=True)
        for i in range(count):
            where = tmp_path / name / ("inner" if i == 3 else "")
            Image.new("RGB", (6, 8), (20 * number, 0, 255)).save(where / f"{i}.png")
            number += 1
        (tmp_path / name / "readme.txt").write_text("text")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def dataset(folder, **arguments):
    defaults = {"image_size": (4, 4), "batch_size": 4, "verbose": False}
    return image_dataset_from_directory(folder, **{**defaults, **arguments})


def test_order_labels_and_values(folder):
    data = dataset(folder, shuffle=False)
    assert data.class_names == ["a", "b"] and len(data) == 3
    order = ["0", "1", "2", "4", "inner/3"]
    names = [str(folder / "a" / f"{name}.png") for name in order]
    assert data.file_paths[:5] == names
    batches = list(data)
    assert [len(x) for x, _ in batches] == [4, 4, 3]
    labels = np.concatenate([y for _, y in batches])
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [0] * 5 + [1] * 6)
    x = batches[0][0]
    assert x.dtype == np.float32 and x.shape == (4, 4, 4, 3)
    np.testing.assert_array_equal(
        x[:, 0, 0], [[0, 0, 255], [20, 0, 255], [40, 0, 255], [80, 0, 255]]
    )
    assert type(x.numpy()) is np.ndarray and type(x[0].numpy()) is np.ndarray


@pytest.mark.parametrize(
    "label_mode, shape, dtype",
    [("int", (4,), "int32"), ("categorical", (4, 2), "float32"), ("binary", (4, 1), "float32")],
)
def test_label_modes(folder, label_mode, shape, dtype):
    _, y = dataset(folder, label_mode=label_mode)[0]
    assert y.shape == shape and y.dtype == dtype
    x = dataset(folder, label_mode=None)[0]
    assert x.shape == (4, 4, 4, 3) and x.dtype == "float32"


def test_split_is_that_of_keras(folder):
    """Files and labels are shuffled by RandomState(seed); the last ones are for validation."""
    plain = dataset(folder, shuffle=False)
    train, valid = dataset(folder, validation_split=0.3, subset="both", seed=5)
    paths, labels = list(plain.file_paths), list(plain.labels)
    np.random.RandomState(5).shuffle(paths)
    np.random.RandomState(5).shuffle(labels)
    assert train.file_paths == paths[:8] and valid.file_paths == paths[8:]
    np.testing.assert_array_equal(np.concatenate([train.labels, valid.labels]), labels)
    for name, part in (("training", train), ("validation", valid)):
        alone = dataset(folder, validation_split=0.3, subset=name, seed=5)
        assert alone.file_paths == part.file_paths
    # Each epoch has another order of the same files; validation keeps its order.
    first, second = (np.concatenate([x[:, 0, 0, 0] for x, _ in train]) for _ in range(2))
    assert (first != second).any() and sorted(first) == sorted(second)
    again = dataset(folder, validation_split=0.3, subset="training", seed=5)
    np.testing.assert_array_equal(np.concatenate([x[:, 0, 0, 0] for x, _ in again]), first)
    first, second = (np.concatenate([y for _, y in valid]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_given_labels_and_none(folder):
    data = dataset(folder, labels=list(range(11)), shuffle=False)
    np.testing.assert_array_equal(np.concatenate([y for _, y in data]), np.arange(11))
    assert data.class_names == [str(i) for i in range(11)]
    data = dataset(folder, labels=None)
    assert data.class_names is None and data[0].shape == (4, 4, 4, 3)


def test_take_map_cache_and_single_images(folder):
    data = dataset(folder, shuffle=False)
    assert len(list(data.take(2))) == 2 and len(data.take(99)) == 3
    scaled = data.map(lambda x, y: (x / 255, y)).cache().prefetch(buffer_size=2)
    assert scaled.class_names == ["a", "b"] and scaled[0][0].max() == 1
    assert scaled[1][0] is scaled[1][0]
    assert dataset(folder, labels=None).map(lambda x: x * 0)[0].max() == 0
    singles = dataset(folder, batch_size=None, shuffle=False)
    assert len(singles) == 11 and singles[10][0].shape == (4, 4, 3) and singles[10][1] == 1
    with pytest.raises(IndexError, match="batch 3 of 3"):
        data[3]


def test_training(folder):
    train, valid = dataset(folder, validation_split=0.3, subset="both", seed=1)
    model = keras.Sequential(
        [
            keras.layers.Input((4, 4, 3)),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    history = model.fit(train, validation_data=valid, epochs=30, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.predict(valid, verbose=0).shape == (3, 2)
    assert np.isfinite(model.evaluate(valid, verbose=0))


def test_color_formats_and_ratios(folder):
    assert dataset(folder, color_mode="grayscale")[0][0].shape[-1] == 1
    assert dataset(folder, color_mode="rgba")[0][0].shape[-1] == 4
    first = dataset(folder, data_format="channels_first")[0][0]
    assert first.shape == (4, 3, 4, 4)
    padded = dataset(folder, pad_to_aspect_ratio=True)[0][0]  # 8 x 6 becomes 4 x 3 and zeros
    assert (padded[..., 2] == 255).all(axis=(0, 1)).tolist() == [True, True, True, False]
    assert (dataset(folder, crop_to_aspect_ratio=True)[0][0][..., 2] == 255).all()


def test_verbose_prints_the_counts(folder, capsys):
    dataset(folder, verbose=True, validation_split=0.3, subset="training", seed=0)
    printed = capsys.readouterr().out
    assert printed == "Found 11 files belonging to 2 classes.\nUsing 8 files for training.\n"
    dataset(folder)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"label_mode": "one-hot"}, "`label_mode` must be"),
        ({"labels": [0, 1]}, "one integer for each of the 11 files"),
        ({"labels": "guessed"}, "`labels` must be"),
        ({"labels": [0] * 11, "class_names": ["a"]}, "`class_names` needs"),
        ({"class_names": ["a", "c"]}, r"which are \['a', 'b'\]"),
        ({"class_names": ["a"], "label_mode": "binary"}, "needs two classes"),
        ({"validation_split": 0.2}, "belong together"),
        ({"validation_split": 0.2, "subset": "training"}, "needs a `seed`"),
        ({"validation_split": 1.0, "subset": "training", "seed": 1}, "between 0 and 1"),
        ({"validation_split": 0.01, "subset": "validation", "seed": 1}, "no validation images"),
        ({"subset": "test", "validation_split": 0.2}, "`subset` must be"),
        ({"interpolation": "linear"}, "`interpolation` must be"),
        ({"image_size": 0}, "two positive integers"),
        ({"color_mode": "bgr"}, "`color_mode` must be"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "either"),
        ({"labels": [5] * 11, "label_mode": "categorical"}, "labels from 0 to 0"),
    ],
)
def test_wrong_arguments(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(folder, **arguments)


def test_folders_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        dataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        dataset(tmp_path / "nowhere", labels=None)
    with pytest.raises(ValueError, match="no images in"):
        dataset(tmp_path)


# Image files


def test_load_img(tmp_path):
    path = tmp_path / "x.png"
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(img_to_array(load_img(path)), pixels)
    np.testing.assert_array_equal(load_img(str(path)), load_img(io.BytesIO(path.read_bytes())))
    assert load_img(path, color_mode="grayscale").mode == "L"
    assert load_img(path, color_mode="rgba", target_size=(5, 6)).size == (6, 5)
    square = load_img(path, target_size=(10, 10), keep_aspect_ratio=True)
    np.testing.assert_array_equal(square, pixels[:, 5:15])
    for arguments, message in (
        ({"color_mode": "hsv"}, "`color_mode`"),
        ({"interpolation": "cubic"}, "`interpolation`"),
    ):
        with pytest.raises(ValueError, match=message):
            load_img(path, **arguments)
    with pytest.raises(FileNotFoundError):
        load_img(tmp_path / "none.png")
    with pytest.raises(TypeError, match="a path or a file object"):
        load_img(3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_arrays_become_images_and_back(channels, data_format):
    x = np.random.default_rng(0).integers(0, 256, (5, 6, channels)).astype(np.float32)
    if data_format == "channels_first":
        x = x.transpose(2, 0, 1)
    image = array_to_img(x, data_format, scale=False)
    assert image.size == (6, 5)
    np.testing.assert_array_equal(img_to_array(image, data_format), x)
    scaled = np.asarray(array_to_img(x * 3 - 7, data_format))
    assert scaled.min() == 0 and scaled.max() == 255


def test_save_img(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 4)).astype(np.float32)
    save_img(tmp_path / "x.png", x, scale=False)
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "x.png", "rgba")), x)
    with pytest.warns(UserWarning, match="no alpha channel"):
        save_img(tmp_path / "x.jpg", x)
    file = io.BytesIO()
    save_img(file, x[..., :1], file_format="jpg")
    assert Image.open(file).format == "JPEG"


@pytest.mark.parametrize("shape", [(3,), (4, 4, 2), (1, 4, 4, 3)])
def test_wrong_shapes(shape):
    with pytest.raises(ValueError, match="received shape"):
        array_to_img(np.ones(shape))


# Resizing


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.sampled_from(_resize.METHODS))
@settings(max_examples=100)
def test_resizing_keeps_constants_and_size(height, width, target, method):
    y = _resize.resize(np.full((2, height, width, 3), 5, np.uint8), (target, 4), method)
    assert y.shape == (2, target, 4, 3) and y.dtype == np.float32
    np.testing.assert_allclose(y, 5, rtol=1e-5)


@pytest.mark.parametrize("method", _resize.METHODS)
def test_smooth_signals_keep_their_place(method):
    x = np.linspace(0, 10, 40, dtype=np.float32)[None, :, None].repeat(3, 0)
    y = _resize.resize(x, (3, 25), method)[1, :, 0]
    centres = (np.arange(25) + 0.5) * 40 / 25 - 0.5
    tolerance = {"nearest": 0.26, "gaussian": 0.03}.get(method, 0.02)
    np.testing.assert_allclose(y[4:-4], (centres * 10 / 39)[4:-4], atol=tolerance)


def test_area_is_the_mean():
    x = np.random.default_rng(0).random((6, 9, 1))
    expected = x.reshape(2, 3, 3, 3, 1).mean(axis=(1, 3))
    np.testing.assert_allclose(_resize.resize(x, (2, 3), "area"), expected, rtol=1e-6)


def test_smart_resize_cuts():
    x = np.zeros((4, 8, 1), np.float32)
    x[:, 2:6] = 1
    np.testing.assert_array_equal(smart_resize(x, (4, 4)), np.ones((4, 4, 1)))
    y = smart_resize(x.transpose(2, 0, 1)[None], (4, 4), data_format="channels_first")
    np.testing.assert_array_equal(y, np.ones((1, 1, 4, 4)))
    for arguments, message in (
        (((4, 4), "cubic"), "`interpolation`"),
        ((4,), "two positive integers"),
        (((4, 4), "nearest", "last"), "`data_format`"),
    ):
        with pytest.raises(ValueError, match=message):
            smart_resize(x, *arguments)
