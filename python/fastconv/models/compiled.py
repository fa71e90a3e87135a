"""What `compile` was given, matched with the outputs of the model once those are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import losses, metrics, optimizers

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class MetricSlot:
    """One metric and the output it watches."""

    __slots__ = ("metric", "name", "output", "weighted")

    def __init__(self, metric: Any, output: int, name: str, weighted: bool) -> None:
        self.metric = metric
        self.output = output
        self.name = name
        self.weighted = weighted


class LossMean:
    """Mean of losses, weighted by the number of samples."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, value: float, samples: int) -> None:
        """Take in the loss of one batch."""
        self.total += value * samples
        self.count += samples

    def result(self) -> float:
        """Return the mean."""
        return self.total / self.count if self.count else float("nan")

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.count = 0.0, 0


class Compiled:
    """Optimizer, losses and metrics of a model."""

    def __init__(
        self,
        optimizer: Any,
        loss: Any,
        loss_weights: Any,
        metrics_: Any,
        weighted_metrics: Any,
        recompute: bool = False,
    ) -> None:
        if not isinstance(recompute, (bool, np.bool_)):
            raise TypeError(f"`recompute` must be True or False, received: recompute={recompute!r}")
        self.recompute = bool(recompute)
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self.user = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics_,
            "weighted_metrics": weighted_metrics,
        }
        for weight in _leaves(loss_weights):
            if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)):
                raise ValueError(
                    f"`loss_weights` must be numbers, received: {weight!r}; "
                    "metrics are given as `metrics=`"
                )
        # Resolved here, so that unknown names are reported by compile() already and custom objects
        # of a scope (load_model) are still known when the first batch arrives.
        self.resolved = {
            "loss": _map_leaves(losses.get, loss),
            "metrics": _map_leaves(_metric, metrics_),
            "weighted_metrics": _map_leaves(_metric, weighted_metrics),
        }
        self.names: list[str] = []  # of the outputs, known from the first batch on, as losses are
        self.losses: list[Any] = []
        self.loss_weights: list[float] = []
        self.slots: list[MetricSlot] | None = None
        self.total = LossMean()
        self.partial: list[LossMean] = []

    def match_losses(self, names: list[str]) -> None:
        """Find the loss of each output."""
        self.names = names
        found = _per_output(self.resolved["loss"], names, "loss", spread=True)
        self.losses = [None if item is None else losses.as_loss(item) for item in found]
        weights = _per_output(self.user["loss_weights"], names, "loss_weights", spread=False)
        self.loss_weights = [1.0 if w is None else float(w) for w in weights]
        self.partial = [LossMean() for _ in names] if len(names) > 1 else []

    def match_metrics(self, targets: TensorLike, outputs: Any) -> None:
        """Make the metric objects; "accuracy" depends on the shapes of targets and outputs."""
        slots = []
        several = len(self.names) > 1
        taken: set[str] = set()
        for key, weighted in (("metrics", False), ("weighted_metrics", True)):
            for output, entries in enumerate(self._metric_lists(key)):
                for entry in entries:
                    if targets[output] is None:
                        continue
                    metric = metrics.as_metric(entry, targets[output], outputs[output])
                    start = f"{self.names[output]}_" if several else ""
                    name = _free_name(start, metric.name, weighted, taken)
                    taken.add(name)
                    slots.append(MetricSlot(metric, output, name, weighted))
        self.slots = slots

    def _metric_lists(self, key: Any) -> list[list[Any]]:
        given = self.resolved[key]
        names = self.names
        if given is None:
            return [[] for _ in names]
        if len(names) == 1 and not isinstance(given, dict):
            flat = given if isinstance(given, (list, tuple)) else [given]
            if len(flat) == 1 and isinstance(flat[0], (list, tuple)):
                flat = flat[0]
            return [[m for m in flat if m is not None]]
        found = _per_output(given, names, key, spread=False)
        return [
            []
            if item is None
            else [m for m in item if m is not None]
            if isinstance(item, (list, tuple))
            else [item]
            for item in found
        ]

    @property
    def wanted_outputs(self) -> list[int]:
        """Outputs that metrics look at."""
        return sorted({slot.output for slot in self.slots or ()})

    def reset(self) -> None:
        """Start a new epoch."""
        self.total.reset()
        for mean in self.partial:
            mean.reset()
        for slot in self.slots or ():
            slot.metric.reset_state()

    def results(self) -> dict[str, Any]:
        """Return loss, losses of outputs and metrics by name, the loss first."""
        found = {"loss": self.total.result()}
        for name, mean, loss in zip(self.names, self.partial, self.losses, strict=False):
            if loss is not None:
                found[f"{name}_loss"] = mean.result()
        for slot in self.slots or ():
            value = slot.metric.result()
            if value is None:
                raise TypeError(f"result() of metric {slot.name!r} returned None, not a number")
            if isinstance(value, dict):
                found.update({k: _number(v) for k, v in value.items()})
            else:
                found[slot.name] = _number(value)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what has been gathered since the last reset."""
        return {
            "means": [(mean.total, mean.count) for mean in (self.total, *self.partial)],
            "metrics": [slot.metric.state_dict() for slot in self.slots or ()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; losses and metrics must have been matched."""
        for mean, (total, count) in zip((self.total, *self.partial), state["means"], strict=True):
            mean.total, mean.count = total, count
        slots = self.slots or ()
        if len(slots) != len(state["metrics"]):
            raise ValueError(
                f"the backup was made with {len(state['metrics'])} metrics, "
                f"the model has {len(slots)}"
            )
        for slot, metric in zip(slots, state["metrics"], strict=True):
            slot.metric.load_state_dict(metric)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` as plain data."""
        from fastconv.utils.serialization import plain

        def encode(value: Any, module: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return [encode(v, module) for v in value]
            if isinstance(value, dict):
                return {k: encode(v, module) for k, v in value.items()}
            return value if value is None or isinstance(value, str) else module.serialize(value)

        return {
            "optimizer": optimizers.serialize(self.optimizer),
            "loss": plain(encode(self.user["loss"], losses)),
            "loss_weights": plain(self.user["loss_weights"]),
            "metrics": plain(encode(self.user["metrics"], metrics)),
            "weighted_metrics": plain(encode(self.user["weighted_metrics"], metrics)),
            "recompute": self.recompute,
        }


def _number(value: Any) -> Any:
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _metric(entry: Any) -> Any:
    """Return the metric or function; names that depend on the outputs stay as they are."""
    if not isinstance(entry, str):
        return metrics.get(entry)
    return entry if entry.lower() in metrics.BY_SHAPE else metrics.as_metric(entry, None, None)


def _free_name(start: str, name: str, weighted: bool, taken: Any) -> str:
    """Return a name for logs that no other metric has, as Keras makes it."""
    if weighted and start + name in taken:
        name = f"weighted_{name}"
    free, n = start + name, 1
    while free in taken:
        free, n = f"{start}{name}_{n}", n + 1
    return free


def _map_leaves(fn: Callable[..., Any], value: Any) -> Any:
    """Return the nested lists and dicts with `fn` applied; a serialized object is one entry."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_map_leaves(fn, item) for item in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _map_leaves(fn, item) for key, item in value.items()}
    return fn(value)


def _leaves(value: Any) -> list[Any]:
    """Entries of nested lists and dicts; a serialized object counts as one."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, dict) and "class_name" not in value:
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value]


def _per_output(value: Any, names: Any, what: str, spread: bool) -> list[Any]:
    """Return one entry for each output."""
    if value is None:
        return [None] * len(names)
    if isinstance(value, dict) and "class_name" not in value:
        unknown = [k for k in value if k not in names]
        if unknown:
            raise ValueError(
                f"`{what}` has entries for {unknown}, but the outputs of the model are {names}"
            )
        return [value.get(n) for n in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(
                f"`{what}` must have one entry for each of the outputs {names}, "
                f"received {len(value)}: {value}"
            )
        return list(value)
    if spread or len(names) == 1:
        return [value] * len(names)
    raise ValueError(
        f"`{what}` must be a list or dict for a model with outputs {names}, received: {value!r}"
    )
