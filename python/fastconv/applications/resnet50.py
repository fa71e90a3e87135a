"""Keras's second module of `ResNet50`."""

from fastconv.applications.resnet import ResNet50, preprocess_input

__all__ = ["ResNet50", "preprocess_input"]
