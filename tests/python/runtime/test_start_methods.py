"""Worker processes of every kind, started after this one has used its threads."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from long_tests import count

# A file of its own: forkserver and spawn import the program again.
PROGRAM = '''
import multiprocessing, os, signal, sys
import numpy as np
import fastconv
import fastconv.functional as F
from fastconv import layers

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 16, 32, 32)).astype("f4")
W = rng.standard_normal((16, 16, 3, 3)).astype("f4")

def convolve(i):
    return F.conv2d(X * (i + 1), W, padding=1)

def work(i):
    return fastconv.get_num_threads(), convolve(i).tobytes()

def batch(i):
    """As the worker of a data loader: makes the batch of a number."""
    images = F.avg_pool2d(X[:, :3] + i, 2)
    return images.transpose(0, 2, 3, 1).copy(), np.arange(8) % 4

class Batches(fastconv.utils.PyDataset):
    def __init__(self, pool, count):
        super().__init__(workers=0)
        self.pool, self.count = pool, count
    def __len__(self):
        return self.count
    def __getitem__(self, i):
        return self.pool.apply_async(batch, (i,)).get(timeout=120)

def network():
    fastconv.utils.set_random_seed(0)
    model = fastconv.Sequential([
        layers.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(),
        layers.Dense(4, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

if __name__ == "__main__":
    method, times = sys.argv[1], int(sys.argv[2])
    fastconv.set_num_threads(2)
    expected = [convolve(i).tobytes() for i in range(4)]
    model = network()
    model.fit(np.concatenate([batch(i)[0] for i in range(6)]),
              np.concatenate([batch(i)[1] for i in range(6)]),
              batch_size=8, shuffle=False, verbose=0)
    context = multiprocessing.get_context(method)
    for _ in range(times):
        with context.Pool(2) as pool:
            running = pool.map_async(work, range(4))
            assert [convolve(i).tobytes() for i in range(4)] == expected  # beside them
            assert [y for _, y in running.get(timeout=120)] == expected
            again = network()
            again.fit(Batches(pool, 6), shuffle=False, verbose=0)
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            assert np.array_equal(a, b)
    print("ok")
'''


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, method, str(count(1, 10))],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "FASTCONV_NUM_THREADS": "2"},
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


LOADER = """
import numpy as np
import torch
import fastconv
import fastconv.functional as F
from fastconv import layers

class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, i):
        image = np.full((1, 3, 32, 32), i / 64, "f4")
        return F.avg_pool2d(image, 2)[0].transpose(1, 2, 0).copy(), i % 4

fastconv.set_num_threads(2)
model = fastconv.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(8, 3), layers.Flatten(),
                             layers.Dense(4, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
losses = []
for workers in (0, 2):
    fastconv.utils.set_random_seed(0)
    model = fastconv.models.clone_model(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    loader = torch.utils.data.DataLoader(Images(), batch_size=8, num_workers=workers, timeout=0)
    model.fit(((x.numpy(), y.numpy()) for x, y in loader), verbose=0)
    losses.append(model.history.history["loss"])
assert losses[0] == losses[1], losses
print("ok")
"""


def test_workers_of_torch():
    pytest.importorskip("torch", reason="PyTorch is not installed: nothing has its workers")
    done = subprocess.run(
        [sys.executable, "-c", LOADER], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
