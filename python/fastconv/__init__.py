"""fastconv: convolutional networks on the CPU, with Keras's names, from a small package.

Submodules load when they are first used, so `import fastconv` costs little more than NumPy.
`fastconv.keras` is another name of this package: `from fastconv.keras.layers import Conv2D`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from typing import TYPE_CHECKING, Any

from fastconv._runtime import get_num_threads, set_num_threads, show_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from fastconv import activations as activations
    from fastconv import applications as applications
    from fastconv import backend as backend
    from fastconv import callbacks as callbacks
    from fastconv import config as config
    from fastconv import constraints as constraints
    from fastconv import datasets as datasets
    from fastconv import explorer as explorer
    from fastconv import filters as filters
    from fastconv import functional as functional
    from fastconv import inference as inference
    from fastconv import initializers as initializers
    from fastconv import layers as layers
    from fastconv import losses as losses
    from fastconv import metrics as metrics
    from fastconv import models as models
    from fastconv import onnx as onnx
    from fastconv import ops as ops
    from fastconv import optimizers as optimizers
    from fastconv import preprocessing as preprocessing
    from fastconv import regularizers as regularizers
    from fastconv import saving as saving
    from fastconv import testing as testing
    from fastconv import utils as utils
    from fastconv import visualize as visualize
    from fastconv._graph import KerasTensor as KerasTensor
    from fastconv._graph import Variable as Variable
    from fastconv.layers import Input as Input
    from fastconv.layers import Layer as Layer
    from fastconv.models import Model as Model
    from fastconv.models import Sequential as Sequential
    from fastconv.session import (
        InferenceSession as InferenceSession,
    )
    from fastconv.session import (
        SessionOptions as SessionOptions,
    )

    __version__: str

_SUBMODULES = (
    "activations",
    "applications",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "explorer",
    "filters",
    "functional",
    "inference",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "onnx",
    "ops",
    "optimizers",
    "preprocessing",
    "regularizers",
    "saving",
    "testing",
    "utils",
    "visualize",
)

# Names of the package itself and the modules that define them.
_NAMES = {
    "Input": "fastconv.layers",
    "Layer": "fastconv.layers",
    "InferenceSession": "fastconv.session",
    "SessionOptions": "fastconv.session",
    "Model": "fastconv.models",
    "Sequential": "fastconv.models",
    "Variable": "fastconv._graph",
    "KerasTensor": "fastconv._graph",
}

__all__ = [
    "InferenceSession",
    "SessionOptions",
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "get_num_threads",
    "set_num_threads",
    "show_config",
    *_SUBMODULES,
]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fastconv")
    except PackageNotFoundError:
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _SUBMODULES:
        value = importlib.import_module(f"fastconv.{name}")
    elif name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    else:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_NAMES, "__version__"})


class _KerasAlias:
    """Finds `fastconv.keras.layers` and the like as `fastconv.layers`, not as second copies."""

    _prefix = "fastconv.keras"

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._prefix and not fullname.startswith(self._prefix + "."):
            return None
        real = "fastconv" + fullname[len(self._prefix) :]
        import importlib.util  # not at the top: it would make up half of the import time

        if real != "fastconv" and importlib.util.find_spec(real) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)  # type: ignore[arg-type] # has what a loader needs

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module("fastconv" + spec.name[len(self._prefix) :])
        self._specs[spec.name] = (module.__spec__, module.__loader__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias into the module: put its own back.
        for name, (spec, loader) in list(self._specs.items()):
            if sys.modules.get(spec.name) is module:
                module.__spec__, module.__loader__ = spec, loader
                del self._specs[name]

    def __init__(self) -> None:
        self._specs: dict[str, tuple[Any, Any]] = {}


keras = sys.modules[__name__]
sys.modules["fastconv.keras"] = keras
if not any(type(finder).__name__ == "_KerasAlias" for finder in sys.meta_path):
    sys.meta_path.insert(0, _KerasAlias())
