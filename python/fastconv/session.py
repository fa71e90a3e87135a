"""`InferenceSession`: runs ONNX models and fastconv's own files, with onnxruntime's names."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _runtime
from fastconv.inference.model import ModelGraph, ValueInfo
from fastconv.inference.network import Need, Network, Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv.inference.summary import Summary

_ONNX_TYPES = {"float32": "float", "float64": "double"}


# Another thread of the parent may hold a session's lock at a fork.
_SESSIONS: weakref.WeakSet[InferenceSession] = weakref.WeakSet()


def _unlock_in_child() -> None:
    for session in list(_SESSIONS):
        session._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


class NodeArg:
    """An input or output of a model, as onnxruntime describes it.

    Attributes:
        name: its name.
        shape: a list with an integer, a symbolic name or None for each axis; None where unknown.
        type: for example "tensor(float)".
    """

    def __init__(self, info: ValueInfo) -> None:
        self.name = info.name
        self.shape = None if info.shape is None else list(info.shape)
        self.type = f"tensor({_ONNX_TYPES.get(info.dtype, info.dtype)})"

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


class SessionOptions:
    """Settings of a session; of onnxruntime's, the thread count is the one with a meaning here."""

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.graph_optimization_level: Any = None
        self.execution_mode: Any = None
        self.log_severity_level = 2
        self.enable_profiling = False
        self.enable_mem_pattern = True
        self.enable_cpu_mem_arena = True

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Accepted for onnxruntime's sake; no `key` has a `value` that means something here."""


