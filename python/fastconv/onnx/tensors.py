"""Tensors of ONNX files as NumPy arrays: every form of storage, with all sizes checked first.

The formats are those of `TensorProto` in the ONNX specification. The functions of
`onnx.numpy_helper` are not used: they trust the declared sizes.
"""

from __future__ import annotations

import math
import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.inference.memory import Mapping, map_file
from fastconv.inference.structure import checked_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike

# TensorProto's field and the NumPy type it holds, by NumPy's name of the element type.
_FIELDS = {
    "float32": ("float_data", "float32"),
    "float64": ("double_data", "float64"),
    "complex64": ("float_data", "float32"),
    "complex128": ("double_data", "float64"),
    "int64": ("int64_data", "int64"),
    "uint32": ("uint64_data", "uint64"),
    "uint64": ("uint64_data", "uint64"),
    # Half floats are stored as their bits.
    **dict.fromkeys(
        ["int32", "int16", "uint16", "int8", "uint8", "bool", "float16"], ("int32_data", "int32")
    ),
}
_STORAGE = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")

# NumPy's names of ONNX's element types; the others keep ONNX's name in lower case.
_NUMPY_NAMES = {"float": "float32", "double": "float64"}


def dtype_name(number: int, what: str) -> str:
    """Return NumPy's name of an ONNX element type.

    Raises:
        ValueError: no type, an unknown one, or strings; names `what`.
    """
    from onnx import TensorProto

    try:
        name: str = TensorProto.DataType.Name(number).lower()
    except ValueError:
        raise ValueError(f"{what} has the unknown element type {number}") from None
    if name in ("undefined", "string"):
        raise ValueError(f"{what} has element type {name}; only tensors of numbers are supported")
    return _NUMPY_NAMES.get(name, name)


def text(value: str | bytes) -> str:
    """Return a name of a protobuf message; protobuf gives those that are not UTF-8 as bytes.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return value.decode() if isinstance(value, bytes) else value


class ExternalFiles:
    """The files beside a model that hold its large tensors; each is mapped into memory once.

    Args:
        folder: the model's folder; None refuses external data (a model from bytes has no folder).
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._maps: dict[str, Mapping | bytes] = {}

    def read(self, tensor: TensorLike, count: int, what: str) -> memoryview:
        """Return the bytes of a tensor.

        Args:
            tensor: a `TensorProto` whose data is external.
            count: how many bytes its type and shape need.
            what: names the tensor in messages.

        Raises:
            ValueError: no folder, a path that leaves it, no such file, or a range outside the file.
        """
        entries = {text(entry.key): text(entry.value) for entry in tensor.external_data}
        location = entries.get("location", "")
        if self._folder is None:
            raise ValueError(
                f"{what} lies in the external file {location!r}, but a model given as bytes or "
                "object has no folder; give the path of the model"
            )
        offset = _number(entries.get("offset", "0"), "offset", what)
        length = _number(entries.get("length", str(count)), "length", what)
        if length != count:
            raise ValueError(
                f"{what} needs {count} bytes, its external data has a length of {length}"
            )
        data = self._open(self._inside(self._folder, location, what), location, what)
        if offset + length > len(data):
            raise ValueError(
                f"{what} lies at bytes {offset} to {offset + length} of {location!r}, which has "
                f"only {len(data)}"
            )
        return memoryview(data)[offset : offset + length]

    def _open(self, path: str, location: str, what: str) -> Any:
        if path not in self._maps:
            try:
                # Without O_NONBLOCK a pipe would block before its kind is known.
                handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"{what}: the external file {location!r} cannot be read: {error}"
                ) from None
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise ValueError(f"{what}: the external file {location!r} is no regular file")
                self._maps[path] = map_file(handle)
            finally:
                os.close(handle)
        return self._maps[path]

    @staticmethod
    def _inside(folder: str, location: str, what: str) -> str:
        """Return the real path of an external file after checking that it lies in the folder."""
        parts = location.replace("\\", "/").split("/")
        drive = len(parts[0]) == 2 and parts[0][1] == ":"
        if not location or "\0" in location or parts[0] == "" or drive or ".." in parts:
            raise ValueError(
                f"{what}: the external file {location!r} is not a path inside the model's folder"
            )
        folder = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(folder, location))
        if os.path.commonpath([folder, path]) != folder:
            raise ValueError(
                f"{what}: the external file {location!r} is a link that leads out of the model's "
                "folder; copy the file into the folder"
            )
        return path


def _number(digits: str, name: str, what: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError(f"{what}: the {name} of its external data is {digits!r}, not a number")
    return int(digits)


def to_array(
    tensor: TensorLike, files: ExternalFiles, what: str, large: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return a `TensorProto` as a read-only array, without a copy where the layout allows it.

    Args:
        tensor: the `TensorProto`.
        files: gives external data.
        what: names the tensor in messages.
        large: its `raw_data`, where that was read apart from it.

    Raises:
        ValueError: a type that NumPy lacks, or data that does not fit the declared shape.
    """
    name = dtype_name(tensor.data_type, what)
    if name not in _FIELDS:
        raise ValueError(f"{what} has element type {name}, which fastconv does not read")
    shape = checked_shape(tensor.dims, what)
    dtype = np.dtype(name).newbyteorder("<")
    count = math.prod(shape)
    if tensor.HasField("segment"):
        raise ValueError(f"{what} is cut into segments, which is not supported")
    # Every size is compared before anything of that size is made.
    if tensor.data_location == type(tensor).EXTERNAL:
        array = np.frombuffer(files.read(tensor, count * dtype.itemsize, what), dtype)
    elif large is not None or tensor.HasField("raw_data"):
        used = [field for field in _STORAGE if len(getattr(tensor, field))]
        if used:
            raise ValueError(f"{what} has its data twice, as raw_data and as {used[0]}")
        data = tensor.raw_data if large is None else large
        if len(data) != count * dtype.itemsize:
            raise ValueError(
                f"{what} of type {name} and shape {shape} needs {count * dtype.itemsize} bytes, "
                f"the file has {len(data)}"
            )
        array = np.frombuffer(data, dtype)
    else:
        array = _from_field(tensor, name, count, shape, what)
    if name == "bool" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError(f"{what} of type bool has bytes other than 0 and 1")
    array = np.require(array, np.dtype(name), ["C", "A"]).reshape(shape)
    array.flags.writeable = False
    return array


def _from_field(
    tensor: TensorLike, name: str, count: int, shape: tuple[Any, ...], what: str
) -> NDArray[Any]:
    field, stored = _FIELDS[name]
    values = getattr(tensor, field)
    need = count * 2 if name.startswith("complex") else count
    if len(values) != need:
        raise ValueError(
            f"{what} of type {name} and shape {shape} needs {need} numbers in {field}, the file "
            f"has {len(values)}"
        )
    array = np.array(values, dtype=stored)
    if name.startswith("complex"):
        return array.view(name)
    if name == "float16":
        return array.astype(np.uint16).view(np.float16)
    return array.astype(name, copy=False)
