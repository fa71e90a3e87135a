"""Rotations, shifts, shears and zooms of images; the sampling is the graph operator `warp`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._runtime import core as _core
from fastconv.functional._plans import run
from fastconv.utils.checks import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastconv._types import TensorLike

FILL_MODES = ("constant", "nearest", "reflect", "wrap")


def check_fill_mode(value: Any) -> str:
    """Return a checked fill mode."""
    if value not in FILL_MODES:
        raise ValueError(f"`fill_mode` must be one of {FILL_MODES}, received: {value!r}")
    return str(value)


def check_order(value: Any) -> int:
    """Return a checked order of interpolation."""
    if integer(value, "interpolation_order") > 1:
        raise ValueError(
            "`interpolation_order` must be 0 (nearest pixel) or 1 (linear), "
            f"received: interpolation_order={value}"
        )
    return int(value)


def matrices(
    theta: NDArray[Any],
    tx: NDArray[Any],
    ty: NDArray[Any],
    shear: NDArray[Any],
    zx: NDArray[Any],
    zy: NDArray[Any],
    height: int,
    width: int,
) -> NDArray[Any]:
    """Return the maps (N, 6) from output to input pixels that `warp` takes.

    Args:
        theta, shear: angles (N,) in degrees.
        tx, ty: shifts (N,) in pixels, to the left and up.
        zx, zy: factors (N,); below 1 the image is enlarged.
        height, width: size of the images.

    The map is rotation * shift * shear * zoom about the centre, in the conventions of Keras's
    `apply_affine_transform`: for images that are not square these exchange the coordinates of the
    centre, and `zx` belongs to the columns.
    """
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    cos, sin = np.cos(theta), np.sin(theta)
    xx, xy = cos * zx, -np.sin(theta + shear) * zy
    yx, yy = sin * zx, np.cos(theta + shear) * zy
    x, y = height / 2 - 0.5, width / 2 - 0.5
    x_shift = cos * tx - sin * ty + x - xx * x - xy * y
    y_shift = sin * tx + cos * ty + y - yx * x - yy * y
    # Keras's matrices are about (x, y), the operator's about (row, column).
    return np.stack([yy, yx, y_shift, xy, xx, x_shift], 1)


def flip(
    maps: NDArray[Any], horizontal: NDArray[Any], vertical: NDArray[Any], height: int, width: int
) -> None:
    """Let maps of `matrices` flip their images afterwards where the masks (N,) say so."""
    for flags, column, size in ((horizontal, 1, width), (vertical, 0, height)):
        for row in (0, 3):
            factor = np.where(flags, maps[:, row + column], 0)
            maps[:, row + 2] += factor * (size - 1)
            maps[:, row + column] -= 2 * factor


def _build(shape: Sequence[int], dtype: Any, order: Any, fill: str, value: Any) -> Any:
    graph = _core.Graph()
    ids = [graph.input("images", shape, dtype), graph.input("maps", (shape[0], 6), "float64")]
    (out,) = graph.add("warp", ids, {"order": order, "fill": fill, "value": value}, "warp")
    plan = _core.Plan(graph, [out])

    def run_plan(feeds: Any) -> Any:
        # Other threads than the main one work beside a model that has all processors.
        own = threading.current_thread() is not threading.main_thread()
        return plan.run(feeds, threads=1 if own else 0)

    return run_plan, sum(plan.memory.values())


def warp(
    images: NDArray[Any], maps: NDArray[Any], order: int, fill: str, value: float
) -> NDArray[Any]:
    """Return images (N, H, W, C), float32 or float64, sampled where maps (N, 6) of pixels point."""
    if not (maps % 1).any():  # whole pixels need no interpolation
        order = 0
    key = (images.shape, images.dtype.name, order, fill, float(value))
    return run(_build, key, [images, np.ascontiguousarray(maps, np.float64)])[0]


def as_float(x: NDArray[Any]) -> NDArray[Any]:
    """Return an image in a type that `warp` takes and that holds its numbers."""
    small = x.dtype.kind in ("b", "u", "i") and x.dtype.itemsize <= 2
    return x.astype(np.float32 if small or x.dtype == np.float16 else np.float64, copy=False)


def like(y: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in an image's own type, rounded where it holds integers."""
    if dtype.kind not in "ui":
        return y.astype(dtype, copy=False)
    info = np.iinfo(dtype)
    rounded = np.trunc(y + np.copysign(0.5, y))
    return np.asarray(np.clip(rounded, info.min, info.max), dtype)


