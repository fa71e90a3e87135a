"""Receptive fields: how much of the input an element of a feature map depends on.

With kernel k and stride s, size = size + (k - 1) * jump and jump = jump * s, from the input to the
output (Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks, Distill
2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple


class Field(NamedTuple):
    """The receptive field of the elements of one tensor, one number for each spatial axis.

    Attributes:
        size: length of the part of the input that an element depends on, at the most.
        jump: distance, in the input, of neighbouring elements.
        extent: elements along the axis, 1 after global pooling.
    """

    size: tuple[Fraction, ...]
    jump: tuple[Fraction, ...]
    extent: tuple[int, ...]

    @classmethod
    def of_input(cls, extent: Sequence[int]) -> Field:
        """Return that of the input itself."""
        ones = (Fraction(1),) * len(extent)
        return cls(ones, ones, tuple(extent))

    def window(self, kernel: Any, strides: Any, dilations: Any, extent: Any) -> Field:
        """Return that after convolution or pooling to `extent` elements."""
        spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        size = [s + span * j for s, span, j in zip(self.size, spans, self.jump, strict=True)]
        jump = [j * stride for j, stride in zip(self.jump, strides, strict=True)]
        return Field(tuple(size), tuple(jump), tuple(extent))

    def transposed(self, kernel: Any, strides: Any, dilations: Any, extent: Any) -> Field:
        """Return that after transposed convolution."""
        size, jump = [], []
        for s, j, k, stride, d in zip(
            self.size, self.jump, kernel, strides, dilations, strict=True
        ):
            reach = (k - 1) * d + 1
            size.append(s + (math.ceil(Fraction(reach, stride)) - 1) * j)
            jump.append(j / stride)
        return Field(tuple(size), tuple(jump), tuple(extent))

    def resized(self, extent: Any, taps: int = 1) -> Field:
        """Return that after interpolation between `taps` neighbours along each axis."""
        steps = [Fraction(a, max(b, 1)) for a, b in zip(self.extent, extent, strict=True)]
        size = [s + (taps - 1) * j for s, j in zip(self.size, self.jump, strict=True)]
        jump = [j * step for j, step in zip(self.jump, steps, strict=True)]
        return Field(tuple(size), tuple(jump), tuple(extent))

    def pooled_to(self, extent: Any) -> Field:
        """Return that after adaptive pooling."""
        pairs = list(zip(self.extent, extent, strict=True))
        kernel = [math.ceil(Fraction(a, b)) for a, b in pairs]
        steps = [Fraction(a, b) if b > 1 else 1 for a, b in pairs]  # one element has no neighbour
        return self.window(kernel, steps, (1,) * len(kernel), extent)

    def whole(self, axes: Iterable[int] | None = None) -> Field:
        """Return that of what depends on all elements along some axes (None: all axes)."""
        axes = range(len(self.size)) if axes is None else set(axes)
        size, extent = list(self.size), list(self.extent)
        for axis in axes:
            size[axis] += (extent[axis] - 1) * self.jump[axis]
            extent[axis] = 1
        return Field(tuple(size), self.jump, tuple(extent))

    def sizes(self) -> tuple[int, ...]:
        """Return `size` in whole elements of the input."""
        return tuple(math.ceil(s) for s in self.size)

    def jumps(self) -> tuple[float, ...]:
        """Return `jump` as numbers."""
        return tuple(int(j) if j.denominator == 1 else float(j) for j in self.jump)


def largest(fields: Iterable[Field | None]) -> Field | None:
    """Return the largest receptive field along each axis, where branches meet."""
    found = [field for field in fields if field is not None]
    if not found or len({len(field.size) for field in found}) > 1:
        return found[0] if found else None
    parts = [tuple(map(max, zip(*values, strict=True))) for values in zip(*found, strict=True)]
    return Field(*parts)


def size_text(sizes: Sequence[int] | None) -> str:
    """Return "7 x 7"."""
    return "" if sizes is None else " x ".join(map(str, sizes))
