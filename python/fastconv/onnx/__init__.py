"""ONNX files: reading and writing. Needs the package onnx: pip install 'fastconv[onnx]'."""

from __future__ import annotations

from typing import Any

_NAMES = {"export": "fastconv.onnx.exporter", "load": "fastconv.onnx.reader"}

__all__ = ["export", "load"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'fastconv.onnx' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value
