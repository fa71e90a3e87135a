"""Callbacks with Keras 3's names, arguments and defaults."""

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

__all__ = [
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
    "TerminateOnNaN",
]
