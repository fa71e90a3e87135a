"""`Callback` and the list that calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastconv._types import Logs
    from fastconv.models import Model


class Callback:
    """Base class: every hook does nothing. `self.model` and `self.params` are set by `fit`.

    `logs` hold the loss and metrics so far; `batch` and `epoch` count from 0. A callback that
    remembers something from epoch to epoch names those attributes in `state_names`, so that
    `BackupAndRestore` keeps them, or defines `state_dict` and `load_state_dict` itself.
    """

    state_names: tuple[str, ...] = ()
    runs_last = False  # after all others, whatever its place in the list is

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Model | None = None

    @property
    def model(self) -> Any:
        """The model in training."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive {"epochs", "steps", "verbose"}."""
        self.params = params

    def set_model(self, model: Model) -> None:
        """Receive the model."""
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        """Return what must be kept to go on in another process: numbers, texts, arrays, lists."""
        return {name: getattr(self, name) for name in self.state_names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, what `state_dict` returned; called after `on_train_begin`."""
        for name in self.state_names:
            setattr(self, name, state[name])

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each training batch (older name)."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each training batch (older name)."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each training batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each training batch."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `evaluate` or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `evaluate` or validation."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `predict`."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called at the start of `fit`."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called at the end of `fit`, also when it is interrupted."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called at the start of `evaluate` or validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called at the end of `evaluate` or validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called at the start of `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called at the end of `predict`."""


def _overrides(callback: Any, *names: Any) -> bool:
    return any(
        name in callback.__dict__ or getattr(type(callback), name) is not getattr(Callback, name)
        for name in names
    )


class CallbackList:
    """Calls a hook of many callbacks. Hooks that nobody defines cost nothing.

    `logs` of batch hooks may be given as a callable, which is only called if someone listens.

    Args:
        callbacks: a `Callback` or a list of them.
        add_history, add_progbar: add a `History` and a `ProgbarLogger` where none is there.
        model: the model that the callbacks see.

    Raises:
        TypeError: `callbacks` holds something else.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Model | None = None,
        **params: Any,
    ) -> None:
        from fastconv.callbacks.history import History
        from fastconv.callbacks.progress import ProgbarLogger

        callbacks = [] if callbacks is None else callbacks
        if isinstance(callbacks, Callback):
            callbacks = [callbacks]
        if isinstance(callbacks, (str, type)) or not hasattr(callbacks, "__iter__"):
            raise TypeError(
                "`callbacks` must be a Callback or a list of them, "
                f"received: {callbacks!r} of type {type(callbacks).__name__}"
            )
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if isinstance(callback, type):
                raise TypeError(
                    "`callbacks` must be Callback objects, received the class "
                    f"{callback.__name__}; write {callback.__name__}(...)"
                )
            if not hasattr(callback, "on_epoch_end"):
                raise TypeError(
                    "`callbacks` must be Callback objects, "
                    f"received: {callback!r} of type {type(callback).__name__}"
                )
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self.history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if add_history and self.history is None:
            self.history = History()
            self.callbacks.append(self.history)
        self.callbacks.sort(key=lambda callback: getattr(callback, "runs_last", False))
        if model is not None:
            for callback in self.callbacks:
                callback.set_model(model)
        for callback in self.callbacks:
            callback.set_params(params)
        self._listeners = {
            "on_train_batch_begin": self._who("on_train_batch_begin", "on_batch_begin"),
            "on_train_batch_end": self._who("on_train_batch_end", "on_batch_end"),
            **{
                f"on_{phase}_batch_{moment}": self._who(f"on_{phase}_batch_{moment}")
                for phase in ("test", "predict")
                for moment in ("begin", "end")
            },
        }

    def _who(self, *names: Any) -> Any:
        return [c for c in self.callbacks if _overrides(c, *names)]

    def batch(self, hook: str, index: int, logs: Callable[[], Logs] | None = None) -> None:
        """Call a batch hook with the number `index` of the batch in its epoch."""
        listeners = self._listeners[hook]
        if not listeners:
            return
        values = None
        for callback in listeners:
            if logs is not None and values is None and not getattr(callback, "lazy_logs", False):
                values = logs()
            given = logs if getattr(callback, "lazy_logs", False) else values
            getattr(callback, hook)(index, given)

    def call(self, hook: str, *args: Any) -> None:
        """Call any other hook."""
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def close(self) -> None:
        """Call `on_train_end` everywhere, even if one of them fails: files get closed."""
        error = None
        for callback in self.callbacks:
            try:
                callback.on_train_end(None)
            except Exception as e:  # the first failure is raised after all had their turn
                error = error or e
        if error is not None:
            raise error
