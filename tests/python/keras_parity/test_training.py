"""The same weights and data give Keras's losses, metrics and new weights."""

import numpy as np
import pytest

import fastconv

N = 20


def _pair(keras, build):
    """Return (Keras's model, ours) with equal weights."""
    theirs, ours = build(keras), build(fastconv)
    rng = np.random.default_rng(3)
    weights = [rng.uniform(-0.4, 0.6, w.shape).astype("float32") for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return theirs, ours


def _mlp(activation="softmax", units=4):
    def build(k):
        return k.Sequential(
            [
                k.Input((6,)),
                k.layers.Dense(5, activation="tanh"),
                k.layers.Dense(units, activation=activation),
            ]
        )

    return build


def _data(units=4, kind="sparse"):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, 6)).astype("float32")
    labels = rng.integers(0, units, N)
    if kind == "sparse":
        return x, labels
    if kind == "onehot":
        return x, np.eye(units, dtype="float32")[labels]
    if kind == "binary":
        return x, rng.integers(0, 2, (N, units)).astype("float32")
    return x, rng.uniform(0.1, 0.9, (N, units)).astype("float32")


def _compare(theirs, ours, x, y, rtol=1e-4, **fit):
    a = theirs.fit(x, y, verbose=0, shuffle=False, **fit)
    b = ours.fit(x, y, verbose=0, shuffle=False, **fit)
    assert list(b.history) == list(a.history)
    for name, values in a.history.items():
        np.testing.assert_allclose(b.history[name], values, rtol=rtol, atol=1e-5, err_msg=name)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=2e-4)


OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.1}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.01}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.1}),
    ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.5}),
    (
        "SGD",
        {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    ),
    ("Adam", {"learning_rate": 0.01}),
    ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.2}),
    ("RMSprop", {"learning_rate": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True, "momentum": 0.5}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9}),
    ("Adamax", {"learning_rate": 0.01}),
    ("Nadam", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("Lion", {"learning_rate": 0.01, "clipnorm": 0.5}),
]


@pytest.mark.parametrize(("name", "arguments"), OPTIMIZERS)
def test_optimizer_matches_keras(keras, name, arguments):
    theirs, ours = _pair(keras, _mlp())
    for k, model in ((keras, theirs), (fastconv, ours)):
        optimizer = getattr(k.optimizers, name)(**arguments)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = _data()
    _compare(theirs, ours, x, y, batch_size=8, epochs=3)


@pytest.mark.parametrize("seed", range(6))
def test_watching_callbacks_match_keras(keras, seed):
    random = np.random.default_rng(seed)
    values = np.round(random.uniform(0, 1, 14), 2)
    mode = ("min", "max")[seed % 2]
    stopping = {"patience": int(random.integers(0, 4)), "min_delta": 0.05, "mode": mode}
    stopping |= {"restore_best_weights": True, "start_from_epoch": int(random.integers(0, 3))}
    plateau = {"factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.02, "mode": mode}
    x, y = _data()
    results = []
    for k, model in zip((keras, fastconv), _pair(keras, _mlp()), strict=True):
        model.compile(k.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        listed = [
            k.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: logs.update(watched=values[epoch])
            ),
            k.callbacks.EarlyStopping("watched", **stopping),
            k.callbacks.ReduceLROnPlateau("watched", **plateau),
        ]
        fit = {"batch_size": 8, "epochs": 14, "verbose": 0, "shuffle": False}
        history = model.fit(x, y, callbacks=listed, **fit)
        rates = np.array(history.history["learning_rate"])
        results.append((history.epoch, rates, listed[1].stopped_epoch, model.get_weights()))
    (epochs, rates, stopped, weights), ours = results
    assert ours[0] == epochs and ours[2] == stopped
    np.testing.assert_allclose(ours[1], rates, rtol=1e-6)
    for mine, other in zip(ours[3], weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_match_keras(keras, swap_on_epoch):
    theirs, ours = _pair(keras, _mlp())
    x, y = _data()
    saved = {}
    for k, model in ((keras, theirs), (fastconv, ours)):
        optimizer = k.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.7)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        seen = saved[k] = []
        listed = [
            k.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch),
            k.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, model=model, seen=seen: seen.append(
                    model.get_weights()
                )
            ),
        ]
        fit = {"batch_size": 8, "epochs": 3, "verbose": 0, "shuffle": False}
        saved[k, "history"] = model.fit(x, y, validation_data=(x, y), callbacks=listed, **fit)
    for name, values in saved[keras, "history"].history.items():
        np.testing.assert_allclose(saved[fastconv, "history"].history[name], values, rtol=1e-4)
    for epoch in range(3):
        for mine, other in zip(saved[fastconv][epoch], saved[keras][epoch], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


SCHEDULES = [
    ("ExponentialDecay", (0.1, 3, 0.5), {}),
    ("ExponentialDecay", (0.1, 3, 0.5), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 3, 0.5), {}),
    ("PiecewiseConstantDecay", ([2, 5], [0.1, 0.05, 0.01]), {}),
    ("PolynomialDecay", (0.1, 6), {"power": 2.0}),
    ("PolynomialDecay", (0.1, 4), {"cycle": True}),
    ("CosineDecay", (0.1, 6), {"alpha": 0.1}),
    ("CosineDecay", (0.0, 6), {"warmup_target": 0.1, "warmup_steps": 3}),
    ("CosineDecayRestarts", (0.1, 3), {"alpha": 0.01}),
    ("CosineDecayRestarts", (0.1, 3), {"t_mul": 1.0, "m_mul": 0.5}),
]


