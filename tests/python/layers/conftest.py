"""Comparison with Keras itself."""

from real_keras import keras  # noqa: F401 - a fixture
