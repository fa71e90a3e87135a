"""Metrics give Keras's values, also over several weighted batches."""

import numpy as np
import pytest

import fastconv

rng = np.random.default_rng(0)
PROBABILITIES = rng.dirichlet(np.ones(6), 40).astype("float32")
LABELS = rng.integers(0, 6, 40)
ONEHOT = np.eye(6, dtype="float32")[LABELS]
BINARY = rng.integers(0, 2, 40).astype("float32")
SCORES = np.clip(BINARY * 0.3 + rng.uniform(0, 0.7, 40), 0, 1).astype("float32")
REAL = rng.uniform(0.2, 2.0, (40, 3)).astype("float32")
GUESS = rng.uniform(0.2, 2.0, (40, 3)).astype("float32")

CASES = [
    ("Accuracy", {}, BINARY, np.round(SCORES)),
    ("BinaryAccuracy", {}, BINARY, SCORES),
    ("BinaryAccuracy", {"threshold": 0.3}, BINARY[:, None], SCORES[:, None]),
    ("CategoricalAccuracy", {}, ONEHOT, PROBABILITIES),
    ("SparseCategoricalAccuracy", {}, LABELS, PROBABILITIES),
    ("SparseCategoricalAccuracy", {}, LABELS[:, None], PROBABILITIES),
    ("TopKCategoricalAccuracy", {"k": 3}, ONEHOT, PROBABILITIES),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS, PROBABILITIES),
    ("MeanSquaredError", {}, REAL, GUESS),
    ("MeanAbsoluteError", {}, REAL, GUESS),
    ("RootMeanSquaredError", {}, REAL, GUESS),
    ("MeanAbsolutePercentageError", {}, REAL, GUESS),
    ("LogCoshError", {}, REAL, GUESS),
    ("CosineSimilarity", {}, REAL, GUESS),
    ("KLDivergence", {}, ONEHOT, PROBABILITIES),
    ("Hinge", {}, BINARY[:, None], SCORES[:, None]),
    ("BinaryCrossentropy", {}, BINARY[:, None], SCORES[:, None]),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, ONEHOT, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {}, LABELS, PROBABILITIES),
    ("Precision", {}, BINARY, SCORES),
    ("Precision", {"thresholds": [0.2, 0.6]}, BINARY, SCORES),
    ("Precision", {"top_k": 2}, ONEHOT, PROBABILITIES),
    ("Recall", {"class_id": 1, "thresholds": 0.2}, ONEHOT, PROBABILITIES),
    ("Recall", {}, BINARY, SCORES),
    ("TruePositives", {}, BINARY, SCORES),
    ("FalsePositives", {}, BINARY, SCORES),
    ("TrueNegatives", {}, BINARY, SCORES),
    ("FalseNegatives", {}, BINARY, SCORES),
    ("AUC", {}, BINARY, SCORES),
    ("AUC", {"curve": "PR"}, BINARY, SCORES),
    ("AUC", {"summation_method": "minoring", "num_thresholds": 20}, BINARY, SCORES),
    ("FBetaScore", {"beta": 2.0, "average": "macro"}, ONEHOT, PROBABILITIES),
    ("FBetaScore", {"beta": 0.5, "threshold": 0.3}, ONEHOT, PROBABILITIES),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, BINARY, SCORES),
    ("SpecificityAtSensitivity", {"sensitivity": 0.8}, BINARY, SCORES),
    ("PrecisionAtRecall", {"recall": 0.7}, BINARY, SCORES),
    ("RecallAtPrecision", {"precision": 0.75}, BINARY, SCORES),
    ("MeanIoU", {"num_classes": 6, "dtype": "float32"}, LABELS, PROBABILITIES.argmax(1)),
    (
        "MeanIoU",
        {"num_classes": 6, "dtype": "float32", "sparse_y_pred": False},
        LABELS,
        PROBABILITIES,
    ),
    (
        "IoU",
        {"num_classes": 6, "dtype": "float32", "target_class_ids": [0, 2]},
        LABELS,
        PROBABILITIES.argmax(1),
    ),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "arguments", "y", "p"), CASES)
def test_metric_matches_keras(keras, name, arguments, y, p, weighted):
    if weighted and name == "RootMeanSquaredError":
        pytest.skip("weights of several values a sample: checked without weights")
    theirs = getattr(keras.metrics, name)(**arguments)
    ours = getattr(fastconv.metrics, name)(**arguments)
    assert ours.name == theirs.name or ours.name.startswith(theirs.name.rstrip("0123456789_"))
    weights = np.random.default_rng(1).uniform(0, 2, 40).astype("float32")
    for part in (slice(0, 25), slice(25, 40)):
        w = {"sample_weight": weights[part]} if weighted else {}
        theirs.update_state(y[part], p[part], **w)
        ours.update_state(y[part], p[part], **w)
    expected = keras.ops.convert_to_numpy(theirs.result())
    np.testing.assert_allclose(ours.result(), expected, rtol=2e-4, atol=1e-5)
    again = type(ours).from_config(ours.get_config())
    again.update_state(y, p)
    ours.reset_state()
    ours.update_state(y, p)
    np.testing.assert_allclose(again.result(), ours.result())


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
def test_f1_matches_keras(keras, average):
    theirs, ours = keras.metrics.F1Score(average), fastconv.metrics.F1Score(average)
    theirs.update_state(ONEHOT, PROBABILITIES)
    ours.update_state(ONEHOT, PROBABILITIES)
    expected = keras.ops.convert_to_numpy(theirs.result())
    np.testing.assert_allclose(ours.result(), expected, rtol=1e-5)
