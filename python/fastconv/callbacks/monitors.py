"""Callbacks that watch one number: checkpoints, early stopping, lower learning rates."""

from __future__ import annotations

import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.callbacks._directions import upward
from fastconv.callbacks.base import Callback
from fastconv.utils.checks import integer, number

if TYPE_CHECKING:
    from fastconv._types import Logs, PathLike


class Monitor(Callback):
    """Base of callbacks with `monitor` and `mode`.

    What "auto" means is found when the first value comes: by then the model has its metrics.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__}: mode {mode!r} is unknown, using 'auto'", stacklevel=3
            )
            mode = "auto"
        owner = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{owner}: `monitor` must be a name, received: monitor={monitor!r}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(number(min_delta, "min_delta", owner=owner))
        self._upward = mode == "max"
        self._warned = False
        self._reset_best()

    def _reset_best(self) -> None:
        self.best: float | None = None

    def _better(self, current: float, reference: float | None) -> bool:
        if reference is None:
            return True
        if self._upward:
            return current - self.min_delta > reference
        return current + self.min_delta < reference

    def _value(self, logs: Logs | None) -> float | None:
        value = (logs or {}).get(self.monitor)
        if value is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__}: `{self.monitor}` is not among the logged values: "
                f"{', '.join(sorted(logs or {}))}",
                stacklevel=3,
            )
        if value is None:
            return None
        if self.mode == "auto":
            self._upward = upward(self.monitor, self.model, type(self).__name__)
        if self.best is None:
            self.best = -np.inf if self._upward else np.inf
        return float(np.asarray(value))


class ModelCheckpoint(Monitor):
    """Saves the model or its weights after epochs or every some batches.

    Each file is written beside its final name and then renamed: an interrupted save leaves the
    earlier file whole.

    Args:
        filepath: path, which may hold {epoch} and logged values, as
            "cnn-{epoch:02d}-{val_loss:.2f}.fastconv".
        monitor: logged value to compare where `save_best_only`.
        verbose: 1 prints each save.
        save_best_only: save only if the value is the best so far.
        save_weights_only: save weights without configuration and optimizer state.
        mode: "min", "max" or "auto" (by the name of the value or the class of its metric).
        save_freq: "epoch" or a number of batches.
        initial_value_threshold: the value to beat at first.

    Raises:
        ValueError: an unknown `save_freq`; at the end of an epoch, a value of which mode="auto"
            does not know whether larger is better.
    """

    state_names = ("best", "_upward", "_batches", "_epoch")

    def __init__(
        self,
        filepath: PathLike,
        monitor: str = "val_loss",
        verbose: int | str | bool = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if save_freq != "epoch":
            if isinstance(save_freq, bool) or not isinstance(save_freq, int):
                raise ValueError(
                    f"`save_freq` must be 'epoch' or an integer, received: save_freq={save_freq!r}"
                )
            if save_freq < 1:
                raise ValueError(f"`save_freq` must be >= 1, received: save_freq={save_freq!r}")
        if initial_value_threshold is not None:
            number(initial_value_threshold, "initial_value_threshold", owner="ModelCheckpoint")
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        if initial_value_threshold is not None:
            self.best = initial_value_threshold
        self._batches = 0
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, str):
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch, logs() if callable(logs) else logs)

    @property
    def lazy_logs(self) -> bool:
        """Whether the hooks of batches look at their logs only when they save."""
        return True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch: int, batch: int | None, logs: Logs | None) -> None:
        logs = logs or {}
        fields = {"epoch": epoch + 1, **logs}
        if batch is not None:
            fields["batch"] = batch + 1
        try:
            path = self.filepath.format(**fields)
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: the file name {self.filepath!r} refers to {error}, "
                f"but the logged values are: {', '.join(sorted(logs))}"
            ) from None
        if self.save_best_only:
            value = self._value(logs)
            if value is None:
                return
            if not self._better(value, self.best):
                if self.verbose:
                    print(
                        f"\nEpoch {epoch + 1}: {self.monitor} did not improve from {self.best:.5f}"
                    )
                return
            if self.verbose:
                print(
                    f"\nEpoch {epoch + 1}: {self.monitor} improved from {self.best:.5f} to "
                    f"{value:.5f}, saving model to {path}"
                )
            self.best = value
        elif self.verbose:
            print(f"\nEpoch {epoch + 1}: saving model to {path}")
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)


class EarlyStopping(Monitor):
    """Stops training when a value has not improved for some epochs (Prechelt 1998).

    Args:
        monitor: logged value.
        min_delta: smallest change that counts.
        patience: epochs without improvement before training stops.
        verbose: 1 prints when it stops.
        mode: "min", "max" or "auto" (by the name of the value or the class of its metric).
        baseline: value to beat.
        restore_best_weights: take the weights of the best epoch at the end.
        start_from_epoch: epochs to wait before watching.
    """

    state_names = ("best", "_upward", "wait", "stopped_epoch", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int | str | bool = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = integer(patience, "patience", owner="EarlyStopping")
        self.verbose = verbose
        if baseline is not None:
            number(baseline, "baseline", owner="EarlyStopping")
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = integer(start_from_epoch, "start_from_epoch", owner="EarlyStopping")
        self._clear()

    def _clear(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._clear()
        self._reset_best()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # Where no epoch ever improves, the first is the best.
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._better(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring the weights of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when a value has stopped improving.

    Args:
        monitor: logged value.
        factor: < 1.
        patience: epochs without improvement before the rate is lowered.
        verbose: 1 prints each change.
        mode: "min", "max" or "auto" (by the name of the value or the class of its metric).
        min_delta: smallest change that counts.
        cooldown: epochs to wait after a change.
        min_lr: lower limit of the rate.

    Raises:
        ValueError: `factor` is not in [0, 1), or another argument is out of range.
    """

    state_names = ("best", "_upward", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: Any = 0.1,
        patience: int = 10,
        verbose: int | str | bool = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if kwargs:
            raise TypeError(f"ReduceLROnPlateau: unknown arguments {sorted(kwargs)}")
        owner = "ReduceLROnPlateau"
        if number(factor, "factor", 0, owner=owner) >= 1.0:
            raise ValueError(f"`factor` must be smaller than 1, received: factor={factor}")
        self.factor = factor
        self.patience = integer(patience, "patience", owner=owner)
        self.verbose = verbose
        self.cooldown = integer(cooldown, "cooldown", owner=owner)
        self.min_lr = number(min_lr, "min_lr", 0, owner=owner)
        self._clear()

    def _clear(self) -> None:
        self.wait = 0
        self.cooldown_counter = 0
        self._reset_best()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._clear()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        if logs is not None:
            logs["learning_rate"] = float(optimizer.learning_rate)
        current = self._value(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(current, self.best):
            self.best = current
            self.wait = 0
            return
        if self.cooldown_counter > 0:
            return
        self.wait += 1
        if self.wait < self.patience:
            return
        old = float(optimizer.learning_rate)
        if old <= self.min_lr:
            return
        new = max(old * self.factor, self.min_lr)
        optimizer.learning_rate = new
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")
        self.cooldown_counter = self.cooldown
        self.wait = 0


class TerminateOnNaN(Callback):
    """Stops training at a loss that is NaN or infinite.

    Args:
        raise_error: raise RuntimeError instead of stopping quietly.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            if self.raise_error:
                raise RuntimeError(f"batch {batch}: the loss is {loss}, training is stopped")
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
