"""fastconv's own file of an inference graph, one safetensors file: docs/file-format.md.

It needs no `onnx` package, runs no code, and its constants are mapped into memory, not copied.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._files import FORMAT, check_metadata, write_atomically
from fastconv.inference import safetensors
from fastconv.inference.model import ModelGraph, Node, ValueInfo
from fastconv.inference.structure import checked, checked_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import PathLike
    from fastconv.inference.memory import Mapping

VERSION = 1
KIND = "graph"
_CONSTANT = "constants/"
_ATTRIBUTE = "attributes/"
_INT64 = range(-(2**63), 2**63)


def recognizes(head: bytes) -> bool:
    """Return whether a file that starts with these bytes (at least 9) is one of fastconv's."""
    return len(head) >= 9 and head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def save(model: ModelGraph, path: PathLike) -> None:
    """Write a graph into a file.

    Args:
        model: the graph; its constants and attributes must be plain NumPy numbers or bool.
        path: path of the file; an old one is replaced only when the new one is complete.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: an array or attribute that a file cannot hold.
    """
    tensors = {_CONSTANT + name: value for name, value in model.constants.items()}
    content = {
        "name": model.name,
        "inputs": [_from_value(value) for value in model.inputs],
        "outputs": [_from_value(value) for value in model.outputs],
        "nodes": [_from_node(node, tensors) for node in model.nodes],
        "metadata": model.metadata,
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": KIND,
        "content": json.dumps(content, separators=(",", ":"), allow_nan=False),
    }
    write_atomically(path, safetensors.pieces(tensors, metadata))


def load(source: Any) -> ModelGraph:
    """Return the graph of a file.

    Args:
        source: path of the file, or its bytes. Constants are read-only arrays on its memory; a
            file must not be changed in place while they are used (`save` never does that).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind, of a newer version, or damaged.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        where = "the model file"
        data: bytes | Mapping = bytes(source)
    elif isinstance(source, str | os.PathLike):
        where = os.fsdecode(os.fspath(source))
        if not os.path.exists(where):
            raise FileNotFoundError(f"no such model file: {where}")
        if os.path.isdir(where):
            raise IsADirectoryError(f"{where} is a folder, not a model file")
        data = safetensors.open_file(where)
    else:
        raise TypeError(f"a model file is a path or bytes, not {type(source).__name__}")
    header, metadata, start = safetensors.read_header(data, where)
    check_metadata(where, metadata, VERSION)
    kind = metadata.get("kind")
    if kind in ("model", "weights"):
        raise ValueError(
            f"{where} holds a layer model, not an inference graph; open it with "
            + ("fastconv.models.load_model" if kind == "model" else "Model.load_weights")
        )
    if kind != KIND:
        raise ValueError(f"{where} is damaged: it is of the unknown kind {kind!r}")
    tensors = safetensors.arrays(data, header, start, where)
    try:
        content = json.loads(metadata.get("content", ""))
        model = _to_model(content, tensors)
    except RecursionError:
        raise ValueError(f"{where} is damaged: its content is nested too deeply") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where} is damaged: its content cannot be read ({error})") from None
    return checked(model, where)


def _from_value(value: ValueInfo) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype, "shape": shape}


def _from_node(node: Node, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    attributes: dict[str, dict[str, Any]] = {}
    for name, value in node.attrs.items():
        if isinstance(value, np.ndarray):
            key = f"{_ATTRIBUTE}{len(tensors)}"
            tensors[key] = value
            attributes[name] = {"tensor": key}
            continue
        numbers: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        plain: list[Any]
        if all(isinstance(v, int | np.integer) for v in numbers):
            kind, plain = "int", [int(v) for v in numbers]
        elif all(isinstance(v, str) for v in numbers):
            kind, plain = "string", list(numbers)
        elif all(isinstance(v, int | float | np.integer | np.floating) for v in numbers):
            kind, plain = "float", [_from_float(float(v)) for v in numbers]
        else:
            raise ValueError(f"{node.label()}: the attribute {name!r} cannot be saved: {value!r}")
        if numbers is value:
            attributes[name] = {f"{kind}s": plain}
        else:
            attributes[name] = {kind: plain[0]}
    return {
        "op": node.op,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "attributes": attributes,
        "name": node.name,
        "domain": node.domain,
        "version": node.version,
    }


def _from_float(value: float) -> float | str:
    # JSON has no infinities and no NaN.
    return value if math.isfinite(value) else str(value)


def _to_model(content: Any, tensors: dict[str, NDArray[Any]]) -> ModelGraph:
    constants = {
        name[len(_CONSTANT) :]: value
        for name, value in tensors.items()
        if name.startswith(_CONSTANT)
    }
    metadata = content["metadata"]
    for key, value in metadata.items():
        _text(key), _text(value)
    return ModelGraph(
        _text(content["name"]),
        [_to_value(value) for value in _items(content["inputs"])],
        [_to_value(value) for value in _items(content["outputs"])],
        [_to_node(node, tensors) for node in _items(content["nodes"])],
        constants,
        metadata,
    )


def _to_value(value: Any) -> ValueInfo:
    name, shape = _text(value["name"]), value["shape"]
    if shape is not None:
        sizes = [None if v is None else v if isinstance(v, str) else _int(v) for v in _items(shape)]
        shape = checked_shape(sizes, repr(name))
    return ValueInfo(name, _text(value["dtype"]), shape)


def _to_node(node: Any, tensors: dict[str, NDArray[Any]]) -> Node:
    return Node(
        _text(node["op"]),
        [_text(name) for name in _items(node["inputs"])],
        [_text(name) for name in _items(node["outputs"])],
        {name: _to_attribute(value, tensors) for name, value in node["attributes"].items()},
        _text(node["name"]),
        _text(node["domain"]),
        _int(node["version"]),
    )


def _to_attribute(value: Any, tensors: dict[str, NDArray[Any]]) -> Any:
    ((kind, plain),) = value.items()
    if kind == "tensor":
        return tensors[_text(plain)]
    read = {"int": _int, "float": _float, "string": _text}[kind.removesuffix("s")]
    return [read(v) for v in _items(plain)] if kind.endswith("s") else read(plain)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a list was expected, not {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {type(value).__name__}")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or value not in _INT64:
        raise ValueError(f"a number of 64 bits was expected, not {type(value).__name__}")
    return value


def _float(value: Any) -> float:
    if type(value) in (int, float) or value in ("nan", "inf", "-inf"):
        return float(value)
    raise ValueError(f"a number was expected, not {type(value).__name__}")
