"""What `compile` was given, matched with the outputs of the model once those are known."""

from __future__ import annotations

import numpy as np

from fastconv import losses, metrics, optimizers


class MetricSlot:
    """One metric and the output it watches."""

    __slots__ = ("metric", "name", "output", "weighted")

    def __init__(self, metric, output: int, name: str, weighted: bool):
        self.metric = metric
        self.output = output
        self.name = name
        self.weighted = weighted


class LossMean:
    """Mean of losses, weighted by the number of samples."""

    __slots__ = ("count", "total")

    def __init__(self):
        self.total = 0.0
        self.count = 0

    def add(self, value: float, samples: int) -> None:
        """Take in the loss of one batch."""
        self.total += value * samples
        self.count += samples

    def result(self) -> float:
        """Return the mean."""
        return self.total / self.count if self.count else 0.0

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.count = 0.0, 0


class Compiled:
    """Optimizer, losses and metrics of a model."""

    def __init__(self, optimizer, loss, loss_weights, metrics_, weighted_metrics):
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self.user = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics_,
            "weighted_metrics": weighted_metrics,
        }
        # Unknown names are reported by compile() already, not by the first batch.
        for entry in _leaves(loss):
            losses.get(entry)
        for entry in [*_leaves(metrics_), *_leaves(weighted_metrics)]:
            if entry not in ("accuracy", "acc", "crossentropy", "ce"):
                metrics.get(entry)
        self.losses: list | None = None
        self.loss_weights: list[float] = []
        self.names: list[str] = []
        self.slots: list[MetricSlot] | None = None
        self.total = LossMean()
        self.partial: list[LossMean] = []

    def match_losses(self, names: list[str]) -> None:
        """Find the loss of each output."""
        self.names = names
        found = _per_output(self.user["loss"], names, "loss", spread=True)
        self.losses = [None if item is None else losses.as_loss(item) for item in found]
        weights = _per_output(self.user["loss_weights"], names, "loss_weights", spread=False)
        self.loss_weights = [1.0 if w is None else float(w) for w in weights]
        self.partial = [LossMean() for _ in names] if len(names) > 1 else []

    def match_metrics(self, targets, outputs) -> None:
        """Make the metric objects; "accuracy" depends on the shapes of targets and outputs."""
        slots = []
        several = len(self.names) > 1
        for key, weighted in (("metrics", False), ("weighted_metrics", True)):
            for output, entries in enumerate(self._metric_lists(key)):
                for entry in entries:
                    if targets[output] is None:
                        continue
                    metric = metrics.as_metric(entry, targets[output], outputs[output])
                    name = f"{self.names[output]}_{metric.name}" if several else metric.name
                    slots.append(MetricSlot(metric, output, name, weighted))
        self.slots = slots

    def _metric_lists(self, key) -> list[list]:
        given = self.user[key]
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

    def results(self) -> dict:
        """Return loss, losses of outputs and metrics by name, the loss first."""
        found = {"loss": self.total.result()}
        for name, mean, loss in zip(self.names, self.partial, self.losses or (), strict=False):
            if loss is not None:
                found[f"{name}_loss"] = mean.result()
        for slot in self.slots or ():
            value = slot.metric.result()
            if isinstance(value, dict):
                found.update({k: _number(v) for k, v in value.items()})
            else:
                found[slot.name] = _number(value)
        return found

    def get_config(self) -> dict:
        """Return the arguments of `compile` as plain data."""
        from fastconv.utils.serialization import plain

        def encode(value, module):
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
        }


def _number(value):
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _leaves(value) -> list:
    """Entries of nested lists and dicts; a serialized object counts as one."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, dict) and "class_name" not in value:
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value]


def _per_output(value, names, what: str, spread: bool) -> list:
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
