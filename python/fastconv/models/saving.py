"""Model files: one safetensors file whose metadata holds the configuration as JSON.

Names of tensors follow the structure of the model ("conv2d/kernel", "block/conv2d/kernel"), so
automatic numbers of layer names do not matter. Nothing in a file is ever run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._files import FORMAT, check_metadata, write_atomically
from fastconv._graph.variable import limited_memory
from fastconv.utils.naming import snake_case
from fastconv.utils.serialization import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import PathLike
    from fastconv.layers import Layer
    from fastconv.models import Model

VERSION = 1
_ROOM = 1 << 26  # bytes for what is not in the file: the states of metrics
_OPTIMIZER = "optimizer/"
_CHECKSUM = "crc32"


def tensor_names(layer: Layer, prefix: str = "") -> dict[str, Variable]:
    """Return the variables of a layer or model by the names they have in files."""
    from fastconv.models.model import Model

    found: dict[str, Variable] = {}
    own = layer._own_weights() if not isinstance(layer, Model) or layer._function is None else []
    for weight in own:
        name, n = prefix + weight.name, 1
        while name in found:
            name, n = f"{prefix}{weight.name}_{n}", n + 1
        found[name] = weight
    known = {id(v) for v in found.values()}
    layers = layer._sublayers()
    for inner, part in zip(layers, _parts(layers, top=not prefix), strict=True):
        for name, weight in tensor_names(inner, f"{prefix}{part}/").items():
            if id(weight) not in known:
                assert name not in found, f"two weights would be saved as {name!r}"
                known.add(id(weight))
                found[name] = weight
    return found


def _parts(layers: Any, top: bool) -> list[str]:
    """Return distinct names for the layers of one level.

    Names given by the user are kept, automatic ones are numbered within their model.
    """
    kinds = [snake_case(type(layer).__name__) for layer in layers]
    automatic = [_is_automatic(layer, kind) for layer, kind in zip(layers, kinds, strict=True)]
    # Layers without weights claim nothing: the names of operations differ between processes.
    claimed = {x.name for x, auto in zip(layers, automatic, strict=True) if not auto and x.weights}
    used = {_OPTIMIZER.rstrip("/")} if top else set()
    counts: dict[str, int] = {}
    parts = []
    for layer, kind, auto in zip(layers, kinds, automatic, strict=True):
        base = kind if auto else layer.name
        number = counts.get(base, 0) if auto else 0
        part = f"{base}_{number}" if number else base
        while part in used or (part in claimed and (auto or number)):
            number += 1
            part = f"{base}_{number}"
        if auto:
            counts[base] = number + 1
        used.add(part)
        parts.append(part)
    return parts


def _is_automatic(layer: Layer, kind: str) -> bool:
    from fastconv.models.model import Model

    if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name):
        return True
    return isinstance(layer, Model) and bool(re.fullmatch(r"functional(_\d+)?", layer.name))


def _write(path: PathLike, tensors: Any, metadata: Any, overwrite: bool) -> None:
    path = os.fspath(path)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} exists already and overwrite=False")
    write_arrays(path, {k: np.ascontiguousarray(v.numpy()) for k, v in tensors.items()}, metadata)


def write_arrays(path: PathLike, arrays: Any, metadata: Any) -> None:
    """Write arrays and metadata into a safetensors file, which appears whole or not at all."""
    from safetensors.numpy import save

    metadata = {**metadata, _CHECKSUM: _checksum(arrays, metadata)}
    write_atomically(path, save(arrays, metadata=metadata))


def _checksum(arrays: Any, metadata: Any) -> str:
    """Return the CRC-32 of what describes a file, and of its tensors by name."""
    names = sorted(arrays)
    told = [metadata.get(key) for key in ("kind", "version", "content")]
    told += [[name, arrays[name].dtype.name, list(arrays[name].shape)] for name in names]
    found = zlib.crc32(json.dumps(told).encode())
    for name in names:
        found = zlib.crc32(
            np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, found
        )
    return f"{found:08x}"


def tensors_with_optimizer(model: Model) -> dict[str, Variable]:
    """Return weights and optimizer slots by the names they have in files."""
    names = tensor_names(model)
    tensors = dict(names)
    if model.optimizer.built:
        for name, weight in names.items():
            for slot, state in model.optimizer.slots_of(weight).items():
                tensors[f"{_OPTIMIZER}{name}/{slot}"] = state
    return tensors


def save_model(
    model: Model, filepath: PathLike, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Write a model, its weights and its training state into one file.

    Args:
        model: any built model.
        filepath: path of the file, usually `*.fastconv`.
        overwrite: whether a file that is there may be replaced.
        include_optimizer: also write the optimizer's state.

    Raises:
        ValueError: the model has not been built.
        FileExistsError: the file exists and `overwrite` is False.
    """
    if not model.built:
        raise ValueError(
            f"model '{model.name}' has not been built and has no weights to save; call build() or "
            "give it data first"
        )
    tensors = tensor_names(model)
    content = {"model": serialize_keras_object(model), "build_shape": None}
    if model._function is None:
        shape = model._build_shape
        content["build_shape"] = list(shape) if shape is not None else None
    if include_optimizer and model.compiled:
        content["compile"] = model.get_compile_config()
        content["optimizer"] = {"iterations": model.optimizer.iterations}
        tensors = tensors_with_optimizer(model)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": "model",
        "content": json.dumps(content),
    }
    _write(filepath, tensors, metadata, overwrite)


