"""The IDX format of MNIST: a header of big-endian sizes, then one byte a value."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._store import Source, download, locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_INFLATION = 1032  # deflate cannot expand further, so a larger claim is a lie
_UBYTE = 0x08


def read_idx(path: Path, ndim: int) -> NDArray[Any]:
    """Reads an IDX file of unsigned bytes, plain or compressed with gzip.

    The declared sizes are compared with the file's size before memory is asked for.

    Args:
        path: the file; gzip is recognised by its first bytes, not by its name.
        ndim: how many dimensions the file must have.

    Returns:
        uint8 array of the declared shape.

    Raises:
        ValueError: not an IDX file of that kind, or cut short, or damaged.
        OSError: the file cannot be read.
    """
    advice = "remove the file and load the data set again, or put a good copy in its place"
    size = os.path.getsize(path)
    with open(path, "rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(max(0, size - 4))
        trailer = int.from_bytes(raw.read(4), "little")
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        try:
            header = stream.read(4 + 4 * ndim)
            if len(header) < 4 + 4 * ndim:
                raise ValueError(f"{path} is cut short: {size} bytes, no whole header; {advice}")
            if header[:4] != bytes([0, 0, _UBYTE, ndim]):
                raise ValueError(
                    f"{path} is not an IDX file of unsigned bytes with {ndim} dimensions (it "
                    f"starts with {header[:4].hex()}, expected {bytes([0, 0, 8, ndim]).hex()})"
                )
            shape = struct.unpack(f">{ndim}I", header[4:])
            declared = len(header) + math.prod(shape)
            if compressed:
                # The trailer of a gzip file holds the unpacked size, modulo 2**32.
                fits = trailer == declared % 2**32 and declared <= _MAX_INFLATION * size
                actual = f"its gzip trailer says {trailer}"
            else:
                fits, actual = size == declared, f"the file has {size}"
            if not fits:
                raise ValueError(
                    f"{path} is cut short or damaged: its header {shape} asks for {declared} "
                    f"bytes, {actual}; {advice}"
                )
            array = np.empty(shape, np.uint8)
            _fill(stream, array)
            if stream.read(1):
                raise gzip.BadGzipFile("data after the last value")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged ({error}); {advice}") from error
    return array


def _fill(stream: Any, array: NDArray[Any]) -> None:
    view, done = array.reshape(-1).data, 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise EOFError(f"{len(view) - done} bytes are missing")
        done += count


def load_pairs(
    source: Source,
) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """((x_train, y_train), (x_test, y_test)) of a data set in MNIST's four files."""
    groups = [(remote.name, remote.name.removesuffix(".gz")) for remote in source.files]
    paths = locate(source, [groups]) or download(source)
    return read_pair(paths[0], paths[1]), read_pair(paths[2], paths[3])


def read_pair(images: Path, labels: Path, classes: int = 10) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (n, height, width) and their labels (n,), both uint8."""
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise ValueError(f"{images} holds {len(x)} images but {labels} holds {len(y)} labels")
    if 0 in x.shape:
        raise ValueError(f"{images} holds no image: shape {x.shape}")
    if y.max() >= classes:
        raise ValueError(f"{labels} has a label {y.max()}, expected 0 to {classes - 1}")
    return x, y
