"""Resize and Upsample: one weighted gather an axis, its tables computed while planning.

Coordinates, weights and policies follow the specification of ONNX's operator Resize.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.inference.lowering.context import FLOATS, Context
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.shape import checked_shape
from fastconv.inference.lowering.tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
# Tables have a row an output position: an axis of this size at most keeps them small.
_MOST_NEAREST, _MOST_WEIGHTED = 1 << 24, 1 << 22


@dataclass
class Axis:
    """One axis to resize: sizes, scale and, for crops, the region."""

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def coordinates(axis: Axis, mode: str) -> NDArray[Any]:
    """Where each output element lies in the input."""
    x = np.arange(axis.out, dtype=np.float64)
    exact = axis.scale * axis.size  # the output's size before it is rounded down
    if math.isclose(exact, axis.out):
        exact = axis.out  # dividing by it, whole numbers stay whole and `floor` finds them
    if mode == "align_corners":
        return x * (axis.size - 1) / (exact - 1) if exact != 1 else 0 * x
    if mode == "asymmetric":
        return x * axis.size / exact
    if mode == "tf_crop_and_resize":
        if axis.out > 1:
            step = (axis.end - axis.start) * (axis.size - 1) / (exact - 1)
            return axis.start * (axis.size - 1) + x * step
        return 0 * x + 0.5 * (axis.start + axis.end) * (axis.size - 1)
    if mode == "tf_half_pixel_for_nn":
        return (x + 0.5) * axis.size / exact
    if mode == "pytorch_half_pixel" and axis.out == 1:
        return 0 * x
    centred = (x + 0.5) * axis.size / exact - 0.5
    if mode == "half_pixel_symmetric":
        return centred + axis.size / 2 * (1 - axis.out / exact)
    return centred


def nearest(x: NDArray[Any], mode: str) -> NDArray[Any]:
    if mode == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    rounded: NDArray[Any] = np.floor(x) if mode == "floor" else np.ceil(x)
    return rounded


def linear(distance: NDArray[Any]) -> NDArray[Any]:
    weight: NDArray[Any] = np.clip(1 - np.abs(distance), 0, 1)
    return weight


def cubic(distance: NDArray[Any], a: float) -> NDArray[Any]:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def table(
    axis: Axis, x: NDArray[Any], mode: str, a: float, antialias: bool, exclude_outside: bool
) -> Any:
    """Indices and weights, each (out, taps)."""
    support = 1 if mode == "linear" else 2
    shrink = min(axis.scale, 1.0) if antialias else 1.0
    first = math.floor(-support / shrink) + 1
    taps = np.arange(first, 2 - first)  # from the element below or at x
    base = np.floor(x)
    positions = base[:, None] + taps
    distance = (taps - (x - base)[:, None]) * shrink
    weights = linear(distance) if mode == "linear" else cubic(distance, a)
    if exclude_outside:
        weights = np.where((positions >= 0) & (positions < axis.size), weights, 0)
    if exclude_outside or antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(positions, 0, axis.size - 1).astype(np.int64), weights


@operator("Upsample")
def upsample(c: Context) -> Tensor:
    x = c.input(0)
    scales = c.attr("scales", []) if c.version < 9 else list(c.value(1).ravel())
    axes = axes_from_scales(c, x, scales, list(range(x.rank)))
    return resized(c, x, axes, c.attr("mode", "nearest"), "asymmetric", "floor")


@operator("Resize")
def resize(c: Context) -> Tensor:
    x = c.input(0)
    mode = c.attr("mode", "nearest")
    if c.version < 11:
        axes = axes_from_scales(c, x, list(c.value(1).ravel()), list(range(x.rank)))
        return resized(c, x, axes, mode, "asymmetric", "floor")
    which = [c.axis(a, x.rank) for a in c.ints_attr("axes", list(range(x.rank)))]
    how = c.attr("coordinate_transformation_mode", "half_pixel")
    if how not in _COORDINATES:
        c.fail(f"coordinate_transformation_mode is {how!r}, expected one of {_COORDINATES}")
    rounding = c.attr("nearest_mode", "round_prefer_floor")
    if rounding not in _NEAREST:
        c.fail(f"nearest_mode is {rounding!r}, expected one of {_NEAREST}")
    if c.has(3) and c.input(3).size:
        axes = axes_from_sizes(c, x, c.ints(3), which)
    elif c.has(2) and c.input(2).size:
        axes = axes_from_scales(c, x, list(c.value(2).ravel()), which)
    else:
        c.fail("neither scales nor sizes are given")
    if how == "tf_crop_and_resize":
        roi = c.value(1).ravel() if c.has(1) else np.zeros(0)
        if roi.size != 2 * len(which):
            c.fail(f"roi has {roi.size} elements, expected {2 * len(which)}")
        for i, a in enumerate(which):
            axes[a].start, axes[a].end = float(roi[i]), float(roi[len(which) + i])
    return resized(c, x, axes, mode, how, rounding)


def axes_from_scales(c: Context, x: Tensor, scales: list[Any], which: list[int]) -> dict[int, Axis]:
    if len(scales) != len(which):
        c.fail(f"scales are {scales}, expected {len(which)} numbers for input {x.shape}")
    axes = {}
    for a, scale in zip(which, scales, strict=True):
        scale = float(scale)
        if not (np.isfinite(scale) and scale > 0):
            c.fail(f"scales are {scales}, expected positive finite numbers")
        axes[a] = Axis(x.shape[a], math.floor(x.shape[a] * scale), scale)
    return axes


def axes_from_sizes(c: Context, x: Tensor, sizes: list[int], which: list[int]) -> dict[int, Axis]:
    if len(sizes) != len(which) or min(sizes) < 0:
        c.fail(f"sizes are {sizes}, expected {len(which)} numbers for input {x.shape}")
    for a in which:
        if x.shape[a] == 0:
            c.fail(f"input has shape {x.shape}: an empty axis cannot be resized")
    scales = [n / x.shape[a] for a, n in zip(which, sizes, strict=True)]
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    if policy in ("not_larger", "not_smaller"):
        scale = min(scales) if policy == "not_larger" else max(scales)
        scales = [scale] * len(which)
        sizes = [math.floor(scale * x.shape[a] + 0.5) for a in which]
    elif policy != "stretch":
        c.fail(f"keep_aspect_ratio_policy is {policy!r}, expected stretch, not_larger, not_smaller")
    return {a: Axis(x.shape[a], n, s) for a, n, s in zip(which, sizes, scales, strict=True)}


def resized(
    c: Context, x: Tensor, axes: dict[int, Axis], mode: str, how: str, rounding: str
) -> Tensor:
    if mode not in ("nearest", "linear", "cubic"):
        c.fail(f"mode is {mode!r}, expected nearest, linear or cubic")
    checked_shape(c, [axes[a].out if a in axes else n for a, n in enumerate(x.shape)])
    if any(axis.size == 0 and axis.out > 0 for axis in axes.values()):
        c.fail(f"input has shape {x.shape}: an empty axis cannot be resized")
    most = _MOST_NEAREST if mode == "nearest" else _MOST_WEIGHTED
    if (largest := max((axis.out for axis in axes.values()), default=0)) > most:
        c.fail(f"an axis becomes {largest} elements, expected at most {most} in mode {mode}")
    dtype, order = x.dtype, x.order
    if mode != "nearest":
        x = c.as_float(x)
    value, outside = x.at(order), []
    antialias, exclude = bool(c.attr("antialias", 0)), bool(c.attr("exclude_outside", 0))
    for a, axis in sorted(axes.items(), key=lambda item: item[1].scale):  # shrinking ones first
        at = coordinates(axis, how)
        if how == "tf_crop_and_resize":
            outside.append((a, (at < 0) | (at > axis.size - 1)))
        elif axis.size == axis.out and np.array_equal(at, np.arange(axis.out)):
            continue
        if mode == "nearest":
            index = np.clip(nearest(at, rounding), 0, axis.size - 1).astype(np.int64)
            inputs = [value, c.graph.core.constant(index)]
            value = c.emit("gather", inputs, axis=order.index(a))
            continue
        a_cubic = c.attr("cubic_coeff_a", -0.75)
        indices, weights = table(axis, at, mode, a_cubic, antialias, exclude)
        inputs = [
            value,
            c.graph.core.constant(indices),
            c.graph.core.constant(weights.astype(x.dtype)),
        ]
        value = c.emit("resample", inputs, axis=order.index(a))
    y = c.wrap(value, order)
    if any(mask.any() for _, mask in outside):
        y = extrapolated(c, y, outside)
    if y.dtype == dtype:
        return y
    return c.cast(c.unary("round", y) if dtype not in FLOATS else y, dtype)


def extrapolated(c: Context, y: Tensor, outside: list[tuple[int, NDArray[Any]]]) -> Tensor:
    """Elements of crops that lie outside the input."""
    mask = np.zeros((1,) * y.rank, bool)
    for a, flags in outside:
        mask = mask | flags.reshape([-1 if i == a else 1 for i in range(y.rank)])
    fill = c.wrap(c.scalar(c.attr("extrapolation_value", 0.0), y.dtype))
    return c.broadcast("where", c.known(mask), fill, y)
