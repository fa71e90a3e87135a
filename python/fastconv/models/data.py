"""Sources of batches: arrays, generators, and indexable or iterable data sets."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._graph.tree import flatten
from fastconv.models.prefetch import read_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike

_AHEAD = 10  # batches that sources without `max_queue_size` are read ahead


def as_array(value: Any, what: str) -> NDArray[Any]:
    """Return a numeric array.

    Raises:
        TypeError: it holds objects, texts or complex numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"`{what}` must hold real numbers, received an array of dtype {array.dtype} "
            f"and shape {array.shape}"
        )
    return array


def _is_array_like(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "shape")


def to_list(value: Any, names: Any, what: str) -> list[Any]:
    """Return one entry for each of `names` from an array, a list, a tuple or a dict.

    `names` is None where the number of inputs is not known.
    """
    if value is None:
        return []
    if isinstance(value, dict):
        if names is None:
            return list(value.values())
        missing = [n for n in names if n not in value]
        if missing and len(names) == 1 and len(value) == 1:
            return list(value.values())
        if missing:
            raise ValueError(
                f"`{what}` is missing {missing}; expected {list(names)}, received {list(value)}"
            )
        return [value[n] for n in names]
    if isinstance(value, (list, tuple)):
        parts = any(_is_array_like(v) for v in value)
        single = names is not None and len(names) == 1
        if single and not (parts and len(value) == 1):
            if parts and len({np.shape(v) for v in value}) > 1:
                raise ValueError(
                    f"`{what}` must hold 1 array for {list(names)}, received {len(value)} arrays "
                    f"of shapes {[np.shape(v) for v in value[:5]]}"
                )
            return [np.asarray(value)]
        if parts or (names is not None and len(value) == len(names)):
            flat = flatten(list(value)) if parts else list(value)
            if names is not None and len(flat) != len(names):
                raise ValueError(
                    f"`{what}` must hold {len(names)} arrays for {list(names)}, "
                    f"received {len(flat)}"
                )
            return flat
        return [np.asarray(value)]
    return [value]


class Batch:
    """One batch: lists of inputs, targets and sample weights (None where not given)."""

    __slots__ = ("size", "ws", "xs", "ys")

    def __init__(self, xs: Any, ys: Any, ws: Any) -> None:
        self.xs = xs
        self.ys = ys
        self.ws = ws
        self.size = len(xs[0]) if xs and np.ndim(xs[0]) else 0


def unpack(item: Any) -> Any:
    """Return (x, y, sample_weight) of what a generator or data set gave."""
    if isinstance(item, (list, tuple)) and not isinstance(item, np.ndarray):
        if isinstance(item, tuple):
            if not 1 <= len(item) <= 3:
                raise ValueError(
                    "a batch must be x, (x, y) or (x, y, sample_weight), "
                    f"received a tuple of length {len(item)}"
                )
            return (*item, None, None)[:3]
        if len(item) in (2, 3):  # data sets of other libraries collate into lists
            return (*item, None)[:3]
    return item, None, None