@pytest.mark.parametrize(("name", "arguments", "keywords"), SCHEDULES)
def test_schedule_matches_keras(keras, name, arguments, keywords):
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **keywords)
    ours = getattr(fastconv.optimizers.schedules, name)(*arguments, **keywords)
    for step in range(15):
        assert ours(step) == pytest.approx(float(theirs(step)), rel=1e-5, abs=1e-8), step
    again = type(ours).from_config(ours.get_config())
    assert again(4) == ours(4)


LOSSES = [
    ("categorical_crossentropy", "softmax", "onehot"),
    ("sparse_categorical_crossentropy", "softmax", "sparse"),
    ("binary_crossentropy", "sigmoid", "binary"),
    ("mse", "linear", "real"),
    ("mae", "linear", "real"),
    ("mape", "linear", "real"),
    ("msle", "sigmoid", "real"),
    ("huber", "linear", "real"),
    ("log_cosh", "linear", "real"),
    ("hinge", "tanh", "binary"),
    ("squared_hinge", "tanh", "binary"),
    ("categorical_hinge", "linear", "onehot"),
    ("kl_divergence", "softmax", "real"),
    ("poisson", "sigmoid", "real"),
    ("cosine_similarity", "linear", "real"),
    ("binary_focal_crossentropy", "sigmoid", "binary"),
    ("categorical_focal_crossentropy", "softmax", "onehot"),
]


@pytest.mark.parametrize(("loss", "activation", "kind"), LOSSES)
def test_loss_matches_keras(keras, loss, activation, kind):
    theirs, ours = _pair(keras, _mlp(activation))
    x, y = _data(kind=kind)
    for model in (theirs, ours):
        model.compile("sgd", loss)
    _compare(theirs, ours, x, y, batch_size=8, epochs=2)
    # The same loss as an object on arrays.
    config = fastconv.losses.as_loss(loss).get_config()
    cls = type(fastconv.losses.as_loss(loss)).__name__
    p = ours.predict(x, verbose=0)
    expected = float(getattr(keras.losses, cls)(**config)(y, p))
    assert getattr(fastconv.losses, cls)(**config)(y, p) == pytest.approx(expected, rel=1e-4)


OBJECTS = [
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "softmax", "onehot"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "linear", "onehot"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "linear", "sparse"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "softmax", "sparse"),
    ("BinaryCrossentropy", {"from_logits": True}, "linear", "binary"),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, "sigmoid", "binary"),
    ("Huber", {"delta": 0.3}, "linear", "real"),
    ("MeanSquaredError", {"reduction": "sum"}, "linear", "real"),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "arguments", "activation", "kind"), OBJECTS)
