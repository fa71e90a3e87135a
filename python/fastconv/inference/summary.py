"""The table of a model's layers: shapes, parameters, multiplications, memory, receptive fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv._receptive import Field, largest
from fastconv._receptive import size_text as field_text
from fastconv.inference.model import ModelGraph, Node
from fastconv.inference.network import Plan, Value

# Their outputs are their inputs' memory.
_VIEWS = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
# Their floating-point constants are settings, not weights.
_NO_WEIGHTS = ("Clip", "Resize", "Upsample", "Pad", "Range", "Dropout")


@dataclass
class Layer:
    """One node of the model.

    Attributes:
        name: its name, or its first output's.
        op: the ONNX operator.
        shapes: of its outputs.
        parameters: how many numbers its weights have.
        macs: multiplications with additions of convolutions and matrix products; 0 for others.
        activation_bytes: memory of its outputs, 0 where they are its input's.
        receptive_field: elements of the input, along each spatial axis, that an element of the
            output depends on; the largest of branches. None without spatial axes.
    """

    name: str
    op: str
    shapes: list[tuple[int, ...]]
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, ...] | None


@dataclass
class Summary:
    """What a model needs at one shape of its inputs; prints a table.

    Attributes:
        inputs: shape and dtype by name.
        layers: the nodes that a run computes.
        parameters: numbers in all weights, each counted once.
        macs: of all layers.
        weight_bytes: memory of the model's constants.
        arena_bytes: memory of all values during a run, and of what its steps use meanwhile.
        planned: nodes that are computed while planning (shape arithmetic).
    """

    inputs: dict[str, Value]
    layers: list[Layer]
    parameters: int
    macs: int
    weight_bytes: int
    arena_bytes: int
    planned: int

    def __str__(self) -> str:
        head = ["layer", "operator", "output shape", "parameters", "multiply-adds"]
        head += ["activations", "receptive field"]
        rows = [
            [
                layer.name if len(layer.name) <= 40 else "..." + layer.name[-37:],
                layer.op,
                " ".join(map(str, layer.shapes)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs:,}" if layer.macs else "",
                size_text(layer.activation_bytes) if layer.activation_bytes else "",
                field_text(layer.receptive_field),
            ]
            for layer in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [f"input {n}: {v.shape} {v.dtype}" for n, v in self.inputs.items()]
        for row in [head, *rows]:
            cells = [
                cell.rjust(width) if i >= 3 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.append(
            f"{len(self.layers)} layers"
            + (f", {self.planned} more computed while planning" if self.planned else "")
        )
        lines.append(f"parameters     {self.parameters:,} ({size_text(self.weight_bytes)})")
        lines.append(f"multiply-adds  {self.macs:,}")
        lines.append(f"activations    {size_text(self.arena_bytes)} at once")
        return "\n".join(lines)


def size_text(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def summarize(model: ModelGraph, plan: Plan) -> Summary:
    """Return the summary of a model at the shapes it was planned for.

    Args:
        model: the one that was planned (simplified, constants folded).
        plan: `Network.plan`'s.
    """
    values, weights, layers, planned = plan.values, set(), [], 0
    fields: dict[str, Field | None] = {
        info.name: Field.of_input(values[info.name].shape[2:])
        for info in model.inputs
        if len(values[info.name].shape) > 2
    }
    for node in model.nodes:
        outputs = [values[name] for name in node.outputs if name]
        if all(value.known for value in outputs):
            planned += 1
            continue
        own = _weights(node, model)
        weights |= own
        count = sum(model.constants[name].size for name in own)
        name = node.name or next(name for name in node.outputs if name)
        shapes = [value.shape for value in outputs]
        field = _field(node, model, values, fields)
        fields.update((name, field) for name in node.outputs if name)
        made = 0 if node.op in _VIEWS else sum(map(_bytes, outputs))
        sizes = None if field is None else field.sizes()
        layers.append(Layer(name, node.op, shapes, count, macs(node, values), made, sizes))
    memory = plan.core.memory
    return Summary(
        {info.name: values[info.name] for info in model.inputs},
        layers,
        sum(model.constants[name].size for name in weights),
        sum(layer.macs for layer in layers),
        sum(array.nbytes for array in model.constants.values()),
        memory["arena"] + memory["scratch"],
        planned,
    )


def _weights(node: Node, model: ModelGraph) -> set[str]:
    """The node's floating-point constants; scalars are settings like the others'."""
    if node.op in _NO_WEIGHTS:
        return set()
    found = {name for name in node.inputs if name in model.constants}
    arrays = {name: model.constants[name] for name in found}
    return {name for name, a in arrays.items() if a.dtype.kind == "f" and a.ndim > 0}


def macs(node: Node, values: dict[str, Value]) -> int:
    """Return the multiplications with additions of a node, 0 but for the heavy operators."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    a, b = (values[name].shape for name in node.inputs[:2])
    out = math.prod(values[node.outputs[0]].shape)
    if node.op == "Conv":
        return out * math.prod(b[1:])
    if node.op == "ConvTranspose":
        return math.prod(a) * math.prod(b[1:])
    if node.op == "Gemm":
        return out * (a[0] if node.attrs.get("transA") else a[1])
    return out * a[-1]


def _bytes(value: Value) -> int:
    return math.prod(value.shape) * np.dtype(value.dtype).itemsize


def _field(node: Node, model: ModelGraph, values: dict[str, Value], fields: Any) -> Field | None:
    """Return the receptive field of a node's outputs, from the largest of its inputs."""
    before = largest(fields.get(name) for name in node.inputs)
    if before is None or not node.inputs[0] or not node.outputs[0]:
        return before
    x, y = values[node.inputs[0]].shape, values[node.outputs[0]].shape
    op, rank = node.op, len(before.size)
    if op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"):
        kernel: Any = node.attrs.get("kernel_shape")
        kernel = values[node.inputs[1]].shape[2:] if kernel is None else kernel
        ones = [1] * len(kernel)
        strides, dilations = (node.attrs.get(key, ones) for key in ("strides", "dilations"))
        if not len(kernel) == len(y) - 2 == rank:
            return before
        follow = before.transposed if op == "ConvTranspose" else before.window
        return follow(kernel, strides, dilations, y[2:])
    if op.startswith("Global"):
        return before.whole()
    if op in ("Resize", "Upsample") and len(y) - 2 == rank:
        taps = {"linear": 2, "bilinear": 2, "cubic": 4}.get(str(node.attrs.get("mode", "")), 1)
        return before.resized(y[2:], taps)
    if op in ("Gemm", "MatMul") and (len(x) == 2 or node.inputs[1] not in model.constants):
        return before.whole()
    axes: Any = ()
    if op.startswith("Reduce"):
        axes = node.attrs.get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = model.constants.get(node.inputs[1])
        axes = range(len(x)) if axes is None else axes
    elif op in ("Softmax", "LogSoftmax"):
        axes = [node.attrs.get("axis", -1)]
    spatial = [int(a) % len(x) - 2 for a in axes]
    return before.whole(a for a in spatial if 0 <= a < rank)
