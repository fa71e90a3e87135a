"""Helpers with the names of `keras.utils`."""

from __future__ import annotations

from typing import Any

from fastconv.utils.dataset import PyDataset, Sequence
from fastconv.utils.naming import clear_session
from fastconv.utils.numeric import normalize, to_categorical
from fastconv.utils.rng import set_random_seed
from fastconv.utils.serialization import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    register_keras_serializable,
    serialize_keras_object,
)

__all__ = [
    "CustomObjectScope",
    "LayerCount",
    "ModelCount",
    "PyDataset",
    "Sequence",
    "clear_session",
    "count",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "load_keras_weights",
    "normalize",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_floatx",
    "set_random_seed",
    "to_categorical",
]

# Part of other modules of the package that also show up here, as in Keras.
_ELSEWHERE = {
    "image_dataset_from_directory": "fastconv.preprocessing",
    "load_img": "fastconv.preprocessing.image",
    "img_to_array": "fastconv.preprocessing.image",
    "array_to_img": "fastconv.preprocessing.image",
    "save_img": "fastconv.preprocessing.image",
    "load_keras_weights": "fastconv.models.keras_weights",
    "LayerCount": "fastconv.models.counting",
    "ModelCount": "fastconv.models.counting",
    "count": "fastconv.models.counting",
    "plot_model": "fastconv.visualize",
    "set_floatx": "fastconv.config",
    "floatx": "fastconv.config",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        import importlib

        try:
            return getattr(importlib.import_module(_ELSEWHERE[name]), name)
        except ModuleNotFoundError as error:
            raise AttributeError(f"fastconv.utils.{name} is not available: {error}") from None
    raise AttributeError(f"module 'fastconv.utils' has no attribute {name!r}")
