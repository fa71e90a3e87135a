"""Saliency and Grad-CAM: their formulas, PyTorch with the same weights, and messages."""

import sys

import numpy as np
import pytest

from fastconv import layers, models
from fastconv.visualize import grad_cam, grad_cam_map, overlay, saliency, saliency_map
from small_networks import digits_like, image


def torch_network(model):
    """The same network in PyTorch: (maps before pooling, logits)."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    nn = torch.nn
    one, two = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 3, padding="same")
    norm, head = nn.BatchNorm2d(5, eps=1e-3).eval(), nn.Linear(5, 4)
    with torch.no_grad():
        for layer, module in (("first", one), ("second", two)):
            kernel, bias = model.get_layer(layer).get_weights()
            module.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
            module.bias.copy_(torch.tensor(bias))
        gamma, beta, mean, variance = model.get_layer("norm").get_weights()
        for target, value in zip(
            (norm.weight, norm.bias, norm.running_mean, norm.running_var),
            (gamma, beta, mean, variance),
            strict=True,
        ):
            target.copy_(torch.tensor(value))
        kernel, bias = model.get_layer("head").get_weights()
        head.weight.copy_(torch.tensor(kernel.T))
        head.bias.copy_(torch.tensor(bias))
    maps = nn.Sequential(one, nn.ReLU(), nn.MaxPool2d(2), two, norm, nn.ReLU()).double()
    return torch, maps, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double()


@pytest.mark.parametrize("index", range(4))
def test_grad_cam_is_pytorchs(index):
    model = digits_like()
    torch, maps, rest = torch_network(model)
    x = torch.tensor(image()[None, None], dtype=torch.float64)
    activations = maps(x)
    activations.retain_grad()
    rest(activations)[0, index].backward()
    weights = activations.grad.mean(dim=(2, 3), keepdim=True)
    expected = torch.relu((weights * activations).sum(dim=1))[0].detach()
    found = grad_cam_map(model, image(), index, resize=False)
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    whole = torch.nn.functional.interpolate(
        expected[None, None], (12, 10), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(
        grad_cam_map(model, image(), index), whole / max(float(whole.max()), 1e-30), atol=1e-5
    )
    assert float(expected.max()) > 0 or index  # at least the first class has a map


@pytest.mark.parametrize("index", range(4))
def test_saliency_is_pytorchs(index):
    model = digits_like()
    torch, maps, rest = torch_network(model)
    x = torch.tensor(image()[None, None], dtype=torch.float64, requires_grad=True)
    rest(maps(x))[0, index].backward()
    found = saliency_map(model, image(), index)
    assert found.shape == (12, 10) and found.max() > 0
    np.testing.assert_allclose(found, x.grad[0, 0].abs(), rtol=1e-4, atol=1e-6)


def test_channels_first_gives_the_same_maps():
    last, first = digits_like(), digits_like(data_format="channels_first")
    first.set_weights(last.get_weights())
    for function in (saliency_map, grad_cam_map):
        np.testing.assert_allclose(
            function(first, image(), 1), function(last, image(), 1), rtol=1e-4, atol=1e-6
        )


def test_colours_count_by_their_largest_gradient():
    model = models.Sequential([layers.Input((2, 2, 3)), layers.Flatten(), layers.Dense(1)])
    kernel = np.array([[1, -5, 2], [0, 0, 3], [4, 4, -4], [0, 0, 0]], np.float32)
    model.layers[1].set_weights([kernel.reshape(12, 1), np.zeros(1)])
    found = saliency_map(model, np.zeros((2, 2, 3)))
    np.testing.assert_array_equal(found, [[5, 3], [4, 0]])


def test_smoothgrad_is_the_mean_over_noisy_images():
    model = digits_like()
    found = saliency_map(model, image(), 2, samples=8, noise=0.2, seed=7)
    again = saliency_map(model, image(), 2, samples=8, noise=0.2, seed=7)
    np.testing.assert_array_equal(found, again)
    noise = np.random.default_rng(7).standard_normal((8, 12, 10, 1))
    noisy = image()[..., None] + 0.2 * np.ptp(image()) * noise
    mean = models.class_gradients(model, noisy, 2).inputs.mean(axis=0)
    np.testing.assert_allclose(found, np.abs(mean)[..., 0], rtol=1e-5)
    without = saliency_map(model, image(), 2, samples=3, noise=0)
    np.testing.assert_allclose(without, saliency_map(model, image(), 2), rtol=1e-4, atol=1e-6)


def test_layer_of_grad_cam():
    model = digits_like()
    default = grad_cam_map(model, image(), 0)
    np.testing.assert_array_equal(grad_cam_map(model, image(), 0, "act"), default)
    first = grad_cam_map(model, image(), 0, model.get_layer("first"), resize=False)
    assert first.shape == (10, 8)
    likely = int(model.predict(image()[None], verbose=0).argmax())
    np.testing.assert_array_equal(
        grad_cam_map(model, image()), grad_cam_map(model, image(), likely)
    )


def test_pictures(tmp_path):
    model = digits_like()
    for function, names in (
        (saliency, ["image", "saliency of class 1"]),
        (grad_cam, ["image", "Grad-CAM of class 1", "overlay"]),
    ):
        figure = function(model, image(), 1, path=tmp_path / f"{function.__name__}.png")
        assert [axes.get_title() for axes in figure.axes if axes.get_title()] == names
        assert (tmp_path / f"{function.__name__}.png").read_bytes().startswith(b"\x89PNG")
    heat = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(heat, grad_cam_map(model, image(), 1))
    assert "mean of 4" in saliency(model, image(), samples=4).axes[1].get_title()


def test_overlay_mixes_image_and_colours():
    grey = np.full((4, 6), 100, np.uint8)
    np.testing.assert_array_equal(overlay(grey, np.zeros((2, 3)), alpha=0), np.full((4, 6, 3), 100))
    from matplotlib import colormaps

    heat = np.zeros((4, 6))
    heat[:, 3:] = 1
    low, high = (np.rint(255 * np.array(colormaps["turbo"](v)[:3])) for v in (0.0, 1.0))
    found = overlay(np.zeros((4, 6, 3)), heat, alpha=1)
    assert found.dtype == np.uint8 and found.shape == (4, 6, 3)
    np.testing.assert_array_equal(found[0, 0], low)
    np.testing.assert_array_equal(found[0, 5], high)


def test_errors_name_what_was_given_and_expected():
    model = digits_like()
    with pytest.raises(ValueError, match=r"shape \(9, 9\), model 'small' expects one image \(12, "):
        saliency_map(model, np.zeros((9, 9)))
    with pytest.raises(ValueError, match=r"shape \(2, 12, 10, 1\).*one image \(12, 10, 1\)"):
        grad_cam(model, np.zeros((2, 12, 10, 1)))
    with pytest.raises(ValueError, match=r"no layer 'conv9'; its layers are \['first', 'pool'"):
        grad_cam_map(model, image(), layer="conv9")
    with pytest.raises(ValueError, match=r"'mean' returns \(None, 5\), Grad-CAM needs"):
        grad_cam_map(model, image(), layer="mean")
    with pytest.raises(ValueError, match="class_index 4 is out of range: the model has 4 classes"):
        saliency(model, image(), 4)
    with pytest.raises(ValueError, match="samples is 0"):
        saliency_map(model, image(), samples=0)
    with pytest.raises(ValueError, match="noise is -1"):
        saliency_map(model, image(), noise=-1)
    dense = models.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="has no 2-D convolution, which Grad-CAM needs"):
        grad_cam_map(dense, np.zeros((4, 4)))
    vectors = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"takes inputs \(None, 4\), expected a model of images"):
        saliency_map(vectors, np.zeros(4))
    with pytest.raises(ValueError, match="no colormap 'rainbows'"):
        overlay(image(), image(), colormap="rainbows")
    with pytest.raises(ValueError, match=r"alpha is 2"):
        overlay(image(), image(), alpha=2)
    with pytest.raises(ValueError, match=r"image has shape \(3, 3, 2\)"):
        overlay(np.zeros((3, 3, 2)), image())
    with pytest.raises(ValueError, match=r"heat map has shape \(3,\)"):
        overlay(image(), np.zeros(3))


def test_maps_need_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert grad_cam_map(digits_like(), image()).shape == (12, 10)
    for function in (saliency, grad_cam):
        with pytest.raises(ImportError, match=r"fastconv\[plot\]"):
            function(digits_like(), image())
