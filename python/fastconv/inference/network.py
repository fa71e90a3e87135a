"""A model made ready to be planned at any input shape: checked, simplified, constants folded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv._runtime import core as _core
from fastconv.inference.lowering import OPERATORS
from fastconv.inference.lowering.context import Context
from fastconv.inference.lowering.tensor import CoreGraph, NeedsValue, Shape, Tensor, Variables
from fastconv.inference.memory import check_memory
from fastconv.inference.model import ModelGraph, Node
from fastconv.inference.simplify import simplify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv.inference.tuning import Tuner

# Results up to this size are computed while planning, so that shapes may depend on them.
_FOLD_BYTES = 1 << 20
_DOMAINS = ("", "ai.onnx")


class Value(NamedTuple):
    """What a plan knows of one of the network's values."""

    shape: Shape
    dtype: str
    known: bool  # while planning, so no step computes it


@dataclass
class Plan:
    """A core plan and how its results become the network's outputs."""

    core: _core.Plan
    inputs: list[str]
    outputs: list[NDArray[Any] | int]  # a known result, or the position among the plan's
    values: dict[str, Value]  # by the names in the model
    complete: bool = False  # made for the inputs' shapes alone, and the core gives every output

    def run(self, feeds: dict[str, NDArray[Any]], threads: int) -> list[NDArray[Any]]:
        results = self.core.run([feeds[name] for name in self.inputs], threads)
        return [results[o] if isinstance(o, int) else o.copy() for o in self.outputs]


@dataclass
class Need:
    """A value that must be known before the rest can be planned."""

    name: str
    plan: Plan | None  # computes it; None where it is an input of the network


class Network:
    """Lowers a model to core graphs; the plans of all shapes share its variables and their packs.

    Args:
        model: what to run.
        strict: whether only algorithms with the error of direct summation are wanted.
        tuner: chooses algorithms by measurement; None: by the cost model.

    Raises:
        ValueError: operators are missing (all are listed), or a constant part is invalid.
    """

    def __init__(self, model: ModelGraph, strict: bool = False, tuner: Tuner | None = None) -> None:
        check_operators(model)
        self.tuner = tuner
        self.strict = strict
        # Where maps have any size, one algorithm for all: its packed weights are shared.
        self.any_size = any(
            info.shape is None or not all(isinstance(n, int) for n in info.shape[1:])
            for info in model.inputs
        )
        self.model = simplify(model)  # a new one: folding changes it
        self.variables = Variables()
        self.store = _core.PackStore()
        fold_constants(self.model)

    def plan(
        self, shapes: dict[str, tuple[Shape, str]], values: dict[str, NDArray[Any]]
    ) -> Plan | Need:
        """Plan the network for inputs of these shapes and dtypes, `values` being known already."""
        graph = CoreGraph(self.variables)
        tensors: dict[str, Tensor] = {
            name: graph.known(array, (name,), name) for name, array in self.model.constants.items()
        }
        inputs = {}
        for name, (shape, dtype) in shapes.items():
            if name in values:
                continue
            tensors[name] = graph.input(name, shape, dtype)
            inputs[name] = (shape, dtype)
        tensors.update((name, graph.known(v, None, name)) for name, v in values.items())
        try:
            for node in self.model.nodes:
                lower(graph, node, tensors)
        except NeedsValue as need:
            name = need.tensor.name
            if name in shapes:
                return Need(name, None)
            return Need(name, self._compile(graph, inputs, [need.tensor], {}))
        for info in self.model.outputs:
            if info.name not in tensors:
                raise ValueError(f"output '{info.name}' is not computed by any node")
        outputs = [tensors[o.name] for o in self.model.outputs]
        plan = self._compile(graph, inputs, outputs, tensors)
        plan.complete = not values and all(isinstance(o, int) for o in plan.outputs)
        return plan

    def _compile(
        self,
        graph: CoreGraph,
        inputs: dict[str, tuple[Shape, str]],
        outputs: list[Tensor],
        tensors: dict[str, Tensor],
    ) -> Plan:
        ids: list[int] = []
        results: list[NDArray[Any] | int] = []
        check_memory(sum(t.size * np.dtype(t.dtype).itemsize for t in outputs))
        for tensor in outputs:
            if tensor.value is not None:
                results.append(np.ascontiguousarray(tensor.value).reshape(tensor.shape))
            else:
                results.append(len(ids))
                ids.append(tensor.at())

        def make(algorithms: dict[str, str], store: _core.PackStore | None) -> _core.Plan:
            return _core.Plan(graph.core, ids, store, self.strict, self.any_size, algorithms)

        if self.tuner is None:
            plan = make({}, self.store)
        else:
            plan = self.tuner.plan(make, list(inputs.values()), self.store)
        check_memory(sum(plan.memory.values()))
        values = {n: Value(t.shape, t.dtype, t.value is not None) for n, t in tensors.items()}
        return Plan(plan, list(inputs), results, values)


