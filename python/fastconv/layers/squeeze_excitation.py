"""Squeeze-and-excitation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import config, ops
from fastconv.layers.arguments import positive_int
from fastconv.layers.base import Layer
from fastconv.layers.conv import Conv2D
from fastconv.layers.input_spec import InputSpec
from fastconv.layers.pooling import GlobalAveragePooling2D

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class SEBlock(Layer):
    """Feature maps, each scaled by a number in (0, 1) that all maps decide: (N, H, W, C) -> same.

    The mean of each map goes through a dense layer with ReLU and one with sigmoid. The first has
    C / ratio units, as a multiple of `divisor`, and at least `divisor`; with `divisor=1` it is the
    paper's.

    Args:
        ratio: the paper's reduction ratio r.
        divisor: the first layer's units are rounded to a multiple of it.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017.
    """

    def __init__(
        self, ratio: int = 16, divisor: int = 8, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = f'layer "{self.name}"'
        self.ratio = positive_int(ratio, "ratio", owner)
        self.divisor = positive_int(divisor, "divisor", owner)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)
        self.pool = GlobalAveragePooling2D(self.data_format, keepdims=True, dtype=self.dtype)
        self.fc1: Conv2D | None = None
        self.fc2: Conv2D | None = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f'layer "{self.name}": the channel axis of the input must be known, '
                f"received shape {tuple(input_shape)}"
            )
        self.input_spec = InputSpec(ndim=4, axes={axis: channels})
        units = int(channels / self.ratio + self.divisor / 2) // self.divisor * self.divisor
        units = max(units, self.divisor)
        shared: dict[str, Any] = {"data_format": self.data_format, "dtype": self.dtype}
        fc1 = self.fc1 = Conv2D(
            units, 1, activation="relu", kernel_initializer="he_normal", name="fc1", **shared
        )
        fc2 = self.fc2 = Conv2D(channels, 1, activation="sigmoid", name="fc2", **shared)
        squeezed = self.pool.compute_output_shape(input_shape)
        fc1.build(squeezed)
        fc2.build(fc1.compute_output_shape(squeezed))
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        assert self.fc1 is not None and self.fc2 is not None  # it has been built
        return ops.multiply(inputs, self.fc2(self.fc1(self.pool(inputs))))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "divisor": self.divisor,
            "data_format": self.data_format,
        }
