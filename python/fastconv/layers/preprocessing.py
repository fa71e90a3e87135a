"""Layers that bring data into the form that a network wants."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import ops
from fastconv.config import epsilon
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec
from fastconv.utils.checks import number
from fastconv.utils.serialization import plain

if TYPE_CHECKING:
    from fastconv._types import Axis, TensorLike


class Normalization(Layer):
    """(x - mean) / sqrt(variance), of what `adapt` has seen or of given numbers.

    Args:
        axis: axes (of a batch) with means of their own; None has one mean for everything.
        mean, variance: numbers or arrays that broadcast to the kept axes; both or none.
        invert: turn normalized values back instead.

    Raises:
        ValueError: only one of `mean` and `variance` was given, or an axis is out of range.
    """

    def __init__(
        self,
        axis: Axis = -1,
        mean: float | None = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError(
                f'layer "{self.name}": give both `mean` and `variance` or none, '
                f"received: mean={mean!r}, variance={variance!r}"
            )
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean, self.input_variance = mean, variance
        self.invert = bool(invert)

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        rank = len(input_shape)
        kept = sorted(a % rank for a in self.axis if -rank <= a < rank)
        if len(kept) < len(self.axis) or any(input_shape[a] is None for a in kept):
            raise ValueError(
                f'layer "{self.name}": `axis` must name axes of known size of the input, '
                f"received: axis={self.axis}, input shape {tuple(input_shape)}"
            )
        self._reduced = tuple(a for a in range(rank) if a not in kept)
        self._shape = tuple(input_shape[a] if a in kept else 1 for a in range(rank))
        if self.input_mean is None:
            shape = [input_shape[a] for a in kept]
            add = self.add_weight
            self.mean = add(shape, "zeros", trainable=False, name="mean")
            self.variance = add(shape, "ones", trainable=False, name="variance")
            self.count = add((), "zeros", trainable=False, name="count")
        self.built = True

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take mean and variance of an array (N, ...), or of the batches of a data set.

        What was seen before is forgotten. `batch_size` is accepted for Keras code; `steps` limits
        the number of batches.
        """
        if self.input_mean is not None:
            raise ValueError(f'layer "{self.name}" has a given mean: it cannot be adapted')
        batches = [data] if hasattr(data, "shape") or isinstance(data, list) else data
        count, total, squares = 0, 0.0, 0.0
        for number_, batch in enumerate(batches):
            if steps is not None and number_ == steps:
                break
            batch = np.asarray(batch[0] if isinstance(batch, tuple) else batch, np.float64)
            self._ensure_built(batch.shape)
            size = batch.size // max(math.prod(self._shape), 1)
            mean = batch.mean(axis=self._reduced)
            # Sums of squares around the common mean (Chan et al. 1979): no digits cancel.
            around = batch.var(axis=self._reduced) * size
            if count:
                around += (mean - total / count) ** 2 * (count * size / (count + size))
            count, total, squares = count + size, total + mean * size, squares + around
        if not count:
            raise ValueError(f'layer "{self.name}": adapt() was given no data')
        self.mean.assign(np.reshape(total / count, self.mean.shape))
        self.variance.assign(np.reshape(squares / count, self.variance.shape))
        self.count.assign(count)

    def call(self, inputs: TensorLike) -> TensorLike:
        g = inputs.g
        if self.input_mean is None:
            mean = ops.reshape(g.variable(self.mean), self._shape)
            variance = ops.reshape(g.variable(self.variance), self._shape)
        else:
            mean = g.constant(np.asarray(self.input_mean, np.float64), inputs.dtype)
            variance = g.constant(np.asarray(self.input_variance, np.float64), inputs.dtype)
        scale = ops.maximum(ops.sqrt(variance), epsilon())
        return inputs * scale + mean if self.invert else (inputs - mean) / scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": list(self.axis) or None,
            "mean": plain(self.input_mean),
            "variance": plain(self.input_variance),
            "invert": self.invert,
        }


class Resizing(Layer):
    """Images (N, H, W, C) in another size, (N, height, width, C), by the centres of pixels.

    `interpolation` is "bilinear" or "nearest"; no gradient flows through "nearest".
    """

    def __init__(
        self, height: int, width: int, interpolation: str = "bilinear", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        where = f'layer "{self.name}"'
        self.height = int(number(height, "height", 1, owner=where))
        self.width = int(number(width, "width", 1, owner=where))
        if interpolation not in ("bilinear", "nearest"):
            raise ValueError(
                f"{where}: `interpolation` must be 'bilinear' or 'nearest', "
                f"received: interpolation={interpolation!r}"
            )
        self.interpolation = interpolation
        self.input_spec = InputSpec(ndim=4)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        g, size = inputs.g, (self.height, self.width)
        if self.interpolation == "bilinear":
            return g.resize(inputs, size=list(size), mode="bilinear")
        for axis, wanted in enumerate(size, 1):
            nearest = (np.arange(wanted) + 0.5) * (inputs.shape[axis] / wanted)
            inputs = g.gather(inputs, g.constant(np.floor(nearest), "int64"), axis=axis)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        sizes = {"height": self.height, "width": self.width}
        return {**super().get_config(), **sizes, "interpolation": self.interpolation}
