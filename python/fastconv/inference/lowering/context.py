"""What the lowering of a node sees: its inputs and attributes, and ways to add core operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np

from fastconv.inference.lowering.tensor import CoreGraph, NeedsValue, Order, Tensor
from fastconv.inference.model import Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOATS = ("float32", "float64")


def channels_last(rank: int) -> Order:
    """Physical order N, spatial axes, C of logical N, C, spatial axes."""
    return (0, *range(2, rank), 1)


class Context:
    """The node that is being lowered."""

    def __init__(self, graph: CoreGraph, node: Node, inputs: list[Tensor | None]) -> None:
        self.graph = graph
        self.node = node
        self.inputs = inputs
        self.version = node.version

    # Inputs and attributes

    def has(self, i: int) -> bool:
        return i < len(self.inputs) and self.inputs[i] is not None

    def input(self, i: int) -> Tensor:
        """Return input `i`; ValueError where the node lacks it."""
        tensor = self.optional(i)
        if tensor is None:
            self.fail(f"input {i} is missing")
        return tensor

    def optional(self, i: int) -> Tensor | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def value(self, i: int) -> NDArray[Any]:
        """Return the array of input `i`, on which the output's shape depends."""
        tensor = self.input(i)
        if tensor.value is None:
            raise NeedsValue(tensor)
        return tensor.value

    def ints(self, i: int) -> list[int]:
        """Return input `i`, a list of integers that must be known while planning."""
        value = self.value(i)
        if value.ndim > 1 or value.dtype.kind not in "iu":
            self.fail(
                f"input {i} has shape {value.shape} and dtype {value.dtype}, expected integers"
            )
        return [int(v) for v in np.atleast_1d(value)]

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, of the type of `default` where that is not None."""
        value = self.node.attrs.get(name, default)
        if default is None or value is default:
            return value
        kind = type(default)
        if kind is float and type(value) is int:
            return float(value)
        if kind is list and isinstance(value, (list, tuple)):
            return list(value)
        if type(value) is not kind:
            self.fail(f"attribute {name} is {value!r}, expected {kind.__name__}")
        return value

    @overload
    def ints_attr(self, name: str, default: list[int]) -> list[int]: ...

    @overload
    def ints_attr(self, name: str, default: None = None) -> list[int] | None: ...

    def ints_attr(self, name: str, default: list[int] | None = None) -> list[int] | None:
        """Return an attribute that is a list of integers."""
        value = self.node.attrs.get(name)
        if value is None:
            return default
        numbers: Any = value if isinstance(value, (list, tuple)) else [None]
        if not all(type(v) is int for v in numbers):
            self.fail(f"attribute {name} is {value!r}, expected integers")
        return list(numbers)

    def axes(self, rank: int, attribute: str = "axes", index: int = 1) -> list[int] | None:
        """Return axes that are an attribute in older versions and an input in newer ones."""
        given = self.ints(index) if self.has(index) else self.ints_attr(attribute)
        return None if given is None else [self.axis(a, rank) for a in given]

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            self.fail(f"axis is {axis}, expected one of a rank-{rank} tensor")
        return axis % rank

    def fail(self, message: str) -> NoReturn:
        raise ValueError(f"{self.node.label()}: {message}")

    def expect_rank(self, tensor: Tensor, least: int, most: int, what: str = "input") -> None:
        if not least <= tensor.rank <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            self.fail(f"{what} has shape {tensor.shape}, expected rank {expected}")

    # Core operators

    def emit(self, op: str, inputs: Sequence[int | None], **attrs: Any) -> int:
        return self.graph.emit(op, inputs, **attrs)

    def wrap(self, value: int, order: Order | None = None) -> Tensor:
        return self.graph.wrap(value, order)

    def known(self, value: Any) -> Tensor:
        return self.graph.known(np.asarray(value))

    def scalar(self, number: float, dtype: str) -> int:
        """Return a constant of rank 0."""
        return self.graph.core.constant(np.asarray(number, dtype))

    def unary(self, op: str, x: Tensor, **attrs: Any) -> Tensor:
        """An elementwise operator: the axes keep their order."""
        return self.wrap(self.emit(op, [x.physical()], **attrs), x.order)

    def broadcast(self, op: str, *operands: Tensor, **attrs: Any) -> Tensor:
        """An elementwise operator of several inputs with NumPy's broadcasting."""
        rank = max(t.rank for t in operands)
        aligned = [self.expand_rank(t, rank) for t in operands]
        order = common_order(aligned)
        return self.wrap(self.emit(op, [t.at(order) for t in aligned], **attrs), order)

    def expand_rank(self, x: Tensor, rank: int) -> Tensor:
        """Put axes of size one in front."""
        more = rank - x.rank
        if more == 0:
            return x
        return self.view(x, (1,) * more + x.shape, [i + more for i in range(x.rank)])

    def view(self, x: Tensor, shape: tuple[int, ...], kept: list[int]) -> Tensor:
        """`x` with axes of size one inserted or removed; kept[i] is where axis i goes, or -1."""
        if x.value is not None:
            return x.derived(f"view {shape}", lambda v: v.reshape(shape))
        new = [a for a in range(len(shape)) if a not in kept]
        order = tuple(new) + tuple(kept[a] for a in x.order if kept[a] >= 0)
        value = self.emit("reshape", [x.physical()], shape=[shape[a] for a in order])
        return self.wrap(value, order)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`x` in another shape of as many elements, in logical order."""
        if x.value is not None:
            return x.derived(f"view {shape}", lambda v: v.reshape(shape))
        if shape == x.shape:
            return x
        long = [a for a in range(x.rank) if x.shape[a] != 1]
        new_long = [a for a in range(len(shape)) if shape[a] != 1]
        if [x.shape[a] for a in long] == [shape[a] for a in new_long]:
            kept = [-1] * x.rank
            for old, new in zip(long, new_long, strict=True):
                kept[old] = new
            return self.view(x, shape, kept)
        return self.wrap(self.emit("reshape", [x.at()], shape=list(shape)))

    def transpose(self, x: Tensor, perm: list[int]) -> Tensor:
        """`x` with its axes permuted: costs nothing, the memory stays as it is."""
        if x.value is not None:
            return x.derived(f"transpose {perm}", lambda v: v.transpose(perm))
        order = tuple(perm.index(axis) for axis in x.order)
        return self.wrap(x.physical(), order)

    def reduce(self, op: str, x: Tensor, axes: list[int], keepdims: bool, **attrs: Any) -> Tensor:
        """A reduction over logical axes."""
        physical = sorted(x.order.index(a) for a in axes)
        value = self.emit(op, [x.physical()], axes=physical, keepdims=keepdims, **attrs)
        if keepdims:
            return self.wrap(value, x.order)
        kept = [a for a in range(x.rank) if a not in axes]
        return self.wrap(value, tuple(kept.index(a) for a in x.order if a not in axes))

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return x if x.dtype == dtype else self.unary("cast", x, dtype=dtype)

    def as_float(self, x: Tensor, dtype: str = "float32") -> Tensor:
        return x if x.dtype in FLOATS else self.cast(x, dtype)


def common_order(tensors: list[Tensor]) -> Order:
    """The order that the largest of them has: the others are moved to it."""
    runtime = [t for t in tensors if t.value is None]
    return max(runtime or tensors, key=lambda t: t.size).order
