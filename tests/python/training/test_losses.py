"""Losses by hand, reductions, weights, and that logits are used where they can be."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, losses

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
LABELS = np.array([0, 1])
ONEHOT = np.eye(3)[LABELS]


def test_by_hand():
    each = -np.log([0.7, 0.1])
    np.testing.assert_allclose(losses.categorical_crossentropy(ONEHOT, P), each)
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy(LABELS, P), each)
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy(LABELS[:, None], P), each)
    smooth = losses.CategoricalCrossentropy(label_smoothing=0.3)(ONEHOT, P)
    target = ONEHOT * 0.7 + 0.1
    assert smooth == pytest.approx(-np.mean(np.sum(target * np.log(P), axis=1)))
    y, p = np.array([[1.0], [0.0]]), np.array([[0.8], [0.4]])
    assert losses.BinaryCrossentropy()(y, p) == pytest.approx(-np.mean(np.log([0.8, 0.6])))
    np.testing.assert_allclose(losses.huber([[0.0, 0.0]], [[0.5, 3.0]]), [(0.125 + 2.5) / 2])
    np.testing.assert_allclose(losses.hinge([[1.0, 0.0]], [[0.3, -2.0]]), [0.35])
    np.testing.assert_allclose(losses.categorical_hinge([[0, 1.0]], [[0.4, 0.6]]), [0.8])


def test_logits():
    z = np.log(P) + 5
    cls = losses.SparseCategoricalCrossentropy
    assert cls(from_logits=True)(LABELS, z) == pytest.approx(cls()(LABELS, P))
    binary = losses.BinaryCrossentropy
    q = np.array([[0.9], [0.2]])
    y = np.array([[1.0], [1.0]])
    assert binary(from_logits=True)(y, np.log(q / (1 - q))) == pytest.approx(binary()(y, q))


def test_reductions_and_weights():
    y, p = np.zeros((3, 2)), np.array([[1.0, 1], [2, 2], [3, 3]])
    assert losses.MeanSquaredError()(y, p) == pytest.approx(14 / 3)
    assert losses.MeanSquaredError(reduction="sum")(y, p) == pytest.approx(14)
    np.testing.assert_allclose(losses.MeanSquaredError(reduction=None)(y, p), [1, 4, 9])
    w = np.array([1.0, 0, 2])
    assert losses.MeanSquaredError()(y, p, w) == pytest.approx(19 / 3)
    by_weight = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert by_weight(y, p, w) == pytest.approx(19 / 3)
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=1)
    assert ignoring(LABELS, P) == pytest.approx(-np.log(0.7))


def test_errors():
    with pytest.raises(ValueError, match=r"\(2,\).*\(2, 3\).*sparse_categorical"):
        losses.categorical_crossentropy(LABELS, P)
    with pytest.raises(ValueError, match=r"\(2, 3\).*one-hot"):
        losses.sparse_categorical_crossentropy(ONEHOT, P)
    with pytest.raises(ValueError, match=r"label 3 is out of range \[0, 3\)"):
        losses.sparse_categorical_crossentropy([0, 3], P)
    with pytest.raises(ValueError, match="same shape"):
        losses.mean_squared_error(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="reduction"):
        losses.MeanSquaredError(reduction="median")
    with pytest.raises(ValueError, match="unknown loss"):
        losses.get("nothing")


@pytest.mark.parametrize(
    ("activation", "loss", "y"),
    [
        ("softmax", "sparse_categorical_crossentropy", [1]),
        ("softmax", "categorical_crossentropy", [[0, 1.0]]),
        ("sigmoid", "binary_crossentropy", [[0.0, 1.0]]),
    ],
)
@pytest.mark.parametrize("separate", [False, True])
def test_losses_of_probabilities_are_computed_from_logits(activation, loss, y, separate):
    last = [layers.Dense(2, kernel_initializer="ones", activation=activation)]
    if separate:
        last = [layers.Dense(2, kernel_initializer="ones"), layers.Activation(activation)]
    model = fastconv.Sequential([layers.Input((1,)), *last])
    model.compile("sgd", loss)
    bias = np.array([300.0, 0.0])  # the probability of class 1 underflows
    model.set_weights([np.zeros((1, 2)), bias])
    value = model.evaluate(np.ones((1, 1)), np.array(y), verbose=0)
    expected = 300 if activation == "softmax" else (300 + np.log(2)) / 2
    assert value == pytest.approx(expected, rel=1e-5)


def test_ignored_class_in_training():
    model = fastconv.Sequential([layers.Input((1,)), layers.Dense(2, activation="softmax")])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(ignore_class=-1))
    x = np.array([[1.0], [2.0], [3.0]])
    loss = model.evaluate(x, np.array([0, -1, 1]), verbose=0)
    p = model.predict(x, verbose=0)
    assert loss == pytest.approx(-(np.log(p[0, 0]) + np.log(p[2, 1])) / 2, rel=1e-5)