def save_weights(model: Model, filepath: PathLike, overwrite: bool = True) -> None:
    """Write the weights of a model into a file."""
    if not model.built:
        raise ValueError(
            f"model '{model.name}' has not been built and has no weights to save; call build() or "
            "give it data first"
        )
    metadata = {"format": FORMAT, "version": str(VERSION), "kind": "weights"}
    _write(filepath, tensor_names(model), metadata, overwrite)


def read_file(filepath: PathLike) -> Any:
    """Return (tensors, metadata) of a checked file."""
    from fastconv.inference import safetensors  # the package's own reader panics without memory

    path = os.fspath(filepath)
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such model file: {path}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a model file")
    with open(path, "rb") as file:
        head = file.read(8)
    if head[:4] == b"PK\x03\x04":
        raise ValueError(
            f"{path} is a zip archive, probably a Keras model, which fastconv cannot make again; "
            "make the model and call load_weights() on it"
        )
    if head == b"\x89HDF\r\n\x1a\n":
        raise ValueError(
            f"{path} is an HDF5 file, probably of Keras; make the model and call load_weights() "
            "on it"
        )
    data = safetensors.open_file(path)
    header, metadata, start = safetensors.read_header(data, path)
    check_metadata(path, metadata, VERSION)
    if metadata.get("kind") == "graph":
        raise ValueError(
            f"{path} holds an inference graph, not a layer model; open it with "
            "fastconv.InferenceSession"
        )
    mapped = safetensors.arrays(data, header, start, path)
    tensors = {name: np.array(array) for name, array in mapped.items()}
    # Files of earlier versions have none.
    if _CHECKSUM in metadata and metadata[_CHECKSUM] != (found := _checksum(tensors, metadata)):
        raise ValueError(
            f"{path} is damaged: its checksum is {metadata[_CHECKSUM]!r:.20}, but its content has "
            f"{found!r}"
        )
    return tensors, metadata


def assign_weights(path: PathLike, model: Model, tensors: Any, skip_mismatch: bool = False) -> None:
    """Set the weights from tensors after all names and shapes have been checked."""
    names = tensor_names(model)
    given = {k: v for k, v in tensors.items() if not k.startswith(_OPTIMIZER)}
    pairs, problems = [], []
    for name, weight in names.items():
        value = given.get(name)
        if value is None:
            problems.append(f"no tensor {name!r} for weight {weight.path!r}")
        elif tuple(value.shape) != weight.shape:
            problems.append(
                f"{name!r} has shape {tuple(value.shape)}, the model expects {weight.shape}"
            )
        else:
            pairs.append((weight, value))
    problems += [f"unexpected tensor {name!r}" for name in given if name not in names]
    if problems and not skip_mismatch:
        shown = "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else "")
        raise ValueError(f"{path} does not fit model '{model.name}': {shown}")
    for weight, value in pairs:
        weight.assign(value)


def load_weights(model: Model, filepath: PathLike, skip_mismatch: bool = False) -> None:
    """Set the weights of a built model from a file of `save` or `save_weights`, or of Keras."""
    if not model.built:
        raise ValueError(
            f"model '{model.name}' has not been built; call build() or give it data before "
            "load_weights()"
        )
    if os.path.isfile(filepath):
        from fastconv.models.keras_weights import is_keras_file, load_keras_weights

        if is_keras_file(filepath):
            load_keras_weights(model, filepath, skip_mismatch)
            return
    tensors, _ = read_file(filepath)
    assign_weights(os.fspath(filepath), model, tensors, skip_mismatch)


