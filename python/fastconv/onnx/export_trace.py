"""The graph of a model as a list of nodes that holds for every size of its free axes.

A model is traced once for each of a few sizes of the free axes (the batch, and axes of the inputs
that are None). Where shapes or attributes differ between the traces they depend on those sizes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._graph import GraphBuilder, Tensor, flatten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastconv._graph import Variable
    from fastconv.models import Model

# Sizes of (batch, every other free axis) for the traces. The odd ones tell padding "same" from
# "valid" at every stride; networks that join enlarged with earlier maps may not take them.
_PROBES = ((2, 256), (3, 384))
_ODD_PROBES = ((2, 211), (3, 223), (2, 249))


@dataclass
class Node:
    """One operator; `attrs` holds the attributes of each trace."""

    op: str
    inputs: list[int | None]
    outputs: list[int]
    attrs: list[dict[str, Any]]
    name: str

    @property
    def where(self) -> str:
        """The layer and the operator, for error messages."""
        return f"layer {self.name!r}, operator {self.op!r}"

    def each(self, key: str, default: Any = None) -> list[Any]:
        """Return an attribute of every trace."""
        return [attrs.get(key, default) for attrs in self.attrs]

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute that must not depend on the free axes.

        Raises:
            ValueError: it does.
        """
        first, *others = self.each(key, default)
        if any(other != first for other in others):
            raise ValueError(
                f"{self.where}: its attribute {key!r} depends on the batch size or on another size "
                f"that is not fixed ({first!r}, {others[0]!r}, ...); give export() a batch_size "
                "and the model's inputs a fixed shape"
            )
        return first


@dataclass
class Trace:
    """What was recorded: values are numbered alike in all traces."""

    nodes: list[Node]
    inputs: list[int]
    outputs: list[int]
    shapes: dict[int, list[tuple[int, ...]]]  # of each value, one for each trace
    dtypes: dict[int, str]
    names: dict[int, str]  # of variables
    constants: dict[int, NDArray[Any]]  # values that do not depend on the inputs
    fills: dict[int, np.generic] = field(default_factory=dict)  # one number, shape is not fixed


