"""What each layer of a model costs: parameters, multiply-adds, memory, and its receptive field."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastconv._graph import GraphBuilder, Tensor, flatten
from fastconv._receptive import Field, largest, size_text
from fastconv.layers.base import is_shape, shapes_of

if TYPE_CHECKING:
    from fastconv._types import TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model

_VIEWS = ("reshape", "flatten", "identity")
_WINDOWS = ("conv2d", "max_pool2d", "avg_pool2d", "lp_pool2d")


@dataclass
class LayerCount:
    """The cost of one layer at batch 1.

    Attributes:
        name: its name.
        kind: its class.
        depth: 0, or how many models the layer lies in.
        output_shape: with None for the batch; a list of shapes for several outputs.
        parameters: numbers in its weights, those that are not trained too.
        multiply_adds: of convolutions (transposed and depthwise ones too), dense layers and matrix
            products; sums with biases, normalization, pooling, activations and merging are left
            out. One multiplication and one addition count as 1.
        activation_bytes: memory of the outputs; 0 where they are the input's memory (Flatten,
            Reshape, Dropout). An inner model has the sum of its layers.
        receptive_field: elements of the model's input, along each spatial axis, that an element of
            the output depends on; of branches that meet, the largest. It may be larger than the
            image. None where the input has no spatial axes.
        jump: distance in the input of neighbouring elements of the output.
    """

    name: str
    kind: str
    depth: int
    output_shape: tuple[Any, ...] | list[Any]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: tuple[int, ...] | None
    jump: tuple[float, ...] | None


@dataclass
class ModelCount:
    """The costs of all layers of a model and their sums; `str()` makes it a table.

    Attributes:
        rows: one for each layer, as in `Model.summary`.
        input_shapes: of the inputs, with batch 1.
        parameters, trainable_parameters: of the whole model, shared weights once.
        multiply_adds: of all layers.
        activation_bytes: of all layers: what training keeps for the way back, at batch 1.
            Prediction needs less, as memory is used again.
        receptive_field: of the outputs.
    """

    rows: list[LayerCount] = field(default_factory=list)
    input_shapes: list[tuple[Any, ...]] = field(default_factory=list)
    parameters: int = 0
    trainable_parameters: int = 0
    multiply_adds: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[int, ...] | None = None

    def __str__(self) -> str:
        from fastconv.models.summary import bytes_text

        head = ["layer", "output shape", "parameters", "multiply-adds", "activations", "field"]
        rows = [
            [
                f"{'  ' * row.depth}{row.name} ({row.kind})",
                str(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                bytes_text(row.activation_bytes),
                size_text(row.receptive_field),
            ]
            for row in self.rows
        ]
        total = ["total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"]
        rows.append([*total, bytes_text(self.activation_bytes), size_text(self.receptive_field)])
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, *rows]
        )


class _Tally:
    """What a layer and all inside it have added to the graph."""

    def __init__(self) -> None:
        self.multiply_adds = 0
        self.works = False
        self.memory: dict[int, int] = {}  # bytes of outputs by value


@dataclass
class _Found:
    """What the calls of one layer add up to."""

    shapes: object = None
    multiply_adds: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    reach: Field | None = None


class _Counter(GraphBuilder):
    """A graph whose layers and operators are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies = [_Tally()]
        self.layers: dict[int, _Found] = {}
        self.fields: dict[int, Field | None] = {}

    def entry(self, name: str, shape: Sequence[int], dtype: Any) -> Tensor:
        """Return an input of the model."""
        tensor = self.input(name, shape, dtype)
        if tensor.ndim in (3, 4):
            self.fields[tensor.id] = Field.of_input((1,) * (4 - tensor.ndim) + tensor.shape[1:-1])
        return tensor

    @contextlib.contextmanager
    def scope(self, name: str, training: bool | None = None) -> Iterator[Any]:
        self.tallies.append(_Tally())
        with super().scope(name, training):
            yield
        inner = self.tallies.pop()
        outer = self.tallies[-1]
        outer.multiply_adds += inner.multiply_adds
        outer.works |= inner.works
        outer.memory.update(inner.memory)

    def op(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        outputs = super().op(op, *inputs, **attrs)
        tally = self.tallies[-1]
        tally.works |= op not in _VIEWS
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        tally.multiply_adds += _multiply_adds(op, inputs, first)
        tensors = [t for t in inputs if t is not None]
        before = largest(self.fields.get(t.id) for t in tensors)
        reach = None if before is None else _reach(op, before, inputs, first, attrs)
        for tensor in outputs if isinstance(outputs, tuple) else (outputs,):
            self.fields[tensor.id] = reach
        return outputs

    def traced(self, layer: Layer, args: Any, kwargs: Any, outputs: Any) -> None:
        tally = self.tallies[-1]
        tensors = [t for t in flatten(outputs) if isinstance(t, Tensor)]
        if tally.works:
            tally.memory.update((t.id, _bytes(t)) for t in tensors)
        found = self.layers.setdefault(id(layer), _Found())
        if found.shapes is None:
            found.shapes = shapes_of(outputs)
        found.multiply_adds += tally.multiply_adds
        found.memory.update(tally.memory)
        found.reach = largest([found.reach, *(self.fields.get(t.id) for t in tensors)])


def _bytes(tensor: Tensor) -> int:
    return int(math.prod(tensor.shape)) * {"float64": 8, "int64": 8}.get(tensor.dtype, 4)


def _multiply_adds(op: str, inputs: TensorLike, output: Tensor) -> int:
    if op == "conv2d":
        return int(math.prod(output.shape) * math.prod(inputs[1].shape[:3]))
    if op == "conv_transpose2d":
        return int(math.prod(inputs[0].shape) * math.prod(inputs[1].shape[:3]))
    if op in ("dense", "matmul"):
        return int(math.prod(output.shape) * inputs[0].shape[-1])
    return 0


def _reach(
    op: str, before: Field, inputs: TensorLike, output: Tensor, attrs: dict[str, Any]
) -> Field:
    """Return the receptive field of an operator's outputs, from the largest of its inputs."""
    x = inputs[0]
    if op in _WINDOWS or op == "conv_transpose2d":
        kernel = attrs["kernel"] if "kernel" in attrs else inputs[1].shape[:2]
        window = kernel, attrs["strides"], attrs.get("dilations", (1, 1)), output.shape[1:3]
        transposed = op == "conv_transpose2d"
        return before.transposed(*window) if transposed else before.window(*window)
    if op.startswith("adaptive_"):
        return before.pooled_to(attrs["output_size"])
    if op == "resize":
        return before.resized(attrs["size"], 2 if attrs.get("mode") == "bilinear" else 1)
    if op in ("dense", "matmul") and (x.ndim == 2 or op == "matmul"):
        return before.whole()
    axes = attrs.get("axes", range(x.ndim)) if op.startswith("reduce_") else ()
    if op in ("softmax", "log_softmax"):
        axes = [attrs.get("axis", -1)]
    elif op == "layer_norm":
        axes = range(attrs.get("axis", -1) % x.ndim, x.ndim)
    elif op == "group_norm":
        axes = range(1, x.ndim)
    # Spatial axes of (N, H, W, C) are 1 and 2, that of (N, L, C) is 1.
    spatial = {4: {1: 0, 2: 1}, 3: {1: 1}}.get(x.ndim, {})
    return before.whole(spatial[a % x.ndim] for a in axes if a % x.ndim in spatial)


def _shapes(model: Model, input_shape: Any) -> list[tuple[Any, ...]]:
    """Return the shapes of the inputs with batch 1."""
    if input_shape is None:
        if model._function is None:
            built = model._build_shape
            if built is None:
                raise ValueError(
                    f"model '{model.name}' has no input shape: give count() an `input_shape`, "
                    "without the batch"
                )
            shapes = [built] if is_shape(built) else list(built)
        else:
            shapes = [t.shape for t in model._function.flat_inputs]
        shapes = [tuple(s[1:]) for s in shapes]
    else:
        shapes = [tuple(input_shape)] if is_shape(input_shape) else [tuple(s) for s in input_shape]
    for shape in shapes:
        if any(d is None for d in shape):
            raise ValueError(
                f"model '{model.name}' takes inputs of open size {shape}: give count() an "
                "`input_shape` without the batch, as (224, 224, 3)"
            )
    return [(1, *(int(d) for d in shape)) for shape in shapes]


def count(model: Model, input_shape: Any = None, expand_nested: bool = False) -> ModelCount:
    """Count parameters, multiply-adds and memory of each layer, and tell its receptive field.

    Args:
        model: a model of layers; one that is not built is built for `input_shape`.
        input_shape: shape of one sample, (224, 224, 3), or a list of them for several inputs;
            needed where the model leaves sizes open.
        expand_nested: also list the layers inside inner models, after their model's row.

    Returns:
        Rows and totals, at batch 1. `LayerCount` and `ModelCount` say what is counted.

    Raises:
        ValueError: sizes that stay open or do not fit the model.
    """
    shapes = _shapes(model, input_shape)
    if not model.built:
        model._ensure_built(shapes[0] if len(shapes) == 1 else shapes)
    g = _Counter()
    dtype = model._compute_dtype(model.dtype)
    inputs = [g.entry(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]
    with g.tracing():
        matched = inputs if model._function is None else model._match_inputs(inputs)
        outputs = flatten(model._run_on(g, matched))
    tally = g.tallies[0]
    rank = max((len(shape) - 2 for shape in shapes), default=0)
    reach = largest(g.fields.get(t.id) for t in outputs)
    return ModelCount(
        list(_rows(model, g, rank, expand_nested)),
        shapes,
        sum(w.size for w in model.weights),
        sum(w.size for w in model.trainable_weights),
        tally.multiply_adds,
        sum(tally.memory.values()),
        None if reach is None else reach.sizes()[-rank:],
    )


def _rows(
    model: Model, g: _Counter, rank: int, expand_nested: bool, depth: int = 0
) -> Iterator[Any]:
    from fastconv.layers.core import InputLayer
    from fastconv.models.model import Model

    for layer in model.layers:
        found = g.layers.get(id(layer))
        if isinstance(layer, InputLayer):
            at = largest(g.fields.get(t.id) for t in g._inputs.values()) if depth == 0 else None
            found = _Found(shapes=layer.batch_shape, reach=at)
        elif found is None:  # in no path from the inputs to the outputs
            continue
        flat = _shape_list(found.shapes)
        batchless = [(None, *shape[1:]) for shape in flat]
        yield LayerCount(
            layer.name,
            type(layer).__name__,
            depth,
            batchless[0] if is_shape(found.shapes) else batchless,
            sum(w.size for w in layer.weights),
            found.multiply_adds,
            sum(found.memory.values()),
            None if found.reach is None else found.reach.sizes()[-rank:],
            None if found.reach is None else found.reach.jumps()[-rank:],
        )
        if expand_nested and isinstance(layer, Model):
            yield from _rows(layer, g, rank, expand_nested, depth + 1)


def _shape_list(shapes: Any) -> list[tuple[Any, ...]]:
    if is_shape(shapes):
        return [tuple(shapes)]
    return [
        shape
        for part in (shapes.values() if isinstance(shapes, dict) else shapes)
        for shape in _shape_list(part)
    ]
