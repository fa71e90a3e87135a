"""`image_dataset_from_directory`: image files of class folders as batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config
from fastconv.preprocessing import _files, _resize
from fastconv.preprocessing._iterators import image_files
from fastconv.utils.checks import integer, number
from fastconv.utils.dataset import PyDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import PathLike


class BatchDataset(PyDataset):
    """Batches by index that can be iterated over, cut, mapped and kept.

    `class_names` and `file_paths` are those of the folder they come from. Arrays of batches have
    `.numpy()`, as tensors of Keras's data sets do.
    """

    class_names: list[str] | None = None
    file_paths: list[str] | None = None

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def take(self, count: int) -> Any:
        """Return a data set of the first `count` batches."""
        count = integer(count, "count")
        return _Derived(self, lambda source, index: source[index], count)

    def map(self, function: Callable[..., Any], num_parallel_calls: Any = None) -> Any:
        """Return a data set of `function(images, labels)`, called with each batch's arrays.

        `num_parallel_calls` is accepted for Keras code, no effect.
        """

        def mapped(source: Any, index: int) -> Any:
            batch = source[index]
            return function(*batch) if isinstance(batch, tuple) else function(batch)

        return _Derived(self, mapped)

    def cache(self) -> Any:
        """Return a data set that keeps its batches in memory once they have been read."""
        kept = {}

        def cached(source: Any, index: int) -> Any:
            if index not in kept:
                kept[index] = source[index]
            return kept[index]

        return _Derived(self, cached)

    def prefetch(self, buffer_size: Any = None) -> Any:
        """Return this data set: `fit` reads ahead by itself (`max_queue_size`)."""
        return self


class _Derived(BatchDataset):
    def __init__(self, source: Any, get: Callable[..., Any], count: int | None = None) -> None:
        super().__init__(max_queue_size=source.max_queue_size)
        self._source, self._get, self._count = source, get, count
        self.class_names, self.file_paths = source.class_names, source.file_paths

    def __len__(self) -> int:
        n = len(self._source)
        return n if self._count is None else min(n, self._count)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)} was asked for")
        return self._get(self._source, index)

    def on_epoch_end(self) -> None:
        self._source.on_epoch_end()


class ImageDataset(BatchDataset):
    """Batches of image files; `image_dataset_from_directory` makes it.

    `file_paths` and `labels` are in the order of the first epoch without shuffling.
    """

    def __init__(
        self,
        file_paths: list[str],
        labels: Any,
        class_names: Any,
        load: Callable[..., Any],
        batch_size: int | None,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.file_paths = self._paths = file_paths
        self.labels = labels
        self.class_names = class_names
        self._load = load
        self._batch_size = batch_size
        self._rng = None if seed is None else np.random.RandomState(seed)
        self._order = np.arange(len(file_paths))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._paths) // (self._batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)} was asked for")
        from fastconv.layers.base import Array

        size = self._batch_size or 1
        chosen = self._order[index * size : (index + 1) * size]
        images = np.stack([self._load(self._paths[i]) for i in chosen]).view(Array)
        labels = None if self.labels is None else self.labels[chosen].view(Array)
        if self._batch_size is None:
            images, labels = images[0], None if labels is None else labels[0]
        return images if labels is None else (images, labels)

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch, if shuffling."""
        if self._rng is not None:
            self._order = self._rng.permutation(len(self._paths))


