"""A thin, memoising wrapper around `_core.Graph`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._graph.tensor import Tensor

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv.layers import Layer

_local = threading.local()


def current_builder() -> Any:
    """Return the builder whose graph is being traced in this thread, or None."""
    return getattr(_local, "builder", None)


class GraphBuilder:
    """Builds one graph for concrete shapes and one mode.

    Operators are methods: `g.conv2d(x, w, None, strides=[1, 1], ...)` adds a node and returns a
    `Tensor` (a tuple of them where the operator has several outputs). Inputs appear in `feeds` in
    the order they were made, which is the order `_core.Plan.run` wants them in. With the mode None
    each layer takes the default of its `call`.
    """

    def __init__(self, training: bool | None = False) -> None:
        self.graph = _core.Graph()
        self.training = training
        self.feeds: list[str] = []
        self.losses: list[Tensor] = []
        self.calls: list[tuple[Layer, Any]] = []  # (layer, outputs), inner layers first
        self._inputs: dict[str, Tensor] = {}
        self._variables: dict[int, tuple[object, Tensor]] = {}
        self._scopes: list[str] = []
        self._salt = 0

    @contextlib.contextmanager
    def tracing(self) -> Iterator[Any]:
        """Make this the current builder, so that operators on bare variables join its graph."""
        previous = current_builder()
        _local.builder = self
        try:
            yield self
        finally:
            _local.builder = previous

    @contextlib.contextmanager
    def scope(self, name: str, training: bool | None = None) -> Iterator[Any]:
        """Name the nodes after a layer and, if given, change the mode for it."""
        mode = self.training
        self._scopes.append(name)
        if training is not None:
            self.training = bool(training)
        try:
            yield
        finally:
            self._scopes.pop()
            self.training = mode

    def input(self, name: str, shape: Sequence[int], dtype: str) -> Tensor:
        """Return the input of that name, made at its first use."""
        tensor = self._inputs.get(name)
        if tensor is None:
            tensor = Tensor(self, self.graph.input(name, list(shape), dtype))
            self._inputs[name] = tensor
            self.feeds.append(name)
        return tensor

    def variable(self, variable: Variable | _core.Variable) -> Tensor:
        """Return the value of a `Variable` (or of a bare `_core.Variable`)."""
        core = variable if isinstance(variable, _core.Variable) else variable.core
        entry = self._variables.get(id(core))
        if entry is None:
            # The variable is kept beside its tensor: an id is unique only while it lives.
            entry = (core, Tensor(self, self.graph.variable(core)))
            self._variables[id(core)] = entry
        return entry[1]

    def constant(self, value: Any, dtype: str) -> Tensor:
        """Return a constant."""
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        return Tensor(self, self.graph.constant(array))

    def seed(self, fixed: bool) -> Tensor:
        """Return the seed of this step; a fixed one does not depend on the process-wide seed."""
        return self.input("seed:fixed" if fixed else "seed", (1,), "int64")

    def next_salt(self) -> int:
        """Return a number that tells the random layers of one graph apart."""
        self._salt += 1
        return self._salt

    def op(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        """Add a node and return its output tensor, or a tuple of several."""
        ids = [None if x is None else x.id for x in inputs]
        name = "/".join(self._scopes) or op
        outputs = [Tensor(self, i) for i in self.graph.add(op, ids, attrs, name)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def traced(self, layer: Layer, args: Any, kwargs: Any, outputs: Any) -> None:
        """Called when a layer has joined the graph; builders that look at layers override it."""
        self.calls.append((layer, outputs))

    def gradients(self, outputs: Any, wrt: Any, seeds: Any = None) -> Any:
        """Append the backward graph; None where there is no path.

        `seeds` are the gradients of the outputs, by default ones.
        """
        seed_ids = [None] * len(outputs) if seeds is None else [t.id for t in seeds]
        ids = self.graph.gradients([t.id for t in outputs], seed_ids, [t.id for t in wrt])
        return [None if i is None else Tensor(self, i) for i in ids]

    def __getattr__(self, op: str) -> Any:
        if op.startswith("_"):
            raise AttributeError(op)
        return lambda *inputs, **attrs: self.op(op, *inputs, **attrs)
