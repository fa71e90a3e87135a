"""CIFAR-10: 60,000 colour pictures of 32 x 32 pixels in ten classes (Krizhevsky)."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ._store import RemoteFile, Source, download, locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

SOURCE = Source(
    name="cifar10",
    folders=("cifar10", "cifar-10", "cifar-10-batches-bin"),
    base_url="https://www.cs.toronto.edu/~kriz/",
    files=(
        RemoteFile(
            "cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
)

_FOLDER = "cifar-10-batches-bin"
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_RECORD = 1 + 3 * 32 * 32  # a label, then the planes red, green, blue
_MAX_RECORDS = 10_000
_MAX_UNPACKED = 200_000_000  # bytes; the published archive unpacks to 184 MB


def load_data() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Loads CIFAR-10, as ``keras.datasets.cifar10.load_data()`` (channels last).

    ``cifar-10-binary.tar.gz``, or its unpacked folder ``cifar-10-batches-bin``, is looked for in a
    folder ``cifar10`` or ``cifar-10`` below each folder of ``FASTCONV_DATA``, in the cache and in
    the system's ``share/datasets``, and else downloaded (170 MB).

    Returns:
        ((x_train, y_train), (x_test, y_test)): x uint8 (50000, 32, 32, 3) and (10000, 32, 32, 3),
        red, green and blue 0 to 255; y uint8 (50000, 1) and (10000, 1), an index of
        ``CLASS_NAMES``.

    Raises:
        ValueError: a file is damaged or is not what was published; the message names it.
        OSError: a file is missing and cannot be downloaded, or cannot be read.
    """
    blobs = _read_batches()
    train = [_decode(blobs[name], name) for name in _BATCHES[:-1]]
    x_train = np.concatenate([x for x, _ in train])
    y_train = np.concatenate([y for _, y in train])
    return (x_train, y_train), _decode(blobs[_BATCHES[-1]], _BATCHES[-1])


def _read_batches() -> dict[str, bytes]:
    layouts = [[(prefix + name,) for name in _BATCHES] for prefix in (f"{_FOLDER}/", "")]
    archive = SOURCE.files[0].name
    paths = locate(SOURCE, [*layouts, [(archive,)]]) or download(SOURCE)
    if paths[0].name == archive:
        return _read_archive(paths[0])
    return {path.name: _read_file(path) for path in paths}


def _read_file(path: Path) -> bytes:
    _check_size(path.stat().st_size, str(path))
    return path.read_bytes()


def _check_size(size: int, where: str) -> None:
    if size == 0 or size % _RECORD or size > _MAX_RECORDS * _RECORD:
        raise ValueError(
            f"{where} is cut short or damaged: {size} bytes, expected 1 to {_MAX_RECORDS} records "
            f"of {_RECORD}; remove it and load the data set again"
        )


class _Limited(gzip.GzipFile):
    """Unpacks, but refuses to go on past a number of bytes, against archives that blow up."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        super().__init__(fileobj=file)
        self._left = limit

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self._left -= len(block)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to more than CIFAR-10 has")
        return block


def _read_archive(archive: Path) -> dict[str, bytes]:
    # Members are read in memory, by exact name: nothing an archive says becomes a path on disk.
    wanted = {f"{_FOLDER}/{name}": name for name in _BATCHES}
    blobs = {}
    with open(archive, "rb") as raw:
        try:
            stream = _Limited(raw, _MAX_UNPACKED)
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as tar:
                for member in tar:
                    name = wanted.get(member.name)
                    if name is not None and member.isreg():
                        _check_size(member.size, f"{member.name} in {archive}")
                        content = tar.extractfile(member)
                        blobs[name] = b"" if content is None else content.read()
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise ValueError(
                f"{archive} is damaged ({error}); remove it and load the data set again"
            ) from error
    lacking = [name for name in _BATCHES if name not in blobs]
    if lacking:
        raise ValueError(
            f"{archive} lacks {', '.join(lacking)}; remove it and load the data set again"
        )
    return blobs


def _decode(blob: bytes, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    records = np.frombuffer(blob, np.uint8).reshape(-1, _RECORD)
    y = records[:, :1].copy()
    if y.max() >= len(CLASS_NAMES):
        raise ValueError(f"CIFAR-10's {name} is damaged: it has a label {y.max()}, expected 0 to 9")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), y