def image_dataset_from_directory(
    directory: PathLike,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str | None = None,
    verbose: int | str | bool = True,
) -> Any:
    """Return a data set of the image files (.jpg, .jpeg, .png, .bmp, .gif) below a folder.

    Args:
        directory: folder with one folder for each class.
        labels: "inferred" from the folders, None, or a list with one integer for each file in
            alphabetic order of the paths (then folders do not matter).
        label_mode: "int" (int32, shape (N,)), "categorical" (one-hot float32 (N, classes)),
            "binary" (float32 (N, 1) of 0 and 1), or None for images alone.
        class_names: the class folders in the order of their indices; None: alphabetic order.
        color_mode: "rgb", "rgba" or "grayscale".
        batch_size: images in a batch; None gives single images.
        image_size: (height, width) that images are resized to.
        shuffle: mix all files before they are split, and their order in each epoch.
        seed: of shuffling; with it files and split are the same in every run, and Keras's.
        validation_split: share of the files at the end for validation.
        subset: "training", "validation" or "both", needed with `validation_split`.
        interpolation: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5",
            "gaussian" or "mitchellcubic", without smoothing, as TensorFlow's `tf.image.resize`.
        follow_links: go into folders that are links.
        crop_to_aspect_ratio: cut images to the aspect ratio of `image_size` instead of distorting
            them.
        pad_to_aspect_ratio: put zeros around them instead.
        data_format: "channels_last", "channels_first", or None for the process-wide default.
        format: accepted for Keras code, no effect.
        verbose: print how many files and classes were found.

    Returns:
        `BatchDataset` of float32 images from 0 to 255 and labels; two of them (training,
        validation) for `subset="both"`. `len` is the number of batches.

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: no such folder.
        ValueError: arguments out of range or that contradict each other, no images.
    """
    _files.pillow()
    directory = os.fspath(directory)
    _files.check_color_mode(color_mode)
    size = _resize.check_size(image_size, "image_size")
    method = _resize.check_method(interpolation)
    data_format = config.standardize_data_format(data_format)
    if batch_size is not None:
        integer(batch_size, "batch_size", 1)
    if label_mode not in ("int", "categorical", "binary", None):
        raise ValueError(
            "`label_mode` must be 'int', 'categorical', 'binary' or None, "
            f"received: label_mode={label_mode!r}"
        )
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("give either `crop_to_aspect_ratio` or `pad_to_aspect_ratio`")
    _check_split(validation_split, subset, shuffle, seed)
    if labels is None or label_mode is None:
        labels = label_mode = None
    paths, labels, class_names = _index(directory, labels, class_names, follow_links)
    if verbose:
        of = "" if labels is None else f" belonging to {len(class_names)} classes"
        print(f"Found {len(paths)} files{of}.")
    if label_mode == "binary" and len(class_names) != 2:
        raise ValueError(f"label_mode='binary' needs two classes, found {class_names}")
    if seed is None:
        seed = int(np.random.randint(1_000_000))  # noqa: NPY002 - as Keras draws it
    if shuffle:
        np.random.RandomState(seed).shuffle(paths)
        if labels is not None:
            np.random.RandomState(seed).shuffle(labels)
    if labels is not None:
        labels = _encode(labels, str(label_mode), len(class_names))
    resize: Callable[..., NDArray[Any]] = _resize.resize
    if crop_to_aspect_ratio:
        resize = _resize.resize_with_crop
    elif pad_to_aspect_ratio:
        resize = _resize.resize_with_pad

    def load(path: PathLike) -> Any:
        x = np.asarray(_files.open_image(path, color_mode), np.float32)
        x = resize(x if x.ndim == 3 else x[..., None], size, method)
        return x.transpose(2, 0, 1) if data_format == "channels_first" else x

    def part(name: str | None) -> Any:
        begin, end = 0, len(paths)
        if validation_split:
            at = end - int(validation_split * end)
            begin, end = (0, at) if name == "training" else (at, end)
            if verbose:
                print(f"Using {end - begin} files for {name}.")
        if begin == end:
            raise ValueError(
                f"no {name + ' ' if name else ''}images in {directory!r}; expected files that end "
                f"in one of {_files.FORMATS}"
            )
        shuffled = shuffle and not (subset == "both" and name == "validation")
        return ImageDataset(
            paths[begin:end],
            None if labels is None else labels[begin:end],
            class_names,
            load,
            batch_size,
            seed if shuffled else None,
        )

    return (part("training"), part("validation")) if subset == "both" else part(subset)


def _check_split(
    validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None
) -> None:
    if validation_split is not None:
        number(validation_split, "validation_split")
        if not 0 < validation_split < 1:
            raise ValueError(
                "`validation_split` must be between 0 and 1, "
                f"received: validation_split={validation_split!r}"
            )
    if subset not in ("training", "validation", "both", None):
        raise ValueError(
            f"`subset` must be 'training', 'validation' or 'both', received: subset={subset!r}"
        )
    if (validation_split is None) != (subset is None):
        raise ValueError(
            "`validation_split` and `subset` belong together, received: "
            f"validation_split={validation_split!r}, subset={subset!r}"
        )
    if subset in ("training", "validation") and shuffle and seed is None:
        raise ValueError(
            f"subset={subset!r} with shuffle=True needs a `seed`: otherwise the files of the two "
            "subsets would overlap"
        )


def _index(directory: PathLike, labels: Any, class_names: Any, follow_links: bool) -> Any:
    """Return paths, the class index of each as an array (or None), and class names."""
    inferred = isinstance(labels, str) and labels == "inferred"
    if not inferred and labels is not None and not isinstance(labels, (list, tuple, np.ndarray)):
        raise ValueError(
            f"`labels` must be 'inferred', None or a list of integers, received: {labels!r}"
        )
    if class_names is not None and not inferred:
        raise ValueError("`class_names` needs labels='inferred'")
    folders = [""]
    if inferred:
        found = sorted(e.name for e in os.scandir(directory) if e.is_dir() and e.name[0] != ".")
        folders = found if class_names is None else list(class_names)
        if not set(folders) <= set(found):
            raise ValueError(
                f"`class_names` must be folders of {directory!r}, which are {found}, "
                f"received: {folders}"
            )
    else:
        os.scandir(directory).close()  # os.walk would find nothing in a folder that is not there
    paths, indices = [], []
    for index, folder in enumerate(folders):
        files = list(image_files(directory, folder, _files.FORMATS, follow_links))
        paths += [os.path.join(directory, name) for name in files]
        indices += [index] * len(files)
    if labels is None:
        return paths, None, None
    if inferred:
        return paths, np.array(indices, np.int32), folders
    labels = np.asarray(labels)
    if len(labels) != len(paths) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be one integer for each of the {len(paths)} files in {directory!r}, "
            f"received {len(labels)} of dtype {labels.dtype}"
        )
    return paths, labels.astype(np.int32), [str(label) for label in np.unique(labels)]


def _encode(labels: Any, mode: str, classes: int) -> NDArray[Any]:
    if mode == "int":
        return np.asarray(labels)
    if mode == "binary":
        return np.asarray(labels, np.float32)[:, None]
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        raise ValueError(
            f"label_mode='categorical' needs labels from 0 to {classes - 1}, "
            f"received {labels.min()} to {labels.max()}"
        )
    return np.asarray(np.eye(classes, dtype=np.float32)[labels])
