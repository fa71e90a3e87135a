"""Building the nodes of an ONNX graph, with the axes of every tensor in whatever order suits.

The core computes channels last, ONNX's convolutions channels first. So a value may exist as
several ONNX tensors, one for each order of its axes in use: in a tensor of order (0, 3, 1, 2),
axis 1 is the value's axis 3. A `Transpose` is written only where an operator needs an order in
which the value does not exist yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastconv.onnx.export_trace import Node, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

Order = tuple[int, ...]


def identity(rank: int) -> Order:
    """Return the order in which the axes are the value's own."""
    return tuple(range(rank))


def channels_first(rank: int) -> Order:
    """Return the order with the last axis behind the batch."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else identity(rank)


class Value:
    """A value of the model: its shape in each trace, and the tensors that hold it."""

    __slots__ = ("array", "dtype", "hint", "shapes", "tensors")

    def __init__(self, shapes: Any, dtype: str, array: Any = None, hint: str | None = None) -> None:
        self.shapes = [tuple(s) for s in shapes]
        self.dtype = dtype
        self.array = array  # where it is a constant
        self.hint = hint  # name of a constant
        self.tensors: dict[Order, str] = {}

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    @property
    def order(self) -> Order:
        """The order in which it was computed; a constant has any."""
        return next(iter(self.tensors), identity(self.rank))

    def dims(self, axis: int) -> tuple[int, ...]:
        """Return the size of an axis in each trace."""
        return tuple(shape[axis] for shape in self.shapes)

    def size(self, axis: int) -> int | None:
        """Return the size of an axis, None where it is not fixed."""
        sizes = set(self.dims(axis))
        return sizes.pop() if len(sizes) == 1 else None


class Writer:
    """Collects ONNX nodes and initializers."""

    def __init__(self, trace: Trace, opset: int, reserved: set[str]) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: dict[int, Value] = {}
        self.inputs: list[tuple[str, Value]] = []
        self.scope = ""
        self._trace = trace
        self._names = set(reserved)
        self._node_names: set[str] = set()
        self._small: dict[tuple[Any, ...], str] = {}
        self._shape_of: dict[str, str] = {}

    # Names

    def _free(self, name: str, names: set[str]) -> str:
        free, n = name, 1
        while free in names:
            free, n = f"{name}_{n}", n + 1
        names.add(free)
        return free

    def fresh(self, name: str) -> str:
        """Return a name that no tensor has yet."""
        return self._free(name or "value", self._names)

    # Values

    def value(self, value_id: int) -> Value:
        """Return a value of the trace."""
        found = self.values.get(value_id)
        if found is None:
            trace = self._trace
            shapes, dtype = trace.shapes[value_id], trace.dtypes[value_id]
            found = Value(shapes, dtype, trace.constants.get(value_id), trace.names.get(value_id))
            self.values[value_id] = found
            if value_id in trace.fills:
                sizes = [found.dims(axis) for axis in range(found.rank)]
                target = self.runtime_shape(sizes, f"{self.scope}: a constant")
                fill = _tensor(np.full(1, trace.fills[value_id], dtype), "value")
                found.tensors[identity(found.rank)] = self.node(
                    "ConstantOfShape", [target], value=fill
                )
        return found

    def want(self, value: Value, order: Order | None = None) -> str:
        """Return the name of the tensor that holds a value in an order (its own by default)."""
        order = identity(value.rank) if order is None else tuple(order)
        name = value.tensors.get(order)
        if name is None:
            if value.array is not None:
                hint = value.hint or f"{self.scope}/constant"
                name = self.constant(np.transpose(value.array, order), hint)
            elif not value.tensors:
                raise ValueError(
                    f"layer {self.scope!r} cannot be exported to ONNX: it uses a further output of "
                    "an operator, which ONNX does not have"
                )
            else:
                source = value.order
                name = self.node(
                    "Transpose",
                    [value.tensors[source]],
                    perm=[source.index(axis) for axis in order],
                )
            value.tensors[order] = name
        return name

    def held(self, value: Value) -> tuple[str, Order]:
        """Return a tensor that holds a value and its order."""
        name = self.want(value, value.order)
        return name, value.order

    # Nodes

    def node(self, op: str, inputs: list[str], **attrs: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        label = self._free(f"{self.scope}/{op}" if self.scope else op, self._node_names)
        name = self.fresh(label)
        attrs = {k: v for k, v in attrs.items() if v is not None}
        self.nodes.append(helper.make_node(op, inputs, [name], name=label, **attrs))
        return name

    def constant(self, array: Any, hint: str) -> str:
        """Add an initializer and return its name."""
        name = self.fresh(hint)
        self.initializers.append(_tensor(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def ints(self, values: Any, scalar: bool = False) -> str:
        """Return an int64 initializer."""
        array = np.array(values, np.int64).reshape(() if scalar else -1)
        return self.shared(array)

    def number(self, value: float, dtype: str) -> str:
        """Return an initializer of rank 0."""
        return self.shared(np.array(value, dtype))

    def shared(self, array: Any) -> str:
        """Return an initializer for a small array, shared where the same one was wanted before."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._small:
            text = "_".join(str(v) for v in array.ravel()[:6])
            self._small[key] = self.constant(array, f"const_{text}")
        return self._small[key]

    # Shapes that are only known when the model runs

    def runtime_shape(self, dims: Any, what: str) -> str:
        """Return an int64 tensor of sizes, each given for every trace.

        Raises:
            ValueError: a size is neither fixed nor a multiple of a size of an input.
        """
        if all(len(set(sizes)) == 1 for sizes in dims):
            return self.ints([sizes[0] for sizes in dims])
        parts = []
        for sizes in dims:
            if len(set(sizes)) == 1:
                parts.append(self.ints(sizes[:1]))
                continue
            parts.append(self._runtime_size(sizes, what))
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)

    def _runtime_size(self, sizes: Any, what: str) -> str:
        for name, value in self.inputs:
            for position, axis in enumerate(value.order):
                known = value.dims(axis)
                factor = sizes[0] // known[0] if known[0] else 0
                if len(set(known)) == 1 or any(
                    s != k * factor for s, k in zip(sizes, known, strict=True)
                ):
                    continue
                if name not in self._shape_of:
                    self._shape_of[name] = self.node("Shape", [name])
                size = self.node("Gather", [self._shape_of[name], self.ints([position])], axis=0)
                return size if factor == 1 else self.node("Mul", [size, self.ints([factor])])
        raise ValueError(
            f"{what}: it has a size that is not fixed and not a multiple of a size of an input "
            f"({sizes[0]} and {sizes[1]} for two sizes of the input); give export() a batch_size "
            "and the model's inputs a fixed shape"
        )


