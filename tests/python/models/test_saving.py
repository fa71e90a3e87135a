"""Model files: round trips, refusals, and that a failing save keeps the earlier file."""

import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import fastconv
from fastconv import layers, ops

X = np.random.default_rng(0).standard_normal((20, 6, 6, 1)).astype("float32")
Y = np.arange(20) % 3


def _network(dropout=0.3):
    return fastconv.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(
                3, activation="softmax", kernel_constraint=fastconv.constraints.MaxNorm(3)
            ),
        ]
    )


def _compiled(optimizer="adam"):
    model = _network()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("suffix", [".fastconv", ".keras", ".safetensors", ""])
def test_round_trip_with_training_state(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    model = _compiled()
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    model.save(path)
    again = fastconv.models.load_model(path)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert again.optimizer.iterations == model.optimizer.iterations == 6
    assert os.listdir(tmp_path) == [path.name]
    # Training goes on as if it had never stopped.
    for m in (model, again):
        m._seed = 7
        m.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = [
    fastconv.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    fastconv.optimizers.AdamW(1e-3, weight_decay=0.01, clipnorm=1.0),
    fastconv.optimizers.RMSprop(fastconv.optimizers.schedules.CosineDecay(1e-3, 10), centered=True),
    fastconv.optimizers.Adagrad(0.1),
    fastconv.optimizers.Adam(use_ema=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_round_trip(tmp_path, optimizer):
    model = _compiled(type(optimizer).from_config(optimizer.get_config()))
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m")
    again = fastconv.models.load_model(tmp_path / "m")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_file_is_safetensors_with_readable_metadata(tmp_path):
    model = _compiled()
    model.save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="numpy") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert metadata["format"] == "fastconv"
    assert metadata["version"] == "1"
    assert json.loads(metadata["content"])["model"]["class_name"] == "Sequential"
    assert {"conv2d/kernel", "batch_normalization/moving_mean", "dense/bias"} <= names


def test_functional_models_with_shared_layers(tmp_path):
    a, b = fastconv.Input((4,), name="a"), fastconv.Input((4,), name="b")
    shared = fastconv.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    h = shared(a) * 2.0 + shared(b)
    model = fastconv.Model({"a": a, "b": b}, [layers.Dense(1)(h), ops.relu(h)[:, :1]])
    x = {k: np.random.default_rng(1).standard_normal((5, 4)) for k in "ab"}
    model.save(tmp_path / "m")
    again = fastconv.models.load_model(tmp_path / "m")
    for p, q in zip(model.predict(x, verbose=0), again.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(p, q)


def test_weights_only(tmp_path):
    model, other = _network(), _network()
    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match="weights only"):
        fastconv.models.load_model(tmp_path / "w.weights.h5")
    model.save(tmp_path / "whole")
    other.load_weights(tmp_path / "whole")


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    model = _network()
    model.save_weights(tmp_path / "w")
    other = fastconv.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(5, 3), layers.Flatten()])
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"w does not fit.*conv2d/kernel.*\(3, 3, 1, 4\)"):
        other.load_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w", skip_mismatch=True)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="not been built"):
        fastconv.Sequential([layers.Dense(2)]).load_weights(tmp_path / "w")


