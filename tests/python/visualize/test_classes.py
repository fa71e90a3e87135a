"""Confusion matrices and wrong examples."""

import numpy as np
import pytest

from fastconv import layers, models
from fastconv.visualize import (
    confusion_counts,
    confusion_matrix,
    misclassified,
    misclassified_examples,
)

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

L = layers


def test_counts_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    random = np.random.default_rng(0)
    true, predicted = random.integers(0, 5, (2, 200))
    expected = theirs.confusion_matrix(true, predicted)
    np.testing.assert_array_equal(confusion_counts(true, predicted), expected)
    rows = np.eye(5)[predicted] + random.uniform(0, 0.4, (200, 5))
    np.testing.assert_array_equal(confusion_counts(np.eye(5)[true], rows), expected)
    np.testing.assert_array_equal(
        confusion_counts(true[:, None], predicted.astype(float)), expected
    )
    wide = confusion_counts(true, predicted, classes=7)
    np.testing.assert_array_equal(wide[:5, :5], expected)
    assert wide.shape == (7, 7) and wide.sum() == 200


def test_matrix_shows_counts_and_names(tmp_path):
    figure = confusion_matrix(
        [0, 0, 0, 1, 2], [0, 0, 1, 1, 0], ["cat", "dog", "bird"], path=tmp_path / "m.png"
    )
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    axes = figure.axes[0]
    cells = {t.get_position(): t.get_text() for t in axes.texts}
    assert cells == {(0, 0): "2", (1, 0): "1", (1, 1): "1", (0, 2): "1"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "bird"]
    assert axes.get_title() == "3 of 5 right (60.0 %)"
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 1, 0], [1, 0, 0]])
    percent = confusion_matrix([0, 0, 0], [0, 0, 1], normalize=True).axes[0].texts
    assert [t.get_text() for t in percent] == ["67", "33"]
    assert confusion_matrix([], [], ["a", "b"]).axes[0].get_title() == ""


def test_errors_of_labels():
    with pytest.raises(ValueError, match="y_true has 2 samples, y_pred has 3"):
        confusion_counts([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="y_pred holds class 3, expected 0 to 1"):
        confusion_matrix([0, 1], [0, 3], ["a", "b"])
    with pytest.raises(ValueError, match="y_true holds class -1"):
        confusion_counts([0, -1], [0, 1])
    for wrong in ([0.5, 1], ["a", "b"], [[[0]], [[1]]]):
        with pytest.raises(ValueError, match="y_true must be class indices"):
            confusion_counts(wrong, [0, 1])


def picker(units=3, activation="softmax"):
    """A model whose logits are the first pixels of 1 x 3 images."""
    model = models.Sequential(
        [L.Input((1, 3, 1)), L.Flatten(), L.Dense(units, activation=activation)], name="picker"
    )
    model.layers[-1].set_weights([np.eye(3)[:, :units], np.zeros(units)])
    return model


X = np.log(
    np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.2, 0.3, 0.5]], np.float32)
).reshape(4, 1, 3, 1)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_wrong_examples_come_by_certainty(activation):
    found = misclassified_examples(picker(activation=activation), X, [1, 1, 0, 2])
    np.testing.assert_array_equal(found.index, [2, 0])
    np.testing.assert_array_equal(found.true, [0, 1])
    np.testing.assert_array_equal(found.predicted, [1, 0])
    np.testing.assert_allclose(found.probability, [0.9, 0.6], rtol=1e-5)
    one_hot = misclassified_examples(picker(), X, np.eye(3)[[1, 1, 0, 2]], batch_size=2)
    np.testing.assert_array_equal(one_hot.index, [2, 0])


def test_single_output_is_the_probability_of_class_one():
    found = misclassified_examples(picker(1, "sigmoid"), X - X[0, 0, 0, 0], [1, 0, 1, 0])
    np.testing.assert_array_equal(found.index, [2, 0])
    np.testing.assert_array_equal(found.predicted, [0, 0])
    np.testing.assert_allclose(found.probability, [12 / 13, 0.5], rtol=1e-5)


def test_picture_of_wrong_examples(tmp_path):
    names = ["cat", "dog", "bird"]
    figure = misclassified(picker(), X, [1, 1, 0, 2], names, path=tmp_path / "w.png")
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["dog 90 %\ntrue: cat", "cat 60 %\ntrue: dog"]
    assert figure.get_suptitle() == "2 of 4 wrong"
    one = misclassified(picker(), X[..., 0], [1, 1, 0, 2], count=1)
    assert [axes.get_title() for axes in one.axes] == ["1 90 %\ntrue: 0"]
    some = misclassified(picker(), np.repeat(X[2:3], 6, axis=0), [0] * 6, count=3)
    assert len([axes for axes in some.axes if axes.images]) == 3
    none = misclassified(picker(), X, [0, 1, 1, 2])
    assert none.get_suptitle() == "0 of 4 wrong"


def test_errors_of_examples():
    with pytest.raises(ValueError, match="x has 4 samples, y has 3"):
        misclassified_examples(picker(), X, [0, 1, 2])
    with pytest.raises(ValueError, match="class_names holds 1 names, class 1 occurs"):
        misclassified(picker(), X, [1, 1, 0, 2], ["cat"])
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\), expected images"):
        misclassified(picker(), X.reshape(4, 3), [1, 1, 0, 2])
    maps = models.Sequential([L.Input((4, 4, 1)), L.Conv2D(2, 1)], name="maps")
    with pytest.raises(ValueError, match=r"model 'maps' does not classify: it returns \(1, "):
        misclassified_examples(maps, np.zeros((1, 4, 4, 1)), [0])
