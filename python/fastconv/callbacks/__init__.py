"""Callbacks with Keras 3's names, arguments and defaults.

`Model.fit` calls their hooks with the number of the epoch or batch (from 0) and `logs`, a dict of
loss and metrics. Arguments out of range raise ValueError when a callback is made.
"""

from fastconv.callbacks.averages import SwapEMAWeights
from fastconv.callbacks.backup import BackupAndRestore
from fastconv.callbacks.base import Callback, CallbackList
from fastconv.callbacks.history import History
from fastconv.callbacks.monitors import (
    EarlyStopping,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastconv.callbacks.others import CSVLogger, LambdaCallback, LearningRateScheduler
from fastconv.callbacks.progress import ProgbarLogger
from fastconv.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
