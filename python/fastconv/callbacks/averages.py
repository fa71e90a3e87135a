"""`SwapEMAWeights`: moving averages of the weights, in the model when it is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import Logs


class SwapEMAWeights(Callback):
    """Puts the optimizer's moving averages into the model while it is evaluated.

    Args:
        swap_on_epoch: also at the end of each epoch until the next begins, so that a
            `ModelCheckpoint` after this callback in the list saves the averages.

    Raises:
        ValueError: in `fit`, the optimizer was not made with `use_ema=True`.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch

    def _swap(self, averages: bool) -> None:
        optimizer = self.model.optimizer
        if not optimizer.use_ema:
            raise ValueError(
                "SwapEMAWeights needs an optimizer made with use_ema=True, "
                f"received: {type(optimizer).__name__} with use_ema=False"
            )
        if optimizer._swapped != averages:
            optimizer.swap_averages()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(True)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap(False)
