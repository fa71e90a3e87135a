"""`fastconv.preprocessing.image` beside the generator that Keras keeps for old code."""

import numpy as np
import pytest

from fastconv.preprocessing import image as ours

TOLERANCE = 1e-4  # of the range of the values


@pytest.fixture(scope="session")
def theirs(keras):
    pytest.importorskip("scipy", reason="Keras's generator needs SciPy")
    pytest.importorskip("PIL", reason="needs pillow")
    return pytest.importorskip(
        "keras.src.legacy.preprocessing.image", reason="this Keras has no ImageDataGenerator"
    )


def images(n=5, shape=(9, 12, 3), scale=255.0, seed=0):
    return (np.random.default_rng(seed).random((n, *shape)) * scale).astype(np.float32)


def close(a, b, scale=255.0):
    np.testing.assert_allclose(a, b, atol=TOLERANCE * scale, rtol=0)


TRANSFORMS = {
    "rotation": {"rotation_range": 40},
    "shifts": {"width_shift_range": 0.3, "height_shift_range": 0.2},
    "pixels": {"width_shift_range": 3, "height_shift_range": [-2, 1, 4]},
    "float pixels": {"width_shift_range": 2.5, "height_shift_range": 1.0},
    "list of shares": {"width_shift_range": [0.1, 0.4], "height_shift_range": -2},
    "shear": {"shear_range": 25.0},
    "zoom": {"zoom_range": 0.4},
    "zoom pair": {"zoom_range": (0.5, 1.7)},
    "flips": {"horizontal_flip": True, "vertical_flip": True},
    "channel shift": {"channel_shift_range": 60.0},
    "brightness": {"brightness_range": (0.3, 1.8)},
    "all": {
        "rotation_range": 30,
        "width_shift_range": 0.2,
        "height_shift_range": 0.2,
        "shear_range": 10,
        "zoom_range": 0.3,
        "horizontal_flip": True,
        "vertical_flip": True,
        "channel_shift_range": 20.0,
        "brightness_range": (0.7, 1.3),
        "rescale": 1 / 255,
    },
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
def test_flow_gives_the_same_batches(theirs, name, fill_mode):
    x, y = images(), np.arange(5)
    arguments = {**TRANSFORMS[name], "fill_mode": fill_mode, "cval": 7.0}
    scale = 255 * arguments.get("rescale", 1)
    flows = [
        module.ImageDataGenerator(**arguments).flow(x, y, batch_size=2, seed=11)
        for module in (ours, theirs)
    ]
    for _ in range(5):  # into the second epoch
        (a, label), (b, expected) = (next(flow) for flow in flows)
        np.testing.assert_array_equal(label, expected)
        if "brightness_range" in arguments and name == "all":
            # Both round to 8 bits; a pixel at the edge of a step may fall on either side.
            assert (np.abs(a - b) > TOLERANCE * scale).mean() < 0.01
            close(a, b, 1.01 / 255 / TOLERANCE * scale)
        else:
            close(a, b, scale)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 4), (5, 14, 1)])
def test_orders_and_formats(theirs, order, data_format, shape):
    x = images(4, shape)
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    arguments = {
        "rotation_range": 60,
        "zoom_range": 0.3,
        "width_shift_range": 0.2,
        "data_format": data_format,
        "interpolation_order": order,
        "fill_mode": "reflect",
    }
    a, b = (
        module.ImageDataGenerator(**arguments).flow(x, batch_size=4, seed=3, shuffle=False)[0]
        for module in (ours, theirs)
    )
    close(a, b)


