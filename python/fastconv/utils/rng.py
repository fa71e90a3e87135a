"""The process-wide random state: initializers, shuffling and dropout draw from it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_generator = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy's legacy generator, and fastconv's own.

    After it, initial weights, the order of training samples and dropout masks are the same in
    every run, at any number of threads.

    Raises:
        ValueError: the seed is not an integer in [0, 2**32).
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"`seed` must be an integer, received: seed={seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be in [0, 2**32), received: seed={seed}")
    global _generator
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - user code may still draw from it
    _generator = np.random.default_rng(int(seed))


def get_state() -> dict[str, Any]:
    """Return the state of fastconv's generator, NumPy's legacy one and Python's `random`."""
    version, numbers, gauss = random.getstate()
    return {
        "fastconv": _generator.bit_generator.state,
        "numpy": np.random.get_state(),  # noqa: NPY002 - user code may draw from it
        "random": (version, np.array(numbers, np.uint32), gauss),
    }


def set_state(state: dict[str, Any]) -> None:
    """Go on with the random numbers that followed `get_state()`."""
    _generator.bit_generator.state = state["fastconv"]
    np.random.set_state(state["numpy"])  # noqa: NPY002
    version, numbers, gauss = state["random"]
    random.setstate((version, tuple(numbers.tolist()), gauss))


def draw_seed() -> int:
    """Return a new seed in [0, 2**31) from the process-wide generator."""
    return int(_generator.integers(2**31))


def step_seed(seed: int, step: int) -> NDArray[Any]:
    """Return the int64[1] seed of one training step (splitmix64 of seed and step)."""
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return np.array([(z ^ (z >> 31)) >> 1], dtype=np.int64)
