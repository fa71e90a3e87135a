"""Previews of augmentation, by the interfaces that generators and layers have."""

import numpy as np
import pytest

from fastconv import layers, models, utils
from fastconv.visualize import augmentation_preview, augmented


class Shifting:
    """Has Keras's `random_transform`."""

    def random_transform(self, x, seed=None):
        assert x.ndim == 3
        return np.roll(x, np.random.default_rng(seed).integers(1, 4), axis=1)


class Flowing:
    """Has Keras's `flow`, whose iterator never ends."""

    def flow(self, x, y=None, batch_size=32, shuffle=True, seed=None):
        assert x.shape[0] == batch_size == 1
        while True:
            yield x + (0 if seed is None else seed)


IMAGE = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_generators_and_their_seeds():
    found = augmented(Shifting(), IMAGE, count=3, seed=5)
    assert found.shape == (3, 4, 6, 1) and found.dtype == np.float32
    np.testing.assert_array_equal(found, augmented(Shifting(), IMAGE, count=3, seed=5))
    expected = np.roll(IMAGE, np.random.default_rng(6).integers(1, 4), axis=1)
    np.testing.assert_array_equal(found[1, ..., 0], expected)
    flown = augmented(Flowing(), IMAGE, count=2, seed=10)
    np.testing.assert_array_equal(flown[..., 0], [IMAGE + 10.0, IMAGE + 11.0])


def test_layers_run_in_training_mode():
    utils.set_random_seed(1)
    found = augmented(layers.Dropout(0.5), IMAGE + 1, count=6)
    zeros = (found == 0).mean(axis=(1, 2, 3))
    assert (zeros > 0).all() and (zeros < 1).all()
    assert (found[0] != found[1]).any()
    model = models.Sequential([layers.Input((4, 6, 1)), layers.Rescaling(2.0)])
    np.testing.assert_array_equal(augmented(model, IMAGE, 1)[0, ..., 0], 2.0 * IMAGE)


def test_preview_draws_variants_on_one_scale(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    figure = augmentation_preview(Flowing(), IMAGE, count=4, seed=0, path=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["original", "1", "2", "3", "4"]
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_allclose(drawn[0], IMAGE / 23)
    np.testing.assert_allclose(drawn[4], (IMAGE + 3) / 26, rtol=1e-6)
    colours = augmentation_preview(Flowing(), np.stack([IMAGE] * 3, axis=-1), count=1)
    assert colours.axes[0].images[0].get_array().shape == (4, 6, 3)


def test_errors():
    with pytest.raises(TypeError, match=r"random_transform\(\) or flow\(\), or a layer.*: int"):
        augmented(3, IMAGE)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 6, 1\), expected \(H, W\)"):
        augmented(Shifting(), np.zeros((2, 4, 6, 1)))
