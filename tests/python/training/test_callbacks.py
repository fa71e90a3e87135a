"""Callbacks."""

import csv
import os

import numpy as np
import pytest

import fastconv
from fastconv import callbacks, layers

X = np.random.default_rng(0).standard_normal((24, 4)).astype("float32")
Y = X[:, :1]


@pytest.fixture(autouse=True)
def seeded():
    fastconv.utils.set_random_seed(1)


def _model(rate=0.01):
    model = fastconv.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile(fastconv.optimizers.SGD(rate), "mse", metrics=["mae"])
    return model


class Fake(callbacks.Callback):
    """Puts given values in place of the logged ones."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values = values
        self.name = name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def test_hooks_are_called_in_order():
    seen = []

    class Spy(callbacks.Callback):
        pass

    for hook in dir(callbacks.Callback):
        if hook.startswith("on_") and hook not in ("on_batch_begin", "on_batch_end"):

            def record(self, *args, hook=hook, **kwargs):
                seen.append(hook)

            setattr(Spy, hook, record)
    _model().fit(X, Y, batch_size=12, validation_data=(X, Y), callbacks=[Spy()], verbose=0)
    steps = ["on_train_batch_begin", "on_train_batch_end"] * 2
    tests = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end"] + [
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
    ]
    assert seen == [
        "on_train_begin",
        "on_epoch_begin",
        *steps,
        *tests,
        "on_epoch_end",
        "on_train_end",
    ]


def test_batch_logs_and_older_names():
    class Old(callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.losses = []

        def on_batch_end(self, batch, logs=None):
            self.losses.append(logs["loss"])

    old = Old()
    _model().fit(X, Y, batch_size=8, callbacks=old, verbose=0)
    assert len(old.losses) == 3


def test_early_stopping():
    stop = callbacks.EarlyStopping(patience=2)
    history = _model().fit(
        X, Y, epochs=9, callbacks=[Fake([3, 2, 2.5, 2.1, 1, 0, 0, 0, 0]), stop], verbose=0
    )
    assert history.epoch == [0, 1, 2, 3]
    assert stop.stopped_epoch == 3
    assert stop.best == 2


def test_early_stopping_restores_the_best_weights():
    model = _model()
    kept = []
    keep = callbacks.LambdaCallback(on_epoch_end=lambda e, logs: kept.append(model.get_weights()))
    fake = Fake([0.1, 0.9, 0.5, 0.2, 0.1], "val_accuracy")
    stop = callbacks.EarlyStopping("val_accuracy", patience=3, restore_best_weights=True)
    model.fit(X, Y, epochs=9, callbacks=[fake, keep, stop], verbose=0)
    assert stop.best_epoch == 1
    for a, b in zip(model.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({"min_delta": 0.5, "patience": 1}, [3, 2.8, 2.7, 2, 1], 2),
        ({"baseline": 1.0, "patience": 2}, [3, 3.1, 2.7, 2, 1], 2),
        ({"start_from_epoch": 2, "patience": 1}, [1, 2, 3, 4, 5], 4),
        ({"mode": "max", "patience": 1}, [1, 2, 3, 2, 5], 4),
    ],
)
def test_early_stopping_arguments(arguments, values, epochs):
    stop = callbacks.EarlyStopping(**arguments)
    history = _model().fit(X, Y, epochs=5, callbacks=[Fake(values), stop], verbose=0)
    assert len(history.epoch) == epochs


def test_a_missing_value_warns_once():
    with pytest.warns(UserWarning, match="val_loss.*loss, mae") as record:
        _model().fit(X, Y, epochs=3, callbacks=[callbacks.EarlyStopping()], verbose=0)
    assert len(record) == 1


def test_reduce_learning_rate_on_plateau():
    model = _model(1.0)
    plateau = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.2)
    values = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    history = model.fit(X, Y * 0, epochs=11, callbacks=[Fake(values), plateau], verbose=0)
    assert history.history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]
    with pytest.raises(ValueError, match="factor"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_learning_rate_scheduler():
    model = _model()
    both = callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else lr)
    history = model.fit(X, Y, epochs=3, callbacks=[both], verbose=0)
    assert history.history["learning_rate"] == pytest.approx([0.01, 0.005, 0.0025])
    one = callbacks.LearningRateScheduler(lambda epoch: 0.1 * (epoch + 1))
    model.fit(X, Y, epochs=2, callbacks=[one], verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="must return a number"):
        bad = callbacks.LearningRateScheduler(lambda epoch, lr: None)
        model.fit(X, Y, callbacks=[bad], verbose=0)


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    model = _model()
    model.fit(X, Y, epochs=2, callbacks=[callbacks.CSVLogger(path)], verbose=0)
    log = callbacks.CSVLogger(path, append=True)
    model.fit(X, Y, epochs=3, initial_epoch=2, callbacks=[log], verbose=0)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["loss"]) > float(rows[2]["loss"])
    assert rows[0]["val_loss"] == "NA"
    tabs = callbacks.CSVLogger(tmp_path / "tabs.csv", separator="\t")
    model.fit(X, Y, validation_split=0.5, callbacks=[tabs], verbose=0)
    head = (tmp_path / "tabs.csv").read_text().splitlines()[0]
    assert head.split("\t") == ["epoch", "loss", "mae", "val_loss", "val_mae"]


def test_checkpoint_of_every_epoch(tmp_path):
    path = tmp_path / "deep" / "cnn-{epoch:02d}-{val_loss:.2f}.fastconv"
    fake = Fake([3, 1.5, 2])
    _model().fit(X, Y, epochs=3, callbacks=[fake, callbacks.ModelCheckpoint(path)], verbose=0)
    assert sorted(os.listdir(tmp_path / "deep")) == [
        "cnn-01-3.00.fastconv",
        "cnn-02-1.50.fastconv",
        "cnn-03-2.00.fastconv",
    ]


@pytest.mark.parametrize("only_weights", [False, True])
def test_checkpoint_of_the_best(tmp_path, only_weights):
    path = tmp_path / "best.weights.h5"
    model = _model()
    kept = []
    keep = callbacks.LambdaCallback(on_epoch_end=lambda e, logs: kept.append(model.get_weights()))
    best = callbacks.ModelCheckpoint(
        path, save_best_only=True, save_weights_only=only_weights, monitor="val_loss"
    )
    model.fit(X, Y, epochs=4, callbacks=[Fake([3, 1, 2, 4]), keep, best], verbose=0)
    if only_weights:
        other = _model()
        other.load_weights(path)
    else:
        other = fastconv.models.load_model(path)
        assert other.optimizer.iterations == 2
    for a, b in zip(other.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoint_by_batches_and_errors(tmp_path):
    path = str(tmp_path / "b{batch}")
    _model().fit(
        X, Y, batch_size=4, callbacks=[callbacks.ModelCheckpoint(path, save_freq=2)], verbose=0
    )
    assert sorted(os.listdir(tmp_path)) == ["b2", "b4", "b6"]
    with pytest.raises(ValueError, match="save_freq"):
        callbacks.ModelCheckpoint(path, save_freq="batch")
    with pytest.raises(KeyError, match=r"val_acc.*loss, mae"):
        bad = callbacks.ModelCheckpoint(str(tmp_path / "{val_acc}"))
        _model().fit(X, Y, callbacks=[bad], verbose=0)


def _direction(monitor, metrics):
    """Whether the first or the second of the values 1, 2 is the best."""
    model = fastconv.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=list(metrics))
    stop = callbacks.EarlyStopping(monitor, patience=9)
    fake = Fake([1.0, 2.0], monitor)
    model.fit(X, Y, epochs=2, callbacks=[fake, stop], verbose=0)
    return {1.0: "min", 2.0: "max"}[stop.best]


def score(y_true, y_pred):
    return -np.abs(y_true - y_pred)


def dice(y_true, y_pred):
    return -np.abs(y_true - y_pred)


@pytest.mark.parametrize(
    ("monitor", "metrics", "expected"),
    [
        ("val_loss", (), "min"),
        ("val_accel_loss", (), "min"),
        ("vaccine_loss", (), "min"),
        ("val_accuracy", (), "max"),
        ("auc_1", (), "max"),
        ("rmse", (), "min"),
        ("ours", [fastconv.metrics.Precision(name="ours")], "max"),
        ("val_ours", [fastconv.metrics.RootMeanSquaredError(name="ours")], "min"),
        ("val_huber", ["huber"], "min"),
    ],
)
def test_auto_mode(monitor, metrics, expected):
    assert _direction(monitor, metrics) == expected


def test_auto_mode_asks_where_it_cannot_know(tmp_path):
    for monitor, metrics in (("val_dice", [dice]), ("val_vaccine", ()), ("val_score", [score])):
        with pytest.raises(ValueError, match=f"EarlyStopping.*{monitor}.*mode='max'"):
            _direction(monitor, metrics)
    model = _model()
    best = callbacks.ModelCheckpoint(tmp_path / "b", monitor="val_dice", save_best_only=True)
    with pytest.raises(ValueError, match=r"ModelCheckpoint.*val_dice"):
        model.fit(X, Y, callbacks=[Fake([1], "val_dice"), best], verbose=0)


def test_auto_mode_with_several_outputs():
    x = layers.Input((4,))
    outputs = [layers.Dense(1, name=name)(x) for name in ("accel", "vaccine")]
    model = fastconv.Model(x, outputs)
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], [fastconv.metrics.Recall(name="r")]])
    best = {}
    for name in ("accel_loss", "accel_mae", "vaccine_r"):
        stop = callbacks.EarlyStopping(name, patience=9)
        model.fit(X, [Y, Y], epochs=2, callbacks=[Fake([1.0, 2.0], name), stop], verbose=0)
        best[name] = stop.best
    assert best == {"accel_loss": 1, "accel_mae": 1, "vaccine_r": 2}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: callbacks.ModelCheckpoint("a", save_freq=0), "save_freq.*0"),
        (lambda: callbacks.ModelCheckpoint("a", save_freq=-4), "save_freq.*-4"),
        (lambda: callbacks.ReduceLROnPlateau(factor=-1), "factor.*-1"),
        (lambda: callbacks.ReduceLROnPlateau(patience=-1), "patience.*-1"),
        (lambda: callbacks.EarlyStopping(patience=-1), "patience.*-1"),
        (lambda: callbacks.EarlyStopping(patience="a"), "patience.*'a'"),
        (lambda: callbacks.LearningRateScheduler(3), "schedule.*3"),
        (lambda: callbacks.CallbackList([callbacks.EarlyStopping]), "class EarlyStopping"),
        (lambda: callbacks.CallbackList(3), "callbacks.*3"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_schedule_that_returns_nan():
    bad = callbacks.LearningRateScheduler(lambda epoch, lr: float("nan"))
    with pytest.raises(ValueError, match=r"finite number.*nan"):
        _model().fit(X, Y, callbacks=[bad], verbose=0)


def test_an_interrupted_run_keeps_the_earlier_log(tmp_path):
    path = tmp_path / "log.csv"
    _model().fit(X, Y, epochs=2, callbacks=[callbacks.CSVLogger(path)], verbose=0)
    before = path.read_text()

    class Interrupts(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise KeyboardInterrupt

    log = callbacks.CSVLogger(path)
    with pytest.raises(KeyboardInterrupt):
        _model().fit(X, Y, callbacks=[log, Interrupts()], verbose=0)
    assert path.read_text() == before
    _model().fit(X, Y, epochs=1, callbacks=[log], verbose=0)
    assert len(path.read_text().splitlines()) == 2


def test_terminate_on_nan(capsys):
    model = _model(1e30)
    history = model.fit(
        X, Y, batch_size=4, epochs=9, callbacks=[callbacks.TerminateOnNaN()], verbose=0
    )
    assert len(history.epoch) == 1
    assert "Invalid loss" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="loss is"):
        strict = callbacks.TerminateOnNaN(raise_error=True)
        model.fit(X, Y, batch_size=4, epochs=9, callbacks=[strict], verbose=0)


def test_a_failing_callback_does_not_keep_files_open(tmp_path):
    log = callbacks.CSVLogger(tmp_path / "log.csv")

    class Fails(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("no more")

        def on_train_end(self, logs=None):
            raise RuntimeError("not even this")

    with pytest.raises(RuntimeError):
        _model().fit(X, Y, callbacks=[Fails(), log], verbose=0)
    assert log._file is None
