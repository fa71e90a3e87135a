"""Progress bars."""

from __future__ import annotations

import contextlib
from typing import Any


def progress_bar(**arguments: Any) -> Any:
    """Return a tqdm bar that an interrupt may stop at any moment, also while it is being made."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg] # tqdm takes arguments in its stubs only
        def __del__(self) -> None:
            # A half-made bar lacks attributes; Python would print the error that nobody can catch.
            with contextlib.suppress(AttributeError):
                super().__del__()

    return Bar(**arguments)
