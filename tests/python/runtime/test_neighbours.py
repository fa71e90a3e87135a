"""Beside PyTorch, scikit-learn and NumPy's BLAS in one process, whoever was imported first.

All of them bring threads of their own, PyTorch and scikit-learn with an OpenMP runtime each.
"""

import importlib.util
import itertools
import os
import subprocess
import sys

import pytest

from long_tests import LONG

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "sklearn")),
    reason="PyTorch and scikit-learn are not both installed",
)

CODE = """
import importlib, os, signal, sys, threading
for name in sys.argv[1].split(","):
    importlib.import_module(name)
import numpy as np
import sklearn.cluster
import torch
import fastconv
import fastconv.functional as F

fastconv.set_num_threads(2)
torch.set_num_threads(2)
rng = np.random.default_rng(0)
x = rng.standard_normal((8, 16, 32, 32)).astype("f4")
w = rng.standard_normal((16, 16, 3, 3)).astype("f4")
square = rng.standard_normal((300, 300))
points = rng.standard_normal((400, 8))

def ours():
    return F.conv2d(x, w, padding=1)

def theirs():
    return torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=1).numpy()

def blas():
    return square @ square

def clusters():
    return sklearn.cluster.KMeans(4, n_init=1, random_state=0).fit(points).inertia_

expected = ours()
np.testing.assert_allclose(expected, theirs(), rtol=1e-3, atol=1e-3)
products, inertia = blas(), clusters()
tiny = torch.full((64,), 2e-38)
wrong = []

def work(i):
    for _ in range(2):
        for j in range(4):
            kind = (i + j) % 4
            if kind == 0 and not np.array_equal(ours(), expected):
                wrong.append("ours")
            if kind == 1 and not np.allclose(theirs(), expected, 1e-3, 1e-3):
                wrong.append("PyTorch's")
            if kind == 2 and not np.allclose(blas(), products):
                wrong.append("NumPy's")
            if kind == 3 and not np.isclose(clusters(), inertia):
                wrong.append("scikit-learn's")

work(0)
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong, wrong
assert (torch.get_num_threads(), fastconv.get_num_threads()) == (2, 2)
assert (tiny * 0.25 != 0).all()  # denormals are still numbers for them
if hasattr(os, "fork"):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os._exit(0 if np.array_equal(ours(), expected) else 1)
    assert os.waitpid(pid, 0)[1] == 0
print("ok")
"""

ORDERS = [",".join(names) for names in itertools.permutations(["fastconv", "torch", "sklearn"])]


@pytest.mark.parametrize("order", ORDERS if LONG else [ORDERS[0], ORDERS[-1]])
def test_import_orders(order):
    done = subprocess.run(
        [sys.executable, "-c", CODE, order],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "FASTCONV_NUM_THREADS": ""},
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
