"""What the pictures share: figures without windows, files, and images as models take them."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.models import Model

_DPI = 120
_MAX_PIXELS = 32000  # of a side; matplotlib's limit is 2**16


def figure_class() -> type[Figure]:
    """Return matplotlib's `Figure`; figures made with it belong to no window.

    Raises:
        ImportError: matplotlib is not installed; the message names the extra.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'fastconv[plot]'") from error
    figure: type[Any] = Figure
    return figure


def saved(figure: Figure, path: str | os.PathLike[str] | None, dpi: float = _DPI) -> Figure:
    """Write the figure where there is a path, whole or not at all, and return it."""
    if path is not None:
        from fastconv._files import write_atomically

        picture = io.BytesIO()
        kind = Path(path).suffix[1:] or "png"
        dpi = min(dpi, _MAX_PIXELS / max(figure.get_size_inches()))
        figure.savefig(picture, format=kind, dpi=dpi)
        write_atomically(Path(path), picture.getvalue())
    return figure


def batch_of_one(model: Model, image: TensorLike) -> NDArray[Any]:
    """Return an image (H, W), (H, W, C) or (1, H, W, C) as the batch of one that a model takes.

    Raises:
        ValueError: it is none of these or does not fit the model's input.
    """
    array = np.asarray(image)
    function = model._function
    wanted = model.input_shape if function is not None else None
    if isinstance(wanted, (list, dict)) or (wanted is not None and len(wanted) != 4):
        raise ValueError(
            f"model '{model.name}' takes inputs {wanted}, expected a model of images "
            "(batch, height, width, channels)"
        )
    batch = array
    if batch.ndim == 2:
        first = wanted is not None and is_channels_first(model)
        batch = batch[np.newaxis] if first else batch[..., np.newaxis]
    if batch.ndim == 3:
        batch = batch[np.newaxis]
    fits = batch.ndim == 4 and len(batch) == 1
    if wanted is not None:
        fits = fits and all(
            w in (None, d) for w, d in zip(wanted[1:], batch.shape[1:], strict=True)
        )
        expected = ", ".join("any" if d is None else str(d) for d in wanted[1:])
    else:
        expected = "height, width, channels"
    if not fits:
        raise ValueError(
            f"the image has shape {array.shape}, model '{model.name}' expects one image "
            f"({expected})"
        )
    return batch


def is_channels_first(model: Model) -> bool:
    """Tell whether the model's images are (N, C, H, W)."""
    return any(
        getattr(layer, "data_format", None) == "channels_first" for layer in model._all_layers()
    )


def shown(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (H, W), (H, W, C) with values in 0..1 for showing: grey (H, W) or RGB.

    Values that are not those of uint8 or 0..1 already are stretched to that range.
    """
    array = np.asarray(image, np.float64)
    if array.ndim == 3 and array.shape[2] != 3:
        array = array.mean(axis=2)
    low, high = (array.min(), array.max()) if array.size else (0.0, 0.0)
    if np.asarray(image).dtype == np.uint8:
        return array / 255
    if low >= 0 and high <= 1:
        return array
    return (array - low) / (high - low) if high > low else np.zeros_like(array)


def draw_image(axes: Axes, image: NDArray[Any], title: str | None = None) -> None:
    """Show an image without ticks: grey or RGB."""
    axes.imshow(shown(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    without_ticks(axes, title)


def without_ticks(axes: Axes, title: str | None = None) -> None:
    """Leave the frame's numbers out."""
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=9)


def montage(tiles: NDArray[Any], columns: int | None = None, gap: int = 1) -> NDArray[Any]:
    """Return tiles (N, H, W) or (N, H, W, 3) side by side in rows, NaN between them."""
    count, height, width = tiles.shape[:3]
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:]), np.nan
    )
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def resized(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a map (h, w) in another size by linear interpolation between pixel centres."""
    for axis, new in enumerate(size):
        old = array.shape[axis]
        where = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, old - 1)
        part = (where - low).reshape((-1, 1) if axis == 0 else (1, -1))
        array = array.take(low, axis) * (1 - part) + array.take(high, axis) * part
    return array
