"""Keras's module of `VGG16`."""

from fastconv.applications.vgg import VGG16, preprocess_input

__all__ = ["VGG16", "preprocess_input"]
