"""fit, evaluate and predict: kinds of data, arguments, what they return, errors."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 6)).astype("float32")
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


@pytest.fixture(autouse=True)
def seeded():
    fastconv.utils.clear_session()
    fastconv.utils.set_random_seed(1)


def _model(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=("accuracy",)):
    model = fastconv.Sequential(
        [layers.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(3, "softmax")]
    )
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def test_it_learns():
    model = _model(optimizer=fastconv.optimizers.Adam(0.05))
    history = model.fit(X, Y, epochs=30, batch_size=16, verbose=0)
    assert history.history["loss"][-1] < 0.3 < history.history["loss"][0]
    assert history.history["accuracy"][-1] > 0.9
    assert history.epoch == list(range(30))
    assert model.history is history
    assert history.params["steps"] == 4
    assert model.optimizer.iterations == 120
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    predicted = model.predict(X, verbose=0)
    assert accuracy == pytest.approx(np.mean(predicted.argmax(1) == Y))
    assert loss == pytest.approx(-np.mean(np.log(predicted[np.arange(50), Y])), rel=1e-4)


def test_the_loss_is_weighted_by_batch_sizes():
    model = _model(optimizer="sgd")
    model.optimizer.learning_rate = 0.0
    history = model.fit(X, Y, batch_size=32, verbose=0)  # batches of 32 and 18
    expected = model.evaluate(X, Y, batch_size=50, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected[0], rel=1e-5)
    assert history.history["accuracy"][0] == pytest.approx(expected[1])


class Data(fastconv.utils.PyDataset):
    """Batches by index."""

    def __init__(self):
        super().__init__()
        self.ended = 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return X[part], Y[part]

    def on_epoch_end(self):
        self.ended += 1


class Loader:
    """An iterable that starts again each epoch, as PyTorch's DataLoader."""

    def __iter__(self):
        for start in range(0, 50, 10):
            yield [X[start : start + 10], Y[start : start + 10]]


def _generator():
    while True:
        for start in range(0, 50, 10):
            yield X[start : start + 10], Y[start : start + 10]


@pytest.mark.parametrize("kind", ["arrays", "float64", "lists", "dict", "data", "loader", "gen"])
def test_kinds_of_data_give_the_same_training(kind):
    source = {
        "arrays": lambda: {"x": X, "y": Y, "batch_size": 10},
        "float64": lambda: {"x": X.astype("float64"), "y": Y.astype("uint8"), "batch_size": 10},
        "lists": lambda: {"x": X.tolist(), "y": Y.tolist(), "batch_size": 10},
        "dict": lambda: {"x": {"input_layer": X}, "y": {"dense_1": Y}, "batch_size": 10},
        "data": lambda: {"x": Data()},
        "loader": lambda: {"x": Loader()},
        "gen": lambda: {"x": _generator(), "steps_per_epoch": 5},
    }[kind]()
    model = _model()
    model.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in model.weights])
    history = model.fit(**source, epochs=2, shuffle=False, verbose=0)
    other = _model()
    other.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in other.weights])
    for _ in range(2):
        found = [
            other.train_on_batch(X[start : start + 10], Y[start : start + 10])[0]
            for start in range(0, 50, 10)
        ]
    assert history.history["loss"][-1] == pytest.approx(np.mean(found), rel=1e-6)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_data_sets_are_told_about_epochs():
    data = Data()
    _model().fit(data, epochs=3, verbose=0)
    assert data.ended == 3


def test_validation():
    model = _model()
    split = model.fit(X, Y, validation_split=0.2, epochs=2, verbose=0).history
    assert set(split) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    given = model.fit(X, Y, validation_data=(X[:9], Y[:9]), epochs=4, validation_freq=2, verbose=0)
    assert len(given.history["val_loss"]) == 2
    assert given.history["val_loss"][-1] == pytest.approx(
        model.evaluate(X[:9], Y[:9], verbose=0)[0], rel=1e-5
    )
    model.fit(X, Y, validation_data=Data(), verbose=0)
    model.fit(X, Y, validation_data=(X, Y, np.ones(50)), validation_steps=1, verbose=0)


def test_validation_split_takes_the_end_and_does_not_train_on_it():
    seen = []

    def spy(y_true, y_pred):
        seen.append(y_true)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    model = fastconv.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[spy])
    data = np.arange(10.0)[:, None]
    model.fit(data, data, validation_split=0.3, batch_size=100, verbose=0)
    assert sorted(seen[0].ravel()) == list(range(7))
    assert list(seen[1].ravel()) == [7, 8, 9]


