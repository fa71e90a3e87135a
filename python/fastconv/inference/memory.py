"""What the machine can hold, and files mapped into memory."""

from __future__ import annotations

import errno
import functools
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@functools.cache
def machine_bytes() -> int | None:
    """Return the size of the machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(needed: int) -> None:
    """Raise MemoryError for what the machine cannot hold: the system would end the process."""
    machine = machine_bytes()
    if machine is not None and needed > machine:
        raise MemoryError(
            f"the model needs {needed / 2**30:.1f} GiB at this input shape, "
            f"the machine has {machine / 2**30:.1f} GiB"
        )


class Mapping(mmap.mmap):
    """A whole file mapped for reading: pages may be dropped at any time and come back when read."""


def map_file(handle: int) -> Mapping | bytes:
    """Return the content of an open file."""
    if os.fstat(handle).st_size == 0:
        return b""  # cannot be mapped
    try:
        return Mapping(handle, 0, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"a file cannot be mapped into memory: {error}") from None
        raise


def is_mapped(array: NDArray[Any]) -> bool:
    """Return whether the array lies in a `Mapping`."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return isinstance(base, Mapping)
