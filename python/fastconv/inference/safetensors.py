"""The safetensors format with memory-mapped arrays, which the package `safetensors` copies.

The layout: eight bytes with the length of the header, the header as JSON, and the tensors without
gaps between them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastconv.inference.memory import Mapping, map_file
from fastconv.inference.structure import checked_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_LITTLE: Literal["=", "<"] = "=" if sys.byteorder == "little" else "<"
_STORED = {code: np.dtype(name).newbyteorder(_LITTLE) for code, name in _DTYPES.items()}
_CODES = {name: code for code, name in _DTYPES.items()}
_MAX_HEADER = 100_000_000  # as in the package safetensors
_ALIGNMENT = 64


def pieces(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> Iterator[Any]:
    """Yield the parts of a file in turn, so that no second copy of the tensors is made.

    Raises:
        ValueError: an array of a type that the format lacks.
    """
    for name, value in tensors.items():
        if value.dtype.name not in _CODES:
            raise ValueError(f"{name!r} has dtype {value.dtype}, which a model file cannot hold")
    # Wide types first: then each tensor is aligned to its own type without gaps.
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name in order:
        value = tensors[name]
        header[name] = {
            "dtype": _CODES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [offset, offset + value.nbytes],
        }
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"the header would have {len(text)} bytes, at most {_MAX_HEADER} are read")
    return _pieces(text, [tensors[name] for name in order])


def _pieces(header: bytes, arrays: Any) -> Iterator[Any]:
    yield len(header).to_bytes(8, "little")
    yield header
    for value in arrays:
        flat = np.ascontiguousarray(value).reshape(-1)
        yield flat.astype(flat.dtype.newbyteorder("<"), copy=False).view(np.uint8).data


def open_file(path: str) -> Mapping | bytes:
    """Return the content of a file, mapped into memory."""
    with open(path, "rb") as file:
        return map_file(file.fileno())


def read_header(data: Any, where: str) -> tuple[dict[str, Any], dict[str, str], int]:
    """Return (entries of the tensors, metadata, where the tensors begin).

    Args:
        data: the whole file, anything with the buffer protocol.
        where: names the file in messages.

    Raises:
        ValueError: this is no safetensors file.
    """
    data = memoryview(data)
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else 0
    if length < 2 or length > min(len(data) - 8, _MAX_HEADER):
        raise ValueError(f"{where} is not a fastconv file or is damaged: it has no header")
    try:
        header = json.loads(bytes(data[8 : 8 + length]).decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not a fastconv file or is damaged: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{where} is damaged: its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{where} is damaged: its metadata is no table of texts")
    return header, metadata, 8 + length


def arrays(data: Any, header: dict[str, Any], start: int, where: str) -> dict[str, NDArray[Any]]:
    """Return read-only arrays on the memory of a file, after checking that they cover it exactly.

    Args:
        data: the whole file.
        header: entries as from `read_header`.
        start: where the tensors begin.
        where: names the file in messages.

    Raises:
        ValueError: an entry that does not fit its type, shape, or the file.
    """
    found = {}
    ranges = []
    for name, entry in header.items():
        what = f"{where} is damaged: the tensor {name!r}"
        dtype, shape, begin, end = _entry(entry, what)
        if start + end > len(data) or math.prod(shape) * dtype.itemsize != end - begin:
            raise ValueError(
                f"{what} of type {dtype} and shape {shape} lies at bytes {begin} to {end} of "
                f"{len(data) - start}"
            )
        ranges.append((begin, end))
        array = np.frombuffer(data, dtype, math.prod(shape), start + begin)
        if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            raise ValueError(f"{what} has bytes other than 0 and 1")
        if not (array.flags.aligned and dtype.isnative):  # as its writer should have made it
            array = np.require(array, dtype.newbyteorder("="), ["C", "A"])
        array = array.reshape(shape)
        array.flags.writeable = False
        found[name] = array
    at = 0
    for begin, end in sorted(ranges):
        if begin != at:
            raise ValueError(f"{where} is damaged: its tensors overlap or leave gaps at byte {at}")
        at = end
    if start + at != len(data):
        raise ValueError(
            f"{where} is damaged: its tensors take {at} bytes, the file has {len(data) - start}"
        )
    return found


def _entry(entry: Any, what: str) -> Any:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{what} is not described by dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ValueError(f"{what} has the unknown type {code!r}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(v) is int and v >= 0 for v in numbers):
            raise ValueError(f"{what} has shape {shape!r} and offsets {offsets!r}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{what} has offsets {offsets}")
    return _STORED[code], checked_shape(shape, what), *offsets


def _distinct(pairs: Any) -> Any:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name occurs twice in its header")
    return table
