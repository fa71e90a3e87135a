"""The progress bar of `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._progress import progress_bar
from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import LazyLogs, Logs

_INTERVAL = 0.1  # seconds between two pictures of the bar


def format_logs(logs: Logs | None) -> str:
    """Return "accuracy: 0.9 - loss: 0.3", as Keras prints it, without matrices."""
    parts = []
    for name, value in (logs or {}).items():
        if np.ndim(value) > 1:
            continue
        value = np.asarray(value, dtype=np.float64).ravel()
        texts = [f"{v:.4f}" if abs(v) > 1e-3 or v == 0 else f"{v:.4e}" for v in value]
        parts.append(f"{name}: {texts[0] if len(texts) == 1 else texts}")
    return " - ".join(parts)


class ProgbarLogger(Callback):
    """Prints a bar (verbose=1) or one line an epoch (verbose=2) to the standard output."""

    lazy_logs = True

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._in_fit = False

    def _open(self, total: Any) -> None:
        self._bar = progress_bar(
            total=total,
            file=sys.stdout,
            ascii=False if (sys.stdout.encoding or "").lower().startswith("utf") else " #",
            ncols=None,
            mininterval=0,
            leave=True,
            bar_format="{n_fmt}/{total_fmt} {bar:20} {elapsed} {desc}"
            if total
            else "{n_fmt}/? {elapsed} {desc}",
        )
        self._start = self._shown = time.perf_counter()
        self._seen = 0

    def _advance(self, batch: int, logs: LazyLogs) -> None:
        self._seen = batch + 1
        if self._bar is None:
            return
        now = time.perf_counter()
        if now - self._shown < _INTERVAL:
            return
        self._shown = now
        self._picture(now, logs() if callable(logs) else logs)

    def _picture(self, now: float, logs: Logs | None, refresh: bool = True) -> None:
        per_step = (now - self._start) / max(self._seen, 1)
        text = f"{per_step:.0f}s/step" if per_step >= 1 else f"{per_step * 1e3:.0f}ms/step"
        if per_step < 1e-3:
            text = f"{per_step * 1e6:.0f}us/step"
        values = format_logs(logs)
        self._bar.n = self._seen
        self._bar.set_description_str(f"{text} - {values}" if values else text, refresh=False)
        if refresh:
            self._bar.refresh()

    def _close(self, logs: Logs | None = None) -> None:
        if self._bar is None:
            return
        if logs is not None:
            if self._bar.total is None or self._bar.total != self._seen:
                self._bar.total = self._seen
            self._picture(time.perf_counter(), logs, refresh=False)
        self._bar.close()
        self._bar = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch
        if self.params["verbose"]:
            print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)
        self._start = time.perf_counter()
        self._seen = 0
        if self.params["verbose"] == 1:
            self._open(self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        self._advance(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.params["verbose"] == 1:
            self._close(logs or {})
        elif self.params["verbose"] == 2:
            self._line(logs)

    def _line(self, logs: Logs | None) -> None:
        seconds = time.perf_counter() - self._start
        per_step = seconds / max(self._seen, 1)
        text = f"{self._seen}/{self._seen} - {seconds:.0f}s - {per_step * 1e3:.0f}ms/step"
        values = format_logs(logs)
        print(f"{text} - {values}" if values else text, flush=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()
        self._in_fit = False

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._start, self._seen = time.perf_counter(), 0
            if self.params["verbose"] == 1:
                self._open(self.params["steps"])

    def on_test_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        if not self._in_fit:
            self._advance(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if self._in_fit:
            return
        if self.params["verbose"] == 1:
            self._close(logs or {})
        elif self.params["verbose"] == 2:
            self._line(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._start, self._seen = time.perf_counter(), 0
        if self.params["verbose"] == 1:
            self._open(self.params["steps"])

    def on_predict_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        self._advance(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        if self.params["verbose"] == 1:
            self._close({})
        elif self.params["verbose"] == 2:
            self._line(None)