class Doubled(layers.Layer):
    """A custom layer."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


class Subclassed(fastconv.Model):
    """A subclassed model."""

    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


def own_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_custom_objects(tmp_path):
    model = fastconv.Sequential([layers.Input((4,)), Doubled(3.0), layers.Dense(1)])
    model.compile("sgd", own_loss)
    x = np.ones((8, 4))
    model.fit(x, np.zeros(8), verbose=0)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"unknown class 'Doubled'.*custom_objects"):
        fastconv.models.load_model(tmp_path / "m")
    with pytest.raises(ValueError, match=r"own_loss.*compile=False"):
        fastconv.models.load_model(tmp_path / "m", custom_objects={"Doubled": Doubled})
    loaded = fastconv.models.load_model(
        tmp_path / "m", custom_objects={"Doubled": Doubled, "own_loss": own_loss}
    )
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    fastconv.models.load_model(tmp_path / "m", {"Doubled": Doubled}, compile=False)


def test_subclassed_models(tmp_path):
    model = Subclassed(3)
    x = np.ones((2, 4))
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m")
    again = fastconv.models.load_model(tmp_path / "m", {"Subclassed": Subclassed})
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


def test_refusals(tmp_path):
    load = fastconv.models.load_model
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with zipfile.ZipFile(tmp_path / "real.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"real.keras is a zip archive, probably a Keras model"):
        load(tmp_path / "real.keras")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(ValueError, match=r"x.h5 is an HDF5 file"):
        load(tmp_path / "x.h5")
    (tmp_path / "noise").write_bytes(b"not a model at all, just text" * 10)
    with pytest.raises(ValueError, match="noise is not a fastconv file or is damaged"):
        load(tmp_path / "noise")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="empty is not a fastconv file"):
        load(tmp_path / "empty")
    save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match=r"foreign.*did not write it"):
        load(tmp_path / "foreign")
    meta = {"format": "fastconv", "version": "99", "kind": "model", "content": "{}"}
    save_file({"a": np.zeros(3)}, tmp_path / "newer", metadata=meta)
    with pytest.raises(ValueError, match="newer has format version 99"):
        load(tmp_path / "newer")
    save_file({"a": np.zeros(3)}, tmp_path / "bad", metadata={**meta, "version": "1"})
    with pytest.raises(ValueError, match="bad is damaged"):
        load(tmp_path / "bad")


def test_truncated_files(tmp_path):
    model = _network()
    model.save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    for size in (4, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(ValueError, match="cut"):
            fastconv.models.load_model(tmp_path / "cut")


def test_saving_refuses(tmp_path):
    model = _network()
    model.save(tmp_path / "m")
    with pytest.raises(FileExistsError, match="overwrite=False"):
        model.save(tmp_path / "m", overwrite=False)
    with pytest.raises(FileNotFoundError, match="folder"):
        model.save(tmp_path / "no" / "m")
    with pytest.raises(ValueError, match="not been built"):
        fastconv.Sequential([layers.Dense(2)]).save(tmp_path / "n")


def test_a_failing_save_keeps_the_earlier_file(tmp_path, monkeypatch):
    model = _network()
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        _network(0.9).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


KILLED = """
import os, sys
import fastconv
from fastconv import layers
model = fastconv.Sequential([layers.Input((4,)), layers.Dense(2)])
model.save(sys.argv[1])
print("saved", flush=True)
def hang(fd):
    print("writing", flush=True)
    import time
    time.sleep(60)
os.fsync = hang
model.save(sys.argv[1])
"""


def test_a_killed_save_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "m"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "saved"
    before = path.read_bytes()
    assert process.stdout.readline().strip() == "writing"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.read_bytes() == before
    fastconv.models.load_model(path)


def _twice(first, second):
    """A subclassed model with two layers, whatever their names."""

    @fastconv.utils.register_keras_serializable("clash")
    class Twice(fastconv.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first, self.second = first(), second()

        def call(self, x):
            return self.second(self.first(x))

        def get_config(self):
            return {}

    model = Twice()
    model.build((None, 4, 3))
    return model


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: layers.Dense(3, name="h"), lambda: layers.Dense(3, name="h")),
        (lambda: layers.Conv1D(3, 1, name="dense"), lambda: layers.Dense(3)),
        (lambda: layers.Dense(3), lambda: layers.Conv1D(3, 1, name="dense")),
        (lambda: layers.Dense(3, name="optimizer"), lambda: layers.Dense(3, name="optimizer_1")),
        (
            lambda: fastconv.Sequential([layers.Dense(3)], name="enc"),
            lambda: fastconv.Sequential([layers.Dense(3)], name="enc"),
        ),
    ],
)
def test_layers_of_equal_names_keep_their_weights(tmp_path, first, second):
    fastconv.utils.clear_session()
    model = _twice(first, second)
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m")
    loaded = fastconv.models.load_model(tmp_path / "m", custom_objects={"Twice": type(model)})
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    model.save_weights(tmp_path / "w")
    other = _twice(first, second)
    other.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(other.predict(x, verbose=0), expected)


def test_custom_losses_and_metrics_work_after_loading(tmp_path):
    def own_loss(y_true, y_pred):
        return fastconv.ops.mean(fastconv.ops.square(y_true - y_pred), axis=-1)

    def own_metric(y_true, y_pred):
        return np.abs(y_true - y_pred)

    class OwnLoss(fastconv.losses.Loss):
        def call(self, y_true, y_pred):
            return own_loss(y_true, y_pred)

    class OwnMetric(fastconv.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true - y_pred)

    known = {f.__name__: f for f in (own_loss, own_metric, OwnLoss, OwnMetric)}
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    for loss in (own_loss, OwnLoss()):
        model = fastconv.Sequential([layers.Input((3,)), layers.Dense(1)])
        model.compile("sgd", loss, metrics=[own_metric, OwnMetric(name="own")])
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        assert set(expected) == {"loss", "own_metric", "own"}
        model.save(tmp_path / "m")
        loaded = fastconv.models.load_model(tmp_path / "m", custom_objects=known)
        assert loaded.evaluate(x, y, verbose=0, return_dict=True) == expected
        loaded.save(tmp_path / "again")
