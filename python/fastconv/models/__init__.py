"""Models: `Sequential`, functional and subclassed, and their files."""

from fastconv.layers.core import Input
from fastconv.models.model import Model
from fastconv.models.saving import clone_model, load_model, model_from_json, save_model
from fastconv.models.sequential import Sequential

Functional = Model

__all__ = [
    "Functional",
    "Input",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]
