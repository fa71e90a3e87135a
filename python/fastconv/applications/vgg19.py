"""Keras's module of `VGG19`."""

from fastconv.applications.vgg import VGG19, preprocess_input

__all__ = ["VGG19", "preprocess_input"]
