"""Image files and Pillow images."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import PathLike, TensorLike

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_RESAMPLING = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def pillow() -> Any:
    """Return `PIL.Image`.

    Raises:
        ImportError: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "image files and Pillow images need pillow: pip install 'fastconv[image]'"
        ) from error
    return Image


def check_color_mode(value: Any) -> str:
    """Return a checked color mode."""
    if value not in CHANNELS:
        raise ValueError(f"`color_mode` must be one of {tuple(CHANNELS)}, received: {value!r}")
    return str(value)


def open_image(path: PathLike, color_mode: str) -> Any:
    """Return the Pillow image of a file in a color mode, read to its end."""
    image = pillow().open(path)
    if color_mode == "grayscale":
        # Grey levels of more than 8 bits keep them.
        wanted = image.mode if image.mode in ("L", "I;16", "I") else "L"
    else:
        wanted = color_mode.upper()
    with image:
        image.load()
        return image.convert(wanted) if image.mode != wanted else image.copy()


def load_img(
    path: PathLike,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Return the Pillow image of a file.

    Args:
        path: of the file, or a file object.
        color_mode: "rgb", "rgba" or "grayscale".
        target_size: (height, width) to resize to; None keeps the size.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
        keep_aspect_ratio: cut the centre out with the aspect ratio of `target_size` first.

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: no such file.
        ValueError: an unknown color mode or interpolation.
        OSError: not an image.
    """
    check_color_mode(color_mode)
    if interpolation not in _RESAMPLING:
        raise ValueError(f"`interpolation` must be one of {_RESAMPLING}, received: {interpolation}")
    if not isinstance(path, (str, bytes, os.PathLike, io.IOBase)):
        raise TypeError(f"`path` must be a path or a file object, received: {type(path).__name__}")
    image = open_image(path, color_mode)
    if target_size is None:
        return image
    height, width = (int(n) for n in target_size)
    if image.size == (width, height):
        return image
    box = None
    if keep_aspect_ratio:
        w, h = image.size
        crop_h, crop_w = min(h, w * height // width), min(w, h * width // height)
        left, top = (w - crop_w) // 2, (h - crop_h) // 2
        box = (left, top, left + crop_w, top + crop_h)
    return image.resize((width, height), getattr(pillow().Resampling, interpolation.upper()), box)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> NDArray[Any]:
    """Return a Pillow image as an array (H, W, C), or (C, H, W) for "channels_first".

    Args:
        img: a Pillow image, or an array of two or three axes.
        data_format: None takes `fastconv.config.image_data_format()`.
        dtype: None takes `fastconv.config.floatx()`.

    Raises:
        ValueError: another number of axes.
    """
    data_format = config.standardize_data_format(data_format)
    x = np.asarray(img, dtype=config.floatx() if dtype is None else dtype)
    if x.ndim == 2:
        x = x[..., None]
    elif x.ndim != 3:
        raise ValueError(f"an image has two or three axes, received shape {x.shape}")
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(
    x: TensorLike, data_format: str | None = None, scale: Any = True, dtype: Any = None
) -> Any:
    """Return the Pillow image of an array (H, W, C), or (C, H, W) for "channels_first".

    Args:
        x: numbers for 1, 3 or 4 channels.
        data_format: None takes `fastconv.config.image_data_format()`.
        scale: whether to stretch the values to [0, 255]; without it they must lie there.
        dtype: type to compute in, None takes `fastconv.config.floatx()`.

    Raises:
        ImportError: Pillow is missing.
        ValueError: another shape.
    """
    image = pillow()
    data_format = config.standardize_data_format(data_format)
    x = np.asarray(x, dtype=config.floatx() if dtype is None else dtype)
    if x.ndim == 3 and data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"expected an image with three axes and 1, 3 or 4 channels, received shape {x.shape}"
            + (" (channels last)" if data_format == "channels_first" else "")
        )
    if scale:
        x = x - np.min(x)
        top = np.max(x)
        x = (x / top if top != 0 else x) * 255
    if x.shape[2] == 1:
        wide = np.max(x) > 255  # Pillow's mode I has 32 bits
        return image.fromarray(x[:, :, 0].astype(np.int32 if wide else np.uint8))
    return image.fromarray(x.astype(np.uint8))


def save_img(
    path: PathLike,
    x: TensorLike,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: Any = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file.

    Args:
        path: of the file, or a file object.
        x: array (H, W, C), or (C, H, W) for "channels_first".
        data_format: None takes `fastconv.config.image_data_format()`.
        file_format: such as "png"; needed for file objects, otherwise the suffix tells.
        scale: whether to stretch the values to [0, 255].
        kwargs: go to Pillow's `Image.save`.
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(os.fspath(path))[1][1:]
    file_format = {"jpg": "jpeg"}.get(str(file_format or "").lower(), file_format) or None
    img = array_to_img(x, data_format, scale)
    if img.mode == "RGBA" and str(file_format).lower() == "jpeg":
        warnings.warn("JPEG files have no alpha channel: the image is saved as RGB", stacklevel=2)
        img = img.convert("RGB")
    img.save(path, format=file_format, **kwargs)
