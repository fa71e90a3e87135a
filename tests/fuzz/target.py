"""What the fuzzers call: load a model, and run it once on zeros."""

from __future__ import annotations

import math

import numpy as np

import fastconv
import fastconv.onnx
from fastconv.inference import file
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
