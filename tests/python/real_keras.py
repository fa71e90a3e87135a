"""Loads Keras for comparison, on whichever backend is installed.

TensorFlow comes first: on PyTorch, Keras counts padding in average pooling and updates moving
variances with the unbiased variance, against its own documentation.
"""

import importlib.util
import os

import pytest

for backend in ("tensorflow", "torch", "jax"):
    if importlib.util.find_spec(backend) is not None:
        os.environ.setdefault("KERAS_BACKEND", backend)
        break


@pytest.fixture(scope="session")
def keras():
    """The real Keras."""
    return pytest.importorskip("keras", reason="Keras is not installed, nothing to compare with")
