"""Images from folders and arrays, with the names of `keras.preprocessing`."""

from __future__ import annotations

from typing import Any

from fastconv.preprocessing._directory import image_dataset_from_directory

__all__ = ["image", "image_dataset_from_directory"]


def __getattr__(name: str) -> Any:
    if name == "image":
        import importlib

        return importlib.import_module("fastconv.preprocessing.image")
    raise AttributeError(f"module 'fastconv.preprocessing' has no attribute {name!r}")
