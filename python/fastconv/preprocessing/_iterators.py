"""The sources of batches that `ImageDataGenerator` makes."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config
from fastconv.preprocessing import _files
from fastconv.preprocessing._resize import check_size
from fastconv.utils.checks import integer
from fastconv.utils.dataset import PyDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import PathLike, Shape, TensorLike

FORMATS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")


def legacy_random(seed: int | None = None) -> Any:
    """Return NumPy's legacy random functions: the process-wide ones, or new ones with a seed.

    Keras's generator draws from them; so equal seeds give equal images.
    """
    return np.random if seed is None else np.random.RandomState(seed)


class Iterator(PyDataset):
    """Batches by index, or one after the other without an end.

    Args:
        n: number of samples.
        batch_size: samples in a batch; the last one of an epoch may have fewer.
        shuffle: a new order in each epoch.
        seed: of the order and of what subclasses draw from `self.random`.
        kwargs: `workers` and `max_queue_size` of `PyDataset`.

    Subclasses define `_get_batches_of_transformed_samples(indices)`.
    """

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = n
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.shuffle = shuffle
        self.seed = seed
        self.batch_index = 0
        self.total_batches_seen = 0
        self.index_array: NDArray[Any] | None = None
        self.lock = threading.Lock()
        self.random = legacy_random(seed)

    def _set_index_array(self) -> NDArray[Any]:
        order = self.random.permutation(self.n) if self.shuffle else np.arange(self.n)
        self.index_array = order
        return order

    def _seed_batch(self) -> None:
        if self.seed is not None:
            self.random.seed(self.seed + self.total_batches_seen)
        self.total_batches_seen += 1

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, idx: int) -> Any:
        if not 0 <= idx < len(self):
            raise IndexError(f"batch {idx} of {len(self)} was asked for")
        with self.lock:
            self._seed_batch()
            order = self._set_index_array() if self.index_array is None else self.index_array
            begin = self.batch_size * idx
            return self._get_batches_of_transformed_samples(order[begin : begin + self.batch_size])

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._set_index_array()

    def reset(self) -> None:
        """Start with the first batch again."""
        self.batch_index = 0

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        with self.lock:
            self._seed_batch()
            order = self.index_array
            if order is None or self.batch_index == 0:
                order = self._set_index_array()
            begin = self.batch_index * self.batch_size
            self.batch_index = self.batch_index + 1 if begin + self.batch_size < self.n else 0
            return self._get_batches_of_transformed_samples(order[begin : begin + self.batch_size])

    def _get_batches_of_transformed_samples(self, index_array: Any) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} must define _get_batches_of_transformed_samples(indices)"
        )


class _ImageIterator(Iterator):
    """What iterators of arrays and of files have in common."""

    def __init__(
        self, n: int, generator: Any, data_format: str | None, dtype: Any, save: Any, **kwargs: Any
    ) -> None:
        super().__init__(n, **kwargs)
        self.image_data_generator = generator
        self.data_format = config.standardize_data_format(data_format)
        self.dtype = config.standardize_dtype(dtype)
        self.save_to_dir, self.save_prefix, self.save_format = save

    def _save(self, images: TensorLike, indices: Any, hashes: int) -> None:
        if not self.save_to_dir:
            return
        for image, index in zip(images, indices, strict=True):
            number = self.random.randint(hashes)
            name = f"{self.save_prefix}_{index}_{number}.{self.save_format}"
            path = os.path.join(self.save_to_dir, name)
            _files.array_to_img(image, self.data_format, scale=True).save(path)


def _check_subset(subset: str | None, generator: Any) -> Any:
    """Return the share of samples at the start that is for validation."""
    if subset not in (None, "training", "validation"):
        raise ValueError(f"`subset` must be 'training' or 'validation', received: {subset!r}")
    if subset is not None and not generator._validation_split:
        raise ValueError(f"subset={subset!r} needs a `validation_split` of the ImageDataGenerator")
    return generator._validation_split


def warn_channels(what: str, shape: Shape, data_format: str) -> None:
    """Warn of images whose number of channels hints at another data format."""
    channels = shape[3 if data_format == "channels_last" else 1]
    if channels not in (1, 3, 4):
        warnings.warn(
            f"{what} expects images of 1, 3 or 4 channels ({data_format}), received shape "
            f"{tuple(shape)}",
            stacklevel=4,
        )


class NumpyArrayIterator(_ImageIterator):
    """Batches of arrays that `image_data_generator` changes; its method `flow` makes it.

    x, y, batch_size, shuffle, sample_weight, seed, save_to_dir, save_prefix, save_format, subset
    and ignore_class_split are the arguments of `flow`; data_format and dtype are the generator's.
    """

    def __init__(
        self,
        x: TensorLike,
        y: TensorLike,
        image_data_generator: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: TensorLike | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: PathLike | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: Any = None,
    ) -> None:
        misc = []
        if isinstance(x, (tuple, list)) and len(x) == 2:
            x, rest = x
            misc = [np.asarray(v) for v in (rest if isinstance(rest, list) else [rest])]
        x = np.asarray(x)
        y = None if y is None else np.asarray(y)
        weights = None if sample_weight is None else np.asarray(sample_weight)
        if x.ndim != 4:
            raise ValueError(f"flow() needs images with four axes, received shape {x.shape}")
        for name, array in [*(("x[1]", m) for m in misc), ("y", y), ("sample_weight", weights)]:
            if array is not None and (array.ndim == 0 or len(array) != len(x)):
                raise ValueError(
                    f"`{name}` must have as many samples as the images, received shapes "
                    f"{array.shape} and {x.shape}"
                )
        share = _check_subset(subset, image_data_generator)
        if subset is not None:
            at = int(len(x) * share)
            if y is not None and not ignore_class_split:
                parts = np.unique(y[:at]), np.unique(y[at:])
                if not np.array_equal(*parts):
                    raise ValueError(
                        f"the validation subset has {len(parts[0])} classes, the training "
                        f"subset {len(parts[1])}, or others: shuffle arrays that are sorted by "
                        "label, or pass ignore_class_split=True"
                    )
            part = slice(None, at) if subset == "validation" else slice(at, None)
            x, misc = x[part], [m[part] for m in misc]
            y = None if y is None else y[part]
            weights = None if weights is None else weights[part]
        super().__init__(
            len(x),
            image_data_generator,
            data_format,
            dtype,
            (save_to_dir, save_prefix, save_format),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        warn_channels("flow()", x.shape, self.data_format)
        self.x, self.x_misc, self.y, self.sample_weight = x, misc, y, weights

    def _get_batches_of_transformed_samples(self, index_array: Any) -> Any:
        images = self.x[index_array].astype(self.dtype, copy=False)
        images = self.image_data_generator._random_batch(images, self.random)
        self._save(images, index_array, 10_000)
        x = [images, *(m[index_array] for m in self.x_misc)] if self.x_misc else images
        if self.y is None:
            return x
        if self.sample_weight is None:
            return x, self.y[index_array]
        return x, self.y[index_array], self.sample_weight[index_array]


class DirectoryIterator(_ImageIterator):
    """Batches of image files that `image_data_generator` changes.

    The generator's method `flow_from_directory` makes it, and has the arguments directory,
    target_size, color_mode, classes, class_mode, batch_size, shuffle, seed, save_to_dir,
    save_prefix, save_format, follow_links, subset, interpolation and keep_aspect_ratio; data_format
    and dtype are the generator's.

    Attributes: `class_indices` (name to index), `classes` and `labels` (the class index of each
    file), `filenames` (relative to the folder), `filepaths`, `samples`, `num_classes`,
    `image_shape`.
    """

    allowed_class_modes = ("categorical", "binary", "sparse", "input", None)
    white_list_formats = FORMATS

    def __init__(
        self,
        directory: PathLike,
        image_data_generator: Any,
        target_size: Any = (256, 256),
        color_mode: str = "rgb",
        classes: Any = None,
        class_mode: str = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: PathLike | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
    ) -> None:
        _files.pillow()
        self.directory = os.fspath(directory)
        self.target_size = check_size(target_size, "target_size")
        self.color_mode = _files.check_color_mode(color_mode)
        if class_mode not in self.allowed_class_modes:
            raise ValueError(
                f"`class_mode` must be one of {self.allowed_class_modes}, received: {class_mode!r}"
            )
        self.class_mode = class_mode
        self.subset = subset
        self.interpolation = interpolation
        self.keep_aspect_ratio = keep_aspect_ratio
        names = list(classes) if classes else _folders(self.directory)
        self.num_classes = len(names)
        self.class_indices = {name: i for i, name in enumerate(names)}
        share = _check_subset(subset, image_data_generator)
        self.filenames, labels = [], []
        for name, label in self.class_indices.items():
            found = list(image_files(self.directory, name, FORMATS, follow_links))
            at = int(share * len(found)) if subset else 0
            found = found[:at] if subset == "validation" else found[at:]
            self.filenames += found
            labels += [label] * len(found)
        self.classes = np.array(labels, np.int32)
        self.samples = len(self.filenames)
        if not self.filenames:
            warnings.warn(
                f"no images in the class folders {names} of {self.directory!r}; expected files "
                f"that end in one of {FORMATS}",
                stacklevel=3,
            )
        self.filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        super().__init__(
            self.samples,
            image_data_generator,
            data_format,
            dtype,
            (save_to_dir, save_prefix, save_format),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        channels = (_files.CHANNELS[color_mode],)
        last = self.data_format == "channels_last"
        self.image_shape = self.target_size + channels if last else channels + self.target_size

    @property
    def labels(self) -> Any:
        """The class index of each file."""
        return self.classes

    def _load(self, path: PathLike) -> Any:
        image = _files.load_img(
            path, self.color_mode, self.target_size, self.interpolation, self.keep_aspect_ratio
        )
        return _files.img_to_array(image, self.data_format, self.dtype)

    def _get_batches_of_transformed_samples(self, index_array: Any) -> Any:
        images = np.empty((len(index_array), *self.image_shape), self.dtype)
        for i, index in enumerate(index_array):
            images[i] = self._load(self.filepaths[index])
        images = self.image_data_generator._random_batch(images, self.random)
        self._save(images, index_array, 10_000_000)
        if self.class_mode is None:
            return images
        if self.class_mode == "input":
            return images, images.copy()
        labels = self.classes[index_array]
        if self.class_mode == "categorical":
            return images, np.eye(self.num_classes, dtype=self.dtype)[labels]
        return images, labels.astype(self.dtype)


def _folders(directory: str) -> list[str]:
    return sorted(e.name for e in os.scandir(directory) if e.is_dir())


def image_files(
    directory: PathLike, folder: str, formats: Any, follow_links: bool
) -> Generator[str, None, None]:
    """Yield the image files below a folder, relative to `directory`, in alphabetic order."""
    walk = os.walk(os.path.join(directory, folder), followlinks=follow_links)
    for root, _, names in sorted(walk, key=lambda entry: entry[0]):
        for name in sorted(names):
            if name.lower().endswith(formats):
                yield os.path.relpath(os.path.join(root, name), directory)
