"""Weights out of Keras's files: `.keras`, `.weights.h5`, and the older whole-model `.h5`.

HDF5 is read with h5py, nothing in a file is ever run, and no link leads out of it.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.utils.naming import snake_case

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import PathLike, TensorLike
    from fastconv.layers import Layer
    from fastconv.models import Model

_INSIDE = "model.weights.h5"  # the weights in a .keras file
_MODEL = "model_weights"  # the group of weights in a whole-model .h5 file
_DEPTH = 64  # of groups in a file
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass
class _Source:
    """The arrays of one layer: HDF5 data sets or NumPy arrays."""

    label: str
    names: tuple[str, ...]  # of the models around the layer and of the layer
    arrays: list[Any]
    parts: tuple[str, ...] = ()  # names of the arrays, where the file has them


@dataclass
class _Target:
    """The variables of one layer."""

    path: str  # in Keras's files
    names: tuple[str, ...]
    variables: list[Any]


def load_keras_weights(model: Model, source: Any, skip_mismatch: bool = False) -> None:
    """Set the weights of a built model to those of a Keras model.

    Layers are matched by their names; where those differ (Keras numbers automatic names through
    the whole process), by their places in the structure, as Keras itself does.

    Args:
        model: a built model of the same structure.
        source: path of a `.keras`, `.weights.h5` or whole-model `.h5` file; a dict of layer names
            and their `get_weights()`; or the list that `get_weights()` of the whole model returned.
        skip_mismatch: leave out layers that do not fit, instead of raising.

    Raises:
        ImportError: a file is given and h5py is missing.
        FileNotFoundError: no such file.
        TypeError: `source` is of another kind.
        ValueError: the model has not been built, the file is damaged, or names or shapes do not
            fit; nothing is changed.
    """
    if not model.built:
        raise ValueError(
            f"model '{model.name}' has not been built; call build() or give it data first"
        )
    if isinstance(source, (list, tuple)):
        model.set_weights(source)
        return
    if isinstance(source, dict):
        sources = [
            _Source(str(name), (str(name),), [np.asarray(a) for a in arrays])
            for name, arrays in source.items()
        ]
        ways = [_by_name(_top(model), sources)]
        _assign("the given weights", model, sources, ways, skip_mismatch)
        return
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "weights come from a path, a dict of layer names or a list of arrays, "
            f"received: {type(source).__name__}"
        )
    path = os.fspath(source)
    with _opened(path, sum(w.size * np.dtype(w.dtype).itemsize for w in model.weights)) as file:
        try:
            if "layer_names" in file.attrs or "layer_names0" in file.attrs or _MODEL in file:
                sources, targets = _legacy_sources(file, path), _top(model)
                ways = [_by_name(targets, sources), _by_order(targets, sources)]
            else:
                sources, targets = list(_sources(file, path)), _targets(model)
                ways = [_by_name(targets, sources), _by_path(targets, sources)]
            _assign(path, model, sources, ways, skip_mismatch)
        except (OSError, RuntimeError, LookupError, TypeError, OverflowError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def is_keras_file(path: PathLike) -> bool:
    """Tell whether a file begins as a zip archive or as HDF5."""
    with open(path, "rb") as file:
        head = file.read(8)
    return head[:4] == b"PK\x03\x04" or head == _HDF5


# Matching: each way is a list of (target, source or None) and the sources that are left.


def _by_name(targets: TensorLike, sources: Any) -> Any:
    table = {s.names: s for s in sources}
    return [(t, table.get(t.names)) for t in targets]


def _by_path(targets: TensorLike, sources: Any) -> Any:
    table = {s.label: s for s in sources}
    return [(t, table.get(t.path)) for t in targets]


def _by_order(targets: TensorLike, sources: Any) -> Any:
    rest = iter([s for s in sources if s.arrays])
    return [(t, next(rest, None)) for t in targets]


def _fit(pairs: Any, sources: Any) -> Any:
    """Return ([(variable, array)], problems) of one way of matching."""
    found: list[tuple[Any, Any]] = []
    problems: list[str] = []
    for target, source in pairs:
        label = "/".join(target.names)
        if source is None:
            problems.append(f"no weights for layer {label!r}")
            continue
        variables = _ordered(target.variables, source)
        if len(variables) != len(source.arrays):
            problems.append(
                f"layer {label!r} has {len(variables)} weights, the file has {len(source.arrays)}"
            )
            continue
        wrong = [
            f"{v.path!r} has shape {v.shape}, the file has {tuple(a.shape)}"
            for v, a in zip(variables, source.arrays, strict=True)
            if v.shape != tuple(a.shape) or a.dtype.kind not in "fiu"
        ]
        if wrong:
            problems += wrong
        else:
            found += zip(variables, source.arrays, strict=True)
    used = {id(s) for _, s in pairs}
    problems += [
        f"unexpected weights of layer {'/'.join(s.names)!r}"
        for s in sources
        if s.arrays and id(s) not in used
    ]
    return found, problems


def _ordered(variables: list[Variable], source: Any) -> Any:
    """Return the variables in the order of the arrays.

    The old format puts what is trained first, also across the layers of an inner model.
    """
    if len(source.parts) != len(variables):
        return variables
    other = [v for v in variables if v.trainable] + [v for v in variables if not v.trainable]

    def hits(order: Any) -> Any:
        return sum(v.name == part for v, part in zip(order, source.parts, strict=True))

    return other if hits(other) > hits(variables) else variables


def _assign(path: PathLike, model: Model, sources: Any, ways: Any, skip_mismatch: bool) -> None:
    results = [_fit(pairs, sources) for pairs in ways]
    # Names first; where nothing fits, places tell more about what is wrong.
    best = min(results[::-1], key=lambda result: len(result[1]))
    found, problems = next((r for r in results if not r[1]), best)
    if skip_mismatch:
        found, problems = max(results, key=lambda result: len(result[0]))
    elif problems:
        shown = "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else "")
        raise ValueError(f"{path} does not fit model '{model.name}': {shown}")
    values = [(variable, _values(array, path)) for variable, array in found]
    for variable, value in values:
        variable.assign(value)


def _values(array: Any, path: PathLike) -> Any:
    """Return the values of an array, whose shape has been checked."""
    if getattr(array, "chunks", None):
        _check_chunks(array, path)
    return np.asarray(array[...])


def _check_chunks(array: Any, path: PathLike) -> None:
    """Check that the pieces of an HDF5 array take no more memory than the array itself.

    The library unpacks a whole piece, whatever its size, and gzip data to their end.

    Raises:
        ValueError: they do, or they are packed in another way than by gzip.
    """
    size = math.prod(array.chunks) * array.dtype.itemsize
    known = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
    properties = array.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if size > array.nbytes + 2**20 or not known.keys() >= set(filters):
        raise ValueError(
            f"{path}: {array.name!r} is stored in pieces of {array.chunks}, by filters {filters}; "
            f"pieces of the size of the array and the filters {known} are read"
        )
    if 1 not in filters:
        return
    for index in range(array.id.get_num_chunks()):
        info = array.id.get_chunk_info(index)
        if info.size > 2 * size + 2**16:  # gzip makes nothing that much larger
            raise ValueError(f"{path} is damaged: {array.name!r} has a piece of {info.size} bytes")
        unpacker = zlib.decompressobj()
        unpacked = len(
            unpacker.decompress(array.id.read_direct_chunk(info.chunk_offset)[1], size + 5)
        )
        if unpacked > size + 4:  # a checksum may be packed with it
            raise ValueError(f"{path}: {array.name!r} unpacks to more than its {size} bytes")


# The model


def _top(model: Model) -> list[_Target]:
    """Return the layers of the outermost model that have weights."""
    return [_Target("", (x.name,), x.weights) for x in model.layers if x.weights]


def _targets(model: Model) -> list[_Target]:
    found: list[_Target] = []
    _walk(model, "", (), set(), found)
    return found


def _walk(layer: Layer, path: str, names: Any, visited: Any, found: Any) -> None:
    """Visit layers in Keras's order; a shared one has the place of its first visit."""
    from fastconv.models.model import Model

    if id(layer) in visited:
        return
    visited.add(id(layer))
    layers = layer.layers if isinstance(layer, Model) else None
    functional = isinstance(layer, Model) and layer._function is not None
    own = [] if functional else layer._own_weights()
    if own:
        found.append(_Target(path, names, own))
    children = {} if functional else dict(layer.__dict__)
    if layers is not None and not functional:
        children["layers"] = layers
    if functional:
        _walk_container(layers, f"{path}/layers", names, visited, found)
    for key in sorted(children, key=lambda k: f"~{k}" if k.startswith("_") else k):
        if key in ("_nodes", "_init_arguments", "_weights", "_eager_plans"):
            continue
        child = children[key]
        if hasattr(child, "_own_weights"):
            _walk(child, f"{path}/{key}", (*names, child.name), visited, found)
        elif isinstance(child, (list, tuple, dict)):
            _walk_container(child, f"{path}/{key}", names, visited, found)


