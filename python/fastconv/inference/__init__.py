"""Models of files and how they become graphs of the core; `fastconv.InferenceSession` runs them."""

from fastconv.inference.model import ModelGraph, Node, ValueInfo

__all__ = ["ModelGraph", "Node", "ValueInfo"]
