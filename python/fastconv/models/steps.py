"""One compiled plan for a mode and the shapes of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core, ops
from fastconv._graph import GraphBuilder, flatten
from fastconv.utils.rng import step_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.models import Model

_ZERO_SEED = 0


class StepBuilder(GraphBuilder):
    """A builder that can also offer targets as class indices."""

    def __init__(self, training: bool) -> None:
        super().__init__(training)
        self.target_names: dict[int, str] = {}

    def target(self, name: str, shape: Sequence[int], dtype: Any) -> Any:
        """Return the input of a target."""
        tensor = self.input(f"{name}:{dtype}", shape, dtype)
        self.target_names[tensor.id] = name
        return tensor

    def index_targets(self, tensor: TensorLike) -> Any:
        """Return a target again, this time as int64."""
        name = self.target_names.get(tensor.id)
        if name is None:
            raise ValueError(
                "a loss of class indices needs the targets themselves, not values computed from "
                "them"
            )
        return self.target(name, tensor.shape, "int64")


class Step:
    """A plan and how to feed it."""

    def __init__(
        self, model: Model, mode: str, x_shapes: Any, y_shapes: Any, w_shapes: Any
    ) -> None:
        self.mode = mode
        self.name = model.name
        g = StepBuilder(training=mode == "train")
        dtype = model._compute_dtype(model.dtype)
        xs = [g.input(f"x{i}:{dtype}", shape, dtype) for i, shape in enumerate(x_shapes)]
        with g.tracing():
            outputs = flatten(model._run_on(g, xs))
            results = list(outputs)
            self.loss_count = 0
            if mode != "predict":
                results = self._add_losses(g, model, outputs, y_shapes, w_shapes)
                if mode == "train":
                    self._add_updates(g, model, results[0])
                self.loss_count = len(results)
                self.kept = model._require_compiled("fit").wanted_outputs
                results += [outputs[i] for i in self.kept]
        self.output_shapes = [t.shape for t in outputs]
        recompute = mode == "train" and model._require_compiled("fit").recompute
        self.plan = _core.Plan(g.graph, [t.id for t in results], recompute=recompute)
        self._recipe = [_parse(name) for name in g.feeds]
        self._converted: dict[int, NDArray[Any]] = {}  # inputs of other types, in the plan's

    def _add_losses(self, g: Any, model: Model, outputs: Any, y_shapes: Any, w_shapes: Any) -> Any:
        """Return the total loss and, for several outputs, the loss of each."""
        compiled = model._require_compiled("fit")
        values, terms = [], []
        for i, loss in enumerate(compiled.losses):
            if loss is None:
                continue
            if i >= len(y_shapes) or y_shapes[i] is None:
                raise ValueError(
                    f"model '{model.name}': output '{compiled.names[i]}' has a loss and no targets"
                )
            dtype = "int64" if loss.index_targets else outputs[i].dtype
            target = g.target(f"y{i}", y_shapes[i], dtype)
            weight = None
            if i < len(w_shapes) and w_shapes[i] is not None:
                weight = g.input(f"w{i}:{outputs[i].dtype}", w_shapes[i], outputs[i].dtype)
            with g.scope(f"loss of {compiled.names[i]}"):
                try:
                    value = loss(target, outputs[i], weight)
                except ValueError as error:
                    raise ValueError(
                        f"model '{model.name}', output '{compiled.names[i]}': {error}"
                    ) from error
                if flatten(value) != [value] or not hasattr(value, "id"):
                    raise TypeError(
                        f"loss {loss.name!r} returned {type(value).__name__}; write custom losses "
                        "with fastconv.ops and operators of their arguments"
                    )
                if value.shape:
                    value = ops.mean(value)
                values.append(value)
                w = compiled.loss_weights[i]
                terms.append(value if w == 1.0 else value * w)
        terms += g.losses
        for variable in model.trainable_weights:
            if variable.regularizer is not None:
                with g.scope(f"penalty of {variable.path}"):
                    terms.append(variable.regularizer(g.variable(variable)))
        terms = [t for t in terms if hasattr(t, "id")]
        if not terms:
            raise ValueError(
                f"model '{model.name}' has no loss: give compile() a `loss`, or use add_loss()"
            )
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        if total.shape:
            total = ops.sum(total)
        return [total, *(values if len(compiled.names) > 1 else ())]

    @staticmethod
    def _add_updates(g: Any, model: Model, total: Any) -> None:
        variables = model.trainable_weights
        if not variables:
            raise ValueError(f"model '{model.name}' has no trainable weights")
        optimizer = model.optimizer
        optimizer.build(variables)
        grads = g.gradients([total], [g.variable(v) for v in variables])
        optimizer.emit(g, variables, grads)

    def __call__(
        self,
        xs: Any,
        ys: Any = (),
        ws: Any = (),
        losses: Any = (),
        optimizer: Any = None,
        seed: int = 0,
    ) -> TensorLike:
        """Run the plan; returns ([losses], [outputs])."""
        feeds = []
        for kind, index, dtype in self._recipe:
            if kind == "x":
                feeds.append(self._input(index, xs[index], dtype))
            elif kind == "y":
                feeds.append(_feed(losses[index].prepare(ys[index]), dtype))
            elif kind == "w":
                feeds.append(_feed(ws[index], dtype))
            elif kind == "learning_rate":
                feeds.append(np.array(optimizer.current_learning_rate(), dtype))
            elif kind == "step":
                feeds.append(np.array(optimizer.iterations + 1, dtype))
            else:
                base = _ZERO_SEED if dtype == "fixed" else seed
                step = optimizer.iterations if optimizer is not None else 0
                feeds.append(step_seed(base, step))
        try:
            results = self.plan.run(feeds)
        except ValueError as error:
            raise ValueError(f"model '{self.name}': {error}") from error
        return results[: self.loss_count], results[self.loss_count :]

    def _input(self, index: int, array: Any, dtype: Any) -> Any:
        if self.mode != "train" or array.dtype == dtype:
            return _feed(array, dtype)
        # Training runs in one thread: the memory of the step before can be used again.
        room = self._converted.get(index)
        if room is None:
            room = self._converted[index] = np.empty(array.shape, dtype)
        np.copyto(room, array, casting="unsafe")
        return room


def _feed(array: Any, dtype: Any) -> Any:
    if dtype == "int64" and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("class indices must be finite numbers, the targets hold NaN or infinity")
    converted = np.ascontiguousarray(array, dtype=dtype)
    if dtype == "int64" and array.dtype.kind == "f" and (converted != array).any():
        raise ValueError(
            "class indices must be whole numbers, the targets hold "
            f"{array[converted != array].ravel()[0]}"
        )
    return converted


def _parse(name: str) -> Any:
    kind, _, dtype = name.partition(":")
    if kind[0] in "xyw" and kind[1:].isdigit():
        return kind[0], int(kind[1:]), dtype
    return kind, 0, dtype
