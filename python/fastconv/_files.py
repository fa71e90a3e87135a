"""What fastconv's files have in common: how they are written and how their metadata starts."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from fastconv._types import PathLike

FORMAT = "fastconv"


def cache_folder() -> Path:
    """Return fastconv's folder in the user's cache, which need not exist yet."""
    from pathlib import Path

    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG specification says that a relative path is to be ignored.
        base = Path(xdg) if os.path.isabs(xdg) else home / ".cache"
    return base / "fastconv"


def write_atomically(path: PathLike, data: Any) -> None:
    """Write a file so that at any moment its name stands for the old or the new content.

    Args:
        path: path of the file; its folder must exist.
        data: bytes, or an iterable of pieces (bytes, memoryviews), which are written in turn.
    """
    import tempfile  # with all it needs, a good part of what loading a model costs

    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot save to {path}: the folder {folder} does not exist")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot save to {path}: it is a folder")
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in [data] if isinstance(data, bytes | bytearray | memoryview) else data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are private; a saved model gets the usual rights.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def check_metadata(path: PathLike, metadata: Any, newest: int) -> None:
    """Check that fastconv wrote a safetensors file, in a version up to `newest`.

    Raises:
        ValueError: it did not, or the version is newer.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but fastconv did not write it: its metadata has "
            f"format {metadata.get('format')!r}"
        )
    try:
        version = int(metadata.get("version", ""))
    except ValueError:
        raise ValueError(
            f"{path} is damaged: its format version is {metadata.get('version')!r}"
        ) from None
    if version > newest:
        raise ValueError(
            f"{path} has format version {version}, this fastconv reads up to {newest}; "
            "install a newer fastconv"
        )
