"""What the explorer shows, without Gradio."""

import numpy as np
import pytest

import fastconv
import graph_files
from fastconv import layers, models
from fastconv.explorer import GraphAnalysis, ModelAnalysis
from fastconv.visualize import grad_cam_map, overlay
from small_networks import digits_like, image

NAMES = ["cat", "dog", "bird", "fish"]
BATCH = image()[None, ..., None]


def test_prediction_names_all_classes():
    found = ModelAnalysis(digits_like(), NAMES).prediction(BATCH)
    assert list(found) == NAMES
    np.testing.assert_allclose(
        list(found.values()), digits_like().predict(BATCH, verbose=0)[0], rtol=1e-5
    )
    logits = ModelAnalysis(digits_like(head=None)).prediction(BATCH)
    assert list(logits) == ["class 0", "class 1", "class 2", "class 3"]
    np.testing.assert_allclose(list(logits.values()), list(found.values()), rtol=1e-4)


def test_feature_maps_are_a_picture():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    analysis = ModelAnalysis(digits_like(), NAMES)
    assert analysis.map_layers == ["first", "pool", "second", "norm", "act"]
    assert analysis.cam_layers == analysis.map_layers
    assert analysis.shown_layer == "first"
    sheet = analysis.feature_maps(BATCH, "first")
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert 640 <= max(sheet.shape) < 1280
    # Six maps of 10 x 8 in two rows of three, with gaps of one pixel, all enlarged alike.
    factor = sheet.shape[0] // 21
    assert sheet.shape[:2] == (21 * factor, 26 * factor)
    assert (sheet[10 * factor] == 255).all()
    few = analysis.feature_maps(BATCH, "first", max_maps=1)
    assert few.shape[0] * 8 == few.shape[1] * 10


def test_grad_cam_lies_over_the_picture():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    model = digits_like()
    analysis = ModelAnalysis(model, NAMES)
    picture = np.rint(255 * image()).astype(np.uint8)
    found = analysis.grad_cam(BATCH, picture, "bird", "first")
    large = picture.repeat(54, axis=0).repeat(54, axis=1)
    expected = overlay(large, grad_cam_map(model, BATCH, 2, "first"))
    np.testing.assert_array_equal(found, expected)
    likely = analysis.grad_cam(BATCH, picture, None, None)
    np.testing.assert_array_equal(likely, overlay(large, grad_cam_map(model, BATCH)))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_times_of_layers(data_format):
    model = digits_like(data_format=data_format)
    batch = BATCH if data_format == "channels_last" else np.moveaxis(BATCH, -1, 1)
    analysis = ModelAnalysis(model)
    assert analysis.map_layers[0] == "first"
    rows = analysis.times(batch)
    names = [row.name for row in rows]
    assert {"first", "second", "head"} <= set(names)
    assert len(set(names)) == len(names)
    assert next(row.operator for row in rows if row.name == "first") == "Conv2D"
    assert rows[-1].shape == (1, 4)
    assert all(row.milliseconds >= 0 for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_model_without_convolution_has_no_grad_cam():
    model = models.Sequential(
        [layers.Input((8, 8, 1)), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(2)]
    )
    analysis = ModelAnalysis(model)
    assert (len(analysis.map_layers), len(analysis.cam_layers)) == (1, 0)
    assert analysis.shown_layer == analysis.map_layers[0]


def test_onnx_model(tmp_path):
    pytest.importorskip("onnx", reason="needs the onnx package")
    path = tmp_path / "model.onnx"
    graph_files.classifier(path)
    session = fastconv.InferenceSession(path)
    batch = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    analysis = GraphAnalysis(session)
    scores = session.run(None, {session.get_inputs()[0].name: batch})[0][0].astype(np.float64)
    found = analysis.prediction(batch)
    assert list(found) == [f"class {i}" for i in range(10)]
    softmax = np.exp(scores - scores.max())
    already = scores.min() >= 0 and scores.sum() == pytest.approx(1, abs=1e-3)
    expected = scores if already else softmax / softmax.sum()
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-5)
    rows = analysis.times(batch)
    assert len(rows) == len(session.profile({session.get_inputs()[0].name: batch}))
    assert any("conv" in row.operator for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert (tuple(analysis.map_layers), tuple(analysis.cam_layers)) == ((), ())
    with pytest.raises(ValueError, match="there are 4 class names, the model has 10 classes"):
        GraphAnalysis(session, NAMES).prediction(batch)


def test_class_names_are_told_apart():
    found = ModelAnalysis(digits_like(), ["crane", "dog", "crane", "fish"]).prediction(BATCH)
    assert list(found) == ["crane (0)", "dog", "crane (2)", "fish"]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="there are 2 class names, the model has 4 classes"):
        ModelAnalysis(digits_like(), ["a", "b"])
    vectors = models.Sequential([layers.Input((4,)), layers.Dense(2)], name="vectors")
    with pytest.raises(
        ValueError, match=r"'vectors' takes inputs \(None, 4\), expected a model of"
    ):
        ModelAnalysis(vectors)
    maps = models.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 1)], name="maps")
    with pytest.raises(ValueError, match=r"'maps' returns \(None, 4, 4, 2\), expected \(batch, cl"):
        ModelAnalysis(maps)
    pytest.importorskip("onnx", reason="needs the onnx package")
    graph_files.two_inputs(tmp_path / "two.onnx")
    with pytest.raises(ValueError, match=r"has the inputs \[.*\], expected one: an image"):
        GraphAnalysis(fastconv.InferenceSession(tmp_path / "two.onnx"))
