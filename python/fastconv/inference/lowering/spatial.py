"""Padding, kernels and strides of convolution and pooling, as ONNX states them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastconv.inference.lowering.context import Context


@dataclass
class Window:
    """A sliding window: one entry a spatial axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]

    @property
    def pads(self) -> list[int]:
        """As the core has them for two axes: top, left, bottom, right."""
        return self.begin + self.end

    @property
    def reach(self) -> list[int]:
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def axes(self, *which: int) -> Window:
        """The window along some of the axes."""
        parts = (self.kernel, self.strides, self.dilations, self.begin, self.end)
        return Window(*([part[i] for i in which] for part in parts))

    def as_2d(self) -> Window:
        """One axis becomes the second of two."""
        if len(self.kernel) == 2:
            return self
        parts = (self.kernel, self.strides, self.dilations, self.begin, self.end)
        return Window(*([n, *part] for n, part in zip((1, 1, 1, 0, 0), parts, strict=True)))

    def attrs(self) -> dict[str, Any]:
        return {"strides": self.strides, "pads": self.pads}


def window(
    c: Context, spatial: tuple[int, ...], kernel: list[int], transposed: bool = False
) -> Window:
    """Read the window's attributes; `auto_pad` is turned into numbers (not when transposed)."""
    n = len(spatial)
    strides = _list(c, "strides", n, 1)
    dilations = _list(c, "dilations", n, 1)
    for name, values in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
        if any(v < 1 or v >= 2**31 for v in values):
            c.fail(f"{name} is {values}, expected positive numbers")
    auto = c.attr("auto_pad", "NOTSET")
    pads = c.ints_attr("pads", [0] * (2 * n))
    if len(pads) != 2 * n:
        c.fail(f"pads is {pads}, expected {2 * n} numbers for input with {n} spatial axes")
    w = Window(list(kernel), strides, dilations, pads[:n], pads[n:])
    if auto in ("NOTSET", "") or transposed:
        return w
    w.begin, w.end = [0] * n, [0] * n
    if auto == "VALID":
        return w
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        c.fail(f"auto_pad is {auto!r}, expected NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    for i, size in enumerate(spatial):
        out = -(-size // strides[i])
        total = max((out - 1) * strides[i] + w.reach[i] - size, 0)
        small = total // 2
        upper = auto == "SAME_UPPER"
        w.begin[i], w.end[i] = (small, total - small) if upper else (total - small, small)
    return w


def _list(c: Context, name: str, length: int, default: int) -> list[int]:
    values = c.ints_attr(name) or [default] * length
    if len(values) != length:
        c.fail(f"{name} is {values}, expected {length} numbers")
    return values