@pytest.mark.parametrize(
    "name",
    [
        "featurewise_center",
        "featurewise_std_normalization",
        "samplewise_center",
        "samplewise_std_normalization",
        "zca_whitening",
    ],
)
@pytest.mark.filterwarnings("ignore:.*ImageDataGenerator")
@pytest.mark.parametrize("augment", [False, True])
def test_normalization(theirs, name, augment):
    x = images(40, (4, 5, 3), scale=1.0)
    batches = []
    for module in (ours, theirs):
        generator = module.ImageDataGenerator(**{name: True}, rotation_range=20, rescale=2.0)
        generator.fit(x, augment=augment, rounds=2, seed=5)
        batches.append(generator.flow(x, batch_size=8, seed=1)[0])
        assert (generator.mean is None) == ("samplewise" in name)
    np.testing.assert_allclose(*batches, atol=5e-3 if name == "zca_whitening" else 1e-4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_parameters(theirs, name):
    a, b = (
        m.ImageDataGenerator(**TRANSFORMS[name]).get_random_transform((9, 12, 3), seed=4)
        for m in (ours, theirs)
    )
    assert a == b


def test_application_of_parameters(theirs):
    generators = [m.ImageDataGenerator(**TRANSFORMS["all"]) for m in (ours, theirs)]
    x = images(1)[0]
    parameters = {"theta": 20, "tx": 1.5, "zy": 0.8, "flip_horizontal": True}
    close(*(g.apply_transform(x, parameters) for g in generators))
    a, b = (g.random_transform(x, seed=9) for g in generators)
    assert (np.abs(a - b) > 0.03).mean() < 0.01
    a, b = (g.standardize(x.copy()) for g in generators)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_subsets_weights_and_other_inputs(theirs):
    x, y, w = images(10), np.arange(10) % 2, np.linspace(0, 1, 10)
    other = np.arange(20).reshape(10, 2)
    for subset in ("training", "validation"):
        results = []
        for module in (ours, theirs):
            generator = module.ImageDataGenerator(validation_split=0.4)
            flow = generator.flow((x, other), y, batch_size=3, seed=2, subset=subset)
            results.append((flow.n, len(flow), [flow[i] for i in range(len(flow))]))
        assert results[0][:2] == results[1][:2]
        for ((a, am), ay), ((b, bm), by) in zip(results[0][2], results[1][2], strict=True):
            close(a, b)
            np.testing.assert_array_equal(am, bm)
            np.testing.assert_array_equal(ay, by)
    a, b = (
        m.ImageDataGenerator().flow(x, y, sample_weight=w, batch_size=4, seed=8)[1]
        for m in (ours, theirs)
    )
    np.testing.assert_array_equal(a[2], b[2])


@pytest.mark.parametrize("class_mode", ["categorical", "binary", "sparse", "input", None])
def test_flow_from_directory(theirs, class_mode, tmp_path):
    make_folder(tmp_path)
    arguments = {
        "target_size": (6, 7),
        "class_mode": class_mode,
        "batch_size": 4,
        "seed": 1,
        "subset": "training",
        "interpolation": "bilinear",
        "keep_aspect_ratio": True,
    }
    flows = [
        m.ImageDataGenerator(rotation_range=30, validation_split=0.3).flow_from_directory(
            str(tmp_path), **arguments
        )
        for m in (ours, theirs)
    ]
    for name in ("filenames", "class_indices", "samples", "num_classes", "n", "image_shape"):
        assert getattr(flows[0], name) == getattr(flows[1], name), name
    for name in ("classes", "labels"):
        np.testing.assert_array_equal(getattr(flows[0], name), getattr(flows[1], name))
    assert len(flows[0]) == len(flows[1])
    for _ in range(3):
        a, b = (next(flow) for flow in flows)
        if class_mode is None:
            close(a, b)
            continue
        close(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1], atol=0.03)
        assert a[1].dtype == b[1].dtype


def make_folder(path, count=5):
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, name in enumerate(("cats", "dogs")):
        (path / name / "more").mkdir(parents=True)
        for i in range(count + label):
            height, width = (int(n) for n in rng.integers(5, 20, 2))
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
            folder = path / name / ("more" if i == 2 else "")
            Image.fromarray(pixels).save(folder / f"image{i}.png")
        (path / name / "notes.txt").write_text("no image")


