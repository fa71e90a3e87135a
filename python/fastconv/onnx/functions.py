"""Calls of a model's own functions, replaced by the functions' bodies.

PyTorch's exporter writes such functions. `onnx.inliner` is not used: it serializes the whole model
with its weights, needs one operator set for all functions, and follows recursion without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastconv.inference.model import Node

# Functions that call functions can grow exponentially.
MAX_NODES = 200_000
_MAX_DEPTH = 64


class Reference(str):
    """An attribute value in a function's body: the name of the caller's attribute."""


@dataclass
class Function:
    """A model's own operator.

    Attributes:
        label: how messages call it.
        inputs, outputs: the names in its body.
        defaults: values of attributes that a call leaves out.
        nodes: its body, each node with its overload; attribute values may be `Reference`s.
    """

    label: str
    inputs: list[str]
    outputs: list[str]
    defaults: dict[str, Any]
    nodes: list[tuple[Node, str]]


class Inliner:
    """Replaces calls of functions.

    Args:
        functions: by (domain, name, overload).
        names: all names of the graph; new ones stay distinct from them.
        where: what messages start with, the name of the file.
    """

    def __init__(
        self, functions: dict[tuple[Any, ...], Function], names: set[str], where: str
    ) -> None:
        self._functions = functions
        self._names = names
        self._where = where
        self._budget = MAX_NODES
        self._calls = 0

    def expand(self, node: Node, overload: str = "") -> Iterator[Node]:
        """Yield the nodes that a node stands for: itself if it calls no function.

        Raises:
            ValueError: a recursive function, more than 200,000 nodes, or a call that does not fit.
        """
        yield from self._expand(node, overload, [])

    def _expand(self, node: Node, overload: str, active: list[Any]) -> Iterator[Node]:
        key = (node.domain, node.op, overload)
        function = self._functions.get(key)
        if function is None:
            yield node
            return
        if key in active or len(active) >= _MAX_DEPTH:
            raise ValueError(
                f"{self._where}: {function.label} calls itself or is nested too deeply"
            )
        what = f"{self._where}: {node.label()} calls {function.label}"
        if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            raise ValueError(
                f"{what} with {len(node.inputs)} inputs and {len(node.outputs)} outputs, it has "
                f"{len(function.inputs)} and {len(function.outputs)}"
            )
        self._calls += 1
        rename = self._renaming(node, function, what)
        for inner, inner_overload in function.nodes:
            self._budget -= 1
            if self._budget < 0:
                raise ValueError(
                    f"{self._where}: the model's functions unfold to more than {MAX_NODES} nodes"
                )
            copy = replace(
                inner,
                inputs=[rename(name) for name in inner.inputs],
                outputs=[rename(name) for name in inner.outputs],
                attrs=_resolved(inner.attrs, {**function.defaults, **node.attrs}),
                name=f"{node.name}/{inner.name}" if inner.name else node.name,
            )
            yield from self._expand(copy, inner_overload, [*active, key])
        for formal, actual in _pairs(function.outputs, node.outputs):
            if actual and formal in function.inputs:
                yield Node("Identity", [rename(formal)], [actual], {}, node.name, "", node.version)

    def _renaming(self, node: Node, function: Function, what: str) -> Callable[[str], str]:
        """Return the map from names of the body to names of the graph."""
        produced = {name for inner, _ in function.nodes for name in inner.outputs if name}
        clash = produced & set(function.inputs)
        if clash:
            raise ValueError(f"{what}, whose body overwrites its input {min(clash)!r}")
        known = produced | set(function.inputs)
        missing = [name for name in function.outputs if name not in known]
        if missing:
            raise ValueError(f"{what}, whose body does not compute the output {missing[0]!r}")
        names = {"": ""}
        for formal, actual in _pairs(function.inputs, node.inputs):
            names[formal] = actual
        for formal, actual in _pairs(function.outputs, node.outputs):
            if actual and formal in produced:
                names[formal] = actual
        prefix = f"{node.name or node.op}#{self._calls}"

        def rename(name: str) -> str:
            if name not in names:
                fresh = f"{prefix}/{name}"
                while fresh in self._names:
                    fresh += "'"
                self._names.add(fresh)
                names[name] = fresh
            return names[name]

        return rename


def _pairs(formal: list[str], actual: list[str]) -> Any:
    return zip(formal, [*actual, *[""] * (len(formal) - len(actual))], strict=True)


def _resolved(attrs: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with the caller's values; what the caller leaves out is left out."""
    return {
        name: given[value] if isinstance(value, Reference) else value
        for name, value in attrs.items()
        if not isinstance(value, Reference) or value in given
    }
