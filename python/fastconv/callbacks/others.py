"""Logging to files, functions as callbacks, and learning-rate functions."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import Logs, PathLike


class CSVLogger(Callback):
    """Writes one line an epoch: its number and all logged values.

    What an earlier run wrote is replaced when the first epoch has ended, not before.

    Args:
        filename: path of the file.
        separator: between columns.
        append: add to an existing file instead of replacing it.
    """

    def __init__(self, filename: PathLike, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._file: TextIO | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        exists = os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        self._header = not (self.append and exists)
        self._file = open(  # noqa: SIM115 - closed in on_train_end
            self.filename, "a", newline="", encoding="utf-8"
        )
        self.keys = None

    def _opened(self) -> TextIO:
        if self._file is None:
            raise ValueError("CSVLogger: its file is only open during fit()")
        return self._file

    def state_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "size": self._opened().tell()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.append or state["keys"] is not None:
            self._opened().truncate(state["size"])  # lines of epochs that are trained again go
        if state["keys"] is not None:
            self.keys, self._header = state["keys"], False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs, file, keys = logs or {}, self._opened(), self.keys
        if keys is None:
            if not self.append:
                file.truncate(0)
            keys = self.keys = sorted(logs)
            # Validation may come later only; its columns are there from the start.
            if not any(k.startswith("val_") for k in keys):
                keys += [f"val_{k}" for k in keys if k != "learning_rate"]
        writer = csv.writer(file, delimiter=self.sep)
        if self._header:
            writer.writerow(["epoch", *keys])
            self._header = False
        writer.writerow([epoch, *(self._cell(logs.get(key)) for key in keys)])
        file.flush()

    @staticmethod
    def _cell(value: Any) -> Any:
        if value is None:
            return "NA"
        array = np.asarray(value)
        return value if array.ndim == 0 else "[" + ", ".join(map(str, array.ravel())) + "]"

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class LambdaCallback(Callback):
    """A callback made of functions, which have the arguments of the hooks of `Callback`.

    Args:
        on_epoch_begin, on_epoch_end: called with the epoch's number and the logs.
        on_train_begin, on_train_end: called with the logs.
        on_train_batch_begin, on_train_batch_end: called with the batch's number and the logs.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if function is not None:
                setattr(self, name, function)


class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch to `schedule(epoch, learning_rate)`.

    Args:
        schedule: takes the epoch's number (from 0) and the rate, returns the new rate.
        verbose: 1 prints each rate.

    Raises:
        TypeError: `schedule` is not callable.
        ValueError: the function does not return a finite number >= 0.
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int | str | bool = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: `schedule` must be a function, "
                f"received: schedule={schedule!r}"
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        current = float(self.model.optimizer.learning_rate)
        try:
            rate = self.schedule(epoch, current)
        except TypeError:  # older functions take the epoch only
            rate = self.schedule(epoch)
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)):
            raise ValueError(
                f"the function given to LearningRateScheduler must return a number, got: {rate!r}"
            )
        if not 0 <= rate < math.inf:
            raise ValueError(
                "the function given to LearningRateScheduler must return a finite number >= 0, "
                f"got: {rate!r} for epoch {epoch}"
            )
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