def test_initial_epoch_steps_and_stop():
    model = _model()
    history = model.fit(X, Y, epochs=5, initial_epoch=3, batch_size=10, verbose=0)
    assert history.epoch == [3, 4]
    before = model.optimizer.iterations
    model.fit(X, Y, epochs=2, batch_size=10, steps_per_epoch=3, verbose=0)
    assert model.optimizer.iterations == before + 6

    class Stop(fastconv.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    history = model.fit(X, Y, epochs=5, batch_size=10, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0]
    assert model.optimizer.iterations == before + 8


def test_predict_covers_every_sample():
    model = _model()
    whole = model.predict(X, batch_size=50, verbose=0)
    for size in (1, 7, 32, 64):
        np.testing.assert_allclose(
            model.predict(X, batch_size=size, verbose=0), whole, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(model.predict_on_batch(X), whole, rtol=1e-6)
    np.testing.assert_allclose(model(X), whole, rtol=1e-6)
    assert model.predict(Data(), verbose=0).shape == (50, 3)
    assert model.predict(_generator(), steps=2, verbose=0).shape == (20, 3)
    assert model.predict(X[:1], verbose=0).shape == (1, 3)


def test_uint8_images_are_converted_batch_by_batch():
    x = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 1), dtype=np.uint8)
    model = fastconv.Sequential(
        [layers.Input((4, 4, 1), dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten()]
    )
    np.testing.assert_allclose(model.predict(x, verbose=0), x.reshape(9, 16) / 255, rtol=1e-6)
    view = np.moveaxis(np.zeros((4, 1, 9, 4), "float64"), 2, 0)  # any strides
    assert model.predict(view.transpose(0, 1, 3, 2), verbose=0).shape == (9, 16)


def test_single_batches():
    model = _model(optimizer="sgd")
    first = model.train_on_batch(X[:10], Y[:10])
    assert len(first) == 2
    second = model.train_on_batch(X[:10], Y[:10], return_dict=True)
    assert second["loss"] < first[0]
    expected = model.evaluate(X[:10], Y[:10], verbose=0)[0]
    third = model.train_on_batch(X[:10], Y[:10])  # the values of this batch alone
    assert third[0] == pytest.approx(expected, rel=1e-5)
    tested = model.test_on_batch(X, Y)
    assert tested == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    plain = _model(metrics=())
    assert isinstance(plain.train_on_batch(X, Y), float)
    assert model.evaluate(X, Y, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}
    assert model.metrics_names == ["loss", "accuracy"]


def test_sample_and_class_weights():
    model = _model()
    w = np.zeros(50)
    w[:10] = 1
    loss, *_ = model.evaluate(X, Y, sample_weight=w, batch_size=50, verbose=0)
    alone, *_ = model.evaluate(X[:10], Y[:10], verbose=0)
    assert loss == pytest.approx(alone / 5, rel=1e-5)  # divided by all samples, as Keras does
    before = model.get_weights()
    model.fit(X, Y, class_weight={0: 0, 1: 0, 2: 0}, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="sample weights of shape"):
        model.fit(X, Y, sample_weight=np.ones((50, 2)), verbose=0)


def test_verbosity(capsys):
    model = _model()
    model.fit(X, Y, epochs=2, verbose=0)
    model.predict(X, verbose=0)
    assert capsys.readouterr() == ("", "")
    model.fit(X, Y, epochs=2, verbose=2, validation_split=0.2)
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "Epoch 1/2"
    assert len(lines) == 4
    for name in ("accuracy: ", "loss: ", "val_accuracy: ", "val_loss: "):
        assert name in lines[1]
    model.fit(X, Y, verbose=1)
    out, err = capsys.readouterr()
    assert "2/2" in out
    assert "loss: " in out
    assert err == ""
    model.evaluate(X, Y)
    assert "accuracy: " in capsys.readouterr().out


def test_ctrl_c_leaves_the_last_finished_step_and_closes_callbacks(tmp_path):
    model = _model()
    weights = []

    class Interrupt(fastconv.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append(self.model.get_weights())
            if batch == 2:
                raise KeyboardInterrupt

    log = fastconv.callbacks.CSVLogger(tmp_path / "log.csv")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=5, epochs=3, callbacks=[Interrupt(), log], verbose=1)
    assert log._file is None
    for a, b in zip(weights[-1], model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.iterations == 3
    model.fit(X, Y, verbose=0)


def test_constraints_hold_after_every_step():
    model = fastconv.Sequential(
        [layers.Input((6,)), layers.Dense(3, kernel_constraint="non_neg", activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=2, verbose=0)
    assert model.get_weights()[0].min() >= 0


def test_own_losses_and_metrics():
    def loss(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** 2.0, axis=-1) + 0.5

    def largest(y_true, y_pred):
        return np.max(np.abs(y_true - y_pred))

    model = fastconv.Sequential([layers.Input((6,)), layers.Dense(1)])
    model.compile("sgd", loss, metrics=[largest, "mse"])
    history = model.fit(X, X[:, :1], epochs=1, batch_size=50, verbose=0).history
    assert history["loss"][0] == pytest.approx(history["mse"][0] + 0.5, rel=1e-5)
    assert "largest" in history
    sparse = fastconv.losses.sparse_categorical_crossentropy
    model = _model(loss=lambda y, p: sparse(y, p) * 2.0)
    twice = model.evaluate(X, Y, verbose=0)[0]
    model.compile(loss="sparse_categorical_crossentropy")
    assert twice == pytest.approx(2 * model.evaluate(X, Y, verbose=0), rel=1e-5)


def test_add_loss_and_freezing():
    class Penalty(layers.Layer):
        def call(self, inputs):
            self.add_loss(ops.sum(inputs) * 0.0 + 2.0)
            return inputs

    model = fastconv.Sequential([layers.Input((6,)), layers.Dense(4), Penalty(), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model.evaluate(X, X[:, 0], verbose=0) > 2
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(X, X[:, 0], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[2], before[2])
    model.layers[0].trainable = True
    model.fit(X, X[:, 0], verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_segmentation_shapes():
    model = fastconv.Sequential(
        [layers.Input((None, None, 1)), layers.Conv2D(3, 3, padding="same", activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(0).standard_normal((4, 6, 5, 1))
    y = np.random.default_rng(0).integers(0, 3, (4, 6, 5))
    model.fit(x, y, sample_weight=np.arange(4.0), verbose=0)
    model.fit(x, y[..., None], verbose=0)
    assert model.predict(x[:, :, :3], verbose=0).shape == (4, 6, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fit(X, Y[:40], verbose=0), r"same number of samples.*x: \[50\].*y: \[40\]"),
        (lambda m: m.fit(X[:0], Y[:0], verbose=0), "no samples"),
        (lambda m: m.fit(X, Y, batch_size=0, verbose=0), "batch_size.*0"),
        (lambda m: m.fit(X, Y, batch_size=2.5, verbose=0), "batch_size.*2.5"),
        (lambda m: m.fit(X, Y, epochs=-1, verbose=0), "epochs.*-1"),
        (lambda m: m.fit(X, Y, validation_split=1.5, verbose=0), "validation_split.*1.5"),
        (lambda m: m.fit(X[:1], Y[:1], validation_split=0.5, verbose=0), "leaves 0 for training"),
        (lambda m: m.fit(X, Y, verbose=7), "verbose.*7"),
        (lambda m: m.fit(X, Y, callbacks=["early"], verbose=0), "Callback objects.*'early'"),
        (lambda m: m.fit(X, verbose=0), "output 'dense_1' has a loss and no targets"),
        (lambda m: m.fit(None, verbose=0), "`x` is None"),
        (lambda m: m.fit(_generator(), Y, verbose=0), "`y`.*generator"),
        (lambda m: m.fit(Data(), batch_size=4, verbose=0), "`batch_size`.*Data"),
        (lambda m: m.fit(np.array(["a"] * 50), Y, verbose=0), "real numbers.*U1"),
        (lambda m: m.fit(X[:, :5], Y, verbose=0), r"expects shape \(None, 6\).*\(32, 5\)"),
        (lambda m: m.fit(X, Y + 1, verbose=0), "model 'sequential'.*target 3 .*"),
        (lambda m: m.fit(X, -1 - Y, verbose=0), "target -[123] "),
        (lambda m: m.fit(X, Y - 100, verbose=0), "target -100 "),
        (lambda m: m.fit(X, Y + np.nan, verbose=0), "NaN"),
        (lambda m: m.fit(X, np.eye(3)[Y], verbose=0), "labels of shape.*categorical_crossentropy"),
        (lambda m: m.evaluate(X, Y, batches=3), "batches"),
        (lambda m: m.fit(5, verbose=0), "int"),
        (lambda m: m.fit(X, Y, validation_data=(X,) * 4, verbose=0), "4 entries"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(_model())


def test_compile_errors():
    model = _model()
    with pytest.raises(ValueError, match="unknown optimizer 'adamm'"):
        model.compile("adamm", "mse")
    with pytest.raises(ValueError, match="unknown loss 'crossentropy'"):
        model.compile("adam", "crossentropy")
    with pytest.raises(ValueError, match="unknown metric 'accurate'"):
        model.compile("adam", "mse", metrics=["accurate"])
    fresh = fastconv.Sequential([layers.Input((6,)), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"compile\(\) before fit"):
        fresh.fit(X, Y)
    fresh.compile("adam")
    with pytest.raises(ValueError, match="has no loss"):
        fresh.fit(X, Y, verbose=0)
    fresh.compile("adam", {"other": "mse"})
    with pytest.raises(ValueError, match=r"other.*outputs"):
        fresh.fit(X, Y, verbose=0)
    fresh.compile("adam", "categorical_crossentropy")
    with pytest.raises(ValueError, match=r"output 'dense.*sparse_categorical_crossentropy"):
        fresh.fit(X, Y, verbose=0)


def test_a_finished_generator_warns():
    model = _model()
    finite = iter([(X[:10], Y[:10])] * 3)
    with pytest.warns(UserWarning, match="data ran out"):
        history = model.fit(finite, steps_per_epoch=2, epochs=5, verbose=0)
    assert len(history.epoch) == 2


def test_nan_travels():
    model = _model()
    x = X.copy()
    x[3] = np.nan
    history = model.fit(x, Y, batch_size=50, verbose=0)
    assert np.isnan(history.history["loss"][0])
    assert np.isnan(model.predict(X, verbose=0)).all()