class Context:
    """One node of the trace while it is translated."""

    def __init__(self, writer: Writer, node: Node) -> None:
        self.w = writer
        self.node = node
        self.optional_inputs = [None if v is None else writer.value(v) for v in node.inputs]
        self.get = node.get
        self.each = node.each

    @property
    def inputs(self) -> list[Value]:
        """The inputs that are there."""
        return [v for v in self.optional_inputs if v is not None]

    def input(self, index: int) -> Value | None:
        """Return an input that may be missing."""
        return self.optional_inputs[index] if index < len(self.optional_inputs) else None

    def shapes(self, index: int = 0) -> list[tuple[int, ...]]:
        """Return the shape of an output in each trace."""
        return self.w._trace.shapes[self.node.outputs[index]]

    @property
    def dtype(self) -> str:
        return self.w._trace.dtypes[self.node.outputs[0]]

    def emit(self, op: str, inputs: list[str], **attrs: Any) -> str:
        """Add a node and return the name of its output."""
        return self.w.node(op, inputs, **attrs)

    def set(self, name: str, order: Sequence[int] | None = None, index: int = 0) -> None:
        """Say which tensor holds an output, and in which order."""
        value = self.w.value(self.node.outputs[index])
        value.tensors[identity(value.rank) if order is None else tuple(order)] = name

    def same(self) -> None:
        """Say that the output is the first input."""
        self.w.values[self.node.outputs[0]] = self.inputs[0]

    def fail(self, reason: str) -> ValueError:
        """Return the error that the node cannot be written."""
        return ValueError(f"{self.node.where} cannot be exported to ONNX: {reason}")


OPERATORS: dict[str, Callable[[Context], None]] = {}


_Function = TypeVar("_Function", bound=Callable[..., Any])


def operator(*names: str) -> Callable[[_Function], _Function]:
    """Register the translation of core operators."""

    def register(fn: _Function) -> _Function:
        OPERATORS.update(dict.fromkeys(names, fn))
        return fn

    return register


def _tensor(array: NDArray[Any], name: str) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)
