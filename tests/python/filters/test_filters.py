"""Kernels and filtered images against SciPy and scikit-image, and what saturates."""

import numpy as np
import pytest

from fastconv import filters

MODES = {"zeros": "constant", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
KERNELS = [
    filters.identity(),
    filters.box_blur(5),
    filters.gaussian_blur(1.3),
    filters.sharpen(),
    filters.outline(),
    filters.emboss(),
    filters.sobel_x(),
    filters.sobel_y(),
    filters.prewitt_x(),
    filters.prewitt_y(),
    filters.scharr_x(),
    filters.scharr_y(),
    filters.laplacian(),
    filters.laplacian(diagonals=True),
    filters.laplacian_of_gaussian(1.1),
]


def ndimage():
    return pytest.importorskip("scipy.ndimage", reason="compares with SciPy")


def grey(dtype=np.float64, shape=(31, 24)):
    values = np.random.default_rng(0).uniform(0, 255, shape)
    return values.astype(dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", range(len(KERNELS)))
def test_apply_is_scipys_correlate(mode, number):
    kernel = KERNELS[number]
    expected = ndimage().correlate(grey(), kernel, mode=MODES[mode])
    np.testing.assert_allclose(filters.apply(grey(), kernel, mode), expected, atol=1e-10)
    single = filters.apply(grey(np.float32), kernel, mode)
    assert single.dtype == np.float32
    scale = 255 * np.abs(kernel).sum()
    # Half an epsilon a term, of up to 121 terms and their rounded weights.
    np.testing.assert_allclose(single, expected, atol=1e-6 * scale)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (4, 3), (6, 1)])
