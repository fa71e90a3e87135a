"""Chooses convolution algorithms by measurement, and keeps what was found in the user's cache."""

from __future__ import annotations

import contextlib
import json
import platform
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _files
from fastconv._runtime import core as _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A choice must be this much faster than the cost model's to replace it: noise is not a reason.
_CLEARLY = 0.97
_ROUNDS = 5

_lock = threading.Lock()


def cache_file() -> Path:
    """Return the file with this user's choices, which need not exist."""
    return _files.cache_folder() / "tuning.json"


@cache
def machine() -> str:
    """Return what choices hold for: the processor, its caches, the instruction set, the version."""
    import fastconv

    name = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    config = _core.config()
    caches = " ".join(f"{k} {v}" for k, v in config["caches"].items())
    name = name or platform.processor() or platform.machine()
    return f"{name}, {caches}, {config['isa']}, fastconv {fastconv.__version__}"


def load() -> dict[str, str]:
    """Return this machine's choices, an algorithm by problem; none where the file is damaged."""
    try:
        found = json.loads(cache_file().read_text(encoding="utf-8"))[machine()]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)}


def save(choices: dict[str, str]) -> None:
    """Add choices to the user's file; a folder that cannot be written is a warning."""
    path = cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        content = content if isinstance(content, dict) else {}
        content[machine()] = {**load(), **choices}
        _files.write_atomically(path, json.dumps(content, indent=1, sort_keys=True).encode())
    except OSError as error:
        warnings.warn(
            f"the measured choices cannot be kept, so the next session measures again: {error}",
            stacklevel=2,
        )


class Tuner:
    """Plans with measured choices where several algorithms would do.

    Whole plans are measured, all convolutions with one candidate after the other, so that each
    step finds the caches as it does in the network.

    Args:
        threads: threads that a measured run uses; 0: `fastconv.get_num_threads()`.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def plan(
        self, make: Callable[..., _core.Plan], inputs: list[tuple[tuple[int, ...], str]], store: Any
    ) -> _core.Plan:
        """Return `make(algorithms, store)`, the algorithms being the fastest by problem.

        Args:
            make: makes a core plan from a dict of algorithms by problem, and a store of packs.
            inputs: shapes and dtypes of the plan's inputs.
            store: what the returned plan shares its packs in.
        """
        with _lock:  # two measurements would disturb each other
            known = load()
            plan = make(known, store)
            open_problems = {
                c["problem"]: c
                for c in plan.choices
                if known.get(c["problem"]) not in c["candidates"]
            }
            if open_problems:
                found = self._measure(make, known, open_problems, inputs)
                if found:
                    save(found)
                    plan = make({**known, **found}, store)
        return plan

    def _measure(
        self,
        make: Callable[..., Any],
        known: dict[str, str],
        open_problems: dict[str, dict[str, Any]],
        inputs: list[tuple[tuple[int, ...], str]],
    ) -> dict[str, str]:
        feeds = [_feed(shape, dtype) for shape, dtype in inputs]
        names = sorted({name for c in open_problems.values() for name in c["candidates"]})
        times: dict[str, dict[str, float]] = {problem: {} for problem in open_problems}
        plans = {}
        for name in names:
            wish = {p: name for p, c in open_problems.items() if name in c["candidates"]}
            plans[name] = make({**known, **wish}, None)
        for _ in range(_ROUNDS):
            for name, plan in plans.items():
                try:
                    rows = plan.profile(feeds, self.threads)
                except ValueError:  # an operator refuses the values that stand for the input's
                    return {}
                total: dict[str, float] = {}
                for choice in plan.choices:
                    if choice["problem"] in times and choice["algorithm"] == name:
                        seconds = rows[choice["step"]]["seconds"]
                        total[choice["problem"]] = total.get(choice["problem"], 0.0) + seconds
                for problem, seconds in total.items():
                    best = times[problem].get(name, float("inf"))
                    times[problem][name] = min(best, seconds)
        found = {}
        for problem, by_name in times.items():
            usual = open_problems[problem]["algorithm"]
            fastest = min(by_name, key=lambda name: by_name[name], default=usual)
            clearly = by_name.get(fastest, 0.0) < _CLEARLY * by_name.get(usual, float("inf"))
            found[problem] = fastest if clearly else usual
        return found


def _feed(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)
