"""Scaling of images to what weights trained on ImageNet expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastconv import config, layers, ops
from fastconv._graph import KerasTensor, Tensor

if TYPE_CHECKING:
    from fastconv._types import TensorLike

# Means and standard deviations of ImageNet's channels, of values 0 to 1.
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])  # blue, green, red, of values 0 to 255
_MODES = {
    "caffe": (np.ones(3), -_CAFFE_MEAN),
    "tf": (np.full(3, 1 / 127.5), -np.ones(3)),
    "torch": (1 / (255 * _DEVIATION), -_MEAN / _DEVIATION),
}


def preprocess_input(
    x: TensorLike, data_format: str | None = None, mode: str = "caffe"
) -> TensorLike:
    """Scale RGB images with values 0 to 255; returns a new array or tensor.

    Args:
        x: array or symbolic tensor (H, W, 3) or (N, H, W, 3).
        data_format: "channels_last" or "channels_first", the global setting by default.
        mode: "caffe": blue, green, red, minus the channels' means on ImageNet; "tf": -1 to 1;
            "torch": minus the mean and by the standard deviation of each channel.

    Raises:
        ValueError: an unknown mode or format, or other than three channels.
    """
    if mode not in _MODES:
        raise ValueError(f"`mode` must be one of {list(_MODES)}, received: mode={mode!r}")
    data_format = config.standardize_data_format(data_format)
    symbolic = isinstance(x, (KerasTensor, Tensor))
    x = x if symbolic else np.asarray(x)
    axis = len(x.shape) - (1 if data_format == "channels_last" else 3)
    if len(x.shape) not in (3, 4) or x.shape[axis] != 3:
        raise ValueError(
            f"preprocess_input takes images with 3 channels, {data_format}, one or a batch, "
            f"received shape {tuple(x.shape)}"
        )
    spread = (3,) if data_format == "channels_last" else (3, 1, 1)
    scale, offset = (values.reshape(spread) for values in _MODES[mode])
    if mode == "caffe":
        parts = [x[(slice(None),) * axis + (slice(i, i + 1),)] for i in (2, 1, 0)]
        x = ops.concatenate(parts, axis=axis) if symbolic else np.concatenate(parts, axis)
    if symbolic:
        return layers.Rescaling(scale.tolist(), offset.tolist())(x)
    dtype = x.dtype if x.dtype.kind == "f" else config.floatx()
    return (x * scale + offset).astype(dtype)


def preprocessing(default: str) -> TensorLike:
    """Return a `preprocess_input` with another default mode."""

    def preprocess(
        x: TensorLike, data_format: str | None = None, mode: str = default
    ) -> TensorLike:
        return preprocess_input(x, data_format, mode)

    preprocess.__name__ = preprocess.__qualname__ = "preprocess_input"
    preprocess.__doc__ = preprocess_input.__doc__
    return preprocess
