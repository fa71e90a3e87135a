"""Learning rates that change with the step. Names, arguments and formulas are Keras 3's.

`OneCycle`, which Keras lacks, is PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class LearningRateSchedule:
    """Base class: `__call__(step)` returns the learning rate of a step (counted from 0)."""

    def __call__(self, step: int) -> TensorLike:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a schedule from what `get_config()` returned, `config`."""
        return cls(**config)


class _Plain(LearningRateSchedule):
    """A schedule whose arguments are its attributes; `name` is accepted for Keras code."""

    FIELDS: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in (*self.FIELDS, "name")}


def _positive(name: str, value: Any) -> Any:
    if value <= 0:
        raise ValueError(f"`{name}` must be positive, received: {name}={value}")
    return value


class ExponentialDecay(_Plain):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    `staircase` takes whole numbers of periods.

    Examples:
        >>> schedule = ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)
        >>> [round(float(schedule(step)), 3) for step in (0, 10, 20)]
        [0.1, 0.05, 0.025]
    """

    FIELDS = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> TensorLike:
        periods = step / self.decay_steps
        if self.staircase:
            periods = math.floor(periods)
        return self.initial_learning_rate * self.decay_rate**periods


class InverseTimeDecay(ExponentialDecay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    `staircase` takes whole numbers of periods.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> TensorLike:
        periods = step / self.decay_steps
        if self.staircase:
            periods = math.floor(periods)
        return self.initial_learning_rate / (1.0 + self.decay_rate * periods)


class PiecewiseConstantDecay(_Plain):
    """values[i] up to and including step boundaries[i], the last value afterwards."""

    FIELDS = ("boundaries", "values")

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "`boundaries` must have one entry less than `values`, received: "
                f"boundaries={boundaries}, values={values}"
            )
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def __call__(self, step: int) -> TensorLike:
        for boundary, value in zip(self.boundaries, self.values, strict=False):
            if step <= boundary:
                return value
        return self.values[-1]


class PolynomialDecay(_Plain):
    """(initial - end) * (1 - step / decay_steps) ** power + end.

    Args:
        initial_learning_rate, end_learning_rate: first and last rate.
        decay_steps: steps between them.
        power: 1 is a straight line.
        cycle: start again, with a longer period, when the end has been reached.
        name: accepted for Keras code.
    """

    FIELDS = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> TensorLike:
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        else:
            step = min(step, steps)
        share = (1.0 - step / steps) ** self.power
        span = self.initial_learning_rate - self.end_learning_rate
        return span * share + self.end_learning_rate


class CosineDecay(_Plain):
    """Half a cosine from the first rate to alpha times it (Loshchilov and Hutter 2017).

    Args:
        initial_learning_rate: the first rate.
        decay_steps: steps of the cosine.
        alpha: the last rate as a share of the first.
        name: accepted for Keras code.
        warmup_target: a rate to which the first one rises before the cosine begins, or None.
        warmup_steps: steps of that rise.

    Examples:
        >>> schedule = CosineDecay(0.1, decay_steps=100)
        >>> [round(float(schedule(step)), 3) for step in (0, 50, 100)]
        [0.1, 0.05, 0.0]
    """

    FIELDS = ("initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> TensorLike:
        peak = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                share = step / self.warmup_steps
                return peak + (self.warmup_target - peak) * share
            step -= self.warmup_steps
            peak = self.warmup_target
        share = min(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * share))
        return peak * ((1.0 - self.alpha) * cosine + self.alpha)


class CosineDecayRestarts(_Plain):
    """Cosine decay that starts again and again (Loshchilov and Hutter 2017).

    Args:
        initial_learning_rate: the first rate.
        first_decay_steps: steps of the first period.
        t_mul: how many times as long as the one before each period is.
        m_mul: how many times as high as the one before each period starts.
        alpha: the smallest rate as a share of the first.
        name: accepted for Keras code.
    """

    FIELDS = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: int) -> TensorLike:
        share = step / self.first_decay_steps
        if self.t_mul == 1.0:
            period = math.floor(share)
            share -= period
        else:
            period = math.floor(math.log(1.0 - share * (1.0 - self.t_mul)) / math.log(self.t_mul))
            begun = (1.0 - self.t_mul**period) / (1.0 - self.t_mul)
            share = (share - begun) / self.t_mul**period
        cosine = 0.5 * self.m_mul**period * (1.0 + math.cos(math.pi * share))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)


class OneCycle(_Plain):
    """Up to `max_learning_rate` and down far below the start, once (Smith and Topin 2019).

    Formulas and defaults are those of PyTorch's OneCycleLR, without its cycle of the momentum: from
    max / div_factor to max in the first `pct_start` of the steps, then to
    max / div_factor / final_div_factor at the last one, where the rate stays.

    Args:
        max_learning_rate: the largest rate.
        total_steps: steps of the whole training, epochs * batches of an epoch.
        pct_start: share of the steps in which the rate rises.
        anneal_strategy: "cos" (half cosines) or "linear".
        div_factor: the largest rate divided by the first one.
        final_div_factor: the first rate divided by the last one.
        three_phase: come down to the first rate in as many steps as up, and then to the last.
    """

    FIELDS = (
        "max_learning_rate",
        "total_steps",
        "pct_start",
        "anneal_strategy",
        "div_factor",
        "final_div_factor",
        "three_phase",
    )

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        name: str = "OneCycle",
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                "`anneal_strategy` must be 'cos' or 'linear', "
                f"received: anneal_strategy={anneal_strategy!r}"
            )
        if not 0 <= pct_start <= (0.5 if three_phase else 1):
            raise ValueError(
                f"`pct_start` must be in [0, {0.5 if three_phase else 1}], "
                f"received: pct_start={pct_start}"
            )
        self.max_learning_rate = max_learning_rate
        self.total_steps = _positive("total_steps", total_steps)
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.div_factor = _positive("div_factor", div_factor)
        self.final_div_factor = _positive("final_div_factor", final_div_factor)
        self.three_phase = three_phase
        self.name = name

    def __call__(self, step: int) -> TensorLike:
        peak = self.max_learning_rate
        first = peak / self.div_factor
        last = self.total_steps - 1
        top = self.pct_start * self.total_steps - 1
        phases = [(top, first, peak)]
        if self.three_phase:
            phases.append((2 * top, peak, first))
        phases.append((last, phases[-1][2], first / self.final_div_factor))
        step, begin = min(step, last), 0.0
        for end, low, high in phases:
            if step <= end and end > begin:
                share = (step - begin) / (end - begin)
                if self.anneal_strategy == "cos":
                    share = 0.5 * (1.0 - math.cos(math.pi * share))
                return low + (high - low) * share
            begin = max(end, 0.0)
        return phases[-1][2]


CLASSES = {
    cls.__name__: cls
    for cls in (
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        CosineDecay,
        CosineDecayRestarts,
        OneCycle,
    )
}


def serialize(schedule: Callable[..., Any]) -> Any:
    """Return {"class_name", "config"} of a schedule."""
    from fastconv.utils.serialization import serialize_keras_object

    return serialize_keras_object(schedule)


def deserialize_schedule(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> Any:
    """Make a schedule from `serialize()`, a dict `config`; `custom_objects` holds own classes."""
    from fastconv.utils.serialization import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects, CLASSES)


deserialize = deserialize_schedule