def load_model(
    filepath: PathLike,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Return the model of a file written by `Model.save`.

    Args:
        filepath: path of the file.
        custom_objects: own classes and functions by name.
        compile: restore optimizer, loss and metrics too.
        safe_mode: accepted for Keras code; loading never runs code from the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, damaged, of a newer version, or of unknown classes.
    """
    from fastconv.models.model import Model
    from fastconv.models.sequential import Sequential
    from fastconv.utils.serialization import custom_object_scope

    path = os.fspath(filepath)
    tensors, metadata = read_file(path)
    if metadata.get("kind") == "training":
        raise ValueError(
            f"{path} is a backup of a training run, which callbacks.BackupAndRestore goes on from, "
            "not a model"
        )
    if metadata.get("kind") != "model":
        raise ValueError(f"{path} holds weights only; make the model and call load_weights() on it")
    with _told(f"{path} is damaged: its configuration cannot be read"):
        content = json.loads(metadata["content"])
        config, shape = content["model"], content.get("build_shape")
        name = config["class_name"]
        stored = sum(array.nbytes for array in tensors.values())
    with (
        custom_object_scope(custom_objects or {}),
        limited_memory(_ROOM + stored, f"{path} has (its tensors take {stored} bytes)"),
    ):
        with _told(f"{path}: a model of class {name!r} cannot be made from its configuration"):
            model = deserialize_keras_object(
                config, None, {**_all_known(), "Model": Model, "Sequential": Sequential}
            )
            if not isinstance(model, Model):
                raise ValueError(f"{path}: {name!r} is not a model class")
            if not model.built and shape is not None:
                model.build(_as_shape(shape))
        assign_weights(path, model, tensors)
        if compile and content.get("compile"):
            with _told(f"{path}: its training state cannot be read"):
                _restore_training(path, model, content, tensors)
    return model


@contextlib.contextmanager
def _told(problem: str) -> Iterator[None]:
    """Raise what content of unexpected types and sizes leads to as a ValueError."""
    try:
        yield
    except RecursionError:
        raise ValueError(f"{problem}: it is nested too deeply") from None
    except (AttributeError, LookupError, TypeError, ArithmeticError, json.JSONDecodeError) as error:
        raise ValueError(f"{problem}: {error!r}") from error


def _all_known() -> Any:
    from fastconv.utils.serialization import _known_classes

    return _known_classes()


def _as_shape(value: Any) -> Any:
    if value and isinstance(value[0], list):
        return [tuple(s) for s in value]
    return tuple(value)


def _restore_training(path: PathLike, model: Model, content: Any, tensors: Any) -> None:
    try:
        model.compile(**content["compile"])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: optimizer, loss or metrics cannot be restored: {error}; pass custom_objects, "
            "or compile=False and call compile() yourself"
        ) from error
    model.optimizer.iterations = int((content.get("optimizer") or {}).get("iterations", 0))
    assign_optimizer(path, model, tensors)


def assign_optimizer(path: PathLike, model: Model, tensors: Any) -> None:
    """Set the optimizer's slots from the tensors of a file."""
    optimizer = model.optimizer
    found = {}
    for name, weight in tensor_names(model).items():
        start = f"{_OPTIMIZER}{name}/"
        slots = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
        if slots:
            found[id(weight)] = (weight, slots)
    optimizer.build([weight for weight, _ in found.values()])
    for weight, slots in found.values():
        for slot, state in optimizer.slots_of(weight).items():
            value = slots.get(slot)
            if value is None or tuple(value.shape) != state.shape:
                raise ValueError(f"{path} is damaged: optimizer state {slot!r} of {weight.path!r}")
            state.assign(value)


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return a model with new weights from `json_string`, which `Model.to_json()` made.

    `custom_objects` holds own classes and functions by name.
    """
    return deserialize_keras_object(json.loads(json_string), custom_objects)


def clone_model(
    model: Model, input_tensors: Any = None, clone_function: Callable[..., Any] | None = None
) -> Any:
    """Return a model of the same structure with new weights.

    Args:
        model: functional or Sequential.
        input_tensors: symbolic inputs to build on instead of new ones.
        clone_function: takes a layer and returns the one that takes its place.
    """
    if input_tensors is not None or clone_function is not None:
        raise ValueError("clone_model: input_tensors and clone_function are not supported")
    return type(model).from_config(model.get_config())
