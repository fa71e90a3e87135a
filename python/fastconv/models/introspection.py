"""What happens inside a model: the outputs of its layers, and gradients with respect to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv import _core
from fastconv._graph import GraphBuilder, Tensor, flatten
from fastconv.utils.rng import step_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model


class ClassGradients(NamedTuple):
    """Gradients of class scores; see `class_gradients`.

    Attributes:
        class_index: (N,) int64, the class of each sample.
        scores: (N, classes), the scores of all classes.
        inputs: the gradient with respect to the input, in its shape.
        outputs: name of a layer -> its output.
        gradients: name of a layer -> the gradient with respect to its output, in its shape.
    """

    class_index: NDArray[Any]
    scores: NDArray[Any]
    inputs: NDArray[Any]
    outputs: dict[str, NDArray[Any]]
    gradients: dict[str, NDArray[Any]]


def layer_outputs(
    model: Model, x: TensorLike, layers: Iterable[Any] | None = None
) -> dict[str, NDArray[Any]]:
    """Return the outputs of layers for a batch, in inference mode.

    Args:
        model: a layer model; layers of inner models count as its own.
        x: a batch, as `predict` takes it.
        layers: layers or their names; None: all layers with one output, in the order in which they
            run. Of a layer that is called several times, the first call counts, and of layers of
            several inner models with one name, the first model's.

    Returns:
        Name -> array (N, ...).

    Raises:
        ValueError: the input does not fit, or there is no such layer.
    """
    g = GraphBuilder()
    feeds, _ = _run(g, model, _prepared(model, x))
    found = _outputs_of(g, model, layers)
    plan = _core.Plan(g.graph, [t.id for t in found.values()])
    return dict(zip(found, plan.run(_fed(g, feeds)), strict=True))


def layer_shapes(model: Model, x: TensorLike) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of all that `layer_outputs` would return for a batch, in its order."""
    g = GraphBuilder()
    _run(g, model, _prepared(model, x))
    return {name: tensor.shape for name, tensor in _outputs_of(g, model, None).items()}


def class_gradients(
    model: Model,
    x: TensorLike,
    class_index: int | Sequence[int] | None = None,
    layers: Iterable[Any] = (),
) -> ClassGradients:
    """Return the gradients of class scores with respect to the input and to layers' outputs.

    The score of a class is what goes into the model's last softmax or sigmoid, and its output if
    it ends with neither. Gradients are those of inference mode, and zero with respect to what the
    score does not depend on, such as that softmax itself.

    Args:
        model: a layer model with one input and one output (N, classes).
        x: a batch, as `predict` takes it.
        class_index: a class, or one for each sample; None: the one with the largest output.
        layers: layers, or names of layers, to get outputs and gradients of.

    Raises:
        ValueError: input, model, class or layer do not fit.
    """
    xs = _prepared(model, x)
    if len(xs) != 1:
        raise ValueError(f"model '{model.name}' has {len(xs)} inputs, expected a model with one")
    g = GraphBuilder()
    feeds, outputs = _run(g, model, xs)
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        shapes = ", ".join(str((None, *t.shape[1:])) for t in outputs)
        raise ValueError(
            f"model '{model.name}' returns {shapes}, expected one output (batch, classes)"
        )
    score = outputs[0].origin[1] if outputs[0].origin else outputs[0]
    found = _outputs_of(g, model, layers)
    samples, classes = score.shape
    if class_index is None:
        chosen = np.argmax(np.asarray(model.predict_on_batch(x)), axis=1)
    else:
        chosen = _checked_classes(class_index, samples, classes)
    seed = g.input("class", score.shape, score.dtype)
    wrt = [feeds["x0"][0], *found.values()]
    gradients = g.gradients([score], wrt, [seed])
    known = [t for t in gradients if t is not None]
    plan = _core.Plan(g.graph, [t.id for t in (score, *found.values(), *known)])
    one_hot = np.zeros(score.shape, score.dtype)
    one_hot[np.arange(samples), chosen] = 1
    scores, *values = plan.run(_fed(g, {**feeds, "class": (seed, one_hot)}))
    of_layers = dict(zip(found, values[: len(found)], strict=True))
    rest = iter(values[len(found) :])
    results = [
        np.zeros(t.shape, t.dtype) if d is None else next(rest)
        for t, d in zip(wrt, gradients, strict=True)
    ]
    return ClassGradients(
        chosen, scores, results[0], of_layers, dict(zip(found, results[1:], strict=True))
    )


