"""Runs one-operator graphs: builds a plan at the first call of a kind and keeps the latest ones."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._runtime import core as _core
from ._arguments import Shape, check_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PLANS = 256
# Plans borrow their working memory from one pool, which keeps as much as the largest living plan
# needs. Above this size a plan is not kept: its call takes longer than building it again.
MAX_ARENA_BYTES = 2**30

Runner = Callable[[list[np.ndarray]], list[np.ndarray]]


class Network:
    """A graph under construction, with the layout changes every spatial operator needs."""

    def __init__(self, fn: str) -> None:
        self.fn = fn
        self.graph = _core.Graph()
        self.empty = False

    def input(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> int:
        self.empty = self.empty or 0 in shape
        return self.graph.input(name, shape, dtype.name)

    def add(self, op: str, inputs: Sequence[int | None], **attrs: Any) -> int:
        """The first output of a new node."""
        return self.add_many(op, inputs, **attrs)[0]

    def add_many(self, op: str, inputs: Sequence[int | None], **attrs: Any) -> list[int]:
        return self.graph.add(op, list(inputs), attrs, f"{self.fn}.{op}")

    def shape(self, value: int) -> Shape:
        return tuple(self.graph.shape(value))

    def constant(self, shape: Shape, fill: float, dtype: np.dtype[Any]) -> int:
        return self.graph.constant(np.full(shape, fill, dtype))

    def to_nhwc(self, value: int, rank: int) -> int:
        """(N?, C, L) or (N?, C, H, W) as (N, H, W, C); one spatial axis becomes W."""
        shape = self.shape(value)
        if len(shape) == rank + 1:
            shape = (1, *shape)
        if rank == 1:
            shape = (shape[0], shape[1], 1, shape[2])
        if shape != self.shape(value):
            value = self.add("reshape", [value], shape=list(shape))
        return self.add("transpose", [value], perm=[0, 2, 3, 1])

    def from_nhwc(self, value: int, rank: int, batched: bool) -> int:
        """The way back from `to_nhwc`."""
        value = self.add("transpose", [value], perm=[0, 3, 1, 2])
        shape = nchw_shape(self.shape(value), rank, batched)
        if shape != self.shape(value):
            value = self.add("reshape", [value], shape=list(shape))
        return value

    def gradients(self, output: int, seed: int, wrt: Sequence[int]) -> list[int]:
        found = self.graph.gradients([output], [seed], list(wrt))
        known = [value for value in found if value is not None]
        assert len(known) == len(found), f"{self.fn}: no gradient path"
        return known

    def compile(self, outputs: Sequence[int]) -> tuple[Runner, int]:
        """The function that runs the graph, and the working memory it needs."""
        for value in outputs:
            check_bytes(self.shape(value), np.dtype(self.graph.dtype(value)), self.fn)
        if self.empty:
            return self._run_empty(outputs), 0
        plan = _core.Plan(self.graph, list(outputs))
        return plan.run, sum(plan.memory.values())

    def _run_empty(self, outputs: Sequence[int]) -> Runner:
        """With an empty batch every output is empty, or a sum over nothing."""
        kinds = [(self.shape(v), np.dtype(self.graph.dtype(v))) for v in outputs]
        return lambda feeds: [np.zeros(shape, dtype) for shape, dtype in kinds]


def nchw_shape(shape: Shape, rank: int, batched: bool) -> Shape:
    """A 4-D NCHW shape without the axes that `to_nhwc` added."""
    n, c, h, w = shape
    spatial = (w,) if rank == 1 else (h, w)
    return (n, c, *spatial) if batched else (c, *spatial)


class _PlanCache:
    """The least recently used plans; many threads may read at once."""

    def __init__(self) -> None:
        self._runners: OrderedDict[tuple[Any, ...], Runner] = OrderedDict()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        # Another thread of the parent may have held the lock at the fork.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._runners)

    def find(self, key: tuple[Any, ...]) -> Runner | None:
        runner = self._runners.get(key)
        if runner is not None:
            try:  # noqa: SIM105 - suppress() costs more than the rest
                self._runners.move_to_end(key)
            except KeyError:  # evicted by another thread in between
                pass
        return runner

    def insert(self, key: tuple[Any, ...], runner: Runner) -> None:
        with self._lock:
            self._runners[key] = runner
            while len(self._runners) > MAX_PLANS:
                self._runners.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._runners.clear()


plans = _PlanCache()


def run(
    build: Callable[..., tuple[Runner, int]], args: tuple[Any, ...], feeds: list[Any]
) -> list[NDArray[Any]]:
    """Runs the plan of `build(*args)` on `feeds`.

    `args` holds all that the build and its checks depend on, so a plan that is found needs none.
    """
    key = (build, args)
    runner = plans.find(key)
    if runner is None:
        runner, size = build(*args)
        if size <= MAX_ARENA_BYTES:
            plans.insert(key, runner)
    return runner(feeds)
