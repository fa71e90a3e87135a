"""Finds the files of a data set on this machine, or downloads them into the user's cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastconv import _files
from fastconv._progress import progress_bar

DATA_VARIABLE = "FASTCONV_DATA"
_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class RemoteFile:
    """One file as its publisher serves it: its name below the base address, bytes, SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set: its name, the folder names it is known by, and where its files come from."""

    name: str
    folders: tuple[str, ...]  # the first one is the folder's name in the cache
    base_url: str
    files: tuple[RemoteFile, ...]


def cache_folder() -> Path:
    """The user's cache for data sets, which need not exist yet."""
    return _files.cache_folder() / "datasets"


def environment_folders() -> list[Path]:
    """The folders named in ``FASTCONV_DATA`` (several are separated as in ``PATH``)."""
    value = os.environ.get(DATA_VARIABLE, "")
    return [Path(p).expanduser() for p in value.split(os.pathsep) if p]


def system_folders() -> list[Path]:
    """The ``share/datasets`` folders of Python's prefix, of XDG_DATA_DIRS and of the system."""
    shares = [Path(sys.prefix) / "share"]
    shares += [Path(p) for p in os.environ.get("XDG_DATA_DIRS", "").split(":") if os.path.isabs(p)]
    if os.name == "posix":
        shares += [Path("/usr/local/share"), Path("/usr/share")]
    return [share / "datasets" for share in dict.fromkeys(shares)]


def _homes(source: Source, root: Path) -> Iterator[Path]:
    if root.name in source.folders:
        yield root
    for folder in source.folders:
        yield root / folder


def _present(folder: Path, alternatives: Sequence[str]) -> Path | None:
    for name in alternatives:
        path = folder / name
        if path.is_file():
            return path
    return None


def locate(source: Source, layouts: Sequence[Sequence[Sequence[str]]]) -> list[Path] | None:
    """Paths of a data set's files in the first folder that has them all, else None.

    A layout is a list of groups, a group a list of names for one file, the preferred one first.
    All files come from one folder, so that images of one copy never meet labels of another.

    Raises:
        FileNotFoundError: a folder named in ``FASTCONV_DATA`` does not exist, or has some of the
            files but not all; using another copy behind the user's back would be worse.
    """
    named = environment_folders()
    for root in named:
        if not root.is_dir():
            raise FileNotFoundError(
                f"{source.name}: {root} (from {DATA_VARIABLE}) is not a folder; "
                f"correct {DATA_VARIABLE}, or unset it to use another copy"
            )
    for root in [*named, cache_folder(), *system_folders()]:
        for home in _homes(source, root):
            lacking = []
            for groups in layouts:
                found = [_present(home, group) for group in groups]
                whole = [path for path in found if path]
                if len(whole) == len(found):
                    return whole
                if any(found):
                    lacking = [g[0] for g, path in zip(groups, found, strict=True) if not path]
            if lacking and root in named:
                raise FileNotFoundError(
                    f"{source.name}: {home} (from {DATA_VARIABLE}) lacks {', '.join(lacking)}; "
                    f"add it, or unset {DATA_VARIABLE} to use another copy"
                )
    return None


def download(source: Source) -> list[Path]:
    """Brings those files of a data set into the cache that it does not have yet.

    A file appears in the cache only whole and checked, so two processes may do this at once.

    Raises:
        OSError: a file cannot be fetched or written; the message says how to provide it by hand.
        ValueError: what came is not the published file.
    """
    folder = cache_folder() / source.folders[0]
    paths = []
    for remote in source.files:
        path = folder / remote.name
        if not path.is_file():
            _fetch(source, remote, path)
        paths.append(path)
    return paths


def _fetch(source: Source, remote: RemoteFile, path: Path) -> None:
    import hashlib
    import http.client
    import tempfile
    import urllib.request

    url = source.base_url.rstrip("/") + "/" + remote.name
    digest, received = hashlib.sha256(), 0
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT) as reply,
            tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f".{remote.name}.", suffix=".part", delete=False
            ) as out,
            progress_bar(total=remote.size, unit="B", unit_scale=True, desc=remote.name) as bar,
        ):
            temporary = out.name
            # One byte more than expected is enough to know that this is another file.
            while block := reply.read(min(_CHUNK, remote.size + 1 - received)):
                out.write(block)
                digest.update(block)
                received += len(block)
                bar.update(len(block))
            out.flush()
            os.fsync(out.fileno())
        if received != remote.size or digest.hexdigest() != remote.sha256:
            size = f"more than {remote.size}" if received > remote.size else str(received)
            raise ValueError(
                f"{source.name}: {url} is not the published file: {size} bytes with SHA-256 "
                f"{digest.hexdigest()}, expected {remote.size} bytes with {remote.sha256}; nothing "
                f"was kept. Try again, or put a good copy at {path}"
            )
        os.replace(temporary, path)
        temporary = None
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"{source.name}: {remote.name} is not on this machine and could not be brought from "
            f"{url} ({error}). Put it at {path}, or into a folder {source.folders[0]} below the "
            f"one that {DATA_VARIABLE} names"
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