class InferenceSession:
    """Runs a model: an ONNX file (needs `fastconv[onnx]`) or fastconv's own file.

    One session may be used by many threads at once. A plan is kept for each of the latest input
    shapes; all share the packed weights.

    Args:
        path_or_bytes: path of the model, its bytes, or a `ModelGraph`.
        sess_options: `SessionOptions`, or onnxruntime's: `intra_op_num_threads` is honoured.
        providers, provider_options: accepted for onnxruntime's sake; all runs on the CPU.
        num_threads: threads a run uses; None: `fastconv.get_num_threads()` at each run.
        precision: "default", or "strict" for algorithms with the error of direct summation only.
        device: "cpu".
        max_plans: for how many input shapes a plan is kept.
        tune: whether to measure which convolution algorithm is the fastest for each problem, at
            load (for input shapes that are free, at the first run), instead of trusting the cost
            model. The results are kept in the user's cache, by processor, version and shape.

    Raises:
        ValueError: the model is damaged, or needs operators that are not there (all are listed).
        FileNotFoundError: no such file.
        ImportError: an ONNX file without the `onnx` package.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | ModelGraph,
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        num_threads: int | None = None,
        precision: str = "default",
        device: str = "cpu",
        max_plans: int = 16,
        tune: bool = False,
    ) -> None:
        if device != "cpu":
            raise ValueError(f"device is {device!r}, expected 'cpu'")
        if precision not in ("default", "strict"):
            raise ValueError(f"precision is {precision!r}, expected 'default' or 'strict'")
        if isinstance(max_plans, bool) or not isinstance(max_plans, int) or max_plans < 1:
            raise ValueError(f"max_plans is {max_plans!r}, expected an integer from 1")
        if num_threads is None:
            num_threads = getattr(sess_options, "intra_op_num_threads", 0) or None
        if num_threads is not None:
            num_threads = _runtime.check_num_threads(num_threads, "num_threads")
        self._threads = num_threads or 0
        self._max_plans = max_plans
        if not isinstance(tune, bool):
            raise TypeError(f"tune is {tune!r}, expected True or False")
        tuner = None
        if tune:
            from fastconv.inference.tuning import Tuner

            tuner = Tuner(self._threads)
        self._network = Network(_read(path_or_bytes), precision == "strict", tuner)
        model = self._network.model
        self._inputs = {info.name: info for info in model.inputs}
        self._outputs = {info.name: i for i, info in enumerate(model.outputs)}
        self._latest: Callable[..., Any] | None = (
            None  # runs the plan of the last run, if that suffices
        )
        self._plans: OrderedDict[tuple[Any, ...], Plan | Need] = OrderedDict()
        self._lock = threading.Lock()
        _SESSIONS.add(self)
        shapes = {i.name: (i.shape, i.dtype) for i in model.inputs}
        if all(s is not None and all(isinstance(d, int) for d in s) for s, _ in shapes.values()):
            self._find(tuple(shapes.items()), {})  # errors now, not at the first run

    # What the model is

    @property
    def model(self) -> ModelGraph:
        """The model as it is run: simplified, its constant parts computed. Not to be changed."""
        return self._network.model

    def get_inputs(self) -> list[NodeArg]:
        """Return the inputs, in the model's order."""
        return [NodeArg(info) for info in self._network.model.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Return the outputs, in the model's order."""
        return [NodeArg(info) for info in self._network.model.outputs]

    def get_providers(self) -> list[str]:
        """Return the one provider there is, by onnxruntime's name."""
        return ["CPUExecutionProvider"]

    # Running it

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: dict[str, NDArray[Any]],
        run_options: Any = None,
    ) -> list[NDArray[Any]]:
        """Run the model once.

        Args:
            output_names: names of the outputs to return; None or none: all of them.
            input_feed: an array for each input, of its dtype and shape. Lists and numbers are
                converted where that loses no fractions.
            run_options: accepted for onnxruntime's sake.

        Returns:
            The outputs in the order asked for.

        Raises:
            ValueError: unknown or missing names, shapes that do not fit, values that nodes refuse.
            TypeError: wrong dtypes.
        """
        wanted = None if output_names is None else self._positions(output_names)
        # The same shapes as in the last run, in arrays that need no conversion.
        latest = self._latest
        results = None if latest is None else latest(input_feed, self._threads)
        if results is None:
            feeds, plan = self._prepare(input_feed)
            self._latest = plan.core.run_exact if plan.complete else None
            results = plan.run(feeds, self._threads)
        return results if wanted is None else [results[i] for i in wanted]

    def profile(self, input_feed: dict[str, NDArray[Any]]) -> Profile:
        """Run the model once on `input_feed`, as `run` does, and return a table of its steps.

        See `Profile`.
        """
        feeds, plan = self._prepare(input_feed)
        rows = plan.core.profile([feeds[name] for name in plan.inputs], self._threads)
        return Profile(rows)

    def summary(self, input_feed: dict[str, NDArray[Any]]) -> Summary:
        """Return a table of the layers for inputs of the shapes of `input_feed`; see `Summary`."""
        from fastconv.inference.summary import summarize

        _, plan = self._prepare(input_feed)
        return summarize(self._network.model, plan)

    def _positions(self, names: Sequence[str] | None) -> list[int] | None:
        if isinstance(names, str):
            raise TypeError(f"output_names is the string {names!r}, expected a list of names")
        if not names:
            return None
        every = self._outputs
        for name in names:
            if name not in every:
                raise ValueError(f"there is no output {name!r}, expected one of {list(every)}")
        return [every[name] for name in names]

    def _prepare(self, feed: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], Plan]:
        if not isinstance(feed, dict):
            raise TypeError(f"input_feed is a {type(feed).__name__}, expected a dict of arrays")
        if feed.keys() != self._inputs.keys():
            raise ValueError(f"inputs are {sorted(feed)}, expected {sorted(self._inputs)}")
        feeds = {name: check_feed(info, feed[name]) for name, info in self._inputs.items()}
        check_symbols(self._network.model.inputs, feeds)
        key = tuple((name, (a.shape, a.dtype.name)) for name, a in feeds.items())
        plan = self._find(key, feeds)
        assert plan is not None  # with all feeds there is one
        return feeds, plan

    def _find(self, key: tuple[Any, ...], feeds: dict[str, NDArray[Any]]) -> Plan | None:
        """The plan for the shapes; values that shapes depend on become part of the key."""
        shapes = dict(key)
        values: dict[str, Any] = {}
        while True:
            found = self._plans.get(key)
            if found is None:
                found = self._network.plan(shapes, values)
                with self._lock:
                    self._plans[key] = found
                    while len(self._plans) > self._max_plans:
                        self._plans.popitem(last=False)
            else:
                with self._lock:
                    if key in self._plans:
                        self._plans.move_to_end(key)
            if isinstance(found, Plan):
                return found
            if found.plan is None:
                if found.name not in feeds:
                    return None  # the values come with the first run
                value = feeds[found.name]
            else:
                if not feeds and found.plan.inputs:
                    return None
                (value,) = found.plan.run(feeds, self._threads)
            values = {**values, found.name: value}
            key = (*key, (found.name, value.shape, value.tobytes()))


