"""Values of a network while it is lowered: known arrays, or core values in some axis order."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._runtime import core as _core
from fastconv.inference.memory import check_memory, is_mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Order = tuple[int, ...]  # order[p] = the logical axis that lies at physical position p


# Bytes up to which constants are told apart by their contents, not by the variable they are in.
_SMALL = 4096


_dtype_name = functools.cache(lambda dtype: dtype.name)  # NumPy makes it anew at each call

MAX_RANK = 32  # NumPy broadcasts no more


class Variables:
    """The core's variables of a network's constants, shared by the plans of all input shapes.

    A constant, or what is derived from it, is the same variable in every plan: that is how plans
    share packed weights.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], object] = {}

    def get(self, key: tuple[Any, ...], make: Callable[[], NDArray[Any]]) -> Any:
        found = self._made.get(key)
        if found is None:
            array = np.require(make(), requirements=["C", "A"])
            found = _core.Variable.wrap(array, str(key[0]), is_mapped(array))
            self._made[key] = found
        return found


class Tensor:
    """One value: `shape` and axes are those of the ONNX model, whatever order the memory has.

    `value` is the array where it is known while planning (weights, shape arithmetic). `key`
    identifies a known value across plans; None where it depends on the inputs' shapes.
    """

    __slots__ = ("_ids", "dtype", "graph", "key", "name", "order", "shape", "value")

    def __init__(self, graph: CoreGraph, shape: Shape, dtype: str, name: str = "") -> None:
        if len(shape) > MAX_RANK:
            raise ValueError(f"shape {shape} has {len(shape)} axes, expected at most {MAX_RANK}")
        self.graph = graph
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.value: NDArray[Any] | None = None
        self.key: tuple[Any, ...] | None = None
        self.order: Order = tuple(range(len(shape)))
        self._ids: dict[Order, int] = {}

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def at(self, order: Order | None = None) -> int:
        """The core's value with the axes in this physical order (None: the logical one)."""
        if order is None:
            order = tuple(range(self.rank))
        found = self._ids.get(order)
        if found is None:
            known = self.value
            found = self._reorder(order) if known is None else self._constant(known, order)
            self._ids[order] = found
        return found

    def physical(self) -> int:
        """The core's value in the order it has, which `order` tells."""
        return self.at(self.order)

    def _constant(self, value: NDArray[Any], order: Order) -> int:
        if value.nbytes <= _SMALL or self.key is None:
            return self.graph.constant(value.transpose(order))
        # The core reorders weights while it packs them: no second copy stays in memory.
        logical = tuple(range(self.rank))
        if logical not in self._ids:
            variable = self.graph.variables.get(self.key, lambda: value)
            self._ids[logical] = self.graph.core.variable(variable)
        return self._ids[logical] if order == logical else self._reorder(order)

    def _reorder(self, order: Order) -> int:
        shape = [self.shape[axis] for axis in order]
        long = [axis for axis in order if self.shape[axis] != 1]
        for have, value in self._ids.items():
            # Axes of size one may move for free.
            if [axis for axis in have if self.shape[axis] != 1] == long:
                return self.graph.emit("reshape", [value], shape=shape)
        have = self.order if self.value is None else tuple(range(self.rank))
        perm = [have.index(axis) for axis in order]
        return self.graph.emit("transpose", [self._ids[have]], perm=perm)

    def derived(self, what: str, make: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
        """A known tensor computed from this known one, made once for all plans."""
        assert self.value is not None
        key = None if self.key is None else (*self.key, what)
        return self.graph.known(make(self.value), key, self.name)


class NeedsValue(Exception):
    """An operator's output shape depends on a value that only a run can tell."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor.name)
        self.tensor = tensor


class CoreGraph:
    """A core graph under construction."""

    def __init__(self, variables: Variables) -> None:
        self.core = _core.Graph()
        self.variables = variables
        self.node_name = ""

    def emit_all(self, op: str, inputs: Sequence[int | None], **attrs: Any) -> list[int]:
        values = self.core.add(op, inputs, attrs, self.node_name)
        for value in values:  # before anything is planned for sizes that cannot be
            size = math.prod(self.core.shape(value))
            check_memory(size * np.dtype(self.core.dtype(value)).itemsize)
        return values

    def emit(self, op: str, inputs: Sequence[int | None], **attrs: Any) -> int:
        """Add a core operator and return its first output."""
        return self.emit_all(op, inputs, **attrs)[0]

    def constant(self, array: NDArray[Any]) -> int:
        """A constant of the core; one number that was broadcast stays one number."""
        if array.nbytes > _SMALL and not any(array.strides):
            number = self.core.constant(np.array(array.flat[0]))
            return self.emit("broadcast_to", [number], shape=list(array.shape))
        return self.core.constant(array)

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        tensor = Tensor(self, shape, dtype, name)
        tensor._ids[tensor.order] = self.core.input(name, shape, dtype)
        return tensor

    def known(
        self, value: NDArray[Any], key: tuple[Any, ...] | None = None, name: str = ""
    ) -> Tensor:
        value = np.asarray(value)
        tensor = Tensor(self, value.shape, _dtype_name(value.dtype), name)
        tensor.value = value
        tensor.key = key
        return tensor

    def wrap(self, value: int, order: Order | None = None) -> Tensor:
        """The tensor of a core value whose axes lie in this order."""
        physical = tuple(self.core.shape(value))
        order = tuple(range(len(physical))) if order is None else tuple(order)
        shape = [0] * len(physical)
        for position, axis in enumerate(order):
            shape[axis] = physical[position]
        tensor = Tensor(self, tuple(shape), self.core.dtype(value))
        tensor.order = order
        tensor._ids[order] = value
        return tensor
