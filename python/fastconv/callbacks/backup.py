"""`BackupAndRestore`: training that goes on after its process was killed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import Logs, PathLike

_NAME, _PREVIOUS = "training.fastconv", "training.previous.fastconv"


class BackupAndRestore(Callback):
    """Keeps the state of `fit` in a file, and goes on from it where the program is run again.

    A run that was killed at any moment and started again ends with the same weights, bit for bit,
    as one that was not, if the program is the same: it makes the same model, data and callbacks.
    The file holds weights, optimizer state, place in the data, order of samples, random generators
    (shuffling, dropout, NumPy's and Python's), metrics, and the state of callbacks, `History`
    included. Generators and data sets are made to give the batches of earlier epochs again, so
    random numbers that they draw from generators of their own must be seeded. The file is written
    beside its name and renamed: at each moment a whole one is there.

    Args:
        backup_dir: folder of the file, made if missing; each run needs one of its own.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: also keep the state before, which is used where the last is damaged.
        delete_checkpoint: remove the files when `fit` has ended; otherwise a later `fit` with this
            folder goes on from the end.

    Raises:
        ValueError: an empty `backup_dir`, an unknown `save_freq`; in `fit`, a file that does not
            fit the model, data or callbacks.
    """

    runs_last = True  # so that the states of the other callbacks are those after the epoch
    lazy_logs = True

    def __init__(
        self,
        backup_dir: PathLike,
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: `backup_dir` is empty")
        if save_freq != "epoch" and (
            isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1
        ):
            raise ValueError(
                "BackupAndRestore: `save_freq` must be 'epoch' or an integer >= 1, "
                f"received: save_freq={save_freq!r}"
            )
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._batches = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        for left in self.backup_dir.glob(f".{_NAME}.*"):
            left.unlink()  # a write that was killed
        self.model._progress.saved = self._load()

    def _load(self) -> Any:
        from fastconv.models.resuming import load_progress

        error = None
        for name in (_NAME, _PREVIOUS):
            path = self.backup_dir / name
            if not path.exists():
                continue
            try:
                state = load_progress(path)
            except (OSError, ValueError) as e:
                error = error or e
                continue
            if error is not None:
                warnings.warn(f"going on from {path}: {error}", stacklevel=2)
            return state
        if error is not None:
            raise error
        return None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, str):
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save()

    def _save(self) -> None:
        from fastconv.models.resuming import save_progress

        path = self.backup_dir / _NAME
        if self.double_checkpoint and path.exists():
            os.replace(path, self.backup_dir / _PREVIOUS)
        save_progress(self.model, path)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if not (self.delete_checkpoint and self.model._progress.finished):
            return
        for name in (_NAME, _PREVIOUS):
            (self.backup_dir / name).unlink(missing_ok=True)
        if not any(self.backup_dir.iterdir()):
            self.backup_dir.rmdir()