def check_operators(model: ModelGraph) -> None:
    missing: dict[str, list[str]] = {}
    for node in model.nodes:
        if node.domain not in _DOMAINS or node.op not in OPERATORS:
            kind = node.op if node.domain in _DOMAINS else f"{node.domain}.{node.op}"
            missing.setdefault(kind, []).append(node.name or next(iter(node.outputs), ""))
    if missing:
        listed = "; ".join(
            f"{kind} ({', '.join(repr(n) for n in names[:5])}"
            + (f" and {len(names) - 5} more)" if len(names) > 5 else ")")
            for kind, names in sorted(missing.items())
        )
        raise ValueError(f"model '{model.name}' uses operators that are not supported: {listed}")


def lower(graph: CoreGraph, node: Node, tensors: dict[str, Tensor]) -> None:
    """Add a node's outputs to `tensors`; what is known already is left as it is."""
    wanted = [name for name in node.outputs if name]
    if all(name in tensors for name in wanted):
        return
    inputs = [_input(node, name, tensors) if name else None for name in node.inputs]
    if all(t is None or t.value is not None for t in inputs):
        results = evaluate(node, inputs)
        if results is not None:
            for name, value in zip(node.outputs, results, strict=False):
                if name and name not in tensors:
                    tensors[name] = graph.known(value, None, name)
            return
    graph.node_name = node.name or node.op
    for name, tensor in zip(node.outputs, call(graph, node, inputs), strict=False):
        if name and name not in tensors:
            tensors[name] = _named(tensor, name)
    absent = [name for name in wanted if name not in tensors]
    if absent:
        raise ValueError(f"{node.label()}: does not give the output {absent[0]!r}")


def _named(tensor: Tensor, name: str) -> Tensor:
    if not tensor.name:
        tensor.name = name
    return tensor


def _input(node: Node, name: str, tensors: dict[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise ValueError(f"{node.label()}: its input '{name}' is not computed by any node before")
    return tensors[name]


def call(graph: CoreGraph, node: Node, inputs: list[Tensor | None]) -> list[Tensor]:
    """Run the lowering of a node; its errors name the node."""
    try:
        with np.errstate(all="ignore"):  # infinities and NaN of constants are the model's affair
            result = OPERATORS[node.op](Context(graph, node, inputs))
    except (ValueError, OverflowError, ZeroDivisionError, IndexError, TypeError) as error:
        message = str(error)
        if message.startswith(node.label()):
            raise
        raise ValueError(f"{node.label()}: {message}") from error
    return result if isinstance(result, list) else [result]


def evaluate(node: Node, inputs: list[Tensor | None]) -> list[NDArray[Any]] | None:
    """A node's results where all inputs are known; None where they are too large to keep."""
    graph = CoreGraph(Variables())
    graph.node_name = node.name or node.op
    given = [None if t is None or t.value is None else t.value for t in inputs]
    names = [None if t is None else t.name for t in inputs]
    known = [
        None if value is None else graph.known(value, None, name or "")
        for value, name in zip(given, names, strict=True)
    ]
    tensors = call(graph, node, known)[: len(node.outputs)]
    computed = [t for t in tensors if t.value is None]
    size = sum(t.size * np.dtype(t.dtype).itemsize for t in computed)
    if size > _FOLD_BYTES + 2 * sum(value.nbytes for value in given if value is not None):
        return None
    results: Iterator[NDArray[Any]] = iter(())
    if computed:
        plan = _core.Plan(graph.core, [t.at() for t in computed], strict=True)
        check_memory(sum(plan.memory.values()))
        results = iter(plan.run([]))
    return [t.value if t.value is not None else next(results) for t in tensors]


def fold_constants(model: ModelGraph) -> None:
    """Replace the nodes that depend on constants alone by their results."""
    kept = []
    scratch = CoreGraph(Variables())
    for node in model.nodes:
        names = [name for name in node.inputs if name]
        results = None
        if all(name in model.constants for name in names):
            inputs = [
                scratch.known(model.constants[name], None, name) if name else None
                for name in node.inputs
            ]
            results = evaluate(node, inputs)
        if results is None:
            kept.append(node)
            continue
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                model.constants[name] = value
    if len(kept) == len(model.nodes):
        return
    model.nodes[:] = kept
    used = {name for node in kept for name in node.inputs} | {o.name for o in model.outputs}
    for name in [n for n in model.constants if n not in used]:
        del model.constants[name]
