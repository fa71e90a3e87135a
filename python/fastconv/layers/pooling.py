"""Pooling: the largest or the mean value of windows or of whole feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import config, ops
from fastconv.layers.arguments import (
    enter_channels_last,
    from_channels_last,
    int_tuple,
    leave_channels_last,
    output_size,
    padding_mode,
    to_channels_last,
    window_pads,
)
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class _Pooling(Layer):
    rank = 2
    mode = "max"

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        n, where = self.rank, f'layer "{self.name}"'
        self.pool_size = int_tuple(pool_size, n, "pool_size", where)
        strides = self.pool_size if strides is None else strides
        self.strides = int_tuple(strides, n, "strides", where)
        self.padding = padding_mode(padding, where)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=n + 2)

    def call(self, inputs: TensorLike) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        g, lead = x.g, (1,) * (2 - self.rank)
        if self.rank == 1:
            n, length, channels = x.shape
            x = g.reshape(x, shape=[n, 1, length, channels])
        kernel, strides = lead + self.pool_size, lead + self.strides
        attrs = {
            "kernel": list(kernel),
            "strides": list(strides),
            "pads": window_pads(x.shape[1:3], kernel, strides, (1, 1), self.padding),
        }
        self.compute_output_shape(inputs.shape)
        if self.mode == "max":
            y = g.max_pool2d(x, dilations=[1, 1], **attrs)
        else:
            # As in Keras, the padding of "same" does not count in the mean.
            y = g.avg_pool2d(x, count_include_pad=False, **attrs)
        if self.rank == 1:
            n, _, length, channels = y.shape
            y = g.reshape(y, shape=[n, length, channels])
        return leave_channels_last(y, self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *sizes, channels = to_channels_last(input_shape, self.data_format)
        sizes = [
            output_size(size, pool, stride, 1, self.padding, f'layer "{self.name}"')
            for size, pool, stride in zip(sizes, self.pool_size, self.strides, strict=True)
        ]
        return from_channels_last((n, *sizes, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class MaxPooling2D(_Pooling):
    """The largest value of each window: (N, H, W, C) -> (N, H', W', C).

    H' is ceil(H / stride) with padding="same" and (H - pool) // stride + 1 with "valid".

    Args:
        pool_size: window, an integer or (h, w).
        strides: distance of windows, `pool_size` by default.
        padding: "valid" or "same"; padded places never win.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    Raises:
        ValueError: sizes that are not positive, or a window larger than the input.

    Examples:
        >>> import numpy as np
        >>> MaxPooling2D(2)(np.zeros((1, 5, 5, 3), "float32")).shape
        (1, 2, 2, 3)
    """


class MaxPooling1D(_Pooling):
    """The largest value of each window: (N, L, C) -> (N, L', C); arguments as of `MaxPooling2D`."""

    rank = 1


class AveragePooling2D(_Pooling):
    """The mean of each window: (N, H, W, C) -> (N, H', W', C); padding does not count.

    Arguments and errors as of `MaxPooling2D`.
    """

    mode = "mean"


class AveragePooling1D(_Pooling):
    """The mean of each window: (N, L, C) -> (N, L', C); padding does not count.

    Arguments and errors as of `MaxPooling2D`.
    """

    rank = 1
    mode = "mean"


class _AdaptivePooling2D(Layer):
    mode = "max"

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = int_tuple(output_size, 2, "output_size", f'layer "{self.name}"')
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: TensorLike) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        pool = x.g.adaptive_max_pool2d if self.mode == "max" else x.g.adaptive_avg_pool2d
        return leave_channels_last(pool(x, output_size=list(self.output_size)), self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *_, channels = to_channels_last(input_shape, self.data_format)
        return from_channels_last((n, *self.output_size, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        base = super().get_config()
        return {
            **base,
            "output_size": list(self.output_size),
            "data_format": self.data_format,
        }


class AdaptiveMaxPooling2D(_AdaptivePooling2D):
    """The largest values of windows that cover the input: (N, H, W, C) -> (N, h, w, C).

    Windows and arguments are those of `AdaptiveAveragePooling2D`.
    """


class AdaptiveAveragePooling2D(_AdaptivePooling2D):
    """The means of windows that cover the input: (N, H, W, C) -> (N, h, w, C).

    Window i of h covers the rows from floor(i * H / h) to ceil((i + 1) * H / h), columns likewise.

    Args:
        output_size: an integer or (h, w).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
    """

    mode = "mean"


class _GlobalPooling(Layer):
    rank = 2
    mode = "max"

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.keepdims = bool(keepdims)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: TensorLike) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        n, *_, channels = x.shape
        if self.rank == 2:
            pool = x.g.adaptive_max_pool2d if self.mode == "max" else x.g.adaptive_avg_pool2d
            y = pool(x, output_size=[1, 1])
        else:
            reduce = ops.max if self.mode == "max" else ops.mean
            y = reduce(x, axis=1, keepdims=True)
        if self.keepdims:
            return leave_channels_last(y, self.data_format)
        return y.g.reshape(y, shape=[n, channels])

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *_, channels = to_channels_last(input_shape, self.data_format)
        if not self.keepdims:
            return (n, channels)
        return from_channels_last((n, *(1,) * self.rank, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        base = super().get_config()
        return {**base, "data_format": self.data_format, "keepdims": self.keepdims}


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value of each feature map: (N, H, W, C) -> (N, C).

    Arguments as of `GlobalAveragePooling2D`.
    """


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value of each channel: (N, L, C) -> (N, C).

    Arguments as of `GlobalAveragePooling2D`.
    """

    rank = 1


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each feature map: (N, H, W, C) -> (N, C) (Lin et al. 2013).

    Args:
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
        keepdims: whether the axes stay with size 1, (N, 1, 1, C).
    """

    mode = "mean"


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel: (N, L, C) -> (N, C); arguments as of `GlobalAveragePooling2D`."""

    rank = 1
    mode = "mean"