class _Recorder(GraphBuilder):
    """A builder that keeps what it adds."""

    def __init__(self) -> None:
        super().__init__(training=False)
        self.nodes: list[tuple[Any, ...]] = []
        self.given: dict[int, object] = {}  # constants and variables
        self.outside: dict[str, int] = {}  # inputs

    def input(self, name: str, shape: Sequence[int], dtype: Any) -> Tensor:
        tensor = super().input(name, shape, dtype)
        self.outside[name] = tensor.id
        return tensor

    def variable(self, variable: Variable | _core.Variable) -> Tensor:
        tensor = super().variable(variable)
        self.given[tensor.id] = getattr(variable, "core", variable)
        return tensor

    def constant(self, value: Any, dtype: Any) -> Any:
        tensor = super().constant(value, dtype)
        self.given[tensor.id] = np.asarray(value, dtype)
        return tensor

    def op(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        outputs = super().op(op, *inputs, **attrs)
        ids = [None if x is None else x.id for x in inputs]
        made = [outputs.id] if isinstance(outputs, Tensor) else [t.id for t in outputs]
        name = "/".join(self._scopes) or op
        self.nodes.append((op, ids, made, attrs, name))
        return outputs


def _record(model: Model, shapes: Any, batch: int, size: int) -> Any:
    g = _Recorder()
    dtype = model._compute_dtype(model.dtype)
    xs = []
    for index, shape in enumerate(shapes):
        known = [batch, *(size if d is None else d for d in shape[1:])]
        xs.append(g.input(f"x{index}", known, dtype))
    with g.tracing():
        outputs = flatten(model._run_on(g, xs))
    return g, xs, outputs


def trace(model: Model, shapes: Any, batch_size: int | None) -> Trace:
    """Return the inference graph of a model for inputs of these shapes (axis 0 is the batch).

    Raises:
        ValueError: the graph itself depends on the size of a free axis, or the model draws random
            numbers also at inference.
    """
    sizes = any(d is None for shape in shapes for d in shape[1:])
    probes = _PROBES if sizes or batch_size is None else _PROBES[:1]
    runs = [_record(model, shapes, batch_size or batch, size) for batch, size in probes]
    _check_same(model, runs)
    for batch, size in _ODD_PROBES if sizes else ():
        with contextlib.suppress(ValueError):
            run = _record(model, shapes, batch_size or batch, size)
            _check_same(model, [runs[0], run])
            runs.append(run)
    g, xs, outputs = runs[0]
    extra = [name for name in g.outside if name.startswith("seed")]
    if extra:
        users = [n[4] for n in g.nodes if any(g.outside[name] in n[1] for name in extra)]
        raise ValueError(
            f"layer {users[0]!r}, operator 'dropout': it draws random numbers also at inference "
            "(training=True), which ONNX files cannot repeat"
        )
    nodes, used = [], {t.id for t in outputs}
    for i, (op, ids, made, _, name) in reversed(list(enumerate(g.nodes))):
        if used.intersection(made):  # penalties on activations lead nowhere at inference
            used.update(v for v in ids if v is not None)
            nodes.append(Node(op, ids, made, [run[0].nodes[i][3] for run in runs], name))
    nodes.reverse()
    graphs = [run[0].graph for run in runs]
    values = {*g.given, *g.outside.values(), *(v for n in nodes for v in n.outputs)}
    shapes_of = {v: [tuple(graph.shape(v)) for graph in graphs] for v in values}
    found = Trace(
        nodes=nodes,
        inputs=[x.id for x in xs],
        outputs=[t.id for t in outputs],
        shapes=shapes_of,
        dtypes={v: g.graph.dtype(v) for v in values},
        names={v: c.name for v, c in g.given.items() if not isinstance(c, np.ndarray)},
        constants={},
    )
    _fold(found, runs, used)
    return found


def _check_same(model: Model, runs: Any) -> None:
    first, _, outputs = runs[0]
    layout = [(n[0], n[1], n[2]) for n in first.nodes]
    for other, _, other_outputs in runs[1:]:
        same = layout == [(n[0], n[1], n[2]) for n in other.nodes]
        same = same and [t.id for t in outputs] == [t.id for t in other_outputs]
        if not same or first.given.keys() != other.given.keys():
            raise ValueError(
                f"model '{model.name}' consists of other operators for other sizes of its input; "
                "give export() a batch_size and the model's inputs a fixed shape"
            )


def _fold(found: Trace, runs: Any, used: set[int]) -> None:
    """Compute what depends on weights and constants only; the core does it, whatever it is."""
    recorders = [run[0] for run in runs]
    fixed: set[int] = set()
    for value, given in recorders[0].given.items():
        if value not in used:
            continue
        others = [recorder.given[value] for recorder in recorders[1:]]
        if not isinstance(given, np.ndarray) or all(np.array_equal(given, o) for o in others):
            fixed.add(value)
        elif given.size and all((o == given.flat[0]).all() for o in others + [given]):
            found.fills[value] = given.flat[0]
        else:
            raise ValueError(
                f"a constant of shape {given.shape} depends on the batch size or on another size "
                "that is not fixed; give export() a batch_size and the model's inputs a fixed shape"
            )
    wanted: set[int] = set()
    remaining = []
    for node in found.nodes:
        inputs = [v for v in node.inputs if v is not None]
        same = all(attrs == node.attrs[0] for attrs in node.attrs)
        if same and all(v in fixed for v in inputs):
            fixed.update(node.outputs)
            named = next((found.names[v] for v in inputs if v in found.names), None)
            if named is not None:
                found.names.update(dict.fromkeys(node.outputs, named))
        else:
            remaining.append(node)
            wanted.update(v for v in inputs if v in fixed)
    found.nodes = remaining
    wanted.update(v for v in found.outputs if v in fixed)
    order = sorted(wanted)
    if order:
        feeds = [
            np.zeros(found.shapes[v][0], found.dtypes[v]) for v in recorders[0].outside.values()
        ]
        results = _core.Plan(recorders[0].graph, order).run(feeds)
        found.constants = dict(zip(order, results, strict=True))