def apply_affine_transform(
    x: TensorLike,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: Any = 1,
) -> Any:
    """Return an image rotated, shifted, sheared and zoomed about its centre.

    Args:
        x: array of three axes; channels are the first or the last one.
        theta, shear: angles in degrees.
        tx, ty: shifts in pixels, to the left and up.
        zx, zy: zoom; 0.5 shows half of the image at twice the size.
        row_axis, col_axis, channel_axis: which axis is which.
        fill_mode: what lies outside the image: "nearest" (the edge goes on), "constant" (`cval`),
            "reflect" (mirrored at the edge) or "wrap" (repeated), as of `scipy.ndimage`.
        cval: the value outside for "constant".
        order: 0 takes the nearest pixel, 1 interpolates linearly.

    Raises:
        ValueError: other axes, modes or orders.
    """
    x = np.asarray(x)
    axes = (row_axis, col_axis, channel_axis)
    if sorted(axes) != [0, 1, 2] or channel_axis == 1:
        raise ValueError(
            "`row_axis`, `col_axis` and `channel_axis` must be 0, 1 and 2 in an order with "
            f"channels first or last, received: {axes}"
        )
    if x.ndim != 3:
        raise ValueError(f"expected one image with three axes, received shape {x.shape}")
    check_fill_mode(fill_mode)
    check_order(order)
    if (theta, tx, ty, shear, zx, zy) == (0, 0, 0, 0, 1, 1):
        return x
    first, second = sorted((row_axis, col_axis))
    given = {"theta": theta, "tx": tx, "ty": ty, "shear": shear, "zx": zx, "zy": zy}
    columns: dict[str, Any] = {name: np.array([v], np.float64) for name, v in given.items()}
    maps = matrices(**columns, height=x.shape[row_axis], width=x.shape[col_axis])
    if col_axis < row_axis:  # Keras then leaves x and y where they are
        maps = maps[:, [4, 3, 5, 1, 0, 2]]
    image = np.ascontiguousarray(x.transpose(first, second, channel_axis))
    y = like(warp(as_float(image)[None], maps, order, fill_mode, cval)[0], x.dtype)
    return y if channel_axis == 2 else np.ascontiguousarray(y.transpose(2, 0, 1))


def _random(
    x: TensorLike,
    parameters: dict[str, Any],
    row_axis: int,
    col_axis: int,
    channel_axis: int,
    fill_mode: str,
    cval: float,
    order: Any,
) -> Any:
    return apply_affine_transform(
        x,
        **parameters,
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=order,
    )


def random_rotation(
    x: TensorLike,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Any:
    """Return an image rotated by a random angle in [-rg, rg] degrees.

    NumPy's legacy generator draws it. `interpolation_order` is `order` of `apply_affine_transform`,
    which tells the other arguments.
    """
    parameters = {"theta": np.random.uniform(-rg, rg)}  # noqa: NPY002 - Keras's generator
    return _random(
        x, parameters, row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order
    )


def random_shift(
    x: TensorLike,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Any:
    """Return an image shifted by random shares, as in Keras 3.

    That is up to `wrg` of its width up or down and up to `hrg` of its height to a side. The rest is
    as for `random_rotation`.
    """
    tx = np.random.uniform(-hrg, hrg) * np.shape(x)[row_axis]  # noqa: NPY002
    ty = np.random.uniform(-wrg, wrg) * np.shape(x)[col_axis]  # noqa: NPY002
    parameters = {"tx": tx, "ty": ty}
    return _random(
        x, parameters, row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order
    )


def random_shear(
    x: TensorLike,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Any:
    """Return an image sheared by a random angle in [-intensity, intensity] degrees; the rest is as
    for `random_rotation`.
    """
    parameters = {"shear": np.random.uniform(-intensity, intensity)}  # noqa: NPY002
    return _random(
        x, parameters, row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order
    )


def random_zoom(
    x: TensorLike,
    zoom_range: Any,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Any:
    """Return an image zoomed by two random factors in `zoom_range`, a pair; the rest is as for
    `random_rotation`.
    """
    if np.shape(zoom_range) != (2,):
        raise ValueError(f"`zoom_range` must be two numbers, received: {zoom_range!r}")
    zx, zy = 1, 1
    if tuple(zoom_range) != (1, 1):
        zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)  # noqa: NPY002
    parameters = {"zx": zx, "zy": zy}
    return _random(
        x, parameters, row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order
    )
