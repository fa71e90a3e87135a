"""The optimizers. Formulas, argument names and defaults are Keras 3's.

Further keyword arguments (weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ...) are
those of `Optimizer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.optimizers.optimizer import Optimizer
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import TensorLike


def _in_range(name: str, value: Any, low: float = 0.0, high: float = 1.0) -> float:
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}], received: {name}={value}")
    return float(value)


class SGD(Optimizer):
    """Gradient descent: w -= lr * g (Robbins and Monro 1951).

    With momentum m (Polyak 1964): v = m * v - lr * g, w += v; with `nesterov` (Nesterov 1983):
    w += m * v - lr * g.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.momentum = _in_range("momentum", momentum)
        self.nesterov = bool(nesterov)

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

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
        ids = [param.id, grad.id, slots["momentum"].id if self.momentum else None, lr.id]
        attrs = {"momentum": self.momentum, "nesterov": self.nesterov}
        g.graph.add("sgd_update", ids, {**attrs, "weight_decay": weight_decay}, "sgd")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015); with `amsgrad` the variant of Reddi et al. 2018.

    m = beta_1 * m + (1 - beta_1) * g, v = beta_2 * v + (1 - beta_2) * g**2,
    w -= lr * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.beta_1 = _in_range("beta_1", beta_1)
        self.beta_2 = _in_range("beta_2", beta_2)
        self.epsilon = number(epsilon, "epsilon", 0, owner=type(self).__name__)
        self.amsgrad = bool(amsgrad)

    def slot_names(self) -> tuple[str, ...]:
        names = ("momentum", "velocity")
        return (*names, "velocity_hat") if self.amsgrad else names

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
        ids = [param.id, grad.id, slots["momentum"].id, slots["velocity"].id]
        ids += [slots["velocity_hat"].id if self.amsgrad else None, lr.id, step.id]
        attrs = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        g.graph.add("adam_update", ids, {**attrs, "weight_decay": weight_decay}, "adam")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), 0.004 by default."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("AdamW needs a `weight_decay`, received: weight_decay=None")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **kwargs)


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square (Hinton 2012).

    v = rho * v + (1 - rho) * g**2, w -= lr * g / sqrt(v + epsilon); `centered` subtracts the
    squared mean gradient from v, `momentum` accumulates the steps.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.rho = _in_range("rho", rho)
        self.momentum = _in_range("momentum", momentum)
        self.epsilon = number(epsilon, "epsilon", 0, owner=type(self).__name__)
        self.centered = bool(centered)

    def slot_names(self) -> tuple[str, ...]:
        names = ["velocity"]
        if self.momentum:
            names.append("momentum")
        if self.centered:
            names.append("average_gradient")
        return tuple(names)

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
        ids = [param.id, grad.id, slots["velocity"].id]
        ids.append(slots["momentum"].id if self.momentum else None)
        ids.append(slots["average_gradient"].id if self.centered else None)
        attrs: dict[str, Any] = {"rho": self.rho, "momentum": self.momentum}
        attrs.update(epsilon=self.epsilon, weight_decay=weight_decay)
        g.graph.add("rmsprop_update", [*ids, lr.id], attrs, "rmsprop")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares (Duchi et al. 2011).

    a += g**2, w -= lr * g / sqrt(a + epsilon), where a starts at `initial_accumulator_value`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.initial_accumulator_value = float(initial_accumulator_value)
        if self.initial_accumulator_value < 0:
            raise ValueError(
                "`initial_accumulator_value` must be >= 0, "
                f"received: {self.initial_accumulator_value}"
            )
        self.epsilon = number(epsilon, "epsilon", 0, owner=type(self).__name__)

    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator",)

    def initial_slot(self, name: str, variable: Variable) -> Any:
        return np.full(variable.shape, self.initial_accumulator_value, variable.dtype)

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
        ids = [param.id, grad.id, slots["accumulator"].id, lr.id]
        attrs = {"epsilon": self.epsilon, "weight_decay": weight_decay}
        g.graph.add("adagrad_update", ids, attrs, "adagrad")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
