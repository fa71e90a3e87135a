"""Signals while `fit` runs: it ends soon, and model, threads and backups are usable afterwards."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from long_tests import count

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals as Unix does")

SETUP = """
import os, random, signal, sys, threading, time
import numpy as np
import fastconv
from fastconv import callbacks, layers

x = np.random.default_rng(0).standard_normal((256, 16, 16, 3)).astype("f4")
y = np.arange(256) % 4

def network():
    model = fastconv.Sequential([
        layers.Input((16, 16, 3)), layers.Conv2D(16, 3, activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(4, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def batches():
    while True:
        yield x[:32], y[:32]
"""

INTERRUPTED = """
def interrupt(done, delay):
    # Again after a while: Python drops an exception that a destructor or callback of its own meets.
    while not done.wait(delay):
        os.kill(os.getpid(), signal.SIGINT)
        delay = 5

model = network()
model.fit(x, y, verbose=0)
for i in range({times}):
    done = threading.Event()
    timer = threading.Thread(target=interrupt, args=(done, random.random() * 0.15))
    started = time.monotonic()
    try:
        timer.start()
        # In the training thread, and ahead in a thread of its own.
        model.fit(*(((x, y), (batches(),))[i % 2]), epochs=10**6, verbose=0,
                  **({{}}, {{"steps_per_epoch": 10**5}})[i % 2])
    except KeyboardInterrupt:
        done.set()
    timer.join()
    # A second interrupt may have cut the waiting for it short.
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(20)
            assert not thread.is_alive(), thread
    assert time.monotonic() - started < 60
    before = model.predict(x, verbose=0)
    assert np.isfinite(before).all()
    history = model.fit(x, y, verbose=0)
    assert history.epoch == [0] and np.isfinite(history.history["loss"]).all()
print("ok")
"""


def python(code):
    return subprocess.run(
        [sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=600
    )


def test_interrupts_at_any_moment():
    done = python(INTERRUPTED.format(times=count(12, 400)))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


TERMINATED = """
handled = sys.argv[1] == "handled"
if handled:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
class Tell(callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(epoch, flush=True)
network().fit(batches(), steps_per_epoch=8, epochs=10**6, verbose=0, callbacks=[
    callbacks.BackupAndRestore(sys.argv[2], save_freq=3), Tell()])
"""


@pytest.mark.parametrize("how", ["default", "handled"])
def test_termination(tmp_path, how):
    command = [sys.executable, "-c", SETUP + TERMINATED, how, str(tmp_path / "b")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(2):
        process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (3 if how == "handled" else -signal.SIGTERM, "")
    (name,) = [name for name in os.listdir(tmp_path / "b") if not name.startswith(".")]
    done = python(
        textwrap.dedent(f"""
        from fastconv.models.resuming import load_progress
        content, tensors = load_progress({str(tmp_path / "b" / name)!r})
        assert content["epoch"] >= 1
        """)
    )
    assert done.returncode == 0, done.stderr
