"""`InputSpec`, what a layer accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv._types import Shape


class InputSpec:
    """What a layer accepts, checked before it is built or called; None accepts everything.

    Args:
        dtype: kept for Keras code.
        shape: only its rank counts.
        ndim, min_ndim, max_ndim: the rank, the smallest and the largest one.
        axes: dict from axis to the size it must have.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Shape | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}

    def check(self, shape: Shape, layer_name: str, index: int = 0) -> None:
        """Raise ValueError where `shape`, of input number `index` of `layer_name`, does not fit."""
        rank = len(shape)
        where = f'Input {index} of layer "{layer_name}" is incompatible with the layer: '
        found = f"Full shape received: {tuple(shape)}"
        if self.ndim is not None and rank != self.ndim:
            raise ValueError(f"{where}expected ndim={self.ndim}, found ndim={rank}. {found}")
        if self.max_ndim is not None and rank > self.max_ndim:
            raise ValueError(
                f"{where}expected max_ndim={self.max_ndim}, found ndim={rank}. {found}"
            )
        if self.min_ndim is not None and rank < self.min_ndim:
            raise ValueError(
                f"{where}expected min_ndim={self.min_ndim}, found ndim={rank}. {found}"
            )
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                raise ValueError(
                    f"{where}expected axis {axis} of the input shape to have size {size}. {found}"
                )
