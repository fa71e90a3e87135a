"""Values that flow through layers: symbolic tensors, values of a graph being built, variables."""

from fastconv._graph.builder import GraphBuilder, current_builder
from fastconv._graph.tensor import KerasTensor, Node, Tensor
from fastconv._graph.tree import flatten, map_structure
from fastconv._graph.variable import Variable

__all__ = [
    "GraphBuilder",
    "KerasTensor",
    "Node",
    "Tensor",
    "Variable",
    "current_builder",
    "flatten",
    "map_structure",
]
