"""Clean-up of a ModelGraph that needs no shapes: what does nothing or is never used goes away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastconv.inference.model import ModelGraph, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Shapes, axes and per-channel values; comparing large weights would cost more than it saves.
_CHEAP_BYTES = 4096


def simplify(model: ModelGraph) -> ModelGraph:
    """Return a graph with the same inputs and outputs, by name, that computes the same.

    Identity and Dropout (which does nothing in inference) are removed, equal small constants become
    one, nodes and constants that no output needs are dropped, and an output of a node that nobody
    reads is called "" (except the first). The given model is left as it is.

    Args:
        model: nodes in topological order, as the readers give them.
    """
    outputs = {value.name for value in model.outputs}
    nodes = _without_copies(model, outputs)
    constants, nodes = _merged(model.constants, nodes, outputs)
    nodes = _alive(nodes, outputs)
    used = outputs.union(*(node.inputs for node in nodes))
    return replace(
        model,
        nodes=nodes,
        constants={name: value for name, value in constants.items() if name in used},
    )


def _without_copies(model: ModelGraph, outputs: set[str]) -> list[Node]:
    """Return the nodes without those that only copy, where the names of outputs allow it."""
    fixed = {value.name for value in model.inputs} | set(model.constants) | outputs
    read = outputs.union(*(node.inputs for node in model.nodes))
    # What a name is called afterwards: the source of a copy, or the output that its copy was.
    source: dict[str, str] = {}
    kept = []
    for node in model.nodes:
        if not _copies(node, model.constants, read):
            kept.append(node)
            continue
        start, end = source.get(node.inputs[0], node.inputs[0]), node.outputs[0]
        if end not in outputs:
            source[end] = start
        elif start in fixed:
            kept.append(node)
        else:
            # The producer writes the output itself, whatever its value was called before.
            fixed.add(start)
            source[start] = end
            for name, target in source.items():
                if target == start:
                    source[name] = end
    return [_renamed(node, source, outputs_too=True) for node in kept]


def _copies(node: Node, constants: dict[str, NDArray[Any]], read: set[str]) -> bool:
    if node.domain or len(node.inputs) < 1 or not node.inputs[0] or not any(node.outputs[:1]):
        return False
    if node.op == "Identity":
        return len(node.outputs) == 1
    if node.op != "Dropout" or any(name and name in read for name in node.outputs[1:]):
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    training = constants.get(node.inputs[2])
    return training is not None and training.size == 1 and not training.any()


def _merged(constants: Any, nodes: list[Node], outputs: set[str]) -> Any:
    """Return constants and nodes after equal small constants have become one."""
    seen: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    for name, value in constants.items():
        if value.nbytes <= _CHEAP_BYTES and name not in outputs:
            key = (value.dtype.str, value.shape, value.tobytes())
            first = seen.setdefault(key, name)
            if first != name:
                same[name] = first
    kept = {name: value for name, value in constants.items() if name not in same}
    return kept, [_renamed(node, same) for node in nodes] if same else nodes


def _alive(nodes: list[Node], outputs: set[str]) -> list[Node]:
    """Return the nodes that the outputs need, with "" for outputs that nobody reads."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed.isdisjoint(node.outputs):
            continue
        needed.update(name for name in node.inputs if name)
        rest = [name if name in needed else "" for name in node.outputs[1:]]
        kept.append(replace(node, outputs=[*node.outputs[:1], *rest]))
    return kept[::-1]


def _renamed(node: Node, names: dict[str, str], outputs_too: bool = False) -> Node:
    inputs = [names.get(name, name) for name in node.inputs]
    outputs = [names.get(name, name) for name in node.outputs] if outputs_too else node.outputs
    return replace(node, inputs=inputs, outputs=outputs)
