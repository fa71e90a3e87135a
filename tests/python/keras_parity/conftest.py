"""Loads Keras for comparison, on whichever backend is installed."""

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
