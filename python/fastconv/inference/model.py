"""The model of a file: a graph of ONNX operators with its constants; needs no `onnx` package.

`fastconv.onnx.load` makes one from an ONNX model, `fastconv.inference.file` keeps it in fastconv's
own file, and the lowering turns it into a graph of the core.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Dimension = int | str | None
Attribute = int | float | str | list[int] | list[float] | list[str] | np.ndarray


@dataclass
class ValueInfo:
    """Name, type and shape of an input or output.

    Attributes:
        name: name of the value.
        dtype: NumPy's name of the element type (ONNX's in lower case where NumPy lacks the type);
            "" where the model does not say (outputs only).
        shape: sizes; a string is a symbolic size, None an unknown one. None as a whole: the rank
            is unknown.
    """

    name: str
    dtype: str
    shape: tuple[Dimension, ...] | None


@dataclass
class Node:
    """One operator call.

    Attributes:
        op: type of the operator ("Conv").
        inputs: names of values; "" is an omitted optional input.
        outputs: names of values; "" is an output that nobody wants.
        attrs: attributes by name; subgraphs are left out.
        name: name for messages; may be "".
        domain: operator set; "" is ONNX's own.
        version: version of the operator set that the node was written for; 0 is unknown.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Attribute] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    version: int = 0

    def label(self) -> str:
        """Return how messages call this node."""
        return (
            f"node {self.name!r} ({self.op})" if self.name else f"node {self.op} of {self.outputs}"
        )


@dataclass
class ModelGraph:
    """A model: every value is an input, a constant or the output of one node.

    Attributes:
        name: name of the graph.
        inputs: what the caller gives; weights are not among them.
        outputs: what the caller gets.
        nodes: in topological order.
        constants: read-only arrays by name.
        metadata: free text from the file (producer, documentation).
    """

    name: str
    inputs: list[ValueInfo]
    outputs: list[ValueInfo]
    nodes: list[Node]
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
