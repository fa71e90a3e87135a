"""The large tensors of an ONNX file, read straight into arrays: protobuf would copy them twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from io import BufferedIOBase

    from numpy.typing import NDArray

_LARGE = 1 << 16
# Fields of ModelProto, GraphProto and TensorProto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


class _Unusual(Exception):
    """Not what writers of ONNX write: protobuf shall judge it."""


def split(file: BufferedIOBase) -> tuple[bytes, dict[int, NDArray[Any]]]:
    """Return a model without the raw data of its large initializers, and that data.

    Args:
        file: a whole ONNX file, open for reading.

    Returns:
        the bytes of a `ModelProto` and, by position among the graph's initializers, bytes that
        stand for their `raw_data`. A file that is damaged or unusual is returned as it is.
    """
    size = file.seek(0, 2)
    found: dict[int, tuple[int, int]] = {}
    try:
        rest = _model(_Fields(file), size, found)
    except _Unusual:
        found, rest = {}, _read(file, 0, size)
    return rest, {index: _array(file, *place) for index, place in found.items()}


def _array(file: BufferedIOBase, start: int, size: int) -> NDArray[Any]:
    array = np.empty(size, np.uint8)
    file.seek(start)
    count = file.readinto(array.data)
    return array[:count]  # less where the file has just been cut: its shape will not fit


def _read(file: BufferedIOBase, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


class _Fields:
    """Walks over the fields of messages in a file."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file

    def of(self, start: int, end: int) -> Iterator[Any]:
        """Yield number and wire type of each field, where it starts, its contents and its end."""
        while start < end:
            self._file.seek(start)
            tag, at = self._varint(start)
            kind = tag & 7
            if kind == _VARINT:
                at = last = self._varint(at)[1]
            elif kind == _BYTES:
                length, at = self._varint(at)
                last = at + length
            elif kind in (_FIXED64, _FIXED32):
                last = at + (8 if kind == _FIXED64 else 4)
            else:
                raise _Unusual
            if last > end:
                raise _Unusual
            yield tag >> 3, kind, start, at, last
            start = last

    def bytes(self, start: int, end: int) -> bytes:
        return _read(self._file, start, end)

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise _Unusual
            at += 1
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value, at
        raise _Unusual


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def _model(fields: _Fields, end: int, found: dict[int, tuple[int, int]]) -> bytes:
    pieces, graphs = [], 0
    for number, kind, start, at, last in fields.of(0, end):
        if number == _GRAPH and kind == _BYTES:
            graphs += 1
            pieces.append(_message(_GRAPH, _graph(fields, at, last, found)))
        else:
            pieces.append(fields.bytes(start, last))
    if graphs > 1:  # protobuf would merge them
        raise _Unusual
    return b"".join(pieces)


def _graph(fields: _Fields, begin: int, end: int, found: dict[int, tuple[int, int]]) -> bytes:
    pieces, index = [], 0
    for number, kind, start, at, last in fields.of(begin, end):
        initializer = number == _INITIALIZER and kind == _BYTES
        if initializer and last - at >= _LARGE:
            content, raw = _tensor(fields, at, last)
            pieces.append(_message(_INITIALIZER, content))
            if raw is not None:
                found[index] = raw
        else:
            pieces.append(fields.bytes(start, last))
        index += initializer
    return b"".join(pieces)


def _tensor(fields: _Fields, begin: int, end: int) -> tuple[bytes, tuple[int, int] | None]:
    pieces, raw = [], None
    for number, kind, start, at, last in fields.of(begin, end):
        if number != _RAW_DATA or kind != _BYTES:
            pieces.append(fields.bytes(start, last))
        elif raw is None:
            raw = at, last - at
        else:
            raise _Unusual
    return b"".join(pieces), raw
