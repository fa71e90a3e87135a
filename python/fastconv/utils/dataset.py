"""The base class of data sets that make their batches themselves."""

from __future__ import annotations

from typing import Any


class PyDataset:
    """Subclasses define `__len__` (batches an epoch) and `__getitem__(index)` (one batch).

    A batch is `(x, y)` or `(x, y, sample_weight)`. `on_epoch_end` is called after each epoch, when
    all its batches have been used.

    Args:
        workers: 0 makes the batches in the training thread; any other number in one thread of
            their own, in order, while the model works on those before.
        use_multiprocessing: accepted for Keras code, no effect.
        max_queue_size: how many batches are made ahead.
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


Sequence = PyDataset
