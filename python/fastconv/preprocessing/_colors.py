"""Shifts of brightness and of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


def _per_image(values: NDArray[Any]) -> NDArray[Any]:
    return np.reshape(values, (-1, 1, 1, 1))


def shift_channels(images: NDArray[Any], intensity: NDArray[Any]) -> NDArray[Any]:
    """Return images (N, ...) plus numbers (N,), cut off at each image's own extremes."""
    axes = (1, 2, 3)
    low, high = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    y = images + _per_image(intensity).astype(images.dtype)
    return np.asarray(np.clip(y, low, high, out=y))


def shift_brightness(
    images: TensorLike, factor: Any, scale: bool, channel_axis: int
) -> NDArray[Any]:
    """Return images (N, ...) multiplied by factors (N,), computed in 8 bits as Pillow does.

    `scale` and images with values outside [0, 255] are stretched to [0, 255] first; the latter are
    brought back to their range where `scale` is false. An alpha channel stays as it is.
    """
    images = images.astype(np.float32 if images.dtype != np.float64 else np.float64, copy=False)
    axes = (1, 2, 3)
    low, high = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    outside = (low < 0) | (high > 255)
    x = images
    stretched = np.ones_like(outside) if scale else outside
    if stretched.any():
        x = np.where(stretched, x - low, x)
        x = np.where(stretched, x / np.where(high == low, 1, high - low) * 255, x)
    x = np.trunc(x)
    y = x.astype(np.float32, copy=False) * _per_image(factor).astype(np.float32)
    np.trunc(np.clip(y, 0, 255, out=y), out=y)
    if images.shape[channel_axis] == 4:
        alpha: list[slice | int] = [slice(None)] * 4
        alpha[channel_axis] = 3
        y[tuple(alpha)] = x[tuple(alpha)]
    if not scale and outside.any():
        y = np.where(outside, y / 255 * (high - low) + low, y)
    return np.asarray(y, images.dtype)


def apply_channel_shift(x: TensorLike, intensity: float, channel_axis: int = 0) -> Any:
    """Return an image x plus `intensity`, cut off at the image's smallest and largest value.

    `channel_axis` is accepted for Keras code: all channels are treated alike.
    """
    return shift_channels(np.asarray(x)[None], np.array([intensity]))[0]


def random_channel_shift(x: TensorLike, intensity_range: float, channel_axis: int = 0) -> Any:
    """`apply_channel_shift` of x by a random intensity in [-intensity_range, intensity_range]."""
    intensity = np.random.uniform(-intensity_range, intensity_range)  # noqa: NPY002
    return apply_channel_shift(x, intensity, channel_axis)


def apply_brightness_shift(x: TensorLike, brightness: float, scale: Any = True) -> Any:
    """Return an image with its values multiplied by `brightness`, in steps of 1 / 255.

    Args:
        x: image (H, W, C) of 1, 3 or 4 channels (the fourth, alpha, stays).
        brightness: factor; 1 changes nothing but the rounding.
        scale: whether to stretch the values to [0, 255] first. Without it, values outside
            [0, 255] are stretched and brought back.

    Raises:
        ValueError: not such an image.
    """
    x = np.asarray(x)
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4):
        raise ValueError(f"expected an image (H, W, 1, 3 or 4), received shape {x.shape}")
    return shift_brightness(x[None], np.array([brightness]), scale, 3)[0]


def random_brightness(x: TensorLike, brightness_range: Any, scale: Any = True) -> Any:
    """`apply_brightness_shift` with a random factor in `brightness_range`, a pair."""
    if np.shape(brightness_range) != (2,):
        raise ValueError(f"`brightness_range` must be two numbers, received: {brightness_range!r}")
    u = np.random.uniform(brightness_range[0], brightness_range[1])  # noqa: NPY002
    return apply_brightness_shift(x, u, scale)
