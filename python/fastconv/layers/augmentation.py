"""Random changes of images while a model trains. At inference the layers do nothing, but for
`RandomCrop`, which cuts the middle out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config, ops
from fastconv.layers.arguments import (
    enter_channels_last,
    from_channels_last,
    leave_channels_last,
    positive_int,
    to_channels_last,
)
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from fastconv._types import Shape, TensorLike

# Keras's names of what lies outside an image, and the operator's.
_FILL = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "reflect": "reflect",
    "wrap": "grid-wrap",
}
_ORDER = {"nearest": 0, "bilinear": 1}


def interval(value: Any, name: str, layer: str, low: float, high: float) -> tuple[float, float]:
    """Return (lower, upper) from a pair of numbers in [low, high], or (-n, n) from one, cut off
    at `low`.
    """
    if isinstance(value, (tuple, list)) and len(value) == 2:
        a, b = sorted(number(v, name, low, high, layer) for v in value)
        return a, b
    if isinstance(value, (tuple, list)):
        raise ValueError(
            f"{layer}: `{name}` must be a number or two numbers, received: {name}={value!r}"
        )
    size = abs(number(value, name, low, high, layer))
    return max(-size, low), size


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class RandomImageLayer(Layer):
    """Base of the layers here: their random numbers, data formats and ways of being called.

    A batch (N, H, W, C), one image (H, W, C) or a dict with "images" can be given; other entries
    of a dict stay as they are. Called on data without `training`, the layers are active.
    """

    def __init__(
        self, seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def __call__(self, inputs: TensorLike, *args: Any, **kwargs: Any) -> TensorLike:
        """Call the layer; see the class."""
        if isinstance(inputs, dict):
            refused = sorted(set(inputs) & {"bounding_boxes", "segmentation_masks"})
            if "images" not in inputs or refused:
                raise ValueError(
                    f'layer "{self.name}" expects a dict with "images" and without bounding boxes '
                    f"and masks, which it would not move along; received: {sorted(inputs)}"
                )
            return {**inputs, "images": self(inputs["images"], *args, **kwargs)}
        if isinstance(inputs, np.ndarray) and inputs.ndim == 3:
            return super().__call__(inputs[None], *args, **kwargs)[0]
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: TensorLike, training: bool = True) -> TensorLike:
        x = enter_channels_last(inputs, self.data_format)
        y = self.augment(x) if training else self.infer(x)
        return inputs if y is x else leave_channels_last(y, self.data_format)

    def augment(self, x: TensorLike) -> TensorLike:
        """Return images x (N, H, W, C) changed at random."""
        raise NotImplementedError(f"{type(self).__name__} does not define augment()")

    def infer(self, x: TensorLike) -> TensorLike:
        """Return what the model sees of images x (N, H, W, C) at inference."""
        return x

    def uniform(self, g: Any, shape: Shape, low: float, high: float, dtype: Any = "float64") -> Any:
        """Return a tensor of g with random numbers of a shape in [low, high), new in each step."""
        seed = g.seed(fixed=self.seed is not None)
        salt = g.next_salt() + (0 if self.seed is None else int(self.seed) % 2**40 * 65537)
        return g.random_uniform(
            seed, shape=list(shape), low=float(low), high=float(high), dtype=dtype, salt=salt
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed, "data_format": self.data_format}


def _warp(x: TensorLike, columns: Any, **attrs: Any) -> Any:
    """Sample images where six columns, tensors (N, 1) or numbers, map their pixels."""
    g, n = x.g, x.shape[0]
    columns = [
        c if hasattr(c, "id") else g.constant(np.full((n, 1), c), "float64") for c in columns
    ]
    return g.warp(x, ops.concatenate(columns, axis=1), **attrs)


class RandomFlip(RandomImageLayer):
    """Mirrors half of the images.

    Args:
        mode: "horizontal" (left and right), "vertical" (top and bottom) or
            "horizontal_and_vertical", which decides about each by itself.
        seed: random numbers are then the same in every run.
        data_format: "channels_last" or "channels_first".
    """

    _MODES = ("horizontal", "vertical", "horizontal_and_vertical")

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        if mode not in self._MODES:
            raise ValueError(
                f'layer "{self.name}": `mode` must be one of {self._MODES}, received: {mode!r}'
            )
        self.mode = mode

    def augment(self, x: TensorLike) -> TensorLike:
        g, (n, height, width, _) = x.g, x.shape

        def sign() -> Any:
            drawn = self.uniform(g, (n, 1), 0, 1)
            below = g.compare(drawn, g.constant(0.5, "float64"), kind="lt")
            return g.where(below, g.constant(-1.0, "float64"), g.constant(1.0, "float64"))

        columns = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        for axis, at, size in (("vertical", 0, height), ("horizontal", 4, width)):
            if axis in self.mode:
                columns[at] = factor = sign()
                columns[2 if at == 0 else 5] = (1.0 - factor) * ((size - 1) / 2)
        return _warp(x, columns, order=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


class _RandomMap(RandomImageLayer):
    """Base of layers that sample between pixels."""

    def __init__(
        self, fill_mode: str, interpolation: str, fill_value: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (
            ("fill_mode", fill_mode, _FILL),
            ("interpolation", interpolation, _ORDER),
        ):
            if value not in known:
                raise ValueError(
                    f'layer "{self.name}": `{name}` must be one of {tuple(known)}, '
                    f"received: {name}={value!r}"
                )
        self.fill_mode = fill_mode
        self.interpolation = interpolation
        self.fill_value = number(fill_value, "fill_value", owner=f'layer "{self.name}"')

    def columns(self, x: TensorLike) -> list[Any]:
        """Return six numbers or tensors (N, 1): the rows of the map from output to input pixels."""
        raise NotImplementedError(f"{type(self).__name__} has no columns()")

    def augment(self, x: TensorLike) -> TensorLike:
        return _warp(
            x,
            self.columns(x),
            order=_ORDER[self.interpolation],
            fill=_FILL[self.fill_mode],
            value=self.fill_value,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "fill_mode": self.fill_mode,
            "interpolation": self.interpolation,
            "fill_value": _plain(self.fill_value),
        }


class RandomRotation(_RandomMap):
    """Rotates each image about its centre.

    Args:
        factor: the largest angle as a share of a full turn, or (lower, upper); positive angles
            turn counter-clockwise.
        fill_mode: what lies outside: "reflect", "nearest", "wrap" or "constant" (`fill_value`).
        interpolation: "bilinear" or "nearest".
        seed, data_format: as for `RandomFlip`.
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs
        )
        self.factor = interval(factor, "factor", f'layer "{self.name}"', -1, 1)

    def columns(self, x: TensorLike) -> Any:
        """Return the map of `warp` for images x, six columns (N, 1) or numbers."""
        g, (n, height, width, _) = x.g, x.shape
        lower, upper = self.factor
        angle = self.uniform(g, (n, 1), 2 * math.pi * lower, 2 * math.pi * upper)
        cos, sin = g.cos(angle), g.sin(angle)
        cy, cx = (height - 1) / 2, (width - 1) / 2
        return [
            cos,
            sin,
            cy - sin * cx - cos * cy,
            -sin,
            cos,
            cx - cos * cx + sin * cy,
        ]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomZoom(_RandomMap):
    """Enlarges or shrinks each image about its centre.

    Args:
        height_factor: the largest change of the height, or (lower, upper): -0.3 enlarges so that
            70 % of the height are seen, 0.3 shrinks so that 130 % are.
        width_factor: likewise; None keeps the aspect ratio.
        fill_mode, interpolation, seed, fill_value, data_format: as for `RandomRotation`.
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs
        )
        self.height_factor, self.width_factor = height_factor, width_factor
        where = f'layer "{self.name}"'
        self._height = interval(height_factor, "height_factor", where, -1, 1)
        self._width = width_factor
        if width_factor is not None:
            self._width = interval(width_factor, "width_factor", where, -1, 1)

    def columns(self, x: TensorLike) -> Any:
        """Return the map of `warp` for images x, six columns (N, 1) or numbers."""
        n, height, width, _ = x.shape
        rows = columns = self.uniform(x.g, (n, 1), 1 + self._height[0], 1 + self._height[1])
        if self._width is not None:
            columns = self.uniform(x.g, (n, 1), 1 + self._width[0], 1 + self._width[1])
        top, left = (1.0 - rows) * ((height - 1) / 2), (1.0 - columns) * ((width - 1) / 2)
        return [rows, 0.0, top, 0.0, columns, left]

    def get_config(self) -> dict[str, Any]:
        factors = {"height_factor": self.height_factor, "width_factor": self.width_factor}
        return {**super().get_config(), **{k: _plain(v) for k, v in factors.items()}}


class RandomTranslation(_RandomMap):
    """Shifts each image.

    Args:
        height_factor: the largest shift as a share of the height, or (lower, upper); positive
            shifts go down.
        width_factor: likewise; positive shifts go to the right.
        fill_mode, interpolation, seed, fill_value, data_format: as for `RandomRotation`.
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs
        )
        self.height_factor, self.width_factor = height_factor, width_factor
        where = f'layer "{self.name}"'
        self._height = interval(height_factor, "height_factor", where, -1, 1)
        self._width = interval(width_factor, "width_factor", where, -1, 1)

    def columns(self, x: TensorLike) -> Any:
        """Return the map of `warp` for images x, six columns (N, 1) or numbers."""
        n, height, width, _ = x.shape
        down = self.uniform(x.g, (n, 1), height * self._height[0], height * self._height[1])
        right = self.uniform(x.g, (n, 1), width * self._width[0], width * self._width[1])
        return [1.0, 0.0, -down, 0.0, 1.0, -right]

    def get_config(self) -> dict[str, Any]:
        factors = {"height_factor": self.height_factor, "width_factor": self.width_factor}
        return {**super().get_config(), **{k: _plain(v) for k, v in factors.items()}}


