"""Comparisons, logic and choice give NumPy's results on arrays, in layers and in losses."""

import numpy as np
import pytest

import fastconv as keras
from fastconv import ops

X = np.array([[1.0, -2.0, 3.0], [4.0, 0.0, -6.0]], np.float32)
Y = np.array([[1.0, 2.0, 3.0], [-4.0, 0.0, 6.0]], np.float32)

CASES = {
    "equal": (lambda o, x, y: o.equal(x, y), X == Y),
    "not_equal": (lambda o, x, y: o.not_equal(x, y), X != Y),
    "less": (lambda o, x, y: x < y, X < Y),
    "less_equal": (lambda o, x, y: x <= y, X <= Y),
    "greater": (lambda o, x, y: x > 0.5, X > 0.5),
    "greater_equal": (lambda o, x, y: x >= y, X >= Y),
    "logical_and": (lambda o, x, y: o.logical_and(x > 0, y > 0), (X > 0) & (Y > 0)),
    "logical_or": (lambda o, x, y: o.logical_or(x > 0, y > 0), (X > 0) | (Y > 0)),
    "logical_not": (lambda o, x, y: o.logical_not(x > 0), X <= 0),
    "where": (lambda o, x, y: o.where(x > y, x, 0.0), np.where(X > Y, X, 0)),
    "argmax": (lambda o, x, y: o.argmax(x, axis=-1), [2, 0]),
    "argmax of all": (lambda o, x, y: o.argmax(x), 3),
    "argmin": (lambda o, x, y: o.argmin(x, axis=0, keepdims=True), [[0, 0, 1]]),
    "any": (lambda o, x, y: o.any(x > 3, axis=1), [False, True]),
    "all": (lambda o, x, y: o.all(x > -3), False),
    "one_hot": (lambda o, x, y: o.one_hot(o.argmax(x, axis=-1), 3), np.eye(3)[[2, 0]]),
    "one_hot first": (
        lambda o, x, y: o.one_hot(o.argmax(x, axis=-1), 3, axis=0),
        np.eye(3)[[2, 0]].T,
    ),
    "var": (lambda o, x, y: o.var(x, axis=1), X.var(axis=1)),
    "std": (lambda o, x, y: o.std(x, axis=0, keepdims=True), X.std(axis=0, keepdims=True)),
    "stack": (lambda o, x, y: o.stack([x, y], axis=1), np.stack([X, Y], 1)),
    "dot": (lambda o, x, y: o.dot(x, np.ones((3, 2), np.float32)), X @ np.ones((3, 2))),
    "dot with a vector": (lambda o, x, y: o.dot(x, np.ones(3, np.float32)), X.sum(1)),
    "cast": (lambda o, x, y: o.cast(x > y, "float32"), (X > Y).astype("float32")),
    "cast to int": (lambda o, x, y: o.cast(x, "int32"), X.astype("int32")),
}


class Function(keras.layers.Layer):
    """Calls a function of two inputs while its graph is built."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(ops, *inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("where", ["arrays", "layer", "functional model"])
def test_result_is_numpys(name, where):
    function, expected = CASES[name]
    if where == "arrays":
        found = function(ops, X, Y)
    elif where == "layer":
        found = Function(function)([X, Y])
    else:
        a, b = keras.Input((3,), batch_size=2), keras.Input((3,), batch_size=2)
        found = keras.Model([a, b], function(ops, a, b))([X, Y])
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_result_is_keras_s(name, keras_ops):
    function, expected = CASES[name]
    found = keras_ops.convert_to_numpy(
        function(keras_ops, *map(keras_ops.convert_to_tensor, (X, Y)))
    )
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), atol=1e-6)


@pytest.fixture
def keras_ops(request):
    return request.getfixturevalue("keras").ops


def test_gradient_flows_through_where():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0], [-1.0], [2.0]], np.float32)])

    def hinged(y_true, y_pred):  # quadratic near the target, linear beyond: Huber's loss
        error = y_true - y_pred
        small = ops.less_equal(ops.abs(error), 1.0)
        return ops.where(small, 0.5 * ops.square(error), ops.abs(error) - 0.5)

    model.compile(keras.optimizers.SGD(1.0), hinged)
    x, y = X, np.array([[5.5], [0.0]], np.float32)  # errors -3.5 and 8
    before = model.get_weights()[0]
    loss = model.train_on_batch(x, y)
    expected = keras.losses.Huber(1.0)(y, x @ before)
    assert loss == pytest.approx(expected, rel=1e-6)
    error = (y - x @ before)[:, 0]
    slope = -np.clip(error, -1, 1) / 2
    np.testing.assert_allclose(
        model.get_weights()[0][:, 0], before[:, 0] - (slope[:, None] * x).sum(0), atol=1e-5
    )
