"""What a model file holds, told by its first bytes."""

from __future__ import annotations

from pathlib import Path


def kind_of(path: Path) -> str:
    """Return "model" or "weights" (of layers), or "graph" (ONNX, or fastconv's inference graph).

    A file that can be neither is called "model" if its name ends as those of layer models do, here
    or in Keras, so that the error comes from their reader.

    Raises:
        FileNotFoundError: no such file.
    """
    from fastconv.inference import file, safetensors

    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    with open(path, "rb") as opened:
        head = opened.read(9)
    if not file.recognizes(head):
        return "model" if path.suffix in (".fastconv", ".keras", ".h5") else "graph"
    try:
        _, metadata, _ = safetensors.read_header(safetensors.open_file(str(path)), str(path))
    except ValueError:
        return "model"
    kind = metadata.get("kind")
    return kind if kind in ("graph", "weights") else "model"


def is_own(path: Path) -> bool:
    """Tell whether the file is a safetensors file, whatever its name."""
    from fastconv.inference import file

    with open(path, "rb") as opened:
        return file.recognizes(opened.read(9))
