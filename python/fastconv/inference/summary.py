"""The table of a model's layers: shapes, parameters, multiplications, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastconv.inference.model import ModelGraph, Node
from fastconv.inference.network import Plan, Value

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
    """

    name: str
    op: str
    shapes: list[tuple[int, ...]]
    parameters: int
    macs: int


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
        head = ["layer", "operator", "output shape", "parameters", "MACs"]
        rows = [
            [
                layer.name if len(layer.name) <= 40 else "..." + layer.name[-37:],
                layer.op,
                " ".join(map(str, layer.shapes)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs:,}" if layer.macs else "",
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
        lines.append(f"parameters  {self.parameters:,} ({size_text(self.weight_bytes)})")
        lines.append(f"MACs        {self.macs:,}")
        lines.append(f"activations {size_text(self.arena_bytes)} at once")
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
        layers.append(Layer(name, node.op, shapes, count, macs(node, values)))
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
