"""What the machine can hold."""

from __future__ import annotations

import functools
import os


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
