"""The record of `fit`."""

from __future__ import annotations

from fastconv.callbacks.base import Callback


class History(Callback):
    """What `fit` returns: `history` maps each name to one value an epoch, `epoch` lists them."""

    state_names = ("history", "epoch")

    def __init__(self):
        super().__init__()
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs=None):
        self.epoch = []

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.model.history = self

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
