"""Names of `keras.saving`."""

from fastconv.models.saving import load_model, save_model
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
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "load_model",
    "register_keras_serializable",
    "save_model",
    "serialize_keras_object",
]
