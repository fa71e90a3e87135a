"""What the fuzzers call: load a model, and run it once on zeros."""

from __future__ import annotations

import math
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

import fastconv
import fastconv.onnx
from fastconv.inference import file, safetensors
from fastconv.inference.simplify import simplify

# Inputs larger than this are not made; mutated models declare any size.
_MAX_ELEMENTS = 1 << 20
_REFUSALS = (ValueError, TypeError)


def check(data: bytes) -> str:
    """Return "ok" if a model loads and runs, "refused" if it is refused as it should be.

    A model that loads but needs more memory than the process may use gives "memory".

    Raises:
        Exception: any other outcome, a defect.
    """
    try:
        model = file.load(data) if file.recognizes(data[:9]) else fastconv.onnx.load(data)
    except ValueError:
        return "refused"
    _check_graph(simplify(model))
    session_class = getattr(fastconv, "InferenceSession", None)
    if session_class is None:
        return "ok"
    try:
        session = session_class(data)
        feeds = {value.name: _zeros(value) for value in model.inputs}
        if all(value is not None for value in feeds.values()):
            session.run(None, feeds)
    except _REFUSALS:
        return "refused"
    except MemoryError:
        return "memory"
    return "ok"


@cache
def _folder() -> tempfile.TemporaryDirectory:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(dir=memory)


def check_own(data: bytes) -> str:
    """As `check`, for any of fastconv's own files: each reader takes it or refuses it."""
    result = check(data) if file.recognizes(data[:9]) else "refused"
    path = Path(_folder().name, "training.fastconv")
    path.write_bytes(data)
    results = [result, _check_model(path), _check_weights(path, data)]
    return next((r for r in ("memory", "ok") if r in results), "refused")


def _check_model(path: Path) -> str:
    try:
        model = fastconv.models.load_model(path)
    except _REFUSALS:
        return "refused"
    try:
        shapes = [tuple(x.shape) for x in model.inputs] if model.inputs else []
        sizes = [[n or 2 for n in shape] for shape in shapes]
        if shapes and sum(math.prod(s) for s in sizes) <= _MAX_ELEMENTS:
            xs = [np.zeros(s, np.float32) for s in sizes]
            model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    except _REFUSALS:
        return "refused"
    except MemoryError:
        return "memory"
    return "ok"


def _check_weights(path: Path, data: bytes) -> str:
    """Read weights into a model, and let a run go on from a backup."""
    from fastconv import callbacks
    from own import X, Y, network

    try:
        _, metadata, _ = safetensors.read_header(data, "data")
    except ValueError:
        metadata = {}
    kind = metadata.get("kind")
    if kind not in ("weights", "training"):
        return "refused"
    model = network()
    try:
        if kind == "weights":
            model.load_weights(path)
            model.predict(X, verbose=0)
        else:
            backup = callbacks.BackupAndRestore(path.parent, delete_checkpoint=False)
            stop = callbacks.EarlyStopping("loss")
            model.fit(X, Y, batch_size=2, verbose=0, callbacks=[backup, stop])
    except _REFUSALS:
        return "refused"
    return "ok"


def _check_graph(model) -> None:
    """Check what the lowering may rely on."""
    known = {value.name for value in model.inputs} | set(model.constants)
    for node in model.nodes:
        assert all(name in known for name in node.inputs if name), node
        known.update(name for name in node.outputs if name)
    assert all(value.name in known for value in model.outputs)
    for value in model.constants.values():
        assert isinstance(value, np.ndarray) and not value.flags.writeable
        # Reading every byte shows arrays that lie outside their memory.
        value.tobytes()


def _zeros(value):
    shape = (1, 3, 8, 8) if value.shape is None else value.shape
    sizes = [
        size if isinstance(size, int) else (8 if axis else 1) for axis, size in enumerate(shape)
    ]
    if math.prod(sizes) > _MAX_ELEMENTS:
        return None
    try:
        return np.zeros(sizes, np.dtype(value.dtype))
    except TypeError:
        return None
