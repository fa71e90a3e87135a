"""Learning curves: loss and metrics over the epochs."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._figure import figure_class, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_CURVES = {"epoch", "learning_rate", "lr"}
_MARKED_EPOCHS = 40  # more points than this and the markers hide the line


def learning_curves(history_or_csv: Any, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draws a panel a quantity (loss, accuracy, ...): training solid, validation dashed.

    Args:
        history_or_csv: what ``fit`` returned, its ``history`` dictionary (name -> one value an
            epoch), or the path of a file that ``callbacks.CSVLogger`` wrote.
        path: where to save the picture; the suffix (.png, .svg, .pdf) chooses the format. The file
            appears whole or not at all.

    Returns:
        The ``matplotlib.figure.Figure``. It belongs to no pyplot window, so nothing has to be
        closed.

    Raises:
        ImportError: matplotlib is not installed (``pip install 'fastconv[plot]'``).
        ValueError: there is no epoch to draw, or the file is not such a log.
    """
    new_figure = figure_class()
    from matplotlib.ticker import MaxNLocator

    history = _as_history(history_or_csv)
    panels = [name for name in history if not name.startswith("val_")]
    panels.sort(key=lambda name: name != "loss")
    figure = new_figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        drawn, longest = 0, 1
        for key, label, style in ((name, "training", "-"), ("val_" + name, "validation", "--")):
            if key in history:
                values = history[key]
                marker = "o" if len(values) <= _MARKED_EPOCHS else ""
                epochs = range(1, len(values) + 1)
                drawn += sum(map(math.isfinite, values))
                longest = max(longest, len(values))
                axes.plot(epochs, values, style, marker=marker, markersize=3.5, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        # Margins of its own: around one epoch matplotlib would show fractions of epochs.
        margin = max(0.05 * (longest - 1), 0.5 if longest == 1 else 0)
        axes.set_xlim(1 - margin, longest + margin)
        if not drawn:
            note = "no finite values"
            axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center")
        axes.grid(alpha=0.3)
        axes.legend()
    return saved(figure, path)


def _as_history(source: Any) -> dict[str, list[float]]:
    if isinstance(source, (str, os.PathLike)):
        columns, what = _read_log(Path(source)), str(source)
    else:
        columns, what = getattr(source, "history", source), "the history"
        if not isinstance(columns, Mapping):
            raise TypeError(
                f"expected a History, a dictionary or the path of a CSV log, got {type(source)}"
            )
    history = {
        name: [float(v) for v in values]
        for name, values in columns.items()
        if name not in _NOT_CURVES
        and len(values)
        # A validation column of a run without validation holds nothing.
        and not (name.startswith("val_") and all(math.isnan(float(v)) for v in values))
    }
    if not any(not name.startswith("val_") for name in history):
        raise ValueError(f"{what} holds no epoch to draw")
    return history


def _read_log(path: Path) -> dict[str, list[float]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        # The logger writes NA where there was no value, as in a run without validation.
        return {
            name: [math.nan if row[name] == "NA" else float(row[name]) for row in rows]
            for name in (rows[0] if rows else [])
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a log of CSVLogger: {error}") from error
