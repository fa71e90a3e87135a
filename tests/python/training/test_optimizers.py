"""Optimizers against formulas written in NumPy, float64, and clipping, decay and schedules."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, optimizers

X = np.random.default_rng(0).standard_normal((8, 3))
Y = np.random.default_rng(1).standard_normal((8, 2))


def _model(optimizer):
    model = fastconv.Sequential(
        [
            layers.Input((3,), dtype="float64"),
            layers.Dense(2, use_bias=False, dtype="float64", kernel_initializer="ones"),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def _gradient(w):
    return 2 * X.T @ (X @ w - Y) / Y.size


def sgd(w, g, s, t, lr=0.1):
    return w - lr * g


def momentum(w, g, s, t, lr=0.1, m=0.9):
    s["v"] = m * s.get("v", 0) - lr * g
    return w + s["v"]


def nesterov(w, g, s, t, lr=0.1, m=0.9):
    s["v"] = m * s.get("v", 0) - lr * g
    return w + m * s["v"] - lr * g


def adam(w, g, s, t, lr=0.1, b1=0.8, b2=0.99, eps=1e-7):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(s["v"]) + eps)


def amsgrad(w, g, s, t, lr=0.1, b1=0.8, b2=0.5, eps=1e-7):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    s["h"] = np.maximum(s.get("h", 0), s["v"])
    return w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(s["h"]) + eps)


def rmsprop(w, g, s, t, lr=0.1, rho=0.8, eps=1e-7):
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    return w - lr * g / np.sqrt(s["v"] + eps)


def centered(w, g, s, t, lr=0.1, rho=0.8, m=0.5, eps=1e-2):
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    s["a"] = rho * s.get("a", 0) + (1 - rho) * g
    s["b"] = m * s.get("b", 0) + lr * g / np.sqrt(s["v"] - s["a"] ** 2 + eps)
    return w - s["b"]


def adagrad(w, g, s, t, lr=0.1, eps=1e-7):
    s["a"] = s.get("a", 0.1) + g * g
    return w - lr * g / np.sqrt(s["a"] + eps)


def decayed(w, g, s, t, lr=0.1):
    return w - lr * 0.2 * w - lr * g


def clipped_value(w, g, s, t):
    return w - 0.1 * np.clip(g, -0.05, 0.05)


def clipped_norm(w, g, s, t):
    return w - 0.1 * g * min(1, 0.3 / np.sqrt(np.sum(g * g)))


CASES = [
    (optimizers.SGD(0.1), sgd),
    (optimizers.SGD(0.1, momentum=0.9), momentum),
    (optimizers.SGD(0.1, momentum=0.9, nesterov=True), nesterov),
    (optimizers.Adam(0.1, beta_1=0.8, beta_2=0.99), adam),
    (optimizers.Adam(0.1, beta_1=0.8, beta_2=0.5, amsgrad=True), amsgrad),
    (optimizers.RMSprop(0.1, rho=0.8), rmsprop),
    (optimizers.RMSprop(0.1, rho=0.8, momentum=0.5, epsilon=1e-2, centered=True), centered),
    (optimizers.Adagrad(0.1), adagrad),
    (optimizers.SGD(0.1, weight_decay=0.2), decayed),
    (optimizers.SGD(0.1, clipvalue=0.05), clipped_value),
    (optimizers.SGD(0.1, clipnorm=0.3), clipped_norm),
    (optimizers.SGD(0.1, global_clipnorm=0.3), clipped_norm),
]


@pytest.mark.parametrize(("optimizer", "formula"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_formula(optimizer, formula):
    model = _model(type(optimizer).from_config(optimizer.get_config()))
    w, state = np.ones((3, 2)), {}
    for t in range(1, 7):
        model.train_on_batch(X, Y)
        w = formula(w, _gradient(w), state, t)
        np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-9, err_msg=f"step {t}")
    assert model.optimizer.iterations == 6


def test_schedule_is_followed_and_cannot_be_set():
    schedule = optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.01])
    model = _model(optimizers.SGD(schedule))
    w = np.ones((3, 2))
    for rate in (0.1, 0.1, 0.01):
        assert float(model.optimizer.learning_rate) == rate
        model.train_on_batch(X, Y)
        w = w - rate * _gradient(w)
        np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-9)
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        model.optimizer.learning_rate = 0.1


def test_learning_rate_can_be_read_and_set():
    optimizer = optimizers.Adam()
    assert optimizer.learning_rate == pytest.approx(0.001)
    assert optimizer.learning_rate.numpy() == np.float32(0.001)
    optimizer.learning_rate.assign(0.1)
    assert optimizer.learning_rate == 0.1
    optimizer.learning_rate = np.float32(0.5)
    fastconv.backend.set_value(optimizer.learning_rate, 0.25)
    assert fastconv.backend.get_value(optimizer.learning_rate) == 0.25
    rate = [0.5]
    assert optimizers.SGD(lambda: rate[0]).learning_rate == 0.5


def test_weight_decay_can_leave_variables_out():
    model = fastconv.Sequential(
        [layers.Input((3,)), layers.Dense(2, bias_initializer="ones", name="last")]
    )
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    kernel, _ = model.get_weights()
    model.fit(X, np.zeros((8, 2)), batch_size=8, sample_weight=np.zeros(8), verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], kernel * 0.95, rtol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[1], [1, 1])


def test_moving_averages():
    model = _model(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75))
    plain = _model(optimizers.SGD(0.1))
    average = None
    for _ in range(5):
        model.train_on_batch(X, Y)
        plain.train_on_batch(X, Y)
        w = plain.get_weights()[0]
        average = w if average is None else 0.75 * average + 0.25 * w
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-12)
    model.optimizer.finalize_variable_values(model.trainable_weights)
    np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-9)


def test_errors():
    with pytest.raises(ValueError, match="'lr'"):
        optimizers.Adam(lr=0.1)
    with pytest.raises(ValueError, match=r"learning_rate.*'fast'"):
        optimizers.SGD("fast")
    with pytest.raises(ValueError, match=r"learning_rate.*-1"):
        optimizers.SGD(-1)
    with pytest.raises(ValueError, match=r"momentum.*1.5"):
        optimizers.SGD(momentum=1.5)
    with pytest.raises(ValueError, match="clipnorm"):
        optimizers.SGD(clipnorm=-1)
    with pytest.raises(ValueError, match="only one"):
        optimizers.SGD(clipnorm=1, clipvalue=1)
    with pytest.raises(ValueError, match="gradient_accumulation_steps"):
        optimizers.SGD(gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="weight_decay"):
        optimizers.AdamW(weight_decay=None)
    with pytest.raises(ValueError, match="unknown optimizer 'adafactor'"):
        optimizers.get("adafactor")
    with pytest.raises(ValueError, match="identifier"):
        optimizers.get(3)
    assert isinstance(optimizers.get("SGD"), optimizers.SGD)
    assert isinstance(optimizers.get("RmsProp"), optimizers.RMSprop)


def test_weights_without_gradient_are_named():
    a = fastconv.Input((3,))
    used, unused = layers.Dense(2)(a), layers.Dense(2, name="unused")(a)
    model = fastconv.Model(a, [used, unused])
    model.compile("sgd", ["mse", None])
    with pytest.warns(UserWarning, match="unused/kernel"):
        model.fit(X, [Y, Y], verbose=0)
