"""Padding, cropping and enlarging of feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import config, ops
from fastconv.layers.arguments import (
    enter_channels_last,
    from_channels_last,
    int_tuple,
    leave_channels_last,
    positive_int,
    side_pairs,
    to_channels_last,
)
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastconv._types import Shape, TensorLike


class _Sides(Layer):
    """Base of layers that change a number of elements at both ends of each spatial axis."""

    rank = 2
    argument = "padding"

    def __init__(self, value: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        if self.rank == 1 and isinstance(value, (tuple, list)) and len(value) == 2:
            value = (tuple(value),)
        self.sides = side_pairs(value, self.rank, self.argument, f'layer "{self.name}"')
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _spatial(self, x_shape: Shape, change: Any) -> Any:
        n, *sizes, channels = to_channels_last(x_shape, self.data_format)
        sizes = [
            None if size is None else change(size, *pair)
            for size, pair in zip(sizes, self.sides, strict=True)
        ]
        return from_channels_last((n, *sizes, channels), self.data_format)

    def _first_axis(self) -> Any:
        return 1 if self.data_format == "channels_last" else 2

    def get_config(self) -> dict[str, Any]:
        sides = [list(pair) for pair in self.sides]
        value = sides[0] if self.rank == 1 else sides
        return {**super().get_config(), self.argument: value, "data_format": self.data_format}


class _ZeroPadding(_Sides):
    def call(self, inputs: TensorLike) -> TensorLike:
        pads: list[Sequence[int]] = [[0, 0] for _ in inputs.shape]
        pads[self._first_axis() : self._first_axis() + self.rank] = self.sides
        begins, ends = zip(*pads, strict=True)
        return inputs.g.pad(inputs, pads=[*begins, *ends], mode="constant", value=0.0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._spatial(input_shape, lambda size, before, after: size + before + after)


class ZeroPadding2D(_ZeroPadding):
    """Zeros around feature maps (N, H, W, C).

    Args:
        padding: pixels, an integer, (h, w) or ((top, bottom), (left, right)).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    Raises:
        ValueError: negative numbers.
    """

    def __init__(
        self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(padding, data_format, **kwargs)

    @property
    def padding(self) -> Any:
        """Zeros added, ((top, bottom), (left, right))."""
        return self.sides


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after sequences (N, L, C).

    `padding` is an integer or (before, after); data_format is as of `ZeroPadding2D`.
    """

    rank = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)

    @property
    def padding(self) -> Any:
        """Zeros added, (before, after)."""
        return self.sides[0]


class _Cropping(_Sides):
    argument = "cropping"

    def _cut(self, size: Any, before: Any, after: Any) -> Any:
        if size - before - after <= 0:
            raise ValueError(
                f'layer "{self.name}": cropping {before} + {after} leaves nothing of size {size}'
            )
        return size - before - after

    def call(self, inputs: TensorLike) -> TensorLike:
        self.compute_output_shape(inputs.shape)
        index = [slice(None)] * inputs.ndim
        for axis, (before, after) in enumerate(self.sides, self._first_axis()):
            index[axis] = slice(before, inputs.shape[axis] - after)
        return ops.get_item(inputs, tuple(index))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._spatial(input_shape, self._cut)


class Cropping2D(_Cropping):
    """Feature maps (N, H, W, C) without their borders.

    Args:
        cropping: pixels cut off, an integer, (h, w) or ((top, bottom), (left, right)).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    Raises:
        ValueError: negative numbers, or nothing is left.
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)

    @property
    def cropping(self) -> Any:
        """Pixels cut off, ((top, bottom), (left, right))."""
        return self.sides


class Cropping1D(_Cropping):
    """Sequences (N, L, C) without their ends.

    `cropping` is an integer or (before, after); data_format and errors are as of `Cropping2D`.
    """

    rank = 1

    def __init__(
        self, cropping: Any = (1, 1), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)

    @property
    def cropping(self) -> Any:
        """Elements cut off, (before, after)."""
        return self.sides[0]


class UpSampling2D(Layer):
    """Feature maps enlarged by whole factors: (N, H, W, C) -> (N, h H, w W, C).

    Args:
        size: factors of height and width.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
        interpolation: "nearest" repeats pixels, "bilinear" interpolates with half-pixel centres.
    """

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = int_tuple(size, 2, "size", f'layer "{self.name}"')
        self.data_format = config.standardize_data_format(data_format)
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                f'layer "{self.name}": `interpolation` must be "nearest" or "bilinear", '
                f"received: interpolation={interpolation!r}"
            )
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: TensorLike) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        size = [x.shape[1] * self.size[0], x.shape[2] * self.size[1]]
        y = x.g.resize(x, size=size, mode=self.interpolation)
        return leave_channels_last(y, self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, h, w, channels = to_channels_last(input_shape, self.data_format)
        h = None if h is None else h * self.size[0]
        w = None if w is None else w * self.size[1]
        return from_channels_last((n, h, w, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": list(self.size),
            "data_format": self.data_format,
            "interpolation": self.interpolation,
        }


class UpSampling1D(Layer):
    """Each step repeated `size` times: (N, L, C) -> (N, L * size, C)."""

    def __init__(self, size: Any = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = int_tuple(size, 1, "size", f'layer "{self.name}"')[0]
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: TensorLike) -> TensorLike:
        n, length, channels = inputs.shape
        x = inputs.g.reshape(inputs, shape=[n, 1, length, channels])
        y = x.g.resize(x, size=[1, length * self.size], mode="nearest")
        return y.g.reshape(y, shape=[n, length * self.size, channels])

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, length, channels = input_shape
        return (n, None if length is None else length * self.size, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


class RepeatVector(Layer):
    """Each vector n times: (N, C) -> (N, n, C)."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = positive_int(n, "n", f'layer "{self.name}"')
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: TensorLike) -> TensorLike:
        return ops.concatenate([ops.expand_dims(inputs, 1)] * self.n, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n, input_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


class CenterCrop(Layer):
    """The middle of images (N, H, W, C).

    Images that are too small are cut to the wanted proportions and enlarged, as Keras does it.

    Args:
        height, width: pixels of the result.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
    """

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = f'layer "{self.name}"'
        self.height = positive_int(height, "height", owner)
        self.width = positive_int(width, "width", owner)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: TensorLike) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        h, w = x.shape[1:3]
        size = (self.height, self.width)
        small = h < self.height or w < self.width
        if small:
            size = (w * self.height // self.width, h * self.width // self.height)
            size = (max(min(h, size[0]), 1), max(min(w, size[1]), 1))
        top, left = (h - size[0]) // 2, (w - size[1]) // 2
        x = x[:, top : top + size[0], left : left + size[1]]
        if small:
            x = x.g.resize(x, size=[self.height, self.width], mode="bilinear")
        return leave_channels_last(x, self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, _, _, channels = to_channels_last(input_shape, self.data_format)
        return from_channels_last((n, self.height, self.width, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        sizes = {"height": self.height, "width": self.width}
        return {**super().get_config(), **sizes, "data_format": self.data_format}
