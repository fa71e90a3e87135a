"""What data augmentation makes of an image."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ._figure import figure_class, saved, without_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


def augmented(
    source: Any, image: TensorLike, count: int = 8, seed: int | None = None
) -> NDArray[Any]:
    """Returns random variants of an image.

    Args:
        source: an object with `random_transform(image, seed=...)` or `flow(images, ...)`, such as
            Keras's `ImageDataGenerator`, or a layer or model, which is called on batches of one
            with `training=True`.
        image: (H, W) or (H, W, C).
        count: number of variants.
        seed: makes generators repeat themselves (variant i takes seed + i); layers take their
            randomness from `fastconv.utils.set_random_seed`.

    Returns:
        float32 (count, H', W', C).

    Raises:
        TypeError: the source is none of these.
        ValueError: the image's shape does not fit.
    """
    image = np.asarray(image, np.float32)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3:
        raise ValueError(f"the image has shape {image.shape}, expected (H, W) or (H, W, C)")
    seeds = [None] * count if seed is None else [seed + i for i in range(count)]
    if hasattr(source, "random_transform"):
        made = [source.random_transform(image.copy(), seed=s) for s in seeds]
    elif hasattr(source, "flow"):
        made = [next(iter(source.flow(image[np.newaxis], batch_size=1, seed=s)))[0] for s in seeds]
    elif callable(source):
        made = [np.asarray(source(image[np.newaxis], training=True))[0] for _ in range(count)]
    else:
        raise TypeError(
            "augmentation needs an object with random_transform() or flow(), or a layer, "
            f"received: {type(source).__name__}"
        )
    return np.stack([np.asarray(variant, np.float32) for variant in made])


def augmentation_preview(
    generator_or_layer: Any,
    image: TensorLike,
    count: int = 8,
    seed: int | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws an image and random variants of it, the variants on one scale of brightness.

    Args:
        generator_or_layer: an object with `random_transform(image, seed=...)` or
            `flow(images, ...)`, such as `ImageDataGenerator`, or a layer or model, which is called
            on batches of one with `training=True`.
        image: (H, W) or (H, W, C).
        count: number of variants.
        seed: makes generators repeat themselves (variant i takes seed + i); layers take their
            randomness from `fastconv.utils.set_random_seed`.
        path: where to save the picture (.png, .svg, .pdf), or None.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: the source is none of these.
        ValueError: the image's shape does not fit.
    """
    new_figure = figure_class()
    original = np.asarray(image, np.float32)
    variants = list(augmented(generator_or_layer, original, count, seed))
    pictures = [original[..., np.newaxis] if original.ndim == 2 else original, *variants]
    pictures = [p if p.shape[-1] == 3 else p.mean(axis=-1) for p in pictures]
    columns = min(math.ceil(math.sqrt(len(pictures))) + 1, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = new_figure(figsize=(1.4 * columns, 1.55 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(pictures) :]:
        axes.axis("off")
    for number, (axes, picture) in enumerate(zip(places, pictures, strict=False)):
        # One scale for all variants: none must look brighter than it is beside the others.
        group = pictures[1:] if number else pictures[:1]
        low, high = min(0.0, *(p.min() for p in group)), max(p.max() for p in group)
        scaled = (picture - low) / ((high - low) or 1.0)
        axes.imshow(scaled, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        without_ticks(axes, str(number) if number else "original")
    return saved(figure, path)
