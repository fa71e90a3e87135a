"""`ImageDataGenerator`: random transformations and normalization of batches of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config
from fastconv.preprocessing import _affine, _colors
from fastconv.preprocessing._iterators import (
    DirectoryIterator,
    NumpyArrayIterator,
    legacy_random,
    warn_channels,
)
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Axis, PathLike, Shape, TensorLike

_NEUTRAL = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}


def _pair(value: Any, name: str) -> Any:
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise ValueError(f"`{name}` must be two numbers, received: {name}={value!r}")
    return [number(v, name, owner="ImageDataGenerator") for v in value]


class ImageDataGenerator:
    """Batches of images with random transformations, made while a model trains.

    `flow` reads arrays and `flow_from_directory` folders of image files; what they return goes
    into `model.fit`.

    Args:
        featurewise_center: subtract the mean of each channel that `fit` found.
        samplewise_center: subtract the mean of each image.
        featurewise_std_normalization: divide by the deviation of each channel that `fit` found.
        samplewise_std_normalization: divide each image by its deviation.
        zca_whitening: multiply by the whitening matrix that `fit` found.
        zca_epsilon: added to the singular values of whitening.
        rotation_range: the largest angle, in degrees.
        width_shift_range, height_shift_range: below 1 the largest share of the size, above it the
            largest number of pixels; an integer n gives whole pixels from [0, n) with a random
            sign; a list gives one of its numbers with a random sign. As in Keras 3, the former
            moves images up and down, the latter to the sides.
        brightness_range: (low, high) of the factor.
        shear_range: the largest shear angle, in degrees.
        zoom_range: (low, high) of the factor, or z for (1 - z, 1 + z).
        channel_shift_range: the largest number added to all values.
        fill_mode: what lies outside an image: "nearest", "constant", "reflect" or "wrap".
        cval: the value outside for "constant".
        horizontal_flip, vertical_flip: mirror half of the images.
        rescale: factor of all values, after the transformations.
        preprocessing_function: called with each transformed image, returns it changed.
        data_format: "channels_last", "channels_first", or None for the process-wide default.
        validation_split: share of the samples at the start that is `subset="validation"`.
        interpolation_order: 0 (nearest pixel) or 1 (linear).
        dtype: of the batches; None takes `fastconv.config.floatx()`.

    All images of a batch are transformed in one call of the core; the random numbers are those of
    Keras's class for the same seed (of all images first, then `preprocessing_function` is called).

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: float = 0.0,
        height_shift_range: float = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: float = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[..., Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = zca_epsilon
        owner = "ImageDataGenerator"
        self.rotation_range = number(rotation_range, "rotation_range", owner=owner)
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.shear_range = number(shear_range, "shear_range", owner=owner)
        if np.ndim(zoom_range) == 0:
            zoom = number(zoom_range, "zoom_range", owner=owner)
            self.zoom_range = [1 - zoom, 1 + zoom]
        else:
            self.zoom_range = _pair(zoom_range, "zoom_range")
        self.channel_shift_range = number(channel_shift_range, "channel_shift_range", owner=owner)
        self.brightness_range = brightness_range
        if brightness_range is not None:
            self.brightness_range = _pair(brightness_range, "brightness_range")
        self.fill_mode = _affine.check_fill_mode(fill_mode)
        self.cval = number(cval, "cval", owner=owner)
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        self.data_format = config.standardize_data_format(data_format)
        self.dtype = config.standardize_dtype(dtype)
        self.interpolation_order = _affine.check_order(interpolation_order)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(
                "`validation_split` must be between 0 and 1, "
                f"received: validation_split={validation_split!r}"
            )
        self._validation_split = validation_split
        last = self.data_format == "channels_last"
        self.row_axis, self.col_axis, self.channel_axis = (1, 2, 3) if last else (2, 3, 1)
        self.mean: NDArray[Any] | None = None
        self.std: NDArray[Any] | None = None
        self.zca_whitening_matrix = None
        self._imply()

    def _imply(self) -> None:
        """Normalizations that need others turn them on, as Keras does."""
        for name, other, value in (
            ("zca_whitening", "featurewise_center", True),
            ("zca_whitening", "featurewise_std_normalization", False),
            ("featurewise_std_normalization", "featurewise_center", True),
            ("samplewise_std_normalization", "samplewise_center", True),
        ):
            if getattr(self, name) and bool(getattr(self, other)) != value:
                setattr(self, other, value)
                warnings.warn(f"ImageDataGenerator: {name}=True sets {other}={value}", stacklevel=3)

    # Sources of batches

    def flow(
        self,
        x: TensorLike,
        y: TensorLike | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: TensorLike | None = None,
        seed: int | None = None,
        save_to_dir: PathLike | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Return batches of arrays.

        Args:
            x: images (N, H, W, C), or (images, other) where `other` is an array or a list of
                arrays that batches hold unchanged beside the images.
            y: targets of N samples.
            batch_size: samples in a batch.
            shuffle: a new order in each epoch.
            sample_weight: one weight for each sample.
            seed: of the order and the transformations.
            save_to_dir: folder to write each transformed image to.
            save_prefix, save_format: start and suffix of those files' names.
            ignore_class_split: let the subsets have different classes.
            subset: "training" or "validation", parts by `validation_split`.

        Raises:
            ValueError: shapes that do not fit, subsets with different classes.
        """
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            ignore_class_split=ignore_class_split,
            dtype=self.dtype,
        )

    def flow_from_directory(
        self,
        directory: PathLike,
        target_size: Any = (256, 256),
        color_mode: str = "rgb",
        classes: Any = None,
        class_mode: str = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: PathLike | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Return batches of the image files of a folder that has one folder for each class.

        Args:
            directory: the folder.
            target_size: (height, width) that images are resized to.
            color_mode: "rgb", "rgba" or "grayscale".
            classes: names of the class folders; None takes all, in alphabetic order.
            class_mode: what the targets are: "categorical" (one-hot), "binary" or "sparse" (the
                class index), "input" (the images themselves), or None (none).
            batch_size, shuffle, seed, save_to_dir, save_prefix, save_format: as in `flow`.
            follow_links: go into folders that are links.
            subset: "training" or "validation", parts of each class by `validation_split`.
            interpolation, keep_aspect_ratio: as in `load_img`.

        Raises:
            ImportError: Pillow is missing.
            FileNotFoundError: no such folder.
            ValueError: an unknown mode.
        """
        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            dtype=self.dtype,
        )

    # Random transformations

    def get_random_transform(self, img_shape: Any, seed: int | None = None) -> dict[str, Any]:
        """Return random parameters for an image of `img_shape`.

        They are "theta" (degrees), "tx" and "ty" (pixels to the left and up), "shear" (degrees),
        "zx" and "zy" (factors), "flip_horizontal", "flip_vertical", "channel_shift_intensity" and
        "brightness" (None where not asked for). NumPy's legacy generator draws them, a new one if
        there is a `seed`.
        """
        drawn = self._draw(img_shape, 1, legacy_random(seed))
        return {k: v.item() if isinstance(v, np.ndarray) else v for k, v in drawn.items()}

    def _draw(self, shape: Shape, n: int, random: Any) -> dict[str, Any]:
        """Draw the parameters of n images of a shape, one image after the other.

        They are arrays (n,); what is not asked for is the number of `_NEUTRAL`, or None.
        """
        zoom = None if tuple(self.zoom_range) == (1, 1) else self.zoom_range
        ranges = {  # in Keras's order
            "theta": _symmetric(self.rotation_range),
            "tx": _shift(self.height_shift_range),
            "ty": _shift(self.width_shift_range),
            "shear": _symmetric(self.shear_range),
            "zx": zoom,
            "zy": zoom,
            "flip_horizontal": (0, 1),
            "flip_vertical": (0, 1),
            "channel_shift_intensity": _symmetric(self.channel_shift_range),
            "brightness": self.brightness_range,
        }
        wanted = {name: r for name, r in ranges.items() if r is not None}
        drawn = dict(zip(wanted, _numbers(list(wanted.values()), n, random).T, strict=True))
        for name, limit, axis in (
            ("tx", self.height_shift_range, self.row_axis),
            ("ty", self.width_shift_range, self.col_axis),
        ):
            if name in drawn and np.max(limit) < 1:
                drawn[name] = drawn[name] * shape[axis - 1]
        for name in ("horizontal", "vertical"):
            chosen = drawn[f"flip_{name}"] < 0.5
            drawn[f"flip_{name}"] = chosen & bool(getattr(self, f"{name}_flip"))
        return {name: drawn.get(name, _NEUTRAL.get(name)) for name in ranges}

    def apply_transform(self, x: TensorLike, transform_parameters: dict[str, Any]) -> NDArray[Any]:
        """Return an image transformed by parameters as of `get_random_transform`; what is missing
        changes nothing.

        Args:
            x: image (H, W, C), or (C, H, W) for "channels_first".
            transform_parameters: the dict.
        """
        x = np.asarray(x)
        if x.ndim != 3:
            raise ValueError(f"expected one image with three axes, received shape {x.shape}")
        y = self._transform(_affine.as_float(x)[None], transform_parameters)[0]
        return y if transform_parameters.get("brightness") is not None else _affine.like(y, x.dtype)

    def _transform(self, images: NDArray[Any], parameters: dict[str, Any]) -> NDArray[Any]:
        """Transform a batch by parameters: arrays (N,), or numbers for all images."""
        first = self.data_format == "channels_first"
        n, height, width = len(images), images.shape[self.row_axis], images.shape[self.col_axis]
        columns = {
            name: np.full(n, parameters.get(name, neutral), np.float64)
            for name, neutral in _NEUTRAL.items()
        }
        flips = [
            np.full(n, parameters.get(f"flip_{name}", False), bool)
            for name in ("horizontal", "vertical")
        ]
        moved = any((columns[name] != neutral).any() for name, neutral in _NEUTRAL.items())
        if moved or flips[0].any() or flips[1].any():
            maps = _affine.matrices(**columns, height=height, width=width)
            _affine.flip(maps, flips[0], flips[1], height, width)
            if first:
                images = images.transpose(0, 2, 3, 1)
            images = _affine.warp(
                np.ascontiguousarray(images),
                maps,
                self.interpolation_order,
                self.fill_mode,
                self.cval,
            )
            if first:
                images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        intensity, brightness = map(parameters.get, ("channel_shift_intensity", "brightness"))
        if intensity is not None:
            images = _colors.shift_channels(images, intensity)
        if brightness is not None:
            images = _colors.shift_brightness(images, brightness, False, self.channel_axis)
        return images

    def random_transform(self, x: TensorLike, seed: int | None = None) -> NDArray[Any]:
        """Return an image transformed by random parameters."""
        return self.apply_transform(x, self.get_random_transform(np.shape(x), seed))

    def _random_batch(self, images: NDArray[Any], random: Any) -> NDArray[Any]:
        """Return a batch as a model gets it: transformed at random and normalized."""
        images = self._transform(images, self._draw(images.shape[1:], len(images), random))
        if self.preprocessing_function is not None:
            images = np.stack(
                [np.asarray(self.preprocessing_function(x), self.dtype) for x in images]
            )
        return self._normalize(images, (1, 2, 3))

    # Normalization

    def standardize(self, x: TensorLike) -> NDArray[Any]:
        """Return an image, or images, normalized; arrays of floats are changed in place.

        The statistics of `samplewise_...` are those of all of `x`.
        """
        if self.preprocessing_function is not None:
            x = self.preprocessing_function(x)
        x = np.asarray(x)
        return self._normalize(x if x.dtype.kind == "f" else x.astype(self.dtype), None)

    def _normalize(self, x: NDArray[Any], axes: Axis | None) -> NDArray[Any]:
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x, axis=axes, keepdims=True)
        if self.samplewise_std_normalization:
            x /= np.std(x, axis=axes, keepdims=True) + 1e-6
        if self.featurewise_center and self._fitted("featurewise_center", self.mean):
            x -= self.mean
        if self.featurewise_std_normalization and self._fitted(
            "featurewise_std_normalization", self.std
        ):
            x /= np.asarray(self.std) + 1e-6
        if self.zca_whitening and self._fitted("zca_whitening", self.zca_whitening_matrix):
            flat = x.reshape(-1, int(np.prod(x.shape[-3:])))
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def _fitted(self, name: str, value: Any) -> bool:
        if value is None:
            warnings.warn(
                f"ImageDataGenerator: {name} needs statistics of the data: call fit(images) first",
                stacklevel=3,
            )
        return value is not None

    def fit(
        self, x: TensorLike, augment: bool = False, rounds: int = 1, seed: int | None = None
    ) -> None:
        """Find the statistics that `featurewise_...` and `zca_whitening` need.

        Args:
            x: images (N, H, W, C).
            augment: take statistics of transformed images.
            rounds: how many times each image is transformed for that.
            seed: of those transformations.

        Raises:
            ValueError: not a batch of images.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4 or len(x) == 0:
            raise ValueError(f"fit() needs images (N, H, W, C), received shape {x.shape}")
        warn_channels("fit()", x.shape, self.data_format)
        if self.rescale:
            x *= self.rescale
        if augment:
            random = legacy_random(seed)
            x = np.concatenate(
                [self._transform(x, self._draw(x.shape[1:], len(x), random)) for _ in range(rounds)]
            )
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(x, axis=axes, keepdims=True)[0]
            x = x - self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, axis=axes, keepdims=True)[0]
            x = x / (self.std + 1e-6)
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            s_inverse = np.sqrt(len(x)) / (s + self.zca_epsilon)
            self.zca_whitening_matrix = (u * s_inverse).dot(u.T)


def _symmetric(limit: Any) -> Any:
    return (-limit, limit) if limit else None


def _shift(limit: Any) -> Any:
    """Return the range of shifts: (low, high), an array to choose from, or None."""
    choices = np.asarray(limit)
    if choices.ndim == 0 and (not limit or choices.dtype.kind == "f" or limit < 0):
        return _symmetric(limit)
    return choices


def _numbers(ranges: list[Any], n: int, random: Any) -> NDArray[Any]:
    """Draw numbers (n, len(ranges)), row by row: from (low, high), or one of an array with a random
    sign.
    """
    if not any(isinstance(r, np.ndarray) for r in ranges):
        low, high = np.transpose(ranges)
        return np.asarray(random.uniform(low, high, (n, len(ranges))))

    def draw(r: Any) -> Any:
        if isinstance(r, np.ndarray):
            # The sign is what choice([-1, 1]) draws, in a third of its time.
            return random.choice(r) * (2 * random.randint(2) - 1)
        return random.uniform(*r)

    return np.array([[draw(r) for r in ranges] for _ in range(n)], np.float64)
