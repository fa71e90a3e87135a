"""Loads the C++ core and the process-wide settings that belong to it."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

# After a parallel region GNU OpenMP's threads spin for milliseconds before they sleep. Some ten
# microseconds are enough to bridge the gap between the steps of a plan. The runtime reads this when
# it is loaded, so it is set for that moment only; neither this process nor its children keep it.
_SPIN = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}


def _is_command() -> bool:
    """Tell whether this is the command `fastconv`, whose errors are one line.

    Its module is inside the package, so the core is loaded before any code of it runs.
    """
    name = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0]
    return name == "fastconv" or "-m fastconv.cli" in " ".join(sys.orig_argv)


def _refuse_subinterpreters() -> None:
    """Raise ImportError in a subinterpreter, as Python does for such modules from 3.12 on.

    Before, the core would wait for ever for the GIL that this thread has.
    """
    if sys.version_info >= (3, 12):
        return
    try:
        interpreters = importlib.import_module("_xxsubinterpreters")
    except ImportError:  # then there is no way to make one but by C
        return
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError("module fastconv._core does not support loading in subinterpreters")


def _load() -> ModuleType:
    _refuse_subinterpreters()
    user_decided = "OMP_WAIT_POLICY" in os.environ
    added = [k for k in _SPIN if k not in os.environ and not user_decided]
    os.environ.update((k, _SPIN[k]) for k in added)
    try:
        from fastconv import _core
    except ImportError as error:  # FASTCONV_ISA, FASTCONV_NUM_THREADS
        if _is_command() and not os.environ.get("FASTCONV_DEBUG"):
            print(f"fastconv: error: {error}", file=sys.stderr)
            raise SystemExit(2) from error  # as the command's other errors
        raise
    finally:
        for key in added:
            os.environ.pop(key, None)
    return _core


if TYPE_CHECKING:
    from fastconv import _core as core
else:
    core = _load()

__all__ = ["check_num_threads", "core", "get_num_threads", "set_num_threads", "show_config"]


def set_num_threads(n: int) -> None:
    """Set how many threads every later call of this process uses.

    Results do not depend on it. The default is the smaller of the processors this process may run
    on and its control group's quota (rounded up), unless ``FASTCONV_NUM_THREADS`` says otherwise.

    Raises:
        ValueError: ``n`` is not an integer from 1 to 4096.
        TypeError: ``n`` is not an integer.
    """
    core.set_num_threads(check_num_threads(n, "set_num_threads: n"))


def check_num_threads(n: int, what: str) -> int:
    """Return `n` after checking that it is an integer from 1 to 4096."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{what} is {n!r}, expected an integer")
    n = n.__index__()
    if not 1 <= n <= 4096:
        raise ValueError(f"{what} is {n}, expected an integer from 1 to 4096")
    return n


def get_num_threads() -> int:
    """Return how many threads a call uses at most.

    Examples:
        >>> before = get_num_threads()
        >>> set_num_threads(1)
        >>> get_num_threads()
        1
        >>> set_num_threads(before)
    """
    return core.get_num_threads()


def show_config() -> dict[str, Any]:
    """Return version, instruction sets, OpenMP runtime, threads and why, caches, CUDA."""
    from fastconv import __version__

    return {"version": __version__, **core.config()}
