"""ONNX operators to the core's: one function an operator, registered by name."""

from fastconv.inference.lowering import (  # noqa: F401 - they register their operators
    conv,
    elementwise,
    matmul,
    normalization,
    pool,
    reduction,
    resize,
    shape,
)
from fastconv.inference.lowering.registry import OPERATORS

__all__ = ["OPERATORS"]
