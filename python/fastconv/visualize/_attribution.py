"""Which parts of an image a class score depends on: saliency and Grad-CAM."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ._figure import (
    batch_of_one,
    draw_image,
    figure_class,
    is_channels_first,
    resized,
    saved,
    shown,
    without_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model


def saliency_map(
    model: Model,
    image: TensorLike,
    class_index: int | None = None,
    samples: int = 1,
    noise: float = 0.15,
    seed: int | None = None,
) -> NDArray[Any]:
    """Returns how strongly the score of a class changes with each pixel.

    The absolute gradient of the score (before softmax or sigmoid) with respect to the image, the
    largest over the channels (Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034). With more than
    one sample, the mean of the gradients of noisy copies (SmoothGrad: Smilkov et al. 2017,
    arXiv:1706.03825).

    Args:
        model: a layer model that returns (batch, classes).
        image: (H, W), (H, W, C) or (1, H, W, C), with values and layout that the model takes.
        class_index: the class; None: the most likely one.
        samples: number of noisy copies; 1: the image itself, without noise.
        noise: standard deviation of the noise, as a share of the image's range of values.
        seed: of the noise; None: another one in each call.

    Returns:
        (H, W), not negative, in units of score per unit of the image's values.

    Raises:
        ValueError: the image, the class or an argument does not fit.
    """
    from fastconv.models import class_gradients

    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
        raise ValueError(f"samples is {samples!r}, expected an integer from 1")
    if not noise >= 0:
        raise ValueError(f"noise is {noise!r}, expected a number that is not negative")
    batch = batch_of_one(model, image)
    if samples > 1:
        class_index = _chosen_class(model, batch, class_index)
        sigma = noise * float(np.ptp(batch))
        normal = np.random.default_rng(seed).standard_normal((samples, *batch.shape[1:]))
        batch = batch.astype(np.float64) + sigma * normal
    gradient = class_gradients(model, batch, class_index).inputs.mean(axis=0)
    return np.asarray(np.abs(gradient).max(axis=0 if is_channels_first(model) else -1))


def saliency(
    model: Model,
    image: TensorLike,
    class_index: int | None = None,
    samples: int = 1,
    noise: float = 0.15,
    seed: int | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws an image beside its `saliency_map`, bright where the class's score depends on it most.

    Args, errors: as `saliency_map`; `path` is where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.
    """
    new_figure = figure_class()
    batch = batch_of_one(model, image)
    chosen = _chosen_class(model, batch, class_index)
    heat = saliency_map(model, batch, chosen, samples, noise, seed)
    figure = new_figure(figsize=(6.4, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_image(left, _picture(model, batch), "image")
    drawn = right.imshow(heat, cmap="inferno", vmin=0, interpolation="nearest")
    how = "" if samples == 1 else f", mean of {samples}"
    without_ticks(right, f"saliency of class {chosen}{how}")
    figure.colorbar(drawn, ax=right, label="|d score / d pixel|", shrink=0.8)
    return saved(figure, path)


def grad_cam_map(
    model: Model,
    image: TensorLike,
    class_index: int | None = None,
    layer: Layer | str | None = None,
    resize: bool = True,
) -> NDArray[Any]:
    """Returns where a layer saw what speaks for a class (Grad-CAM).

    ReLU of the sum of the layer's maps, each weighted with the mean of the gradient of the class's
    score (before softmax or sigmoid) with respect to it: Selvaraju et al. 2017, arXiv:1610.02391,
    equations 1 and 2.

    Args:
        model: a layer model that returns (batch, classes).
        image: (H, W), (H, W, C) or (1, H, W, C), with values and layout that the model takes.
        class_index: the class; None: the most likely one.
        layer: a layer whose output is feature maps, or its name; None: the last convolution, with
            the layers after it that keep its output's shape, such as batch normalization and ReLU.
        resize: whether to bring the map to the image's size and its maximum to 1.

    Returns:
        (H, W) of the image, 0 to 1, by linear interpolation; with `resize=False` the map (h, w) of
        the layer as the formula gives it.

    Raises:
        ValueError: the model has no convolution, or image, class or layer do not fit.
    """
    from fastconv.models import class_gradients
    from fastconv.models.introspection import find_layer

    batch = batch_of_one(model, image)
    name = (_last_maps(model, batch) if layer is None else find_layer(model, layer)).name
    found = class_gradients(model, batch, class_index, [name])
    output, gradient = found.outputs[name][0], found.gradients[name][0]
    if output.ndim != 3:
        raise ValueError(
            f"layer '{name}' returns {(None, *output.shape)}, Grad-CAM needs feature maps "
            "(batch, height, width, channels)"
        )
    first = is_channels_first(model)
    weights = gradient.mean(axis=(1, 2) if first else (0, 1), keepdims=True)
    heat: NDArray[Any] = np.maximum((weights * output).sum(axis=0 if first else -1), 0)
    if not resize:
        return heat
    size = batch.shape[2:] if first else batch.shape[1:3]
    heat = resized(heat, size)
    peak = heat.max()
    return heat / peak if peak > 0 else heat


def grad_cam(
    model: Model,
    image: TensorLike,
    class_index: int | None = None,
    layer: Layer | str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws an image, its `grad_cam_map`, and the map laid over the image.

    Args, errors: as `grad_cam_map`; `path` is where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.
    """
    new_figure = figure_class()
    batch = batch_of_one(model, image)
    chosen = _chosen_class(model, batch, class_index)
    heat = grad_cam_map(model, batch, chosen, layer)
    picture = _picture(model, batch)
    figure = new_figure(figsize=(8.2, 3.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_image(left, picture, "image")
    middle.imshow(heat, cmap="turbo", vmin=0, vmax=1, interpolation="nearest")
    without_ticks(middle, f"Grad-CAM of class {chosen}")
    right.imshow(overlay(picture, heat), interpolation="nearest")
    without_ticks(right, "overlay")
    return saved(figure, path)


def overlay(
    image: TensorLike, heat: NDArray[Any], alpha: float = 0.45, colormap: str = "turbo"
) -> NDArray[Any]:
    """Returns an image with a heat map laid over it.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3); uint8, or floats, which are stretched to the full
            range unless they lie in 0..1.
        heat: (h, w), 0 to 1; brought to the image's size by linear interpolation.
        alpha: share of the heat map's colours, 0 to 1.
        colormap: name of a colormap of matplotlib.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: shapes, `alpha` or the colormap do not fit.
    """
    figure_class()  # tells what to install where matplotlib is missing
    from matplotlib import colormaps

    image, heat = np.asarray(image), np.asarray(heat, np.float64)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"the image has shape {image.shape}, expected (H, W), (H, W, 1 or 3)")
    if heat.ndim != 2 or not heat.size:
        raise ValueError(f"the heat map has shape {heat.shape}, expected (h, w)")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha!r}, expected a number from 0 to 1")
    if colormap not in colormaps:
        raise ValueError(f"there is no colormap {colormap!r} in matplotlib")
    picture = shown(image)
    if picture.ndim == 2:
        picture = np.repeat(picture[..., np.newaxis], 3, axis=2)
    colours = colormaps[colormap](np.clip(resized(heat, image.shape[:2]), 0, 1))[..., :3]
    return np.asarray(np.rint(255 * ((1 - alpha) * picture + alpha * colours)), np.uint8)


def _picture(model: Model, batch: NDArray[Any]) -> NDArray[Any]:
    """The image of a batch of one as (H, W, C)."""
    return np.moveaxis(batch[0], 0, -1) if is_channels_first(model) else batch[0]


def _chosen_class(model: Model, batch: NDArray[Any], class_index: int | None) -> int:
    if class_index is not None:
        return class_index
    scores = np.asarray(model.predict_on_batch(batch))
    if scores.ndim != 2:
        raise ValueError(
            f"model '{model.name}' returns {(None, *scores.shape[1:])}, expected (batch, classes)"
        )
    return int(scores.argmax())


def _last_maps(model: Model, batch: NDArray[Any]) -> Any:
    """The last convolution, or the last of the layers behind it that keep its output's shape."""
    from fastconv.layers.conv import BaseConv
    from fastconv.models import layer_shapes
    from fastconv.models.introspection import find_layer

    shapes = layer_shapes(model, batch)
    found, size, behind = None, None, False
    for name, shape in shapes.items():
        layer = find_layer(model, name)
        if len(shape) == 4 and (isinstance(layer, BaseConv) or (behind and shape == size)):
            found, size, behind = name, shape, True
        else:
            behind = False
    if found is None:
        raise ValueError(
            f"model '{model.name}' has no 2-D convolution, which Grad-CAM needs; give `layer` if "
            "another layer's output is feature maps"
        )
    return find_layer(model, found)
