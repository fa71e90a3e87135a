"""Models: `Sequential`, functional and subclassed, and their files."""

from fastconv.layers.core import Input
from fastconv.models.introspection import (
    ClassGradients,
    LayerTime,
    class_gradients,
    layer_outputs,
    layer_shapes,
    layer_times,
)
from fastconv.models.model import Model
from fastconv.models.saving import clone_model, load_model, model_from_json, save_model
from fastconv.models.sequential import Sequential

Functional = Model

__all__ = [
    "ClassGradients",
    "Functional",
    "Input",
    "LayerTime",
    "Model",
    "Sequential",
    "class_gradients",
    "clone_model",
    "layer_outputs",
    "layer_shapes",
    "layer_times",
    "load_model",
    "model_from_json",
    "save_model",
]
