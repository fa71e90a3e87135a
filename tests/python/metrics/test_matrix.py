"""Confusion matrices and what is made of them, against scikit-learn."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, metrics

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

rng = np.random.default_rng(0)
LABELS = rng.integers(0, 4, 60)
SCORES = rng.dirichlet(np.ones(4), 60).astype("float32")
WEIGHTS = rng.uniform(0, 2, 60)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
@pytest.mark.parametrize("weighted", [False, True])
def test_confusion_matrix(normalize, weighted):
    metric = metrics.ConfusionMatrix(4, normalize=normalize)
    for part in (slice(0, 25), slice(25, 60)):
        metric.update_state(LABELS[part], SCORES[part], WEIGHTS[part] if weighted else None)
    expected = sklearn.confusion_matrix(
        LABELS,
        SCORES.argmax(1),
        sample_weight=WEIGHTS if weighted else None,
        normalize=normalize,
    )
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-12)
    again = metrics.ConfusionMatrix.from_config(metric.get_config())
    assert again.normalize == normalize and again.result().sum() == 0


def test_kinds_of_targets_and_predictions():
    expected = sklearn.confusion_matrix(LABELS, SCORES.argmax(1))
    for y, p in (
        (LABELS[:, None], SCORES),
        (np.eye(4)[LABELS], SCORES),
        (LABELS.astype("float32"), SCORES.argmax(1)),
        (LABELS.reshape(6, 10), SCORES.reshape(6, 10, 4)),
    ):
        np.testing.assert_array_equal(metrics.ConfusionMatrix(4)(y, p), expected)
    binary, probability = LABELS % 2, SCORES[:, :1]
    np.testing.assert_array_equal(
        metrics.ConfusionMatrix(2)(binary, probability),
        sklearn.confusion_matrix(binary, probability[:, 0] > 0.5),
    )


def test_errors():
    with pytest.raises(ValueError, match="targets must be classes from 0 to 2, received 0 to 3"):
        metrics.ConfusionMatrix(3)([0, 3], [0, 1])
    with pytest.raises(ValueError, match="whole numbers"):
        metrics.ConfusionMatrix(3)([0.5, 1], [0, 1])
    with pytest.raises(ValueError, match=r"shape \(2,\), those of predictions \(3,\)"):
        metrics.ConfusionMatrix(3)([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="normalize='rows'"):
        metrics.ConfusionMatrix(3, normalize="rows")
    with pytest.raises(ValueError, match="`num_classes` must be >= 2"):
        metrics.ConfusionMatrix(1)


def test_in_fit_the_history_holds_it_and_the_bar_does_not(capsys):
    model = fastconv.Sequential([layers.Input((4,)), layers.Dense(4, "softmax")])
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy", metrics.ConfusionMatrix(4)]
    )
    history = model.fit(SCORES, LABELS, epochs=2, verbose=2, validation_data=(SCORES, LABELS))
    matrix = history.history["val_confusion_matrix"][-1]
    np.testing.assert_array_equal(
        matrix, sklearn.confusion_matrix(LABELS, model.predict(SCORES, verbose=0).argmax(1))
    )
    assert np.trace(matrix) / 60 == pytest.approx(history.history["val_accuracy"][-1])
    out = capsys.readouterr().out
    assert "accuracy: 0." in out and "confusion" not in out


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_fbeta(average, beta):
    metric = metrics.FBetaScore(average, beta)
    metric.update_state(np.eye(4)[LABELS], SCORES)
    expected = sklearn.fbeta_score(LABELS, SCORES.argmax(1), beta=beta, average=average)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-9)


def test_mean_iou():
    found = SCORES.argmax(1)
    expected = sklearn.jaccard_score(LABELS, found, average="macro")
    assert metrics.MeanIoU(4)(LABELS, found) == pytest.approx(expected)
    assert metrics.MeanIoU(4, sparse_y_pred=False)(LABELS, SCORES) == pytest.approx(expected)
    kept = LABELS != 2
    one = sklearn.jaccard_score(LABELS[kept], found[kept], labels=[1], average="macro")
    assert metrics.IoU(4, [1], ignore_class=2)(LABELS, found) == pytest.approx(one)