def _walk_container(items: Any, path: PathLike, names: Any, visited: Any, found: Any) -> None:
    from fastconv.models.model import Model

    counts: dict[str, int] = {}
    for item in items.values() if isinstance(items, dict) else items:
        if hasattr(item, "_own_weights"):
            base = "functional" if type(item) is Model else snake_case(type(item).__name__)
        elif isinstance(item, (list, tuple, dict)):
            base = "container"
        else:
            continue
        number = counts.get(base, 0)
        counts[base] = number + 1
        inner = f"{path}/{base}_{number}" if number else f"{path}/{base}"
        if base == "container":
            _walk_container(item, inner, names, visited, found)
        else:
            _walk(item, inner, (*names, item.name), visited, found)


# Files


@contextlib.contextmanager
def _opened(path: str, weight_bytes: int) -> Iterator[Any]:
    """Open the HDF5 file, or the one inside a .keras file."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such file: {path}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a file of weights")
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "reading Keras's weights needs the package h5py: pip install 'fastconv[keras]'"
        ) from error
    if not is_keras_file(path):
        raise ValueError(f"{path} is neither a .keras file nor HDF5")
    source: object = path
    if zipfile.is_zipfile(path):
        source = io.BytesIO(_member(path, weight_bytes))
    try:
        file = h5py.File(source, "r")
    except OSError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    with file:
        yield file


def _member(path: str, weight_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            if _INSIDE not in archive.namelist():
                raise ValueError(f"{path} is a zip archive without {_INSIDE!r}, not a .keras file")
            size = archive.getinfo(_INSIDE).file_size
            # Weights and the optimizer's state; more is an archive made to fill the memory.
            most = 16 * weight_bytes + 2**28
            if size > most:
                raise ValueError(
                    f"{path}: {_INSIDE} declares {size} bytes, at most {most} fit the model"
                )
            with archive.open(_INSIDE) as member:
                # Without a length read() unpacks all, also more than is declared.
                return member.read(size)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _child(group: Any, name: str, path: str) -> Any:
    """Return an entry of a group, without following links that could lead out of the file."""
    import h5py

    for part in str(name).strip("/").split("/"):
        if not isinstance(group, h5py.Group):
            raise ValueError(f"{path} is damaged: {name!r} is not in a group")
        link = group.get(part, getlink=True)
        if link is None:
            raise ValueError(f"{path} is damaged: no entry {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path}: {name!r} is a link to another place, which is not followed")
        group = group[part]
    if isinstance(group, h5py.Dataset) and (group.external or group.is_virtual):
        raise ValueError(f"{path}: {name!r} has its data in another file, which is not read")
    return group


def _sources(
    group: Any, path: str, where: str = "", names: Any = (), depth: int = 0
) -> Iterator[Any]:
    """Yield the layers of a file of Keras 3: groups with a group `vars`."""
    import h5py

    if depth > _DEPTH:
        raise ValueError(f"{path} is damaged: its groups are nested too deeply")
    if "vars" in group:
        variables = _child(group, "vars", path)
        if not isinstance(variables, h5py.Group):
            raise ValueError(f"{path} is damaged: 'vars' is not a group")
        if where:
            names = (*names, _text(variables.attrs.get("name", where.rsplit("/", 1)[-1])))
        keys = sorted(variables, key=lambda k: (len(k), k))
        arrays = [_child(variables, key, path) for key in keys]
        if not all(isinstance(a, h5py.Dataset) for a in arrays):
            raise ValueError(f"{path} is damaged: {where}/vars holds a group")
        if arrays:
            yield _Source(where, names, arrays)
    for key in group:
        # Not weights: the state of the optimizer, of metrics, and of random numbers.
        skip = key in ("vars", "seed_generator") or (
            not depth and key in ("optimizer", "compile_metrics", "metrics")
        )
        if skip:
            continue
        child = _child(group, key, path)
        if isinstance(child, h5py.Group):
            yield from _sources(child, path, f"{where}/{key}", names, depth + 1)


def _legacy_sources(file: Any, path: str) -> list[_Source]:
    """Return the layers of a file in the older format, which lists them by name."""
    root = _child(file, _MODEL, path) if _MODEL in file else file
    found = []
    for layer in _texts(root, "layer_names"):
        group = _child(root, layer, path)
        weights = _texts(group, "weight_names")
        arrays = [_child(group, weight, path) for weight in weights]
        if not all(hasattr(a, "shape") for a in arrays):
            raise ValueError(f"{path} is damaged: the weights of layer {layer!r} are not arrays")
        parts = tuple(w.rsplit("/", 1)[-1].split(":")[0] for w in weights)
        found.append(_Source(layer, (layer,), arrays, parts))
    return found


def _texts(group: Any, name: str) -> list[str]:
    """Return a list of names from an attribute, which long lists have in pieces."""
    if name in group.attrs:
        return [_text(v) for v in group.attrs[name]]
    found, n = [], 0
    while f"{name}{n}" in group.attrs:
        found += [_text(v) for v in group.attrs[f"{name}{n}"]]
        n += 1
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
