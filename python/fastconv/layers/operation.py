"""Functions of `fastconv.ops` as layers of a functional model, as in `y = x + shortcut`."""

from __future__ import annotations

from fastconv._graph import KerasTensor, flatten, map_structure
from fastconv.layers.base import Layer
from fastconv.utils.naming import auto_name


class Operation(Layer):
    """Applies one function of `fastconv.ops`; made by calling it on symbolic tensors.

    Args:
        function: name of the function.
        arguments: its positional arguments, tensors replaced by {"tensor": index}.
        keywords: its keyword arguments, likewise.
    """

    _any_dtype = True

    def __init__(self, function, arguments=(), keywords=None, name=None, **kwargs):
        from fastconv import ops

        if function.startswith("_") or not hasattr(getattr(ops, function, None), "__wrapped__"):
            raise ValueError(f"fastconv.ops has no function {function!r}")
        super().__init__(name=name or auto_name(function), **kwargs)
        self.function = function
        self.arguments = list(arguments)
        self.keywords = dict(keywords or {})

    @classmethod
    def record(cls, function, args, kwargs):
        """Return the symbolic result of calling `function`."""
        tensors = []

        def slot(leaf):
            if isinstance(leaf, KerasTensor):
                tensors.append(leaf)
                return _Marker(len(tensors) - 1)
            return leaf

        args, kwargs = map_structure(slot, (list(args), kwargs))
        layer = cls(function, _encode(args), _encode(kwargs))
        return layer(tensors[0] if len(tensors) == 1 else tensors)

    def call(self, inputs):
        from fastconv import ops

        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        args = [_decode(a, tensors) for a in self.arguments]
        kwargs = {k: _decode(v, tensors) for k, v in self.keywords.items()}
        return getattr(ops, self.function)(*args, **kwargs)

    def get_config(self):
        return {
            **super().get_config(),
            "function": self.function,
            "arguments": self.arguments,
            "keywords": self.keywords,
        }


class _Marker:
    def __init__(self, index):
        self.index = index


def _encode(value):
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


def _decode(value, tensors):
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


def tensors_in(structure) -> list[KerasTensor]:
    """Return the symbolic tensors of a nested structure."""
    return [t for t in flatten(structure) if isinstance(t, KerasTensor)]
