"""Resizing without smoothing, as TensorFlow's and Keras's image functions do."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike

METHODS = (
    "bilinear",
    "nearest",
    "bicubic",
    "area",
    "lanczos3",
    "lanczos5",
    "gaussian",
    "mitchellcubic",
)


def check_method(value: Any) -> str:
    """Return a checked name of an interpolation in lower case."""
    name = value.lower() if isinstance(value, str) else value
    if name not in METHODS:
        raise ValueError(f"`interpolation` must be one of {METHODS}, received: {value!r}")
    return name


def check_size(value: Any, name: str) -> tuple[int, int]:
    """Return (height, width) from a pair of positive integers or one."""
    pair = (value, value) if isinstance(value, (int, np.integer)) else value
    ok = isinstance(pair, (tuple, list, np.ndarray)) and len(pair) == 2
    if not ok or not all(isinstance(n, (int, np.integer)) and n > 0 for n in pair):
        raise ValueError(
            f"`{name}` must be (height, width), two positive integers, received: {name}={value!r}"
        )
    return int(pair[0]), int(pair[1])


def _cubic(x: TensorLike, b: Any, c: Any) -> Any:
    """Mitchell and Netravali's family of cubic filters (1988)."""
    x = np.abs(x)
    near = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b) / 6
    far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c
    return np.where(x < 1, near, np.where(x < 2, far / 6, 0))


def _lanczos(x: TensorLike, radius: int) -> Any:
    return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0)


# Name: (radius, weight at a distance).
_KERNELS: dict[str, tuple[float, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "bilinear": (1, lambda x: np.maximum(0, 1 - np.abs(x))),
    "bicubic": (2, lambda x: _cubic(x, 0, 0.5)),  # Keys 1981
    "mitchellcubic": (2, lambda x: _cubic(x, 1 / 3, 1 / 3)),
    "lanczos3": (3, lambda x: _lanczos(x, 3)),
    "lanczos5": (5, lambda x: _lanczos(x, 5)),
    "gaussian": (1.5, lambda x: np.where(np.abs(x) < 1.5, np.exp(-2 * x**2), 0)),
}


@functools.lru_cache(maxsize=256)
def _taps(size: int, target: int, method: str) -> Any:
    """Return input indices and weights (target, taps) of each output position."""
    scale = size / target
    i = np.arange(target)
    if method == "nearest":
        at = np.minimum(np.floor((i + 0.5) * scale), size - 1).astype(np.int64)
        return at[:, None], np.ones((target, 1), np.float32)
    if method == "area":
        begin, end = i * scale, (i + 1) * scale
        index = np.floor(begin).astype(np.int64)[:, None] + np.arange(math.ceil(scale) + 1)
        weight = np.minimum(index + 1, end[:, None]) - np.maximum(index, begin[:, None])
        weight = np.maximum(weight, 0) / scale
    else:
        radius, kernel = _KERNELS[method]
        at = (i + 0.5) * scale - 0.5
        index = np.floor(at - radius).astype(np.int64)[:, None] + np.arange(
            math.ceil(2 * radius) + 2
        )
        weight = kernel(index - at[:, None])
        if method != "bilinear":  # whose edge pixel goes on outside
            weight = np.where((index >= 0) & (index < size), weight, 0)
        weight = weight / weight.sum(axis=1, keepdims=True)
    used = (weight != 0).any(axis=0)
    return np.clip(index[:, used], 0, size - 1), weight[:, used].astype(np.float32)


def _resample(x: NDArray[Any], axis: int, target: int, method: str) -> NDArray[Any]:
    if x.shape[axis] == target:
        return x
    index, weight = _taps(x.shape[axis], target, method)
    if index.shape[1] == 1:
        return np.asarray(np.take(x, index[:, 0], axis))
    shape = [1] * x.ndim
    shape[axis] = target
    total: NDArray[Any] = np.take(x, index[:, 0], axis) * weight[:, 0].reshape(shape)
    for t in range(1, index.shape[1]):
        total += np.take(x, index[:, t], axis) * weight[:, t].reshape(shape)
    return total


def resize(x: NDArray[Any], size: Any, method: str = "bilinear") -> NDArray[Any]:
    """Return images (..., H, W, C) resized to (height, width), as float32 (float64 stays)."""
    x = np.asarray(x)
    x = x.astype(np.float64 if x.dtype == np.float64 else np.float32, copy=False)
    return _resample(_resample(x, x.ndim - 3, size[0], method), x.ndim - 2, size[1], method)


def crop_window(height: int, width: int, size: Any) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest window in the middle of an image that has
    the aspect ratio of `size`.
    """
    crop_h = max(min(height, int(width * size[0] / size[1])), 1)
    crop_w = max(min(width, int(height * size[1] / size[0])), 1)
    return (height - crop_h) // 2, (width - crop_w) // 2, crop_h, crop_w


def resize_with_crop(x: NDArray[Any], size: Any, method: str) -> NDArray[Any]:
    """Cut the window of the target's aspect ratio out of images (..., H, W, C) and resize it."""
    top, left, height, width = crop_window(x.shape[-3], x.shape[-2], size)
    return resize(x[..., top : top + height, left : left + width, :], size, method)


def resize_with_pad(x: NDArray[Any], size: Any, method: str) -> NDArray[Any]:
    """Resize images (..., H, W, C) to fit into `size` and put zeros around them."""
    height, width = x.shape[-3], x.shape[-2]
    ratio = max(width / size[1], height / size[0])
    inner = (max(1, int(height / ratio)), max(1, int(width / ratio)))
    y = resize(x, inner, method)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    out = np.zeros((*x.shape[:-3], *size, x.shape[-1]), y.dtype)
    out[..., top : top + inner[0], left : left + inner[1], :] = y
    return out


def smart_resize(
    x: TensorLike, size: Any, interpolation: str = "bilinear", data_format: str = "channels_last"
) -> NDArray[Any]:
    """Return images resized to `size` without distortion: what does not fit is cut off.

    Args:
        x: image (H, W, C) or images (N, H, W, C); channels before H for "channels_first".
        size: (height, width).
        interpolation: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5",
            "gaussian" or "mitchellcubic"; none of them smooths where images shrink.
        data_format: "channels_last" or "channels_first".

    Raises:
        ValueError: another shape, size or name.
    """
    x = np.asarray(x)
    size = check_size(size if not isinstance(size, (int, np.integer)) else None, "size")
    method = check_method(interpolation)
    if x.ndim not in (3, 4):
        raise ValueError(f"expected an image (H, W, C) or a batch of them, received {x.shape}")
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last' or 'channels_first', "
            f"received: data_format={data_format!r}"
        )
    if data_format == "channels_first":
        return np.moveaxis(resize_with_crop(np.moveaxis(x, -3, -1), size, method), -1, -3)
    return resize_with_crop(x, size, method)
