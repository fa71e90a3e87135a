"""The state of a running `fit` in a file, from which another process goes on bit for bit.

The file is safetensors. It holds weights, optimizer state, the place in the data, the states of
random generators, metrics and callbacks; nothing in it is ever run.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._files import FORMAT
from fastconv.models import saving
from fastconv.models.data import ArraySource, Batch
from fastconv.utils import rng

if TYPE_CHECKING:
    from fastconv._types import PathLike
    from fastconv.models import Model

KIND = "training"
_STATE = "optimizer//"  # no weight has such a name: "optimizer" is reserved at the top level


class Progress:
    """One call of `fit`: its data, its callbacks, and how far it is.

    Attributes:
        epoch: the next epoch, or the running one.
        batch: batches of that epoch that are done.
        finished: whether all epochs are done.
        saved: contents of a file of `save_progress` to go on from, or None.
    """

    def __init__(self, source: Any, callbacks: Any, initial_epoch: int) -> None:
        self.source = source
        self.callbacks = callbacks
        self.initial_epoch = initial_epoch
        self.epoch = initial_epoch
        self.batch = 0
        self.finished = False
        self.saved = None
        self.validated: list[int] = []  # epochs that had a validation
        self._started = self._epoch_started = rng.get_state()
        self._shapes: list[Any] | None = None

    def note_shapes(self, batch: Batch) -> None:
        """Keep the shapes of the first batch: from them an unbuilt model is built again."""
        if self._shapes is None:
            parts = (batch.xs, batch.ys, batch.ws)
            self._shapes = [[None if a is None else a.shape for a in part] for part in parts]

    def begin_epoch(self) -> None:
        """Note the random numbers of the epoch, or go back to its start to pass over batches."""
        if self.batch:
            rng.set_state(self._epoch_started)
        else:
            self._epoch_started = rng.get_state()

    def restore(self, model: Model, epochs: int, make_validation: Any = None) -> None:
        """Take the place and the state from `saved`, in a run of so many epochs.

        The data of earlier epochs are passed over, so that generators and data sets that draw
        random numbers are where they were.

        Raises:
            ValueError: `saved` does not fit the model, the data or the callbacks.
        """
        if self.saved is None:
            return
        try:
            self._restore(model, self.saved[0], epochs, make_validation)
        except (AttributeError, LookupError, OverflowError, TypeError) as error:
            raise ValueError(f"the backup is damaged or of another program: {error!r}") from error

    def _restore(
        self, model: Model, content: dict[str, Any], epochs: int, make_validation: Any
    ) -> None:
        differing = [
            f"{key} was {content['data'].get(key)}, is {value}"
            for key, value in self._data().items()
            if content["data"].get(key) != value
        ]
        if differing:
            raise ValueError(f"the backup was made with other data: {'; '.join(differing)}")
        epoch, batch = content["epoch"], content["batch"]
        steps = self.source.steps
        if not (_is_index(epoch, self.initial_epoch) and _is_index(batch, 0, steps)):
            raise ValueError(f"the backup is damaged: it is of {epoch=}, {batch=} of {steps=}")
        self._started = content["started"]
        rng.set_state(self._started)
        self.source.restart(content["seed"])
        for earlier in range(self.initial_epoch, min(epoch, epochs)):
            self.source.epoch(None)
            if make_validation is not None and earlier in content["validated"]:
                make_validation().epoch(None)
        self.epoch, self.batch = epoch, batch
        self._epoch_started = content["epoch_started"]
        rng.set_state(self._epoch_started)
        self.validated = list(content["validated"])
        self.apply(model)

    def apply(self, model: Model) -> None:
        """Set model, optimizer, metrics, callbacks and random generators to the saved state."""
        if self.saved is None:
            return
        content, tensors = self.saved
        compiled = model._require_compiled("fit")
        self._shapes = content["shapes"]
        if self._shapes is not None:
            model._match(compiled, Batch(*([_stand_in(s) for s in part] for part in self._shapes)))
        optimizer, owners = model.optimizer, self._stateful()
        was, now = content["optimizer"]["class"], type(optimizer).__name__
        if was != now:
            raise ValueError(f"the backup was made with the optimizer {was}, not {now}")
        names = [type(callback).__name__ for callback, _ in owners]
        before = [name for name, _ in content["callbacks"]]
        if names != before:
            raise ValueError(f"the backup was made with the callbacks {before}, not {names}")
        saving.assign_weights("the backup", model, tensors)
        saving.assign_optimizer("the backup", model, tensors)
        _check_kinds(optimizer.state_dict(), content["optimizer"]["state"], "the optimizer's state")
        optimizer.load_state_dict(content["optimizer"]["state"])
        model._seed = content["model_seed"]
        model.stop_training = content["stop_training"]
        _check_kinds(compiled.state_dict(), content["metrics"], "the metrics' state")
        compiled.load_state_dict(content["metrics"])
        for (callback, own), (name, state) in zip(owners, content["callbacks"], strict=True):
            _check_kinds(own, state, f"the state of {name}")
            callback.load_state_dict(state)
        # Data sets have drawn what they had drawn by now; a reading thread may have gone further.
        if not self.batch or isinstance(self.source, ArraySource):
            rng.set_state(content["random"])

    def state(self, model: Model) -> dict[str, Any]:
        """Return what `restore` needs besides weights and optimizer slots."""
        optimizer = model.optimizer
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "validated": self.validated,
            "data": self._data(),
            "seed": self.source.seed,
            "shapes": self._shapes,
            "optimizer": {"class": type(optimizer).__name__, "state": optimizer.state_dict()},
            "model_seed": model._seed,
            "stop_training": bool(model.stop_training),
            "metrics": model._require_compiled("fit").state_dict(),
            "callbacks": [(type(c).__name__, state) for c, state in self._stateful()],
            "started": self._started,
            "epoch_started": self._epoch_started,
            "random": rng.get_state(),
        }

    def _data(self) -> dict[str, Any]:
        source = self.source
        kind = type(source).__name__.removesuffix("Source").lower()
        found = {"kind": kind, "initial_epoch": self.initial_epoch, "steps": source.steps}
        for name in ("samples", "batch_size", "shuffle"):
            if hasattr(source, name):
                found[name] = getattr(source, name)
        return found

    def _stateful(self) -> list[Any]:
        found = []
        for callback in self.callbacks.callbacks:
            state = callback.state_dict() if hasattr(callback, "state_dict") else None
            if state:
                found.append((callback, state))
        return found


def _stand_in(shape: tuple[int, ...] | None) -> Any:
    """Return an array of a shape that needs no memory."""
    return None if shape is None else np.broadcast_to(np.float32(0), tuple(shape))


def _is_index(value: Any, low: int, high: int | None = None) -> bool:
    return type(value) is int and low <= value and (high is None or value <= high)


def _check_kinds(own: Any, saved: Any, what: str) -> None:
    """Check that a saved state is of the kinds that the own state is of, before it is taken.

    Raises:
        ValueError: it is not: the file is damaged, or of another program.
    """
    number = (bool, int, float, np.generic)
    kinds = [
        number if isinstance(value, number) else type(value)
        for value in (own, saved)
        if value is not None  # what is not known yet
    ]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        raise ValueError(
            f"the backup is damaged or of another program: {what} is {saved!r:.80}, expected "
            f"something like {own!r:.80}"
        )
    if isinstance(own, dict) and isinstance(saved, dict):
        for key in own.keys() & saved.keys():
            _check_kinds(own[key], saved[key], f"{what}, {key!r},")
    elif isinstance(own, (list, tuple)) and isinstance(saved, (list, tuple)):
        for index, (a, b) in enumerate(zip(own, saved, strict=False)):
            _check_kinds(a, b, f"{what}, item {index},")


def save_progress(model: Model, path: PathLike) -> None:
    """Write the state of the running `fit` of a model; the file appears whole or not at all.

    Raises:
        TypeError: a callback or metric has a state that is no plain data.
    """
    if model._progress is None:
        raise ValueError(f"model '{model.name}': only a running fit() has a state to save")
    tensors = saving.tensors_with_optimizer(model)
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in tensors.items()}
    content = _encode(model._progress.state(model), arrays)
    metadata = {
        "format": FORMAT,
        "version": str(saving.VERSION),
        "kind": KIND,
        "content": json.dumps(content),
    }
    saving.write_arrays(path, arrays, metadata)


def load_progress(path: PathLike) -> Any:
    """Return (content, weights and optimizer slots) of a file of `save_progress`.

    Raises:
        ValueError: it is damaged, or another kind of file.
    """
    tensors, metadata = saving.read_file(path)
    if metadata.get("kind") != KIND:
        raise ValueError(f"{os.fspath(path)} is not a backup of a training run")
    try:
        content = _decode(json.loads(metadata["content"]), tensors)
    except RecursionError:
        raise ValueError(f"{os.fspath(path)} is damaged: it is nested too deeply") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}") from None
    return content, {k: v for k, v in tensors.items() if not k.startswith(_STATE)}


def _encode(value: Any, arrays: Any) -> Any:
    """Return `value` as JSON can hold it: arrays go to `arrays`, others become tagged dicts."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        name = f"{_STATE}{len(arrays)}"
        arrays[name] = np.array(value, order="C")
        return {"array" if isinstance(value, np.ndarray) else "scalar": name}
    if isinstance(value, list):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    raise TypeError(
        "the state of callbacks and metrics must be numbers, texts, arrays, or lists, tuples and "
        f"dicts of them, received: {value!r} of type {type(value).__name__}"
    )


def _decode(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "array":
        return arrays[inner]
    if kind == "scalar":
        return arrays[inner][()]
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in inner)
    return {_decode(k, arrays): _decode(v, arrays) for k, v in inner}
