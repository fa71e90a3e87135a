"""Gradients of a model, layer by layer, against finite differences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._graph import GraphBuilder, Tensor, flatten, map_structure
from fastconv.models.data import to_list
from fastconv.models.steps import StepBuilder
from fastconv.utils.checks import integer, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model

_SHRINK = (1.0, 0.1, 0.01)  # smaller steps are tried where the first one disagrees


@dataclass
class GradientRow:
    """How well the gradient of one layer to one of its weights or inputs agrees.

    Attributes:
        layer: the layer's name, or "loss".
        kind: its class.
        tensor: name of the weight, or "input", "input 1", ...
        entries: how many entries were looked at.
        kinks: how many of them lie at a kink, where only the two one-sided slopes bound the
            gradient.
        error: the largest relative error.
        index: the entry with that error.
        autodiff: the gradient there by automatic differentiation.
        numeric: the slope there by finite differences.
    """

    layer: str
    kind: str
    tensor: str
    entries: int
    kinks: int = 0
    error: float = 0.0
    index: tuple[int, ...] = ()
    autodiff: float = 0.0
    numeric: float = 0.0


@dataclass
class GradientReport:
    """What `check_gradients` found; `str()` makes it a table.

    Attributes:
        rows: one for each weight and input of each layer, in the order in which layers run.
        tolerance: the largest relative error that passes.
    """

    rows: list[GradientRow] = field(default_factory=list)
    tolerance: float = 0.0

    @property
    def errors(self) -> dict[str, float]:
        """The largest relative error of each layer."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.layer] = max(found.get(row.layer, 0.0), row.error)
        return found

    @property
    def max_error(self) -> float:
        """The largest relative error."""
        return max(self.errors.values(), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether all errors are within the tolerance."""
        return all(row.error <= self.tolerance for row in self.rows)

    def __str__(self) -> str:
        head = ["layer", "gradient to", "entries", "kinks", "max. relative error", ""]
        rows = [
            [
                f"{row.layer} ({row.kind})",
                row.tensor,
                str(row.entries),
                str(row.kinks),
                f"{row.error:.1e}",
                "" if row.error <= self.tolerance else "WRONG",
            ]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if 2 <= i <= 4 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, *rows]
        ]
        verdict = "passed" if self.passed else "failed"
        return "\n".join([*lines, f"{verdict}: tolerance {self.tolerance:.1e}"])


def check_gradients(
    model: Model,
    x: TensorLike,
    y: TensorLike | None = None,
    *,
    layers: Any = None,
    samples: int = 10,
    step: float = 1e-5,
    tolerance: float = 1e-5,
    training: bool = True,
    seed: int = 0,
    raise_error: bool = True,
) -> GradientReport:
    """Compare the gradients of each layer of a model with central differences in float64.

    The model runs forward on `x` once, in float64. Then each layer is checked by itself, at the
    inputs that it has there: the gradient of a random weighted sum of its outputs to each of its
    trainable weights and inputs, at `samples` random entries of each. So a wrong gradient shows at
    its own layer only. With `y`, and where the model is compiled with a loss, the loss is checked
    as a last layer, with its gradient to the outputs of the model. Nothing of the model changes.

    At a kink (ReLU at 0, equal values in a window of max-pooling) there is no derivative: there
    the gradient must lie between the slopes to the left and to the right. Such entries are counted
    in `kinks`. Where the difference disagrees, it is tried again with steps of a tenth and a
    hundredth, which kinks nearby do not reach.

    Args:
        model: a built model, or one that `x` can build.
        x: inputs as in `fit`; a few samples are enough.
        y: targets as in `fit`.
        layers: names of the layers to check, all by default.
        samples: random entries of each weight and input; smaller ones are checked whole.
        step: half the distance of the two points, for values up to 1, and in proportion above.
        tolerance: largest relative error, |autodiff - numeric| / max(|autodiff|, |numeric|). Below
            what rounding leaves of a difference, the denominator does not fall.
        training: run layers as in training (batch statistics, dropout with fixed masks).
        seed: of the entries and of the weighted sums.
        raise_error: raise where a gradient is wrong; otherwise only report.

    Returns:
        The report; nothing is printed.

    Raises:
        AssertionError: a gradient is wrong; the message names the layer and holds the table.
        ValueError: arguments out of range, data that does not fit, or unknown layers.
    """
    samples = integer(samples, "samples", 1, owner="check_gradients")
    number(step, "step", 1e-12, owner="check_gradients")
    number(tolerance, "tolerance", 0, owner="check_gradients")
    random = np.random.default_rng(seed)
    names = model._names()
    xs = [np.asarray(v, np.float64) for v in to_list(x, names.inputs, "x")]
    if not model.built:
        shapes = [a.shape for a in xs]
        model._ensure_built(shapes[0] if len(shapes) == 1 else shapes)
    if model._function is not None:
        xs = model._match_inputs(xs)
    known = {layer.name for layer in model._all_layers()} | {"loss"}
    unknown = sorted(set(layers or ()) - known)
    if unknown:
        raise ValueError(f"check_gradients: no layers {unknown}; there are {sorted(known)}")
    report = GradientReport(tolerance=float(tolerance))
    with _in_float64(model):
        calls, values, outputs = _run(model, xs, training)
        functions: list[_Function] = []
        functions += [_LayerFunction(call, values, training, random) for call in calls]
        if y is not None and model.loss is not None:
            functions.append(_LossFunction(model, outputs, y))
        for function in functions:
            if layers is None or function.name in layers:
                report.rows += function.compare(samples, step, tolerance, random)
    _merge_repeated(report)
    if raise_error and not report.passed:
        worst = max(report.rows, key=lambda row: row.error)
        place = f"[{', '.join(map(str, worst.index))}]"
        raise AssertionError(
            f'the gradient of layer "{worst.layer}" ({worst.kind}) to {worst.tensor}{place} is '
            f"{worst.autodiff:.6g}, the finite difference is {worst.numeric:.6g} (relative error "
            f"{worst.error:.1e}, tolerance {tolerance:.1e})\n{report}"
        )
    return report


def _merge_repeated(report: GradientReport) -> None:
    """Make one row of the calls of a layer that is used several times."""
    merged: dict[tuple[Any, ...], GradientRow] = {}
    for row in report.rows:
        first = merged.setdefault((row.layer, row.kind, row.tensor), row)
        if first is row:
            continue
        entries, kinks = first.entries + row.entries, first.kinks + row.kinks
        if row.error > first.error:
            merged[row.layer, row.kind, row.tensor] = first = row
        first.entries, first.kinks = entries, kinks
    report.rows = list(merged.values())


@contextlib.contextmanager
def _in_float64(model: Model) -> Iterator[Any]:
    """Let the layers of a model compute in float64, with copies of their weights."""
    layers = model._all_layers()
    dtypes = [layer.dtype for layer in layers]
    weights = [(w, w.core, w.dtype) for w in model.weights]
    try:
        for layer in layers:
            layer.dtype = "float64"
        for weight, core, _ in weights:
            weight.core = _core.Variable(core.numpy().astype(np.float64), weight.path)
            weight.dtype = "float64"
        yield
    finally:
        for layer, dtype in zip(layers, dtypes, strict=True):
            layer.dtype = dtype
        for weight, core, dtype in weights:
            weight.core, weight.dtype = core, dtype


class _Recorder(GraphBuilder):
    """Keeps the calls of layers that do work of their own."""

    def __init__(self, training: bool) -> None:
        super().__init__(training)
        self.recorded: list[tuple[Any, ...]] = []

    def traced(self, layer: Layer, args: Any, kwargs: Any, outputs: Any) -> None:
        if getattr(layer, "_function", None) is None and flatten((args, kwargs)):
            self.recorded.append((layer, args, kwargs, outputs, self.training))


def _tensors(structure: Any) -> list[Tensor]:
    return [leaf for leaf in flatten(structure) if isinstance(leaf, Tensor)]


def _feeds(g: GraphBuilder, given: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Add the seeds of random layers to the inputs."""
    return given + [np.zeros(1, np.int64)] * (len(g.feeds) - len(given))


def _run(model: Model, xs: Any, training: bool) -> Any:
    """Return the recorded calls, the values of their tensors by id, and the outputs.

    An output that is the softmax or sigmoid of logits comes as (activation, logits), another as
    (None, values).
    """
    g = _Recorder(training)
    inputs = [g.input(f"x{i}", a.shape, "float64") for i, a in enumerate(xs)]
    with g.tracing():
        outputs = flatten(model._run_on(g, inputs))
    tensors = {t.id: t for call in g.recorded for t in _tensors(call[1:3])}
    ends = [(t.origin[0], t.origin[1].id) if t.origin else (None, t.id) for t in outputs]
    plan = _core.Plan(g.graph, [*tensors, *(value for _, value in ends)])
    results = [np.asarray(a) for a in plan.run(_feeds(g, xs))]
    values = dict(zip(tensors, results, strict=False))
    kinds = (activation for activation, _ in ends)
    return g.recorded, values, list(zip(kinds, results[len(tensors) :], strict=True))


class _Function:
    """A scalar function of arrays and weights as a graph, with its gradients.

    Subclasses set these and call `_finish`.
    """

    name: str
    kind: str
    scale: float  # how large the numbers are that it sums

    def _finish(self, g: Any, total: Any, inputs: TensorLike, values: Any, weights: Any) -> None:
        """`inputs` are (name, feed, tensor); `values` are fed for the inputs that are no seeds."""
        self.arrays = values
        self.places = {id(t): g.feeds.index(feed) for _, feed, t in inputs}
        wanted = [(name, t, None) for name, _, t in inputs if t.dtype == "float64"]
        wanted += [(w.path, g.variable(w), w) for w in weights]
        self.builder = g
        self.value = _core.Plan(g.graph, [total.id])
        gradients = g.gradients([total], [t for _, t, _ in wanted])
        self.wanted = wanted
        present = [d.id for d in gradients if d is not None]
        found = iter(_core.Plan(g.graph, [total.id, *present]).run(_feeds(g, self.arrays))[1:])
        self.gradients = [
            np.zeros(t.shape) if d is None else np.asarray(next(found))
            for d, (_, t, _) in zip(gradients, wanted, strict=True)
        ]

    def _evaluate(self) -> float:
        return float(self.value.run(_feeds(self.builder, self.arrays))[0])

    def compare(
        self, samples: int, step: float, tolerance: float, random: Any
    ) -> list[GradientRow]:
        """Return a row for each weight and input."""
        at = self._evaluate()
        rows = []
        for (name, tensor, weight), gradient in zip(self.wanted, self.gradients, strict=True):
            place = None if weight is not None else self.places[id(tensor)]
            start = weight.numpy() if weight is not None else self.arrays[place]
            row = GradientRow(self.name, self.kind, name, min(samples, start.size))
            moved = start.copy()

            def value(
                index: int,
                number: int,
                moved: Any = moved,
                weight: Any = weight,
                place: Any = place,
            ) -> Any:
                before, moved[index] = moved[index], number
                if weight is not None:
                    weight.assign(moved)
                else:
                    self.arrays[place] = moved
                result = self._evaluate()
                moved[index] = before
                return result

            for flat in random.choice(start.size, row.entries, replace=False):
                index = tuple(int(i) for i in np.unravel_index(flat, start.shape))
                here, slope = float(start[index]), float(gradient[index])
                self._entry(row, index, value, at, here, slope, step, tolerance)
            if weight is not None:
                weight.assign(start)
            else:
                self.arrays[place] = start
            rows.append(row)
        return rows

    def _entry(
        self,
        row: Any,
        index: tuple[int, ...],
        value: Any,
        at: Any,
        here: Any,
        gradient: Any,
        step: float,
        tolerance: float,
    ) -> None:
        """Compare one entry; of several steps the one that agrees best counts."""
        best = np.inf, False, np.nan  # error, kink, slope
        for shrink in _SHRINK:
            h = step * shrink * max(1.0, abs(here))
            up, down = here + h, here - h
            above, below = value(index, up), value(index, down)
            right, left = (above - at) / (up - here), (at - below) / (here - down)
            numeric = (above - below) / (up - down)
            # Rounding of a sum of n terms grows with the root of n; what it makes of a slope of 0
            # is no error.
            noise = 10 * np.finfo(np.float64).eps * max(self.scale, abs(at)) / h
            scale = max(abs(gradient), abs(numeric), noise / max(tolerance, 1e-12), 1e-300)
            kink = abs(right - left) > 10 * tolerance * scale
            distance = abs(gradient - numeric)
            if kink:
                low, high = min(left, right), max(left, right)
                distance = max(low - gradient, gradient - high, 0.0)
            error = distance / scale if np.isfinite(distance) else np.inf
            if error <= best[0]:
                best = error, kink, numeric
            if error <= tolerance:
                break
        error, kink, numeric = best
        row.kinks += kink
        if error > row.error or not row.index:
            row.error, row.index = error, index
            row.autodiff, row.numeric = gradient, numeric


class _LayerFunction(_Function):
    """A random weighted sum of the outputs of one call of a layer."""

    def __init__(self, call: tuple[Any, ...], values: Any, training: bool, random: Any) -> None:
        from fastconv import ops

        layer, args, kwargs, _, mode = call
        self.name, self.kind = layer.name, type(layer).__name__
        kwargs = {**kwargs, "training": mode} if layer._accepts("training") else dict(kwargs)
        g = GraphBuilder(training=mode)
        given: list[NDArray[Any]] = []
        inputs: list[tuple[str, str, Any]] = []
        by_id: dict[int, Any] = {}

        def to_input(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if leaf.id not in by_id:
                n = len(inputs)
                tensor = g.input(f"x{n}", leaf.shape, leaf.dtype)
                by_id[leaf.id] = tensor
                inputs.append(("input" if n == 0 else f"input {n}", f"x{n}", tensor))
                given.append(np.array(values[leaf.id]))
            return by_id[leaf.id]

        args, kwargs = map_structure(to_input, (args, kwargs))
        with g.tracing():
            outputs = layer._trace(g, args, kwargs)
            terms = list(g.losses)
            for tensor in _tensors(outputs):
                if tensor.dtype == "float64":
                    factors = random.uniform(0.5, 1.5, tensor.shape)
                    factors *= random.choice([-1.0, 1.0], tensor.shape)
                    terms.append(ops.sum(tensor * g.constant(factors, "float64")))
            total = terms[0]
            for term in terms[1:]:
                total = total + term
        # Those of inner layers are checked with these.
        weights = [w for w in layer._own_weights() if w.trainable and layer.trainable]
        magnitude = _core.Plan(g.graph, [t.id for t in _tensors(outputs)])
        results = magnitude.run(_feeds(g, given))
        self.scale = float(np.sqrt(sum(np.square(a).sum() for a in results)))
        self._finish(g, total, inputs, given, weights)


class _LossFunction(_Function):
    """The losses of a compiled model as functions of its outputs.

    Where the loss is computed from the logits of a softmax or sigmoid, so is the gradient.
    """

    name = "loss"

    def __init__(self, model: Model, outputs: Any, y: TensorLike) -> None:
        from fastconv import ops

        compiled = model._require_compiled("check_gradients")
        names = compiled.names
        if not names:
            names = [f"output_{i + 1}" for i in range(len(outputs))]
            compiled.match_losses(model.output_names if model._function is not None else names)
            names = compiled.names
        ys = to_list(y, names, "y")
        g = StepBuilder(training=True)
        self.kind = ", ".join(loss.name for loss in compiled.losses if loss is not None)
        inputs, feeds, terms = [], {}, []
        with g.tracing():
            for i, ((activation, array), loss) in enumerate(
                zip(outputs, compiled.losses, strict=True)
            ):
                if loss is None or i >= len(ys) or ys[i] is None:
                    continue
                feed = f"{'logits' if activation else 'output'} of {names[i]}"
                tensor = g.input(feed, array.shape, "float64")
                feeds[feed] = np.array(array)
                inputs.append((feed, feed, tensor))
                if activation:
                    tensor = getattr(ops, activation)(tensor)
                target = loss.prepare(np.asarray(ys[i]))
                for dtype in ("int64", "float64"):
                    feeds[f"y{i}:{dtype}"] = target.astype(dtype)
                dtype = "int64" if loss.index_targets else "float64"
                value = loss(g.target(f"y{i}", target.shape, dtype), tensor, None)
                terms.append((ops.mean(value) if value.shape else value) * compiled.loss_weights[i])
        if not terms:
            raise ValueError("check_gradients: `y` holds no targets of outputs with a loss")
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        self.scale = 1.0
        self._finish(g, total, inputs, [feeds[name] for name in g.feeds], [])
