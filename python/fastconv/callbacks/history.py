"""The record of `fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import Logs


class History(Callback):
    """What `fit` returns: `history` maps each name to one value an epoch, `epoch` lists them."""

    state_names = ("history", "epoch")

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def load_state_dict(self, state: dict[str, Any]) -> None:
        lists = [state["epoch"], *state["history"].values()]
        if not all(isinstance(value, list) for value in lists):
            raise ValueError(f"the backup is damaged: its history is {state!r:.200}")
        super().load_state_dict(state)
        self.model.history = self

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