@pytest.mark.parametrize(
    "arguments", [{"shuffle": False}, {"seed": 3}, {"seed": 3, "class_names": ["dogs", "cats"]}]
)
def test_image_datasets_read_the_same_files(theirs, tmp_path, arguments):
    from keras.src.utils.dataset_utils import index_directory

    make_folder(tmp_path)
    formats = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
    paths, labels, names = index_directory(
        str(tmp_path), "inferred", formats, verbose=False, **arguments
    )
    data = ours.image_dataset_from_directory(tmp_path, verbose=False, **arguments)
    assert data.file_paths == paths and data.class_names == names
    np.testing.assert_array_equal(data.labels, labels)


@pytest.mark.parametrize("channel_axis", [0, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_functions_on_one_image(theirs, channel_axis, dtype):
    axes = {"channel_axis": channel_axis}
    axes["row_axis"], axes["col_axis"] = (1, 2) if channel_axis == 0 else (0, 1)
    shape = (3, 9, 7) if channel_axis == 0 else (9, 7, 3)
    x = images(1, shape)[0].astype(dtype)
    calls = [
        ("apply_affine_transform", {"theta": 15, "tx": 2, "shear": 5, "zx": 0.7, "order": 1}),
        ("apply_affine_transform", {"ty": -3, "fill_mode": "wrap", "order": 0}),
        ("random_rotation", {"rg": 50}),
        ("random_shift", {"wrg": 0.3, "hrg": 0.2}),
        ("random_shear", {"intensity": 20}),
        ("random_zoom", {"zoom_range": (0.6, 1.5)}),
    ]
    for name, arguments in calls:
        results = []
        for module in (ours, theirs):
            np.random.seed(3)  # noqa: NPY002 - what both draw from
            results.append(getattr(module, name)(x, **arguments, **axes))
        assert results[0].dtype == results[1].dtype
        # Values that lie between two integers may round either way.
        np.testing.assert_allclose(*(r.astype(float) for r in results), atol=1.001, rtol=0)
        assert (np.abs(results[0].astype(float) - results[1]) > 0.02).mean() < 0.01
    a, b = (m.apply_channel_shift(x, 30, channel_axis) for m in (ours, theirs))
    np.testing.assert_allclose(a, b)


def test_swapped_axes(theirs):
    x = images(1, (6, 8, 3))[0]
    axes = {"row_axis": 1, "col_axis": 0, "channel_axis": 2}
    close(*(m.apply_affine_transform(x, theta=25, tx=1, **axes) for m in (ours, theirs)))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("low, high", [(0, 255), (-3, 400), (0, 1), (5, 5)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_brightness(theirs, scale, low, high, channels):
    x = images(1, (6, 7, channels), 1.0)[0] * (high - low) + low
    for factor in (0.0, 0.4, 1.0, 2.5):
        a, b = (m.apply_brightness_shift(x, factor, scale) for m in (ours, theirs))
        assert (np.abs(a - b) > 1e-3).mean() < 0.02
        np.testing.assert_allclose(a, b, atol=1.01 * max(1, (high - low) / 255))


@pytest.mark.parametrize("shape", [(20, 30, 3), (2, 31, 17, 1)])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(8, 8), (40, 25), (5, 33)])
def test_smart_resize(keras, shape, interpolation, size):
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = keras.preprocessing.image.smart_resize(x, size, interpolation)
    np.testing.assert_allclose(
        ours.smart_resize(x, size, interpolation), np.asarray(expected), atol=1e-5
    )


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "wrap"])
def test_warp_of_the_layers(keras, fill_mode):
    from fastconv.layers.augmentation import _FILL
    from fastconv.preprocessing._affine import warp

    x = images(2, (8, 9, 3), 1.0)
    theirs = np.array([[0.9, 0.3, -2.0, -0.2, 1.2, 1.5, 0, 0], [1.4, 0, 3, 0, 0.8, -4, 0, 0]])
    expected = keras.ops.image.affine_transform(
        x, theirs.astype(np.float32), fill_mode=fill_mode, fill_value=0.5
    )
    y = warp(x, theirs[:, [4, 3, 5, 1, 0, 2]], 1, _FILL[fill_mode], 0.5)
    np.testing.assert_allclose(y, np.asarray(expected), atol=1e-5)