def check_feed(info: ValueInfo, value: Any) -> NDArray[Any]:
    """Return the array after its dtype and shape have been checked against the model's."""
    try:
        array = np.asarray(value)
        plain = isinstance(value, (list, tuple, int, float))
        if plain and np.can_cast(array.dtype, info.dtype, "same_kind"):
            # Python's numbers have no dtype: floats become float32, but not integers.
            array = np.asarray(value, info.dtype)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    except (ValueError, TypeError, OverflowError) as error:  # ragged lists, numbers out of range
        raise ValueError(f"input '{info.name}': {error}") from error
    if array.dtype.name != info.dtype:
        raise TypeError(f"input '{info.name}' has dtype {array.dtype}, expected {info.dtype}")
    if info.shape is not None:
        fits = len(array.shape) == len(info.shape) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(info.shape, array.shape, strict=True)
        )
        if not fits:
            expected = ", ".join("?" if d is None else str(d) for d in info.shape)
            raise ValueError(f"input '{info.name}' has shape {array.shape}, expected ({expected})")
    return array


def check_symbols(inputs: list[ValueInfo], feeds: dict[str, NDArray[Any]]) -> None:
    """One symbolic name stands for one size."""
    sizes: dict[str, tuple[int, str]] = {}
    for info in inputs:
        for symbol, size in zip(info.shape or (), feeds[info.name].shape, strict=False):
            if not isinstance(symbol, str):
                continue
            before, where = sizes.setdefault(symbol, (size, info.name))
            if before != size:
                raise ValueError(
                    f"inputs '{where}' and '{info.name}' have the sizes {before} and {size} "
                    f"for the axis '{symbol}'"
                )


class Profile(list[dict[str, Any]]):
    """A dict a step: op, name, algorithm, shape, seconds, gflops (GFLOP/s), pieces; prints a table.

    `pieces` are the parts that the threads share: more threads than pieces do not help a step.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__(rows)
        for row in self:
            flops, seconds = row.pop("flops"), row["seconds"]
            row["gflops"] = flops / seconds / 1e9 if flops and seconds else 0.0

    def __str__(self) -> str:
        total = sum(row["seconds"] for row in self)
        head = (
            f"{'operator':24} {'algorithm':20} {'shape':22} {'ms':>9} {'%':>5} {'GFLOP/s':>8} "
            f"{'pieces':>6}  node"
        )
        lines = [head]
        for row in self:
            share = 100 * row["seconds"] / total if total else 0
            gflops = f"{row['gflops']:8.1f}" if row["gflops"] else " " * 8
            lines.append(
                f"{row['op']:24.24} {row['algorithm']:20.20} {row['shape']!s:22} "
                f"{1e3 * row['seconds']:9.3f} {share:5.1f} {gflops} {row['pieces']:6}  "
                f"{row['name']}"
            )
        lines.append(f"{len(self)} steps, {1e3 * total:.3f} ms")
        return "\n".join(lines)


def _read(source: str | os.PathLike[str] | bytes | ModelGraph) -> ModelGraph:
    from fastconv.inference import file
    from fastconv.inference.structure import checked

    if isinstance(source, ModelGraph):
        for name, value in source.constants.items():
            if not isinstance(value, np.ndarray):
                raise TypeError(
                    f"constant '{name}' is a {type(value).__name__}, expected a NumPy array"
                )
        return checked(source, f"model '{source.name}'")

    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as opened:
            head = opened.read(9)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        head = bytes(source[:9])
    else:
        raise TypeError(f"the model is a {type(source).__name__}, expected a path or bytes")
    if file.recognizes(head):
        return file.load(source)
    from fastconv.onnx import load

    graph: ModelGraph = load(source)
    return graph
