"""The programs also run on Keras itself."""

from real_keras import keras  # noqa: F401 - a fixture