def test_kernels_of_any_size(shape):
    kernel = np.random.default_rng(1).standard_normal(shape)
    for mode, theirs in MODES.items():
        expected = ndimage().correlate(grey(), kernel, mode=theirs)
        np.testing.assert_allclose(filters.apply(grey(), kernel, mode), expected, atol=1e-10)
    h, w = shape
    whole = filters.apply(grey(), kernel, "zeros")
    inside = whole[h // 2 : 31 - (h - 1 - h // 2), w // 2 : 24 - (w - 1 - w // 2)]
    np.testing.assert_allclose(filters.apply(grey(), kernel, "valid"), inside, atol=1e-10)


def test_derivatives_are_scipys():
    scipy = ndimage()
    image = grey()
    pairs = [
        (filters.sobel_x(), scipy.sobel(image, axis=1, mode="mirror")),
        (filters.sobel_y(), scipy.sobel(image, axis=0, mode="mirror")),
        (filters.prewitt_x(), scipy.prewitt(image, axis=1, mode="mirror")),
        (filters.prewitt_y(), scipy.prewitt(image, axis=0, mode="mirror")),
        (filters.laplacian(), scipy.laplace(image, mode="mirror")),
        (filters.gaussian_blur(1.7), scipy.gaussian_filter(image, 1.7, mode="mirror")),
        (filters.gaussian_blur(0.4), scipy.gaussian_filter(image, 0.4, mode="mirror")),
        (filters.box_blur(3), scipy.uniform_filter(image, 3, mode="mirror")),
    ]
    for kernel, expected in pairs:
        np.testing.assert_allclose(filters.apply(image, kernel), expected, atol=1e-10)
    # SciPy scales each of its two derivatives so that their sums vanish, this kernel is plain.
    smooth = grey(shape=(40, 40))
    ours = filters.apply(smooth, filters.laplacian_of_gaussian(2.0))
    theirs = scipy.gaussian_laplace(smooth, 2.0, mode="mirror")
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr"])
def test_gradients_are_scikit_images(name):
    theirs = pytest.importorskip("skimage.filters", reason="compares with scikit-image")
    image = grey() / 255
    scale = {"sobel": 4, "prewitt": 3, "scharr": 16}[name]
    for axis, letter in ((0, "y"), (1, "x")):
        kernel = getattr(filters, f"{name}_{letter}")()
        expected = getattr(theirs, name)(image, axis=axis, mode="mirror")
        np.testing.assert_allclose(filters.apply(image, kernel) / scale, expected, atol=1e-12)
    both = getattr(theirs, name)(image, mode="mirror")
    ours = filters.magnitude(image, name) / scale / np.sqrt(2)
    np.testing.assert_allclose(ours, both, atol=1e-12)


def test_signs_of_derivatives():
    right, down = np.meshgrid(np.arange(6.0), np.arange(5.0))
    for name, unit in (("sobel", 8), ("prewitt", 6), ("scharr", 32)):
        x, y = (getattr(filters, f"{name}_{axis}")() for axis in "xy")
        np.testing.assert_array_equal(filters.apply(right, x, "valid"), np.full((3, 4), unit))
        np.testing.assert_array_equal(filters.apply(down, y, "valid"), np.full((3, 4), unit))
        np.testing.assert_array_equal(filters.apply(right, y, "valid"), np.zeros((3, 4)))


def test_sums_of_kernels():
    ones = [filters.identity(5), filters.box_blur(4), filters.gaussian_blur(2), filters.sharpen(3)]
    for kernel in [*ones, filters.emboss()]:
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
    for kernel in (filters.outline(), filters.laplacian(), filters.sobel_x(), filters.scharr_y()):
        assert kernel.sum() == 0
    assert filters.gaussian_blur(1.0).shape == (9, 9)
    assert filters.gaussian_blur(1.0, size=5).shape == (5, 5)
    np.testing.assert_array_equal(filters.sharpen()[1], [-1, 5, -1])
    assert filters.laplacian_of_gaussian(1.0)[4, 4] < 0


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint64", "int64"])
def test_integers_keep_their_type_and_saturate(dtype):
    limits = np.iinfo(dtype)
    image = np.array([[limits.max] * 3, [limits.min] * 3, [7, 8, 9]], dtype)
    same = filters.apply(image, filters.identity(), "replicate")
    assert same.dtype == dtype
    if limits.max < 2**53:
        np.testing.assert_array_equal(same, image)
    up = filters.apply(image, [[4.0]])
    down = filters.apply(image, [[-4.0]])
    assert (up[0] == limits.max).all() and (up[2] == [28, 32, 36]).all()
    assert (down[0] == limits.min).all()
    if limits.min < 0:
        assert (up[1] == limits.min).all() and (down[1] == limits.max).all()
    np.testing.assert_array_equal(filters.apply(image, [[0.25]])[2], [2, 2, 2])


def test_bytes_are_scipys_rounded():
    image = grey(np.uint8)
    for kernel in KERNELS:
        exact = ndimage().correlate(image.astype(float), kernel, mode="mirror")
        expected = np.clip(np.rint(exact.round(9)), 0, 255)
        difference = np.abs(filters.apply(image, kernel) - expected)
        assert difference.max() <= 1  # where a value lies half-way
        assert (difference > 0).mean() < 0.02


def test_colour_and_batches_are_filtered_plane_by_plane():
    batch = grey(np.float32, (2, 9, 8, 3))
    kernel = filters.sobel_x()
    found = filters.apply(batch, kernel)
    assert found.shape == batch.shape and found.flags.c_contiguous
    for n in range(2):
        np.testing.assert_array_equal(filters.apply(batch[n], kernel), found[n])
        for c in range(3):
            np.testing.assert_allclose(
                filters.apply(batch[n, ..., c], kernel), found[n, ..., c], rtol=1e-5, atol=1e-3
            )
    views = filters.apply(batch[0, ::-1, ::2], kernel)
    np.testing.assert_array_equal(filters.apply(batch[0, ::-1, ::2].copy(), kernel), views)


def test_half_floats_and_magnitude_keep_their_type():
    image = grey(np.float16, (6, 6)) / 16
    assert filters.apply(image, filters.box_blur()).dtype == np.float16
    assert filters.magnitude(image).dtype == np.float16
    assert filters.magnitude(grey(np.uint8)).dtype == np.float64
    assert filters.magnitude(grey(np.uint8)).max() > 255


def test_errors():
    image = grey()
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(H, W\)"):
        filters.apply(np.ones(3), filters.identity())
    with pytest.raises(ValueError, match=r"kernel has shape \(3,\)"):
        filters.apply(image, np.ones(3))
    with pytest.raises(ValueError, match=r"padding is 'mirror', expected one of \['zeros'"):
        filters.apply(image, filters.identity(), "mirror")
    for wrong in (image > 3, image * 1j, image.astype(str)):
        with pytest.raises(TypeError, match="image has dtype"):
            filters.apply(wrong, filters.identity())
    with pytest.raises(TypeError, match="kernel has dtype complex128"):
        filters.apply(image, filters.identity() * 1j)
    with pytest.raises(ValueError, match="size is 4, expected an odd number"):
        filters.identity(4)
    with pytest.raises(ValueError, match="size is 0"):
        filters.box_blur(0)
    with pytest.raises(TypeError, match=r"size is 2\.5"):
        filters.gaussian_blur(1, size=2.5)
    for sigma in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="sigma is"):
            filters.gaussian_blur(sigma)
    with pytest.raises(ValueError, match="operator is 'roberts'"):
        filters.magnitude(image, "roberts")
    with pytest.raises(ValueError, match="allows at most 2 pixels of padding"):
        filters.apply(np.ones((3, 9)), filters.box_blur(7))
