"""The base class of data sets that make their batches themselves."""

from __future__ import annotations


class PyDataset:
    """Subclasses define `__len__` (batches an epoch) and `__getitem__(index)` (one batch).

    A batch is `(x, y)` or `(x, y, sample_weight)`. `on_epoch_end` is called after each epoch. The
    constructor's arguments are accepted for Keras code; batches are made in the training thread.
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def on_epoch_begin(self):
        """Called before each epoch."""

    def on_epoch_end(self):
        """Called after each epoch."""


Sequence = PyDataset