class Names:
    """Names of the inputs and outputs of a model, None where unknown."""

    def __init__(self, inputs: TensorLike, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs


def make_batch(item: Any, names: Names) -> Batch:
    """Return a `Batch` of what a generator or data set gave, checked."""
    x, y, w = unpack(item)
    xs = [as_array(v, "x") for v in to_list(x, names.inputs, "x")]
    ys = [None if v is None else as_array(v, "y") for v in to_list(y, names.outputs, "y")]
    ws = [
        None if v is None else as_array(v, "sample_weight")
        for v in to_list(w, names.outputs, "sample_weight")
    ]
    if not xs:
        raise ValueError("a batch holds no inputs")
    check_lengths(xs, ys, ws)
    if len(xs[0]) == 0:
        raise ValueError("a batch holds no samples")
    return Batch(xs, ys, ws)


def check_lengths(xs: Any, ys: Any, ws: Any) -> None:
    """Raise ValueError where the numbers of samples differ."""
    for kind, arrays in (("x", xs), ("y", ys), ("sample_weight", ws)):
        for a in arrays:
            if a is not None and a.ndim == 0:
                raise ValueError(f"`{kind}` must have a batch axis, received a single number")
    sizes = {
        kind: [len(a) for a in arrays if a is not None]
        for kind, arrays in (("x", xs), ("y", ys), ("sample_weight", ws))
    }
    if len({n for ns in sizes.values() for n in ns}) > 1:
        found = ", ".join(f"{k}: {v}" for k, v in sizes.items() if v)
        raise ValueError(f"data must have the same number of samples, received {found}")


def _without(items: Any, count: int | None) -> Any:
    """Return the iterator after `count` items (None: all) have been taken from it."""
    for _ in itertools.islice(items, count):
        pass
    return items


class ArraySource:
    """Batches cut out of arrays; each is gathered when it is needed.

    Inputs in a new order are gathered into the same memory again, so a batch's inputs hold until
    the next one is asked for: taking fresh memory from the system takes longer than the copy.
    """

    def __init__(
        self,
        xs: Any,
        ys: Any,
        ws: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        steps: int | None = None,
        repeat: bool = False,
    ) -> None:
        self.xs, self.ys, self.ws = xs, ys, ws
        check_lengths(xs, ys, ws)
        self.samples = len(xs[0])
        if self.samples == 0:
            raise ValueError("`x` holds no samples")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.batches = -(-self.samples // batch_size)
        self.steps = self.batches if steps is None else steps
        if not repeat:
            self.steps = min(self.steps, self.batches)
        self._repeats = repeat and steps is not None
        self._gathered: list[Any] = [None] * len(xs)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin again, with the orders of samples that follow from `seed`."""
        self.seed = seed
        self._rng = np.random.default_rng(seed)
        self._endless = self._forever() if self._repeats else None

    def epoch(self, skip: int | None = 0) -> Any:
        """Return an iterator over the batches of one epoch.

        `skip`: number of batches to leave out at the start (None: all of them).
        """
        cuts = self._once() if self._endless is None else self._endless
        cuts = itertools.islice(cuts, self.steps)
        return map(self._batch, _without(cuts, skip))

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from self._once()

    def _once(self) -> Iterator[Any]:
        """Yield the places of a batch's samples: a slice or an array."""
        size, n = self.batch_size, self.samples
        order = self._rng.permutation(n) if self.shuffle else None
        for start in range(0, n, size):
            stop = min(start + size, n)
            yield slice(start, stop) if order is None else order[start:stop]

    def _batch(self, cut: Any) -> Batch:
        xs = [self._gather(i, cut) for i in range(len(self.xs))]
        ys = [None if a is None else a[cut] for a in self.ys]
        ws = [None if a is None else a[cut] for a in self.ws]
        return Batch(xs, ys, ws)

    def _gather(self, i: int, cut: Any) -> NDArray[Any]:
        x: NDArray[Any] = self.xs[i]
        if isinstance(cut, slice):
            part: NDArray[Any] = x[cut]
            return part
        room = self._gathered[i]
        if room is None:
            room = self._gathered[i] = np.empty((self.batch_size, *x.shape[1:]), x.dtype)
        batch: NDArray[Any] = room[: len(cut)]
        if x.flags.c_contiguous:
            _core.take_rows(x, cut, batch)
            return batch
        # With the mode "raise" NumPy would gather into memory of its own first.
        taken: NDArray[Any] = np.take(x, cut, axis=0, out=batch, mode="clip")
        return taken

    def close(self) -> None:
        """Nothing to do."""


class IndexedSource:
    """Batches from an object with `__len__` and `__getitem__` (PyDataset, Sequence)."""

    def __init__(
        self,
        dataset: Any,
        names: Any,
        shuffle: bool = False,
        seed: int = 0,
        steps: int | None = None,
        repeat: bool = False,
    ) -> None:
        self.dataset = dataset
        self.names = names
        self.shuffle = shuffle
        self.restart(seed)
        length = len(dataset)
        if length == 0:
            raise ValueError(f"the data set {type(dataset).__name__} has no batches")
        self.steps = length if steps is None else steps
        if not repeat:
            self.steps = min(self.steps, length)
        threaded = getattr(dataset, "workers", 1) > 0
        self._ahead = getattr(dataset, "max_queue_size", _AHEAD) if threaded else 0

    def restart(self, seed: int) -> None:
        """Begin again, with the orders of batches that follow from `seed`."""
        self.seed = seed
        self._rng = np.random.default_rng(seed)

    def epoch(self, skip: int | None = 0) -> Any:
        """Return an iterator over the batches of one epoch, as `ArraySource.epoch`.

        Batches that are left out are made too: the data set may draw random numbers.
        """
        return _without(self._epoch(), skip)

    def _epoch(self) -> Iterator[Any]:
        if hasattr(self.dataset, "on_epoch_begin"):
            self.dataset.on_epoch_begin()
        yield from read_ahead(self._batches(), self._ahead)
        if hasattr(self.dataset, "on_epoch_end"):
            self.dataset.on_epoch_end()

    def _batches(self) -> Iterator[Any]:
        done = 0
        while done < self.steps:
            length = len(self.dataset)
            order = self._rng.permutation(length) if self.shuffle else range(length)
            for index in order:
                yield make_batch(self.dataset[int(index)], self.names)
                done += 1
                if done == self.steps:
                    break

    def close(self) -> None:
        """Nothing to do."""


class IterableSource:
    """Batches from a generator, or from an iterable that starts again each epoch."""

    def __init__(self, iterable: Any, names: Any, steps: int | None = None) -> None:
        self.iterable = iterable
        self.names = names
        self.once = hasattr(iterable, "__next__")
        if steps is None and not self.once:
            try:
                steps = len(iterable)
            except TypeError:
                steps = None
        self.steps = steps
        self._given = steps is not None
        self._iterator = iter(iterable) if self.once else None
        self.exhausted = False
        self.seed = 0

    def restart(self, seed: int) -> None:
        """Nothing to do: the order is the iterable's own."""

    def epoch(self, skip: int | None = 0) -> Any:
        """Return an iterator over the batches of one epoch, as `ArraySource.epoch`."""
        return _without(self._epoch(), skip)

    def _epoch(self) -> Iterator[Any]:
        iterator = iter(self.iterable) if self._iterator is None else self._iterator
        items = itertools.islice(iterator, self.steps)
        done = 0
        for batch in read_ahead((make_batch(item, self.names) for item in items), _AHEAD):
            yield batch
            done += 1
        if done == self.steps:
            return
        self.exhausted = self.once
        if done == 0 or (self._given and self.once):
            warnings.warn(
                "the data ran out: the generator gave "
                f"{done} batches in this epoch, {self.steps or 'some'} were expected",
                stacklevel=2,
            )
            self.exhausted = True

    def close(self) -> None:
        """Nothing to do."""


def make_source(
    x: TensorLike,
    y: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    *,
    names: Names,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    steps: int | None = None,
    repeat: bool = False,
) -> Any:
    """Return the source of batches for whatever `fit`, `evaluate` or `predict` accept.

    `repeat`: start again with the first sample where `steps` asks for more than there is.

    Raises:
        ValueError: no data, other arguments than the kind of data takes, sizes that differ.
        TypeError: data of an unknown kind or dtype.
    """
    if x is None:
        raise ValueError("`x` is None: no data to work on")
    if steps is not None and (
        isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1
    ):
        raise ValueError(f"the number of steps must be a positive integer, received: {steps!r}")
    arrays = isinstance(x, (list, tuple, dict)) or _is_array_like(x)
    if arrays:
        if batch_size is not None and (
            isinstance(batch_size, bool)
            or not isinstance(batch_size, (int, np.integer))
            or batch_size < 1
        ):
            raise ValueError(
                f"`batch_size` must be a positive integer, received: batch_size={batch_size!r}"
            )
        xs = [as_array(v, "x") for v in to_list(x, names.inputs, "x")]
        ys = [None if v is None else as_array(v, "y") for v in to_list(y, names.outputs, "y")]
        ws = [
            None if v is None else as_array(v, "sample_weight")
            for v in to_list(sample_weight, names.outputs, "sample_weight")
        ]
        if not xs:
            raise ValueError("`x` holds no arrays")
        if batch_size is None:
            samples = len(xs[0]) if xs[0].ndim else 0
            batch_size = 32 if steps is None else max(1, -(-samples // steps))
        return ArraySource(xs, ys, ws, int(batch_size), bool(shuffle), seed, steps, repeat)
    kind = type(x).__name__
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"`y` and `sample_weight` cannot be given when `x` is a {kind}: its batches hold them"
        )
    if batch_size is not None:
        raise ValueError(f"`batch_size` cannot be given when `x` is a {kind}: it makes the batches")
    if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        return IndexedSource(x, names, bool(shuffle), seed, steps, repeat)
    if hasattr(x, "__iter__"):
        return IterableSource(x, names, steps)
    raise TypeError(
        "`x` must be arrays, a generator, or a data set with __len__ and __getitem__, "
        f"received: {kind}"
    )
