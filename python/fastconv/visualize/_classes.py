"""How well a classifier tells the classes apart: confusion matrix and wrong examples."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._figure import draw_image, figure_class, is_channels_first, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.models import Model


class Misclassified(NamedTuple):
    """Wrongly classified examples, those with the most certain wrong answer first.

    Attributes:
        index: (M,) positions in the data.
        true, predicted: (M,) class indices.
        probability: (M,) the predicted class's probability, 0 to 1.
    """

    index: NDArray[Any]  # type: ignore[assignment]  # hides the tuple's method of that name
    true: NDArray[Any]
    predicted: NDArray[Any]
    probability: NDArray[Any]


def confusion_counts(
    y_true: TensorLike, y_pred: TensorLike, classes: int | None = None
) -> NDArray[Any]:
    """Returns how many samples of each class were given each class.

    Args:
        y_true: class indices (N,) or (N, 1), or one-hot rows (N, classes).
        y_pred: likewise, or a classifier's outputs (N, classes), whose largest entry counts.
        classes: number of classes; None: as many as the data shows.

    Returns:
        int64 (classes, classes): rows are the true classes, columns the predicted ones.

    Raises:
        ValueError: lengths that differ, or indices that are no classes.
    """
    true, predicted = _indices(y_true, "y_true"), _indices(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(f"y_true has {len(true)} samples, y_pred has {len(predicted)}")
    seen = [int(a.max()) + 1 for a in (true, predicted) if a.size]
    widths = [a.shape[1] for a in map(np.asarray, (y_true, y_pred)) if a.ndim == 2]
    if classes is None:
        classes = max([1, *seen, *widths])
    for name, values in (("y_true", true), ("y_pred", predicted)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            wrong = values.min() if values.min() < 0 else values.max()
            raise ValueError(f"{name} holds class {wrong}, expected 0 to {classes - 1}")
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


def _indices(labels: Any, name: str) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        return np.asarray(array.argmax(axis=1))
    if array.ndim == 2:
        array = array[:, 0]
    whole = array.astype(np.int64) if array.dtype.kind in "buif" else None
    if array.ndim != 1 or whole is None or (whole != array).any():
        raise ValueError(
            f"{name} must be class indices (N,) or rows (N, classes), received: shape "
            f"{array.shape}, dtype {array.dtype}"
        )
    return whole


def confusion_matrix(
    y_true: TensorLike,
    y_pred: TensorLike,
    class_names: Sequence[str] | None = None,
    normalize: bool = False,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws how many samples of each class were given each class.

    Args:
        y_true, y_pred: class indices or rows, as `confusion_counts` takes them.
        class_names: a name a class; None: the indices.
        normalize: whether to show shares of the true class in percent instead of counts.
        path: where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`. Colours are shares of the true class.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: labels and names do not fit.
    """
    new_figure = figure_class()
    counts = confusion_counts(y_true, y_pred, None if class_names is None else len(class_names))
    names = list(range(len(counts))) if class_names is None else list(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    size = min(2.2 + 0.45 * len(names), 14.0)
    figure = new_figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    ticks = range(len(names))
    long = max(len(str(name)) for name in names) > 3
    axes.set_xticks(ticks, names, rotation=90 if long else 0)
    axes.set_yticks(ticks, names)
    if len(names) <= 30:
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{100 * share:.0f}" if normalize else str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > 0.5 else "black",
            )
    right, total = int(np.trace(counts)), int(counts.sum())
    if total:
        axes.set_title(f"{right:,} of {total:,} right ({100 * right / total:.1f} %)", fontsize=10)
    return saved(figure, path)


def misclassified_examples(
    model: Model, x: TensorLike, y: TensorLike, batch_size: int = 32
) -> Misclassified:
    """Returns the samples that a model classifies wrongly, the most certain errors first.

    Args:
        model: a layer model that returns (batch, classes); with one output, class 1 is predicted
            where its probability is above one half.
        x: data as `predict` takes it.
        y: class indices (N,) or (N, 1), or one-hot rows (N, classes).
        batch_size: samples a step.

    Raises:
        ValueError: data and model do not fit.
    """
    from fastconv.utils.numeric import as_probabilities

    try:
        rows, _ = as_probabilities(model.predict(x, batch_size=batch_size, verbose=0))
    except ValueError as error:
        if str(error).startswith(("does not classify", "returns values")):
            raise ValueError(f"model '{model.name}' {error}") from None
        raise
    if rows.shape[1] == 1:
        rows = np.concatenate([1 - rows, rows], axis=1)
    true = _indices(y, "y")
    if len(true) != len(rows):
        raise ValueError(f"x has {len(rows)} samples, y has {len(true)}")
    predicted = rows.argmax(axis=1)
    wrong = np.flatnonzero(predicted != true)
    certainty = rows[wrong, predicted[wrong]]
    order = np.argsort(-certainty, kind="stable")
    wrong = wrong[order]
    return Misclassified(wrong, true[wrong], predicted[wrong], certainty[order])


def misclassified(
    model: Model,
    x: TensorLike,
    y: TensorLike,
    class_names: Sequence[str] | None = None,
    count: int = 16,
    batch_size: int = 32,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws wrongly classified images with true class, predicted class and its probability.

    Args:
        model, x, y, batch_size: as in `misclassified_examples`; x holds images (N, H, W) or
            (N, H, W, C).
        class_names: a name a class; None: the indices.
        count: how many to draw at most, the most certain errors first.
        path: where to save the picture (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`; where nothing is wrong, it says so.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: data, model and names do not fit.
    """
    new_figure = figure_class()
    x = np.asarray(x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x has shape {x.shape}, expected images (N, H, W) or (N, H, W, C)")
    found = misclassified_examples(model, x, y, batch_size)
    known = int(max(found.true.max(), found.predicted.max())) + 1 if len(found.index) else 0
    names = range(known) if class_names is None else class_names
    if len(names) < known:
        raise ValueError(f"class_names holds {len(names)} names, class {known - 1} occurs")
    drawn = min(count, len(found.index))
    columns = min(8, math.ceil(math.sqrt(max(drawn, 1))))
    rows = math.ceil(max(drawn, 1) / columns)
    figure = new_figure(figsize=(1.5 * max(columns, 2), 1.75 * rows + 0.4), layout="constrained")
    figure.suptitle(f"{len(found.index):,} of {len(x):,} wrong", fontsize=10)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[drawn:]:
        axes.axis("off")
    first = x.ndim == 4 and is_channels_first(model)
    for axes, index, true, predicted, certainty in zip(places[:drawn], *found, strict=False):
        image = np.moveaxis(x[index], 0, -1) if first else x[index]
        draw_image(axes, image, f"{names[predicted]} {100 * certainty:.0f} %\ntrue: {names[true]}")
        axes.title.set_fontsize(8)
    return saved(figure, path)
