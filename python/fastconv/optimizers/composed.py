"""Optimizers put together from the graph's operators; their formulas are Keras 3's.

Every state s changes to s + rate * (target - s): gradient descent with the gradient s - target.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import ops
from fastconv.optimizers.algorithms import _in_range
from fastconv.optimizers.optimizer import Optimizer
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import TensorLike


class _Composed(Optimizer):
    """What the optimizers of this file have in common: how weights and states change."""

    def __init__(
        self, learning_rate: Any, weight_decay: float | None, epsilon: float | None, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, weight_decay, **kwargs)
        if epsilon is not None:
            self.epsilon = number(epsilon, "epsilon", 0, owner=type(self).__name__)

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
        change, states = self.changes(grad, slots, step)
        plain = {"momentum": 0.0, "nesterov": False}
        attrs = {**plain, "weight_decay": weight_decay}
        kind = type(self).__name__.lower()
        g.graph.add("sgd_update", [param.id, change.id, None, lr.id], attrs, kind)
        # The states last: whatever is computed above reads them as they were.
        for name, (target, rate) in states.items():
            gradient = slots[name] - target
            factor = g.constant(np.array(rate), param.dtype)
            g.graph.add("sgd_update", [slots[name].id, gradient.id, None, factor.id], plain, kind)

    def changes(self, grad: TensorLike, slots: Any, step: TensorLike) -> Any:
        """Return what is subtracted from the weight, and (target, rate) of each state.

        `grad` is the gradient, `slots` has the states by name, `step` counts from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define changes()")

    def get_config(self) -> dict[str, Any]:
        names = ("beta_1", "beta_2", "rho", "epsilon")
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return {**super().get_config(), **own}


def _toward(state: TensorLike, target: TensorLike, rate: float) -> Any:
    """The state after it has changed."""
    return state + (target - state) * rate


class Adadelta(_Composed):
    """Steps of a size that the last steps had (Zeiler 2012).

    a = rho * a + (1 - rho) * g**2, d = sqrt(b + epsilon) / sqrt(a + epsilon) * g,
    b = rho * b + (1 - rho) * d**2, w -= lr * d.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, epsilon, **kwargs)
        self.rho = _in_range("rho", rho)

    def slot_names(self) -> tuple[str, ...]:
        return ("accumulated_grad", "accumulated_delta_var")

    def changes(self, grad: TensorLike, slots: Any, step: TensorLike) -> Any:
        squares, steps = slots["accumulated_grad"], slots["accumulated_delta_var"]
        rate = 1.0 - self.rho
        mean_square = _toward(squares, ops.square(grad), rate)
        change = ops.sqrt((steps + self.epsilon) / (mean_square + self.epsilon)) * grad
        return change, {
            "accumulated_grad": (ops.square(grad), rate),
            "accumulated_delta_var": (ops.square(change), rate),
        }


class Adamax(_Composed):
    """Adam with the largest gradient in place of the mean square (Kingma and Ba 2015).

    m = beta_1 * m + (1 - beta_1) * g, u = max(beta_2 * u, abs(g)),
    w -= lr / (1 - beta_1**t) * m / (u + epsilon).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, epsilon, **kwargs)
        self.beta_1 = _in_range("beta_1", beta_1)
        self.beta_2 = _in_range("beta_2", beta_2)

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "norm")

    def changes(self, grad: TensorLike, slots: Any, step: TensorLike) -> Any:
        rate = 1.0 - self.beta_1
        mean = _toward(slots["momentum"], grad, rate)
        largest = ops.maximum(slots["norm"] * self.beta_2, ops.abs(grad))
        bias = 1.0 - ops.exp(step * math.log(self.beta_1)) if self.beta_1 else 1.0
        change = mean / (bias * (largest + self.epsilon))
        return change, {"momentum": (grad, rate), "norm": (largest, 1.0)}


class Nadam(Adamax):
    """Adam with Nesterov's momentum (Dozat 2016).

    u_t = beta_1 * (1 - 0.96**t / 2), p_t = u_1 * ... * u_t, m and v as in `Adam`,
    h = u_(t+1) * m / (1 - p_(t+1)) + (1 - u_t) * g / (1 - p_t),
    w -= lr * h / (sqrt(v / (1 - beta_2**t)) + epsilon).
    """

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity", "u_product")

    def initial_slot(self, name: str, variable: Variable) -> Any:
        if name == "u_product":
            return np.ones((), variable.dtype)
        return super().initial_slot(name, variable)

    def _schedule(self, step: int) -> Any:
        return (1.0 - 0.5 * ops.exp(step * math.log(0.96))) * self.beta_1

    def changes(self, grad: TensorLike, slots: Any, step: TensorLike) -> Any:
        now, following = self._schedule(step), self._schedule(step + 1.0)
        product = slots["u_product"] * now
        mean = _toward(slots["momentum"], grad, 1.0 - self.beta_1)
        square = _toward(slots["velocity"], ops.square(grad), 1.0 - self.beta_2)
        bias = 1.0 - ops.exp(step * math.log(self.beta_2)) if self.beta_2 else 1.0
        ahead = mean * (following / (1.0 - product * following))
        ahead = ahead + grad * ((1.0 - now) / (1.0 - product))
        change = ahead / (ops.sqrt(square / bias) + self.epsilon)
        return change, {
            "momentum": (grad, 1.0 - self.beta_1),
            "velocity": (ops.square(grad), 1.0 - self.beta_2),
            "u_product": (product, 1.0),
        }


class Lion(_Composed):
    """Steps of one size in the direction of the momentum (Chen et al. 2023).

    w -= lr * sign(beta_1 * m + (1 - beta_1) * g), m = beta_2 * m + (1 - beta_2) * g.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, None, **kwargs)
        self.beta_1 = _in_range("beta_1", beta_1)
        self.beta_2 = _in_range("beta_2", beta_2)

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",)

    def changes(self, grad: TensorLike, slots: Any, step: TensorLike) -> Any:
        direction = slots["momentum"] * self.beta_1 + grad * (1.0 - self.beta_1)
        return ops.sign(direction), {"momentum": (grad, 1.0 - self.beta_2)}
