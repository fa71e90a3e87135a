"""A process that ends while other threads are at work ends well, with whatever status it wanted."""

import subprocess
import sys
import textwrap

import pytest

from long_tests import count

SETUP = """
import atexit, sys, threading, time
import numpy as np
import fastconv
import fastconv.functional as F
from fastconv import layers

x, w = np.ones((4, 16, 64, 64), "f4"), np.ones((16, 16, 3, 3), "f4")

def forever(work):
    while True:
        work()

def in_background(work, threads=4):
    for _ in range(threads):
        threading.Thread(target=forever, args=(work,), daemon=True).start()

def network():
    model = fastconv.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(8, 3),
                                 layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model

def batches():
    while True:
        yield np.ones((8, 16, 16, 3), "f4"), np.ones((8, 2), "f4")
"""

PROGRAMS = {
    # Threads come back from the core and want the GIL of an interpreter that is ending.
    "functions": "in_background(lambda: F.conv2d(x, w, padding=1)); time.sleep(0.1)",
    "plans are made": """
        n = iter(range(8, 10**9))
        in_background(lambda: F.relu(np.ones((1, 2, next(n)), "f4")), 2)
        time.sleep(0.1)
    """,
    "fit": """
        in_background(lambda: network().fit(batches(), steps_per_epoch=10**6, verbose=0), 2)
        time.sleep(0.5)
    """,
    "predict": """
        model = network()
        in_background(lambda: model.predict(np.ones((64, 16, 16, 3), "f4"), verbose=0), 2)
        time.sleep(0.3)
    """,
    "a generator of fit is left": """
        class Stop(fastconv.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 3:
                    sys.exit(7)
        network().fit(batches(), steps_per_epoch=10**6, verbose=0, callbacks=[Stop()])
    """,
    "atexit": "atexit.register(lambda: F.conv2d(x, w, padding=1))",
    "exit status": "in_background(lambda: F.conv2d(x, w, padding=1)); time.sleep(0.1); sys.exit(7)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_process_ends(name):
    program = SETUP + textwrap.dedent(PROGRAMS[name])
    for _ in range(count(2, 50)):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (7 if "7)" in program else 0, "")
