"""A run that is killed at any moment and started again ends as one that was not killed."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import callbacks, layers

PROGRAM = Path(__file__).with_name("resumable_run.py")
BATCHES, EPOCHS = 9, 4


def start(folder, kind, save_freq, kill_in_write=0):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, PROGRAM, kind, str(save_freq), folder, str(kill_in_write)],
        env={**os.environ, "FASTCONV_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads((folder / "result.json").read_text())
    # A write that was killed leaves its temporary file.
    result["left"] = [name for name in result["left"] if not name.startswith(".")]
    return result, out.count("\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """whole(kind): the result of a run that nobody kills."""
    known = {}

    def run(kind):
        if kind not in known:
            known[kind], batches = finish(tmp_path_factory.mktemp(kind), kind, "epoch")
            assert batches == EPOCHS * BATCHES
        return known[kind]

    return run


def kill_after(process, batches, delay):
    """SIGKILL after some batches and a moment; returns whether the process died of it."""
    for _ in itertools.islice(process.stdout, batches):
        pass
    time.sleep(delay)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "save_freq"), [("arrays", 2), ("dataset", 3), ("generator", "epoch")]
)
def test_killed_runs_end_with_the_same_weights(tmp_path, whole, kind, save_freq):
    expected = whole(kind)
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)
    # Batches after which a run is killed: one of them has made a backup, none has time to end.
    later = (10, 13) if save_freq == "epoch" else (4, 9)
    for first, last in ((1, 9), later, later):
        process = start(tmp_path / "run", kind, save_freq)
        killed = kill_after(process, rng.randint(first, last), rng.random() * 0.003)
        assert killed, f"seed {seed}"
    result, batches = finish(tmp_path / "run", kind, save_freq)
    assert result == expected, f"seed {seed}"
    assert batches < EPOCHS * BATCHES, f"seed {seed}: it began again"


@pytest.mark.parametrize("write", [1, 2, 5])
def test_killed_while_the_backup_is_written(tmp_path, whole, write):
    folder = tmp_path / "run"
    process = start(folder, "arrays", 2, write)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert out.count("\n") >= 2 * write - 2
    assert list((folder / "backup").glob(".*")) or list(folder.glob(".*")), "nothing half written"
    result, _ = finish(folder, "arrays", 2)
    assert result == whole("arrays")


# In one process


def _model(seed=0):
    fastconv.utils.set_random_seed(seed)
    model = fastconv.Sequential(
        [layers.Input((4,)), layers.Dense(8, "tanh"), layers.Dropout(0.5), layers.Dense(2)]
    )
    model.compile("adam", "mse")
    return model


X = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
Y = X[:, :2] ** 2


class _Stop(callbacks.Callback):
    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at = epoch, batch
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.at == (epoch, None):
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.at == (self.epoch, batch):
            raise KeyboardInterrupt


def _interrupted(folder, epoch, batch=None, save_freq="epoch", double_checkpoint=False, **fit):
    backup = callbacks.BackupAndRestore(folder, save_freq, double_checkpoint, False)
    stop = _Stop(epoch, batch)
    with pytest.raises(KeyboardInterrupt):
        _model().fit(X, Y, batch_size=5, epochs=4, verbose=0, callbacks=[backup, stop], **fit)


@pytest.mark.parametrize("fit", [{}, {"steps_per_epoch": 3}, {"shuffle": False}], ids=str)
@pytest.mark.parametrize("save_freq", ["epoch", 1, 2])
def test_an_interrupt_keeps_the_backup_and_the_end_removes_it(tmp_path, save_freq, fit):
    plain = _model()
    plain.fit(X, Y, batch_size=5, epochs=4, verbose=0, **fit)
    folder = tmp_path / "b"
    _interrupted(folder, 2, 1, save_freq, **fit)
    assert [p.name for p in folder.iterdir()] == ["training.fastconv"]
    model = _model(seed=5)  # weights, order and masks come from the backup
    backup = callbacks.BackupAndRestore(folder)
    history = model.fit(X, Y, batch_size=5, epochs=4, verbose=0, callbacks=backup, **fit)
    assert history.epoch == [0, 1, 2, 3]
    assert history.history == plain.history.history
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not folder.exists()


def test_a_finished_run_is_not_trained_again(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    first, second = _model(), _model()
    first.fit(X, Y, epochs=2, verbose=0, callbacks=[backup])
    second.fit(X, Y, epochs=2, verbose=0, callbacks=[backup])
    assert second.optimizer.iterations == first.optimizer.iterations == 2
    longer = _model()
    longer.fit(X, Y, epochs=3, verbose=0, callbacks=[backup])
    assert longer.optimizer.iterations == 3


def test_the_state_before_stands_in_for_a_damaged_one(tmp_path):
    _interrupted(tmp_path, 2, double_checkpoint=True)  # before its first batch
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"training.fastconv", "training.previous.fastconv"}
    data = (tmp_path / "training.fastconv").read_bytes()
    (tmp_path / "training.fastconv").write_bytes(data[: len(data) // 2])
    model = _model()
    with pytest.warns(UserWarning, match="training.previous.fastconv"):
        model.fit(
            X,
            Y,
            batch_size=5,
            epochs=1,
            verbose=0,
            callbacks=callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False),
        )
    assert model.optimizer.iterations == 4
    (tmp_path / "training.previous.fastconv").unlink()
    with pytest.raises(ValueError, match=r"training\.fastconv is damaged"):
        _model().fit(X, Y, verbose=0, callbacks=callbacks.BackupAndRestore(tmp_path))


def test_errors(tmp_path):
    for arguments, message in (
        ({"backup_dir": ""}, "empty"),
        ({"backup_dir": "x", "save_freq": 0}, "save_freq=0"),
        ({"backup_dir": "x", "save_freq": "batch"}, "'batch'"),
    ):
        with pytest.raises(ValueError, match=message):
            callbacks.BackupAndRestore(**arguments)
    _interrupted(tmp_path, 1)

    def resume(model, x=X, **arguments):
        backup = callbacks.BackupAndRestore(tmp_path)
        more = arguments.pop("callbacks", [])
        model.fit(x, Y[: len(x)], epochs=2, verbose=0, callbacks=[backup, *more], **arguments)

    with pytest.raises(ValueError, match="batch_size was 5, is 4"):
        resume(_model(), batch_size=4)
    with pytest.raises(ValueError, match="samples was 20, is 10"):
        resume(_model(), X[:10], batch_size=5)
    with pytest.raises(ValueError, match=r"callbacks \['History'\], not \['EarlyStopping', 'His"):
        resume(_model(), batch_size=5, callbacks=[callbacks.EarlyStopping("loss")])
    other = fastconv.Sequential([layers.Input((4,)), layers.Dense(2)])
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="the backup does not fit model"):
        resume(other, batch_size=5)
    model = _model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="optimizer Adam, not SGD"):
        resume(model, batch_size=5)
    with pytest.raises(ValueError, match="a backup of a training run"):
        fastconv.models.load_model(tmp_path / "training.fastconv")


def test_own_callbacks_and_metrics_keep_their_state(tmp_path):
    class Count(callbacks.Callback):
        state_names = ("batches",)

        def __init__(self):
            super().__init__()
            self.batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    class Sum(fastconv.metrics.Metric):
        def __init__(self):
            super().__init__(name="sum")
            self.total = self.add_weight(name="total")
            self.calls = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(np.sum(y_true))
            self.calls += 1

        def result(self):
            return float(self.total) + self.calls

        def reset_state(self):
            super().reset_state()
            self.calls = 0

    def run(stop):
        model, count = _model(), Count()
        model.compile("adam", "mse", metrics=[Sum()])
        backup = callbacks.BackupAndRestore(tmp_path / "b", save_freq=1)
        listed = [backup, count, *stop]
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=listed)
        return model.history.history, count.batches

    expected = run([])
    with pytest.raises(KeyboardInterrupt):
        run([_Stop(1, 2)])
    again = run([])
    assert again[1] == expected[1] == 8
    np.testing.assert_array_equal(again[0]["sum"], expected[0]["sum"])
    assert again[0]["loss"] == expected[0]["loss"]


def test_state_that_is_no_data_is_told(tmp_path):
    class Odd(callbacks.Callback):
        state_names = ("thing",)
        thing = object()

    with pytest.raises(TypeError, match="received: <object"):
        _model().fit(X, Y, verbose=0, callbacks=[Odd(), callbacks.BackupAndRestore(tmp_path / "b")])
