"""What holds for every ModelGraph, checked when one is read."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastconv.inference.model import ModelGraph, Node

if TYPE_CHECKING:
    pass

# Far above any tensor that fits a machine, far below what overflows 64 bits.
MAX_ELEMENTS = 1 << 48
MAX_RANK = 32


def checked_shape(shape: Sequence[int | str | None], what: str) -> tuple[Any, ...]:
    """Return a shape after checking its numbers.

    Args:
        shape: sizes; strings and None pass as symbolic and unknown sizes.
        what: whose shape it is, for the message.

    Raises:
        ValueError: a negative size, too many dimensions, or a product beyond 2^48.
    """
    shape = tuple(shape)
    if len(shape) > MAX_RANK:
        raise ValueError(f"{what} has {len(shape)} dimensions, at most {MAX_RANK} are possible")
    product = 1
    for size in shape:
        if size is None or isinstance(size, str):
            continue
        if size < 0:
            raise ValueError(f"{what} has a negative size: {shape}")
        product *= max(size, 1)
        if product > MAX_ELEMENTS:
            raise ValueError(f"{what} has shape {shape}, more elements than any memory holds")
    return tuple(shape)


def checked(model: ModelGraph, where: str) -> ModelGraph:
    """Return the model with its nodes in topological order.

    Args:
        model: nodes in any order.
        where: what the messages start with, the name of the file.

    Raises:
        ValueError: a name defined twice or never, an empty name, a cycle, or no outputs; the
            message names the value and node.
    """
    homes: dict[str, str] = {}
    for kind, names in (
        ("an input of the graph", [v.name for v in model.inputs]),
        ("a constant", model.constants),
    ):
        for name in names:
            _define(homes, name, kind, where)
    producers: dict[str, int] = {}
    for index, node in enumerate(model.nodes):
        if not node.op:
            raise ValueError(f"{where}: node {node.name!r} has no operator type")
        for name in node.outputs:
            if name:
                _define(homes, name, f"an output of {node.label()}", where)
                producers[name] = index
    for node in model.nodes:
        for name in node.inputs:
            if name and name not in homes:
                raise ValueError(
                    f"{where}: {node.label()} reads {name!r}, which is no input, constant or "
                    "output of a node"
                )
    if not model.outputs:
        raise ValueError(f"{where}: the graph has no outputs")
    seen: set[str] = set()
    for output in model.outputs:
        if output.name not in homes:
            raise ValueError(f"{where}: the output {output.name!r} of the graph is never computed")
        if output.name in seen:
            raise ValueError(f"{where}: the output {output.name!r} of the graph is listed twice")
        seen.add(output.name)
    return replace(model, nodes=_sorted(model.nodes, producers, where))


def _define(homes: dict[str, str], name: str, kind: str, where: str) -> None:
    if not name:
        raise ValueError(f"{where}: {kind} has an empty name")
    if name in homes:
        raise ValueError(f"{where}: the name {name!r} is both {homes[name]} and {kind}")
    homes[name] = kind


def _sorted(nodes: list[Node], producers: dict[str, int], where: str) -> list[Node]:
    """Return the nodes after those they read from, otherwise in the given order."""
    needs = [{producers[name] for name in node.inputs if name in producers} for node in nodes]
    if all(all(need < index for need in found) for index, found in enumerate(needs)):
        return list(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for index, found in enumerate(needs):
        for need in found:
            readers[need].append(index)
    missing = [len(found) for found in needs]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(index for index, count in enumerate(missing) if count)
        raise ValueError(f"{where}: the graph has a cycle through or before {nodes[stuck].label()}")
    return [nodes[index] for index in order]
