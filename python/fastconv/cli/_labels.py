"""Class names inside a model file, as one more entry of its safetensors metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

_KEY = "class_names"


def write_class_names(path: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Adds the names to a file that ``Model.save`` wrote; the file stays whole at any moment."""
    from safetensors import safe_open
    from safetensors.numpy import save

    from fastconv._files import write_atomically

    with safe_open(path, framework="numpy") as file:
        metadata = {**file.metadata(), _KEY: json.dumps(list(names))}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    write_atomically(Path(path), save(tensors, metadata=metadata))


def read_class_names(path: str | os.PathLike[str], count: int) -> list[str]:
    """The names in a model file, or "class 0" and so on where it holds none for its classes."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = file.metadata().get(_KEY, "[]")
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if isinstance(names, list) and len(names) == count and all(isinstance(n, str) for n in names):
        return names
    return [f"class {i}" for i in range(count)]
