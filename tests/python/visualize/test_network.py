"""Filters and feature maps."""

import numpy as np
import pytest

from fastconv import layers, models
from fastconv.visualize import feature_maps, feature_sheet, filters
from small_networks import digits_like, image

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

L = layers


def sheet(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)


def built(*stack, shape=(8, 8, 3)):
    return models.Sequential([L.Input(shape), *stack])


def test_filters_on_grey_images_are_tiles_of_weights(tmp_path):
    model = digits_like()
    figure = filters(model, "first", path=tmp_path / "filters.svg")
    assert (tmp_path / "filters.svg").read_bytes().startswith(b"<?xml")
    kernel = model.get_layer("first").kernel.numpy()
    drawn = sheet(figure)
    assert drawn.shape == (2 * 4 - 1, 3 * 4 - 1)
    np.testing.assert_allclose(drawn[:3, 4:7], kernel[:, :, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(drawn[4:, :3], kernel[:, :, 0, 3], rtol=1e-6)
    assert np.isnan(drawn[3]).all()
    limits = figure.axes[0].images[0].get_clim()
    assert limits == pytest.approx((-np.abs(kernel).max(), np.abs(kernel).max()))
    assert figure.axes[0].get_title() == "first: kernel (3, 3, 1, 6)"
    assert filters(model).axes[0].get_title() == figure.axes[0].get_title()


def test_deeper_filters_are_rows_of_channels():
    model = digits_like()
    kernel = model.get_layer("second").kernel.numpy()
    figure = filters(model, model.get_layer("second"), max_filters=3, max_channels=4)
    drawn = sheet(figure)
    assert drawn.shape == (3 * 4 - 1, 4 * 4 - 1)
    np.testing.assert_allclose(drawn[8:11, 4:7], kernel[:, :, 1, 2], rtol=1e-6)
    assert figure.axes[0].get_title().endswith("first 3 of 5")
    assert figure.axes[0].get_xlabel() == "input channels, 4 of 6"


def test_filters_on_colours_are_stretched():
    model = built(L.Conv2D(2, 5))
    drawn = sheet(filters(model))
    kernel = model.layers[0].kernel.numpy()[..., 1]
    expected = (kernel - kernel.min()) / np.ptp(kernel)
    np.testing.assert_allclose(drawn[:, 6:], expected, atol=1e-6)
    model.layers[0].kernel.assign(np.zeros((5, 5, 3, 2)))
    assert (sheet(filters(model))[:, :5] == 0).all()


def test_filters_of_other_convolutions():
    depthwise = built(L.DepthwiseConv2D(3, depth_multiplier=2, name="d"))
    kernel = depthwise.layers[0].weights[0].numpy()
    np.testing.assert_allclose(sheet(filters(depthwise))[:3, 4:7], kernel[:, :, 0, 1], rtol=1e-6)
    separable = built(L.SeparableConv2D(4, 3))
    kernel = separable.layers[0].weights[0].numpy()
    np.testing.assert_allclose(sheet(filters(separable))[:3, 4:7], kernel[:, :, 1, 0], rtol=1e-6)
    transpose = built(L.Conv2DTranspose(5, 3), shape=(4, 4, 1))
    kernel = transpose.layers[0].weights[0].numpy()
    np.testing.assert_allclose(sheet(filters(transpose))[:3, 4:7], kernel[:, :, 1, 0], rtol=1e-6)
    line = built(L.Conv1D(6, 5), shape=(9, 4))
    kernel = line.layers[0].weights[0].numpy()
    drawn = sheet(filters(line))
    assert drawn.shape == (6 * 2 - 1, 4 * 6 - 1)
    np.testing.assert_allclose(drawn[2, 6:11], kernel[:, 1, 1], rtol=1e-6)


def test_feature_maps_layer_by_layer(tmp_path):
    model = digits_like()
    figure = feature_maps(model, image(), path=tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "first: 6 maps of 10 x 8",
        "pool: 6 maps of 5 x 4",
        "second: 5 maps of 5 x 4",
        "norm: 5 maps of 5 x 4",
        "act: 5 maps of 5 x 4",
    ]
    maps = models.layer_outputs(model, image()[None, ..., None], ["pool"])["pool"][0]
    drawn = np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)
    one = maps[..., 2]
    np.testing.assert_allclose(drawn[:5, 10:14], (one - one.min()) / np.ptp(one), atol=1e-6)
    some = feature_maps(model, image(), ["act", model.get_layer("first")], max_maps=3)
    assert [axes.get_title(loc="left") for axes in some.axes] == [
        "act: 5 maps of 5 x 4, first 3",
        "first: 6 maps of 10 x 8, first 3",
    ]


def test_sheet_of_constant_maps_is_dark():
    found = feature_sheet(np.full((2, 3, 3), 7.0))
    assert found.shape == (3, 7)
    np.testing.assert_array_equal(found[:, :3], np.zeros((3, 3)))


def test_errors():
    model = digits_like()
    with pytest.raises(ValueError, match=r"no layer 'third'; its layers are \['first', 'pool'"):
        filters(model, "third")
    with pytest.raises(ValueError, match=r"'pool' is a MaxPooling2D.*are \['first', 'second'\]"):
        filters(model, "pool")
    with pytest.raises(ValueError, match="has no convolution"):
        filters(built(L.Flatten(), L.Dense(2)))
    with pytest.raises(ValueError, match="no weights yet"):
        filters(models.Sequential([L.Conv2D(2, 3)]))
    with pytest.raises(ValueError, match=r"'mean' returns \(None, 5\), which are no feature maps"):
        feature_maps(model, image(), ["first", "mean"])
    with pytest.raises(ValueError, match=r"no layer 'third'"):
        feature_maps(model, image(), ["third"])
    with pytest.raises(ValueError, match=r"shape \(3, 12, 10\).*expects one image \(12, 10, 1\)"):
        feature_maps(model, np.zeros((3, 12, 10)))
    flat = built(L.Flatten(), L.Dense(2))
    with pytest.raises(ValueError, match="no layer whose output is feature maps"):
        feature_maps(flat, np.zeros((8, 8, 3)))
