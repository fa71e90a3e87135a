"""`Optimizer`, the base class: learning rate, clipping, weight decay, averages and state."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._graph import GraphBuilder, Tensor, Variable
from fastconv.optimizers.schedules import LearningRateSchedule, deserialize_schedule
from fastconv.utils.naming import auto_name, snake_case
from fastconv.utils.serialization import serialize_keras_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


class LearningRate(float):
    """A number that Keras code may also treat as a variable: `.numpy()`, `.assign(value)`."""

    _optimizer: Optimizer | None = None

    def numpy(self) -> np.float32:
        """Return the number."""
        return np.float32(self)

    @property
    def value(self) -> float:
        return float(self)

    def assign(self, value: Any) -> None:
        """Set the optimizer's learning rate."""
        if self._optimizer is None:
            raise ValueError("this learning rate belongs to no optimizer")
        self._optimizer.learning_rate = value


class Optimizer:
    """Turns gradients into changes of weights, as nodes of the training graph.

    Args:
        learning_rate: number, schedule, or callable without arguments.
        weight_decay: share of each weight taken away a step, times the learning rate.
        clipnorm: largest norm of each weight's gradient.
        clipvalue: largest absolute value of gradients.
        global_clipnorm: largest norm of all gradients together.
        use_ema: keep moving averages of the weights.
        ema_momentum: share of the old value in the averages.
        ema_overwrite_frequency: steps after which weights are replaced by their averages; they
            always are at the end of `fit`.
        loss_scale_factor, gradient_accumulation_steps: of Keras, not supported.
        name: name of the optimizer.

    Raises:
        ValueError: an unknown argument, values out of range, or several kinds of norm clipping.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ValueError(f"Argument(s) not recognized: {kwargs}")
        if loss_scale_factor is not None or gradient_accumulation_steps is not None:
            raise ValueError("loss_scale_factor and gradient_accumulation_steps are not supported")
        for key, value in (
            ("clipnorm", clipnorm),
            ("clipvalue", clipvalue),
            ("global_clipnorm", global_clipnorm),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"`{key}` must be positive, received: {key}={value}")
        if sum(v is not None for v in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError("only one of clipnorm, clipvalue and global_clipnorm can be given")
        if weight_decay is not None and weight_decay < 0:
            raise ValueError(f"`weight_decay` must be >= 0, received: {weight_decay}")
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(f"`ema_momentum` must be in [0, 1], received: {ema_momentum}")
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = bool(use_ema)
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.iterations = 0
        self.built = False
        self._slots: dict[int, dict[str, Variable]] = {}
        self._built_for: list[Variable] = []
        self._owners: dict[int, Variable] = {}  # keeps the keys of _slots from being reused
        self._undecayed_ids: set[int] = set()
        self._undecayed_names: list[str] = []
        self._ema_plan: tuple[_core.Plan, list[NDArray[Any]]] | None = None
        self._swapped = False  # whether the averages are in the model and the weights here
        self.learning_rate = learning_rate

    # Learning rate

    @property
    def learning_rate(self) -> LearningRate:
        """The current learning rate; it can be set to a number, also during training."""
        value = LearningRate(self.current_learning_rate())
        value._optimizer = self
        return value

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, dict):
            value = deserialize_schedule(value)
        if not isinstance(value, LearningRateSchedule) and not callable(value):
            try:
                value = float(np.asarray(value))
            except (TypeError, ValueError):
                raise ValueError(
                    "`learning_rate` must be a number, a schedule or a callable, "
                    f"received: learning_rate={value!r}"
                ) from None
            if not 0 <= value < float("inf"):
                raise ValueError(f"`learning_rate` must be finite and >= 0, received: {value}")
            if isinstance(getattr(self, "_learning_rate", None), LearningRateSchedule):
                raise TypeError(
                    "this optimizer was created with a LearningRateSchedule, so its learning "
                    "rate cannot be set; create it with a number instead"
                )
        self._learning_rate = value

    def current_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return float(rate(self.iterations))
        return float(rate()) if callable(rate) else rate

    # Weight decay

    def exclude_from_weight_decay(
        self, var_list: list[Variable] | None = None, var_names: Any = None
    ) -> None:
        """Leave `var_list`, or what has one of `var_names` in its name, out of weight decay."""
        self._undecayed_ids.update(id(v) for v in var_list or ())
        self._undecayed_names.extend(var_names or ())

    def _decay(self, variable: Variable) -> float:
        if not self.weight_decay or id(variable) in self._undecayed_ids:
            return 0.0
        if any(re.search(name, variable.path) for name in self._undecayed_names):
            return 0.0
        return float(self.weight_decay)

    # State

    def slot_names(self) -> tuple[str, ...]:
        """Return the names of the states kept for each weight."""
        return ()

    def initial_slot(self, name: str, variable: Variable) -> NDArray[Any]:
        """Return the first value of the state `name` of a weight, `variable`."""
        return np.zeros(variable.shape, variable.dtype)

    def build(self, variables: list[Variable]) -> None:
        """Create the states for a list of weights, `variables`; those that exist are kept."""
        names = self.slot_names() + (("average",) if self.use_ema else ())
        for variable in variables:
            self._owners[id(variable)] = variable
            slots = self._slots.setdefault(id(variable), {})
            for name in names:
                if name in slots:
                    continue
                start = variable.numpy() if name == "average" else self.initial_slot(name, variable)
                path = f"{self.name}/{variable.path}/{name}".replace("//", "/")
                slots[name] = Variable(
                    start, dtype=variable.dtype, trainable=False, name=name, path=path
                )
        self._built_for = list(variables)
        self._ema_plan = None
        self.built = True

    def slots_of(self, variable: Variable) -> dict[str, Variable]:
        """Return the states of one weight, `variable`, by name."""
        return self._slots.get(id(variable), {})

    @property
    def variables(self) -> list[Variable]:
        """The states of all weights."""
        return [s for v in self._built_for for s in self._slots[id(v)].values()]

    # Graph

    def emit(self, g: GraphBuilder, variables: list[Variable], grads: list[Tensor | None]) -> None:
        """Add the updates of `variables` by their gradients `grads` to the training graph g."""
        pairs = [(v, dw) for v, dw in zip(variables, grads, strict=True) if dw is not None]
        missing = [v.path for v, dw in zip(variables, grads, strict=True) if dw is None]
        if not pairs:
            raise ValueError(
                "no weight has a gradient: the loss does not depend on any trainable weight"
            )
        if missing:
            warnings.warn(
                f"the loss does not depend on these weights, they stay as they are: {missing}",
                stacklevel=2,
            )
        values = self._clip(g, [dw for _, dw in pairs])
        for (variable, _), grad in zip(pairs, values, strict=True):
            dtype = variable.dtype
            lr = g.input(f"learning_rate:{dtype}", (), dtype)
            step = g.input(f"step:{dtype}", (), dtype)
            slots = {k: g.variable(s) for k, s in self._slots[id(variable)].items()}
            with g.scope(f"{self.name}/{variable.path}"):
                decay = self._decay(variable)
                self.emit_update(g, g.variable(variable), grad, slots, lr, step, decay)

    def emit_update(
        self,
        g: Any,
        param: Any,
        grad: TensorLike,
        slots: Any,
        lr: Any,
        step: TensorLike,
        weight_decay: float | None,
    ) -> None:
        """Add the update node of one weight to the training graph.

        Args:
            g: the graph's builder.
            param, grad: the weight and its gradient, tensors of the graph.
            slots: the weight's states by name.
            lr, step: learning rate and number of the step (from 1), tensors.
            weight_decay: share taken away, 0 for weights that are left out.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define emit_update()")

    def _clip(self, g: GraphBuilder, grads: list[Tensor]) -> list[Tensor]:
        from fastconv import ops

        if self.clipvalue is not None:
            return [ops.clip(dw, -self.clipvalue, self.clipvalue) for dw in grads]
        if self.clipnorm is not None:
            return [dw * self._shrink(ops.sum(ops.square(dw)), self.clipnorm) for dw in grads]
        if self.global_clipnorm is not None:
            total = ops.sum(ops.square(grads[0]))
            for dw in grads[1:]:
                total = total + ops.sum(ops.square(dw))
            factor = self._shrink(total, self.global_clipnorm)
            return [dw * factor for dw in grads]
        return grads

    @staticmethod
    def _shrink(squares: Tensor, limit: float) -> Tensor:
        """limit / max(norm, limit)."""
        from fastconv import ops

        factor: Tensor = ops.divide(float(limit), ops.maximum(ops.sqrt(squares), float(limit)))
        return factor

    # Averages

    def after_step(self) -> None:
        """Count the step and update the moving averages."""
        first = self.iterations == 0
        self.iterations += 1
        if not self.use_ema:
            return
        if self._ema_plan is None:
            # average -= (1 - momentum) * (average - weight), as a plan of its own: it must see
            # the weights after their update.
            g = GraphBuilder()
            rates: list[NDArray[Any]] = []
            for variable in self._built_for:
                average = g.variable(self._slots[id(variable)]["average"])
                lr = g.input(f"lr:{variable.dtype}", (), variable.dtype)
                if len(g.feeds) > len(rates):
                    rates.append(np.array(1.0 - self.ema_momentum, variable.dtype))
                g.graph.add(
                    "sgd_update",
                    [average.id, g.sub(average, g.variable(variable)).id, None, lr.id],
                    {"momentum": 0.0, "nesterov": False},
                    f"average/{variable.path}",
                )
            self._ema_plan = (_core.Plan(g.graph, []), rates)
        plan, rates = self._ema_plan
        # As in Keras, the averages begin with the weights after the first step.
        plan.run([np.ones_like(r) for r in rates] if first else rates)
        every = self.ema_overwrite_frequency
        if every and self.iterations % every == 0:
            self.finalize_variable_values(self._built_for)

    def finalize_variable_values(self, var_list: list[Variable]) -> None:
        """Replace the weights `var_list` by their moving averages, where those are kept."""
        if self._swapped:
            self.swap_averages()
        if self.use_ema:
            for variable in var_list:
                if "average" in self._slots.get(id(variable), {}):
                    variable.assign(self._slots[id(variable)]["average"].numpy())

    def swap_averages(self) -> None:
        """Exchange weights and their moving averages; a second call puts them back.

        Raises:
            ValueError: the optimizer keeps no averages.
        """
        if not self.use_ema:
            raise ValueError(
                f"{type(self).__name__} keeps no averages: create it with use_ema=True"
            )
        for variable in self._built_for:
            average = self._slots[id(variable)]["average"]
            weight = variable.numpy()
            variable.assign(average.numpy())
            average.assign(weight)
        self._swapped = not self._swapped

    # State of a run

    def state_dict(self) -> dict[str, Any]:
        """Return what changes while training, but for the slots."""
        rate = self._learning_rate
        return {
            "iterations": self.iterations,
            "learning_rate": rate if isinstance(rate, float) else None,
            "swapped": self._swapped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, what `state_dict` returned."""
        self.iterations = state["iterations"]
        if state["learning_rate"] is not None and isinstance(self._learning_rate, float):
            self._learning_rate = state["learning_rate"]
        self._swapped = state["swapped"]

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make an equal optimizer, without its state."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = serialize_keras_object(rate)
        elif callable(rate):
            rate = self.current_learning_rate()
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Make an optimizer from what `get_config()` returned, `config`.

        `custom_objects` is accepted for Keras code.
        """
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} learning_rate={self.current_learning_rate()}>"