class LayerTime(NamedTuple):
    """The time of a layer; see `layer_times`.

    Attributes:
        layer: its name.
        kind: its class.
        shape: of its last step's output.
        seconds: the median of the runs.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    seconds: float


def layer_times(model: Model, x: TensorLike, repeats: int = 5) -> list[LayerTime]:
    """Return how long each layer takes for a batch, in the order in which they run.

    A step of the plan counts for the innermost layer that it is named after. Layers that the
    planner made part of another's step (batch normalization and activations behind a convolution)
    or of none (Flatten) have no row.

    Args:
        model: a layer model.
        x: a batch, as `predict` takes it.
        repeats: number of runs, after one that counts for nothing.
    """
    g = GraphBuilder()
    feeds, outputs = _run(g, model, _prepared(model, x))
    plan = _core.Plan(g.graph, [t.id for t in outputs])
    arrays = _fed(g, feeds)
    plan.run(arrays)
    runs = [plan.profile(arrays) for _ in range(repeats)]
    kinds = {layer.name: type(layer).__name__ for layer, _ in g.calls}
    found: dict[str, LayerTime] = {}
    for rows in zip(*runs, strict=True):
        step = rows[0]
        name = step["name"].rpartition("/")[2]
        seconds = float(np.median([row["seconds"] for row in rows]))
        seconds += found[name].seconds if name in found else 0.0
        found[name] = LayerTime(name, kinds.get(name, step["op"]), tuple(step["shape"]), seconds)
    return list(found.values())


def find_layer(model: Model, layer: Layer | str) -> Layer:
    """Return a layer of the model, or of one inside it, by its name or as it is.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    every = model._all_layers()[1:]
    for candidate in every:
        if candidate is layer or candidate.name == layer:
            return candidate
    name = getattr(layer, "name", layer)
    raise ValueError(
        f"model '{model.name}' has no layer {name!r}; its layers are "
        f"{[candidate.name for candidate in every]}"
    )


def _prepared(model: Model, x: TensorLike) -> list[NDArray[Any]]:
    batch = model._one_batch(x)
    model._prepare_inputs(batch)
    xs: list[NDArray[Any]] = batch.xs
    return xs


def _run(
    g: GraphBuilder, model: Model, xs: Any
) -> tuple[dict[str, tuple[Tensor, NDArray[Any]]], list[Tensor]]:
    """Trace the model; returns its inputs by name with their values, and its outputs."""
    dtype = model._compute_dtype(model.dtype)
    feeds = {}
    for i, x in enumerate(xs):
        tensor = g.input(f"x{i}", x.shape, dtype)
        feeds[f"x{i}"] = tensor, np.ascontiguousarray(x, dtype=dtype)
    with g.tracing():
        outputs = flatten(model._run_on(g, [tensor for tensor, _ in feeds.values()]))
    return feeds, outputs


def _fed(g: GraphBuilder, feeds: Any) -> list[NDArray[Any]]:
    # Layers that are random even in inference mode have a seed among the inputs.
    return [feeds[name][1] if name in feeds else step_seed(0, 0) for name in g.feeds]


def _outputs_of(g: GraphBuilder, model: Model, layers: Any) -> dict[str, Tensor]:
    if layers is None:
        layers = [layer for layer, outputs in g.calls if isinstance(outputs, Tensor)]
        layers = [layer for layer in dict.fromkeys(layers) if layer is not model]
    found: dict[str, Tensor] = {}
    for layer in (find_layer(model, layer) for layer in layers):
        outputs = next((t for called, t in g.calls if called is layer), None)
        if not isinstance(outputs, Tensor):
            kind = "no output" if outputs is None else f"{len(flatten(outputs))} outputs"
            raise ValueError(
                f"layer '{layer.name}' of model '{model.name}' has {kind} here, expected one"
            )
        found.setdefault(layer.name, outputs)
    return found


def _checked_classes(class_index: int | Sequence[int], samples: int, classes: int) -> NDArray[Any]:
    chosen = np.asarray(class_index)
    if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (samples,)):
        raise ValueError(
            f"class_index must be an integer or {samples} of them, one for each sample, received: "
            f"{class_index!r}"
        )
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < classes):
        raise ValueError(
            f"class_index {class_index!r} is out of range: the model has {classes} classes"
        )
    return np.broadcast_to(chosen, samples).astype(np.int64)
