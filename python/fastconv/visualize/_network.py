"""Pictures of what a network has learned and computes: filters and feature maps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._figure import (
    batch_of_one,
    figure_class,
    is_channels_first,
    montage,
    saved,
    without_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model

_TILE_INCHES = 0.55


def filters(
    model: Model,
    layer: Layer | None = None,
    max_filters: int = 64,
    max_channels: int = 8,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws the filters of a convolution as a grid.

    Filters on three channels are shown in colour, each stretched to the full range. Others are
    shown channel by channel on one scale, negative weights blue, zero white and positive ones red:
    for grey images and depthwise convolutions a tile a filter, else a row a filter with a tile an
    input channel.

    Args:
        model: a built layer model.
        layer: a convolution or its name; None: the model's first.
        max_filters, max_channels: how many filters and input channels are drawn at most.
        path: where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the layer is no convolution, or there is none of that name.
    """
    layer = _convolution(model, layer)
    tiles, kind = _tiles(layer)
    count, channels = tiles.shape[:2]
    tiles = tiles[:max_filters]
    new_figure = figure_class()
    from matplotlib import colormaps

    if kind == "each" and channels == 3:
        tiles = np.moveaxis(tiles, 1, -1)
        low = tiles.min(axis=(1, 2, 3), keepdims=True)
        span = tiles.max(axis=(1, 2, 3), keepdims=True) - low
        sheet = montage((tiles - low) / np.where(span > 0, span, 1))
        columns = math.ceil(math.sqrt(len(tiles)))
    else:
        tiles = tiles[:, :max_channels]
        columns = tiles.shape[1] if tiles.shape[1] > 1 else math.ceil(math.sqrt(len(tiles)))
        sheet = montage(tiles.reshape(-1, *tiles.shape[2:]), columns)
    width = max(3.0, _TILE_INCHES * columns + 0.4)
    height = width * sheet.shape[0] / sheet.shape[1]
    figure = new_figure(figsize=(width + 0.9, min(height, 40.0) + 0.7), layout="constrained")
    axes = figure.subplots()
    if sheet.ndim == 3:
        axes.imshow(np.nan_to_num(sheet, nan=1.0), interpolation="nearest")
    else:
        limit = float(np.nanmax(np.abs(sheet))) or 1.0
        # Grey between the tiles: white is a weight of zero.
        colours = colormaps["RdBu_r"].with_extremes(bad="0.8")
        image = axes.imshow(sheet, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
        figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
    shape = tuple(layer.weights[0].shape)
    part = "" if len(tiles) == count else f", first {len(tiles)} of {count}"
    without_ticks(axes, f"{layer.name}: kernel {shape}{part}")
    if kind == "each" and sheet.ndim == 2 and tiles.shape[1] > 1:
        axes.set_xlabel(f"input channels, {tiles.shape[1]} of {channels}", fontsize=8)
        axes.set_ylabel("filters", fontsize=8)
    return saved(figure, path)


def _convolution(model: Model, layer: Layer | str | None) -> Any:
    from fastconv.layers.conv import BaseConv
    from fastconv.models.introspection import find_layer

    convolutions = [x for x in model._all_layers() if isinstance(x, BaseConv)]
    if not convolutions:
        raise ValueError(f"model '{model.name}' has no convolution whose filters could be drawn")
    chosen = convolutions[0] if layer is None else find_layer(model, layer)
    if chosen not in convolutions:
        raise ValueError(
            f"layer '{chosen.name}' is a {type(chosen).__name__} and has no filters; the "
            f"convolutions of model '{model.name}' are {[x.name for x in convolutions]}"
        )
    if not chosen.built:
        raise ValueError(
            f"layer '{chosen.name}' has no weights yet; call build() or give the model data first"
        )
    return chosen


def _tiles(layer: Layer) -> tuple[NDArray[Any], str]:
    """(filters, input channels, h, w); "each" where a filter reads all channels, else "own"."""
    from fastconv.layers.conv_transpose import _ConvTranspose

    kernel = np.asarray(layer.weights[0].numpy(), np.float64)
    if kernel.ndim == 3:
        kernel = kernel[np.newaxis]
    if "depthwise" in layer.weights[0].name or "depthwise" in type(layer).__name__.lower():
        tiles = kernel.transpose(2, 3, 0, 1)
        return tiles.reshape(-1, 1, *tiles.shape[2:]), "own"
    order = (2, 3, 0, 1) if isinstance(layer, _ConvTranspose) else (3, 2, 0, 1)
    return kernel.transpose(order), "each"


def feature_maps(
    model: Model,
    image: TensorLike,
    layers: Iterable[Any] | None = None,
    max_maps: int = 16,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws what each layer makes of an image, layer by layer, dark where a map is low.

    The arrays themselves come from `fastconv.models.layer_outputs`.

    Args:
        model: a layer model of images.
        image: (H, W), (H, W, C) or (1, H, W, C), with values and layout that the model takes.
        layers: layers or their names; None: all whose outputs are maps of more than one pixel.
        max_maps: how many maps of a layer are drawn at most, from its first channel on.
        path: where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`. Each map is stretched to the full range of grey.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the image does not fit, a layer is missing or has no maps.
    """
    from fastconv.models import layer_outputs

    new_figure = figure_class()
    outputs = layer_outputs(model, batch_of_one(model, image), layers)
    maps = {name: maps_of(model, value) for name, value in outputs.items() if value.ndim == 4}
    if layers is None:
        maps = {name: value for name, value in maps.items() if value[0].size > 1}
    elif len(maps) < len(outputs):
        name = next(name for name in outputs if name not in maps)
        raise ValueError(
            f"layer '{name}' returns {(None, *outputs[name].shape[1:])}, which are no feature maps"
        )
    if not maps:
        raise ValueError(f"model '{model.name}' has no layer whose output is feature maps")
    columns = min(max_maps, max(map(len, maps.values())))
    per_row = min(columns, 8)
    heights = [math.ceil(min(len(value), max_maps) / per_row) for value in maps.values()]
    figure = new_figure(
        figsize=(per_row * 0.9 + 0.2, sum(heights) * 0.9 + 0.32 * len(maps)), layout="constrained"
    )
    rows = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, value) in zip(rows, maps.items(), strict=True):
        sheet = feature_sheet(value[:max_maps], min(per_row, len(value)))
        axes.imshow(sheet, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        axes.set_anchor("W")
        axes.axis("off")
        count, height, width = value.shape
        part = f", first {max_maps}" if count > max_maps else ""
        axes.set_title(f"{name}: {count} maps of {height} x {width}{part}", fontsize=9, loc="left")
    return saved(figure, path)


def maps_of(model: Model, output: NDArray[Any]) -> NDArray[Any]:
    """Return the maps (C, H, W) of a layer's output for one image."""
    return output[0] if is_channels_first(model) else np.moveaxis(output[0], -1, 0)


def feature_sheet(maps: NDArray[Any], columns: int | None = None) -> NDArray[Any]:
    """Returns feature maps side by side as one picture.

    Args:
        maps: (C, H, W).
        columns: maps in a row; None: as many as make it about square.

    Returns:
        (rows, columns) of pixels: each map stretched to 0..1, NaN in the gaps between them.
    """
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    scaled = (maps - low) / np.where(span > 0, span, 1)
    # Gaps of about the same width in the pictures of all layers.
    return montage(scaled, columns, max(1, maps.shape[2] // 16))