def test_loss_object_matches_keras(keras, name, arguments, activation, kind, weighted):
    theirs, ours = _pair(keras, _mlp(activation))
    x, y = _data(kind=kind)
    for k, model in ((keras, theirs), (fastconv, ours)):
        optimizer = k.optimizers.SGD(0.01)
        model.compile(optimizer, getattr(k.losses, name)(**arguments))
    fit = {}
    if weighted:
        fit["sample_weight"] = np.random.default_rng(1).uniform(0, 2, N).astype("float32")
    _compare(theirs, ours, x, y, batch_size=8, epochs=2, **fit)


def test_class_weight_and_weighted_metrics_match_keras(keras):
    theirs, ours = _pair(keras, _mlp())
    x, y = _data()
    for model in (theirs, ours):
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["sparse_categorical_crossentropy"],
        )
    _compare(theirs, ours, x, y, batch_size=8, epochs=2, class_weight={0: 2.0, 1: 0.5, 3: 3.0})


def test_penalties_constraints_and_validation_match_keras(keras):
    def build(k):
        return k.Sequential(
            [
                k.Input((6,)),
                k.layers.Dense(
                    5,
                    activation="relu",
                    kernel_regularizer=k.regularizers.L1L2(0.01, 0.02),
                    activity_regularizer=k.regularizers.L2(0.001),
                    kernel_constraint=k.constraints.MaxNorm(0.7),
                ),
                k.layers.Dense(4, kernel_constraint=k.constraints.NonNeg(), bias_regularizer="l2"),
                k.layers.Softmax(),
            ]
        )

    theirs, ours = _pair(keras, build)
    x, y = _data()
    for model in (theirs, ours):
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    _compare(theirs, ours, x, y, batch_size=8, epochs=3, validation_split=0.3)
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(
        theirs.evaluate(x, y, verbose=0), rel=1e-4
    )


def test_two_inputs_and_outputs_match_keras(keras):
    keras.utils.clear_session()  # automatic names count from one in both
    fastconv.utils.clear_session()

    def build(k):
        a, b = k.Input((6,), name="a"), k.Input((3,), name="b")
        shared = k.layers.Dense(6, activation="tanh", name="shared")
        h = k.layers.concatenate([shared(a), b])
        h = k.layers.Dense(6, name="mix")(h)
        h = k.layers.add([h, shared(h)])
        first = k.layers.Dense(1, name="first")(h)
        second = k.layers.Dense(4, activation="softmax", name="second")(h)
        return k.Model([a, b], [first, second])

    theirs, ours = _pair(keras, build)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    x, labels = _data()
    x, labels = x[:16], labels[:16]  # on TensorFlow, Keras averages losses of outputs by batches
    xs = {"a": x, "b": x[:, :3]}
    ys = [x[:, :1], labels]
    for model in (theirs, ours):
        model.compile(
            "sgd",
            loss=["mse", "sparse_categorical_crossentropy"],
            loss_weights=[0.5, 2.0],
            metrics=[["mae"], ["accuracy"]],
        )
    _compare(theirs, ours, xs, ys, batch_size=8, epochs=2)
    assert ours.evaluate(xs, ys, verbose=0) == pytest.approx(
        theirs.evaluate(xs, ys, verbose=0), rel=1e-4
    )


def test_convolutional_network_with_batch_norm_matches_keras(keras):
    if keras.config.backend() == "torch":
        pytest.skip("Keras on PyTorch keeps the unbiased variance, against its own documentation")

    def build(k):
        return k.Sequential(
            [
                k.Input((8, 8, 2)),
                k.layers.Conv2D(4, 3, padding="same", use_bias=False),
                k.layers.BatchNormalization(momentum=0.9),
                k.layers.ReLU(),
                k.layers.MaxPooling2D(),
                k.layers.DepthwiseConv2D(3, padding="same", activation="relu"),
                k.layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
                k.layers.AveragePooling2D(3, strides=2, padding="same"),
                k.layers.Flatten(),
                k.layers.Dense(4, activation="softmax"),
            ]
        )

    theirs, ours = _pair(keras, build)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 8, 8, 2)).astype("float32")
    y = rng.integers(0, 4, N)
    for model in (theirs, ours):
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    _compare(theirs, ours, x, y, rtol=1e-3, batch_size=8, epochs=2, validation_data=(x, y))
