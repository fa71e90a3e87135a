"""The network as a diagram: layers as boxes, from the inputs down."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._figure import figure_class, saved
from ._layout import Layout, layered_layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastconv._types import Shape
    from fastconv.layers import Layer
    from fastconv.models import Model
    from fastconv.models.function import FunctionGraph

_COLOURS = {
    "input": "#e8e8e8",
    "convolution": "#cfe2f3",
    "pooling": "#f9dcc4",
    "dense": "#d9ead3",
    "normalization": "#efe3f7",
    "activation": "#fff2cc",
    "merge": "#f4cccc",
    "other": "#f7f7f7",
}
# Inches; the figure is as large as the diagram.
_FONT = 8.0
_LINE = 0.15
_ROW_GAP = 0.32
_GAP = 0.3
_MARGIN = 0.15
_LEAST_WIDTH = 0.9


@dataclass
class _Box:
    layer: object
    kind: str
    lines: list[str]
    sources: list[int] = field(default_factory=list)
    width: float = 0.0


def network_diagram(
    model: Model,
    path: str | os.PathLike[str] | None = None,
    show_shapes: bool = True,
    show_layer_names: bool = True,
    show_parameters: bool = True,
    expand_nested: bool = False,
    horizontal: bool = False,
    dpi: float = 120,
) -> Figure:
    """Draws the layers as boxes with type, name, output shape and number of parameters.

    The layout is this package's own: no Graphviz is needed.

    Args:
        model: a functional model, or a built `Sequential`.
        path: where to save the diagram; .svg stays sharp at any size, .png and .pdf work too.
        show_shapes, show_layer_names, show_parameters: what the boxes tell besides the type.
        expand_nested: whether to draw the layers of inner models instead of one box.
        horizontal: from left to right instead of from the top down.
        dpi: pixels an inch of a .png.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the model has no graph: not built, or a subclass with its own call().
    """
    new_figure = figure_class()
    shown = (show_layer_names, show_shapes, show_parameters)
    boxes = _boxes(model, shown, expand_nested)
    edges = [(source, i) for i, box in enumerate(boxes) for source in box.sources]
    for box in boxes:
        box.width = max(_LEAST_WIDTH, 0.2 + max(map(_text_width, box.lines)))
    height = 0.14 + _LINE * max(len(box.lines) for box in boxes)
    # Along a rank boxes take their height where ranks go from left to right.
    sizes = [height if horizontal else box.width for box in boxes]
    layout = layered_layout(sizes, edges, _GAP)
    step = (max(box.width for box in boxes) if horizontal else height) + _ROW_GAP
    places = [(x, rank * step) for x, rank in zip(layout.x, layout.rank, strict=True)]
    lines = [_route(layout, number, edge, step) for number, edge in enumerate(edges)]
    if horizontal:
        places = [(y, x) for x, y in places]
        lines = [[(y, x) for x, y in line] for line in lines]
    points = places + [point for line in lines for point in line]
    half = max(box.width for box in boxes) / 2
    left = min(x for x, _ in points) - half - _MARGIN
    right = max(x for x, _ in points) + half + _MARGIN
    top = min(y for _, y in points) - height / 2 - _MARGIN
    bottom = max(y for _, y in points) + height / 2 + _MARGIN
    figure = new_figure(figsize=(right - left, bottom - top))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.axis("off")
    for (tail, head), line in zip(edges, lines, strict=True):
        _draw_edge(axes, line, boxes[tail], boxes[head], height, horizontal)
    for box, place in zip(boxes, places, strict=True):
        _draw_box(axes, box, place, height)
    return saved(figure, path, dpi)


def plot_model(
    model: Model,
    to_file: str = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Figure:
    """`network_diagram` with the arguments of `keras.utils.plot_model`.

    Args:
        model: a functional model, or a built `Sequential`.
        to_file: where to save the diagram (.png, .svg, .pdf); None: nowhere.
        show_shapes, show_layer_names, expand_nested, dpi: as in `network_diagram`.
        rankdir: "TB" (from the top down) or "LR" (from left to right).
        show_dtype, show_layer_activations, show_trainable: accepted for Keras code, no effect.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: another `rankdir`, unknown arguments, or a model without a graph.
    """
    if kwargs:
        raise ValueError(f"plot_model: arguments not recognized: {sorted(kwargs)}")
    if rankdir not in ("TB", "LR"):
        raise ValueError(f"plot_model: rankdir is {rankdir!r}, expected 'TB' or 'LR'")
    return network_diagram(
        model,
        to_file,
        show_shapes=show_shapes,
        show_layer_names=show_layer_names,
        show_parameters=False,
        expand_nested=expand_nested,
        horizontal=rankdir == "LR",
        dpi=dpi,
    )


def _boxes(model: Model, shown: Any, expand_nested: bool) -> list[_Box]:
    function = getattr(model, "_function", None)
    if function is None:
        raise ValueError(
            f"model '{getattr(model, 'name', model)}' has no graph to draw: it has not been built, "
            "or it is a subclass with its own call()"
        )
    boxes: list[_Box] = []
    sources = []
    for layer, tensor in zip(function.input_layers, function.flat_inputs, strict=True):
        sources.append(len(boxes))
        boxes.append(_box(layer, tensor.shape, shown))
    _add_nodes(boxes, function, sources, shown, expand_nested)
    return boxes


def _add_nodes(
    boxes: list[_Box], function: FunctionGraph, sources: list[int], shown: Any, expand: bool
) -> list[int]:
    """Append a box for each call of a layer; returns the boxes that make the outputs."""
    from fastconv._graph import flatten

    made_by = dict(zip(map(id, function.flat_inputs), sources, strict=True))
    for node in function.nodes:
        given = [made_by[id(tensor)] for tensor in node.inputs]
        outputs = flatten(node.outputs)
        inner = getattr(node.layer, "_function", None) if expand else None
        if inner is not None:
            results = _add_nodes(boxes, inner, given, shown, expand)
        else:
            results = [len(boxes)] * len(outputs)
            shape = ", ".join(str(tensor.shape) for tensor in outputs)
            boxes.append(_box(node.layer, shape, shown, sorted(set(given))))
        made_by.update(zip(map(id, outputs), results, strict=True))
    return [made_by[id(tensor)] for tensor in function.flat_outputs]


def _box(layer: Layer, shape: Shape | str, shown: Any, sources: Any = ()) -> _Box:
    names, shapes, parameters = shown
    function = getattr(layer, "function", None)
    lines = [f"ops.{function}" if type(layer).__name__ == "Operation" else type(layer).__name__]
    if names:
        lines.append(layer.name)
    if shapes:
        lines.append(str(shape).replace("None", "?"))
    count = sum(weight.size for weight in layer.weights)
    if parameters and count:
        lines.append(f"{count:,} parameter{'s' if count > 1 else ''}")
    return _Box(layer, _kind(layer), lines, list(sources))


def _kind(layer: Layer) -> str:
    from fastconv.layers import core

    module = type(layer).__module__.rpartition(".")[2]
    if isinstance(layer, core.InputLayer):
        return "input"
    if isinstance(layer, core.Dense):
        return "dense"
    if isinstance(layer, core.Activation):
        return "activation"
    return {
        "conv": "convolution",
        "conv_transpose": "convolution",
        "pooling": "pooling",
        "normalization": "normalization",
        "activation_layers": "activation",
        "merging": "merge",
    }.get(module, "other")


def _text_width(text: str) -> float:
    """Inches of a text as bold as the first line of a box."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    bold = FontProperties(weight="bold", size=_FONT)
    return float(text_to_path.get_text_width_height_descent(text, bold, ismath=False)[0]) / 72


