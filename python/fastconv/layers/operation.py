"""Functions of `fastconv.ops` as layers of a functional model, as in `y = x + shortcut`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv._graph import KerasTensor, flatten, map_structure
from fastconv.layers.base import Layer
from fastconv.utils.naming import auto_name

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class Operation(Layer):
    """Applies one function of `fastconv.ops`; made by calling it on symbolic tensors.

    Args:
        function: name of the function.
        arguments: its positional arguments, tensors replaced by {"tensor": index}.
        keywords: its keyword arguments, likewise.
    """

    _any_dtype = True

    def __init__(
        self,
        function: str,
        arguments: Any = (),
        keywords: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        from fastconv import ops

        if function.startswith("_") or not hasattr(getattr(ops, function, None), "__wrapped__"):
            raise ValueError(f"fastconv.ops has no function {function!r}")
        super().__init__(name=name or auto_name(function), **kwargs)
        self.function = function
        self.arguments = list(arguments)
        self.keywords = dict(keywords or {})

    @classmethod
    def record(cls, function: str, args: Any, kwargs: Any) -> Any:
        """Return the symbolic result of `function` called with `args` and keywords `kwargs`."""
        tensors = []

        def slot(leaf: Any) -> Any:
            if isinstance(leaf, KerasTensor):
                tensors.append(leaf)
                return _Marker(len(tensors) - 1)
            return leaf

        args, kwargs = map_structure(slot, (list(args), kwargs))
        layer = cls(function, _encode(args), _encode(kwargs))
        return layer(tensors[0] if len(tensors) == 1 else tensors)

    def call(self, inputs: TensorLike) -> TensorLike:
        from fastconv import ops

        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        args = [_decode(a, tensors) for a in self.arguments]
        kwargs = {k: _decode(v, tensors) for k, v in self.keywords.items()}
        return getattr(ops, self.function)(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "function": self.function,
            "arguments": self.arguments,
            "keywords": self.keywords,
        }


class _Marker:
    def __init__(self, index: int) -> None:
        self.index = index


def _encode(value: Any) -> Any:
    """Arguments as JSON can hold them; tensors, slices and ... become tagged dicts."""
    if isinstance(value, _Marker):
        return {"tensor": value.index}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v) for v in value]}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    return value


def _decode(value: Any, tensors: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tensor"}:
        return tensors[value["tensor"]]
    if set(value) == {"slice"}:
        return slice(*value["slice"])
    if set(value) == {"ellipsis"}:
        return Ellipsis
    if set(value) == {"tuple"}:
        return tuple(_decode(v, tensors) for v in value["tuple"])
    return {k: _decode(v, tensors) for k, v in value.items()}


def tensors_in(structure: Any) -> list[KerasTensor]:
    """Return the symbolic tensors of a nested structure."""
    return [t for t in flatten(structure) if isinstance(t, KerasTensor)]