class RandomCrop(RandomImageLayer):
    """Cuts a window of one size out of the images, the same random place for a whole batch.

    At inference, and where an image is smaller than the window, it is the largest window in the
    middle that has the window's aspect ratio, resized.

    Args:
        height, width: size of the window.
        seed, data_format: as for `RandomFlip`.
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.height = positive_int(height, "height", f'layer "{self.name}"')
        self.width = positive_int(width, "width", f'layer "{self.name}"')

    def augment(self, x: TensorLike) -> TensorLike:
        n, height, width, _ = x.shape
        if height < self.height or width < self.width:
            return self.infer(x)
        g = x.g
        top = g.floor(self.uniform(g, (1, 1), 0, height - self.height + 1))
        left = g.floor(self.uniform(g, (1, 1), 0, width - self.width + 1))
        top, left = (g.broadcast_to(place, shape=[n, 1]) for place in (top, left))
        columns = [1.0, 0.0, top, 0.0, 1.0, left]
        return _warp(x, columns, order=0, size=[self.height, self.width])

    def infer(self, x: TensorLike) -> TensorLike:
        from fastconv.preprocessing._resize import crop_window

        g, (_, height, width, _) = x.g, x.shape
        top, left, rows, columns = crop_window(height, width, (self.height, self.width))
        for axis, start, size in ((1, top, rows), (2, left, columns)):
            if size != x.shape[axis]:
                x = g.slice(x, axis=axis, start=start, end=start + size)
        if (rows, columns) == (self.height, self.width):
            return x
        return g.resize(x, size=[self.height, self.width], mode="bilinear")

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, _, _, channels = to_channels_last(input_shape, self.data_format)
        return from_channels_last((n, self.height, self.width, channels), self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


class _RandomColor(RandomImageLayer):
    """Base of layers that know the range of the values."""

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
            raise ValueError(
                f'layer "{self.name}": `value_range` must be two numbers, '
                f"received: value_range={value_range!r}"
            )
        where = f'layer "{self.name}"'
        low, high = sorted(number(v, "value_range", owner=where) for v in value_range)
        self.value_range = (low, high)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": list(self.value_range)}


class RandomContrast(_RandomColor):
    """Scales each channel about its mean, then cuts off at `value_range`.

    Args:
        factor: scales are drawn from [1 - factor, 1 + factor], or from [1 - lower, 1 + upper] for
            (lower, upper); all in [0, 1].
        value_range: of the images.
        seed, data_format: as for `RandomFlip`.
    """

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        where = f'layer "{self.name}"'
        if isinstance(factor, (tuple, list)):
            self.factor = tuple(number(v, "factor", 0, 1, where) for v in factor)
            if len(self.factor) != 2:
                raise ValueError(
                    f"{where}: `factor` must be a number or two numbers, received: {factor!r}"
                )
        else:
            self.factor = (number(factor, "factor", 0, 1, where),) * 2

    def augment(self, x: TensorLike) -> TensorLike:
        shape = (x.shape[0], 1, 1, 1)
        factor = self.uniform(x.g, shape, 1 - self.factor[0], 1 + self.factor[1], x.dtype)
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        return ops.clip((x - mean) * factor + mean, *self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomBrightness(_RandomColor):
    """Adds a number to each image, then cuts off at `value_range`.

    Args:
        factor: the largest number as a share of the range, or (lower, upper), in [-1, 1].
        value_range: of the images.
        seed, data_format: as for `RandomFlip`.
    """

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        self.factor = interval(factor, "factor", f'layer "{self.name}"', -1, 1)

    def augment(self, x: TensorLike) -> TensorLike:
        size = self.value_range[1] - self.value_range[0]
        lower, upper = (size * f for f in self.factor)
        return ops.clip(
            x + self.uniform(x.g, (x.shape[0], 1, 1, 1), lower, upper, x.dtype), *self.value_range
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomErasing(_RandomColor):
    """Covers a random rectangle of each image (Zhong et al. 2020).

    Args:
        factor: the probability, drawn for each image from [0, factor] or from (lower, upper).
        scale: (lower, upper) of the squared share of each side that is covered, or (0, scale).
        fill_value: a number, one for each channel, or None for normal noise times the upper end
            of `value_range`; cut off at `value_range`.
        value_range: of the images.
        seed, data_format: as for `RandomFlip`.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: float | None = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        where = f'layer "{self.name}"'
        self.factor = interval(factor, "factor", where, 0, 1)
        self.scale = interval(scale, "scale", where, 0, 1)
        if fill_value is not None:
            values = fill_value if isinstance(fill_value, (tuple, list)) else [fill_value]
            for value in values:
                number(value, "fill_value", owner=where)
        self.fill_value = fill_value

    def _inside(self, g: Any, n: int, size: int, axis: int) -> Any:
        """Return where (N, ...) along an axis the rectangles lie."""
        side = ops.sqrt(self.uniform(g, (n, 1, 1, 1), *self.scale)) * float(size)
        start = self.uniform(g, (n, 1, 1, 1), 0, 1) * (float(size) - side)
        shape = [1, 1, 1, 1]
        shape[axis] = size
        at = g.constant(np.arange(size, dtype=np.float64).reshape(shape), "float64")
        after = g.compare(at, start, kind="ge")
        return g.logical(after, g.compare(at, start + side, kind="lt"), kind="and")

    def augment(self, x: TensorLike) -> TensorLike:
        g, (n, height, width, channels) = x.g, x.shape
        mask = g.logical(self._inside(g, n, height, 1), self._inside(g, n, width, 2), kind="and")
        share = self.uniform(g, (n, 1, 1, 1), *self.factor)
        chosen = g.compare(self.uniform(g, (n, 1, 1, 1), 0, 1), share, kind="lt")
        mask = g.logical(mask, chosen, kind="and")
        if self.fill_value is None:
            # Box and Muller 1958; a logarithm of 0 is kept away.
            radius = g.sqrt(g.log(self.uniform(g, x.shape, 1e-7, 1, x.dtype)) * -2.0)
            fill = radius * g.cos(self.uniform(g, x.shape, 0, 2 * math.pi, x.dtype))
            fill = ops.clip(fill * self.value_range[1], *self.value_range)
        else:
            values = np.atleast_1d(np.asarray(self.fill_value, np.float64))
            if len(values) not in (1, channels):
                raise ValueError(
                    f'layer "{self.name}": `fill_value` has {len(values)} numbers, '
                    f"the images have {channels} channels"
                )
            fill = g.constant(np.clip(values, *self.value_range), x.dtype)
        return g.where(mask, fill, x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": list(self.factor),
            "scale": list(self.scale),
            "fill_value": _plain(self.fill_value),
        }