def _route(layout: Layout, number: int, edge: Any, step: float) -> list[tuple[float, float]]:
    tail, head = edge
    start = layout.rank[tail]
    bends = [(x, (start + 1 + i) * step) for i, x in enumerate(layout.bends[number])]
    return [(layout.x[tail], start * step), *bends, (layout.x[head], layout.rank[head] * step)]


def _draw_edge(
    axes: Axes, line: Any, tail: _Box, head: _Box, height: float, horizontal: bool
) -> None:
    """A curve that leaves and enters boxes and bends along the ranks' direction."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    def along(point: Any, distance: float) -> Any:
        x, y = point
        return (x + distance, y) if horizontal else (x, y + distance)

    def thickness(box: Any) -> Any:
        return (box.width if horizontal else height) / 2

    start, end = along(line[0], thickness(tail)), along(line[-1], -thickness(head))
    # Beside boxes of its rank, a long edge runs straight.
    points = [start]
    for bend in line[1:-1]:
        points += [along(bend, -height / 2), along(bend, height / 2)]
    points.append(end)
    vertices, codes = [points[0]], [Path.MOVETO]
    for a, b in itertools.pairwise(points):
        pull = (b[0] - a[0] if horizontal else b[1] - a[1]) / 2
        vertices += [along(a, pull), along(b, -pull), b]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>,head_width=2.2,head_length=4",
            linewidth=0.9,
            edgecolor="#555555",
            facecolor="#555555",
            shrinkA=0,
            shrinkB=0,
        )
    )


def _draw_box(axes: Axes, box: _Box, place: Any, height: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    own = 0.14 + _LINE * len(box.lines)
    axes.add_patch(
        FancyBboxPatch(
            (x - box.width / 2, y - height / 2),
            box.width,
            height,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=_COLOURS[box.kind],
            edgecolor="#777777",
            linewidth=0.8,
        )
    )
    for number, text in enumerate(box.lines):
        axes.text(
            x,
            y - own / 2 + 0.07 + _LINE * (number + 0.5),
            text,
            ha="center",
            va="center",
            fontsize=_FONT,
            weight="bold" if number == 0 else "normal",
            color="black" if number == 0 else "#333333",
        )
