"""The table of `Model.summary()`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastconv._graph import KerasTensor
from fastconv._receptive import size_text
from fastconv.layers.base import shapes_of
from fastconv.models.counting import count

if TYPE_CHECKING:
    from fastconv.layers import Layer
    from fastconv.models import Model

_COUNTED = ["Mult-adds", "Memory", "Field"]


def bytes_text(count_bytes: float) -> str:
    """Return a number of bytes for people, as Keras writes it."""
    for unit in ("B", "KB", "MB", "GB"):
        if count_bytes < 1024 or unit == "GB":
            return f"{count_bytes:.2f} {unit}"
        count_bytes /= 1024
    return ""


def _weights_text(weights: Any) -> str:
    count = sum(w.size for w in weights)
    total = sum(w.size * (8 if w.dtype == "float64" else 4) for w in weights)
    return f"{count:,} ({bytes_text(total)})"


def _shape_text(layer: Layer) -> str:
    try:
        shapes = shapes_of(layer.output)
    except AttributeError:
        return "?"
    if isinstance(shapes, (list, dict)):
        return ", ".join(str(s) for s in flatten_shapes(shapes))
    return str(shapes)


def flatten_shapes(shapes: Any) -> Any:
    """Return the shapes of a list or dict of outputs."""
    return list(shapes.values()) if isinstance(shapes, dict) else list(shapes)


def _connected(layer: Layer, nodes: Any) -> str:
    names: list[str] = []
    for node in nodes:
        if node.layer is layer:
            for tensor in node.inputs:
                if isinstance(tensor, KerasTensor) and tensor.history is not None:
                    origin, index = tensor.history
                    names.append(f"{origin.layer.name}[{index}]")
    return ", ".join(names) or "-"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _rows(
    model: Model,
    layers: Any,
    connections: Any,
    nested: Any,
    trainable: bool,
    counts: Any,
    depth: int = 0,
) -> Iterator[Any]:
    from fastconv.models.model import Model

    function = model._function
    for layer in layers:
        row = ["  " * depth + f"{layer.name} ({type(layer).__name__})", _shape_text(layer)]
        row.append(f"{sum(w.size for w in layer.weights):,}" if layer.built else "0 (unbuilt)")
        if connections:
            row.append(_connected(layer, function.nodes) if function is not None else "-")
        if trainable:
            row.append("Y" if layer.trainable and layer.weights else "N" if layer.weights else "-")
        if counts is not None:
            row += _count_cells(counts.get((depth, layer.name)))
        yield row
        if nested and isinstance(layer, Model):
            yield from _rows(layer, layer.layers, connections, nested, trainable, counts, depth + 1)


def _count_cells(row: Any) -> list[str]:
    if row is None:
        return ["-"] * len(_COUNTED)
    return [
        f"{row.multiply_adds:,}",
        bytes_text(row.activation_bytes),
        size_text(row.receptive_field) or "-",
    ]


def print_summary(
    model: Model,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Callable[..., Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
    show_counts: bool = False,
    input_shape: Any = None,
) -> None:
    """Print the table.

    Args:
        line_length: width in characters; by default as wide as needed, at most the terminal.
        positions: accepted for Keras code, no effect.
        print_fn: called with the whole text instead of printing it.
        layer_range: names of the first and last layer to show.
        show_counts: add multiply-adds, memory of the outputs and receptive field
            (`fastconv.utils.count`).
        input_shape: for `show_counts`, where the model leaves sizes open.
    """
    from fastconv.models.sequential import Sequential

    layers = model.layers
    if layer_range is not None:
        names = [layer.name for layer in layers]
        for name in layer_range:
            if name not in names:
                raise ValueError(f"layer_range: no layer {name!r}; layers are {names}")
        first, last = sorted(names.index(name) for name in layer_range)
        layers = layers[first : last + 1]
    connections = not isinstance(model, Sequential) and model._function is not None
    # The counts take the place of the connections.
    connections = connections and not show_counts
    header = ["Layer (type)", "Output Shape", "Param #"]
    header += ["Connected to"] if connections else []
    header += ["Trai..."] if show_trainable else []
    header += _COUNTED if show_counts else []
    counted = count(model, input_shape, expand_nested) if show_counts else None
    by_name = {(r.depth, r.name): r for r in counted.rows} if counted is not None else None
    rows = list(_rows(model, layers, connections, expand_nested, show_trainable, by_name))
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    limit = line_length or (shutil.get_terminal_size((100, 24)).columns if print_fn is None else 0)
    frame = 3 * len(widths) + 1
    if line_length is not None and sum(widths) + frame < line_length:
        widths[0] += line_length - sum(widths) - frame
    while limit and sum(widths) + frame > max(limit, 60) and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    unicode = print_fn is not None or (sys.stdout.encoding or "").lower().startswith("utf")
    lines = [f'Model: "{model.name}"', *_table(header, rows, widths, unicode)]
    lines += _totals(model)
    if counted is not None:
        lines += _counted_totals(counted)
    text = "\n".join(lines)
    if print_fn is None:
        print(text)
    else:
        print_fn(text)


def _table(header: Any, rows: Any, widths: Any, unicode: bool) -> Iterator[Any]:
    if unicode:
        top, below, between, bottom = "┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘"
        heavy, light = "┃", "│"
    else:
        top = below = "+=++"
        between = bottom = "+-++"
        heavy = light = "|"

    right = ("Param #", *_COUNTED)

    def rule(marks: Any) -> Any:
        left, fill, middle, right = marks
        return left + middle.join(fill * (w + 2) for w in widths) + right

    def line(cells: Any, bar: Any) -> Any:
        texts = []
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            cell = _cut(cell, width)
            texts.append(cell.rjust(width) if header[i] in right else cell.ljust(width))
        return f"{bar} " + f" {bar} ".join(texts) + f" {bar}"

    yield rule(top)
    yield line(header, heavy)
    yield rule(below)
    for i, row in enumerate(rows):
        if i:
            yield rule(between)
        yield line(row, light)
    yield rule(bottom)


def _totals(model: Model) -> Any:
    optimizer = model.optimizer
    states = optimizer.variables if optimizer is not None and optimizer.built else []
    trained = model.trainable_weights
    return [
        f" Total params: {_weights_text([*model.weights, *states])}",
        f" Trainable params: {_weights_text(trained)}",
        f" Non-trainable params: {_weights_text(model.non_trainable_weights)}",
        *([f" Optimizer params: {_weights_text(states)}"] if states else []),
    ]


def _counted_totals(counted: Any) -> Any:
    macs = counted.multiply_adds
    short = f" ({macs / 1e9:.2f} G)" if macs >= 1e7 else ""
    shapes = ", ".join(str(shape) for shape in counted.input_shapes)
    field = size_text(counted.receptive_field)
    return [
        f" Multiply-adds: {macs:,}{short} for inputs {shapes}",
        f" Activations: {bytes_text(counted.activation_bytes)}",
        *([f" Receptive field: {field}"] if field else []),
    ]
