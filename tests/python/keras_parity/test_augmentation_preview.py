"""Keras's own generator in `visualize.augmented`."""

import numpy as np
import pytest

from fastconv.visualize import augmented


def test_generator_of_keras(keras):
    pytest.importorskip("scipy", reason="Keras's generator needs SciPy")
    image = pytest.importorskip(
        "keras.src.legacy.preprocessing.image", reason="this Keras has no ImageDataGenerator"
    )
    generator = image.ImageDataGenerator(rotation_range=30, horizontal_flip=True)
    picture = np.arange(24, dtype=np.float32).reshape(4, 6)
    found = augmented(generator, picture, count=4, seed=0)
    assert found.shape == (4, 4, 6, 1)
    assert (found[0] != found[1]).any()
    again = generator.random_transform(picture[..., None], seed=2)
    np.testing.assert_array_equal(found[2], again)
