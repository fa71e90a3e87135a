"""The table of ONNX operators that can be lowered to the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

OPERATORS: dict[str, Callable[..., Any]] = {}


_Function = TypeVar("_Function", bound=Callable[..., Any])


def operator(*names: str) -> Callable[[_Function], _Function]:
    """Register a function as the lowering of ONNX operators of the default domain.

    It takes a `Context` and returns the output tensors: one `Tensor`, or a list of them.
    """

    def register(function: _Function) -> _Function:
        for name in names:
            assert name not in OPERATORS, name
            OPERATORS[name] = function
        return function

    return register
