"""A save that fails or is killed: the earlier file is whole, and nothing else is left.

Every kind of file that a program goes on from: layer models, weights, graphs, ONNX models,
checkpoints, and backups of a training run.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

from long_tests import count

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits a process as Unix does")

SETUP = """
import errno, os, resource, signal, sys
from pathlib import Path
import numpy as np
import fastconv
from fastconv import callbacks, layers

kind, folder = sys.argv[1], Path(sys.argv[2])
X, Y = np.ones((8, 64), "f4"), np.zeros((8, 100), "f4")

def network(value):
    model = fastconv.Sequential([layers.Input((64,)), layers.Dense(100), layers.Dense(100)])
    model.compile("sgd", "mse")
    model.set_weights([np.full(w.shape, value, "f4") for w in model.get_weights()])
    return model

def graph(value):
    from fastconv.inference import ModelGraph, Node, ValueInfo
    weights = {"w": np.full((64, 1000), value, "f4")}
    return ModelGraph("g", [ValueInfo("x", "float32", (1, 64))],
                      [ValueInfo("y", "float32", (1, 1000))],
                      [Node("MatMul", ["x", "w"], ["y"], {}, version=13)], weights)

def fit(model, callback):
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[callback])

class FromZero(callbacks.BackupAndRestore):
    def on_train_begin(self, logs=None):
        self.backup_dir.mkdir(exist_ok=True)

def save(value):
    if kind == "model":
        network(value).save(folder / "m.fastconv")
    elif kind == "weights":
        network(value).save_weights(folder / "m.weights.h5")
    elif kind == "graph":
        from fastconv.inference import file
        file.save(graph(value), folder / "g.fastconv")
    elif kind == "onnx":
        fastconv.onnx.export(network(value), folder / "m.onnx")
    elif kind == "checkpoint":
        fit(network(value), callbacks.ModelCheckpoint(folder / "best.fastconv"))
    elif kind == "backup":
        fit(network(value), FromZero(folder, save_freq=1, delete_checkpoint=False))

def load(path):
    # What one of the values gave, or an error.
    if kind in ("model", "checkpoint"):
        return fastconv.models.load_model(path).predict(X, verbose=0)
    if kind == "weights":
        model = network(0)
        model.load_weights(path)
        return model.predict(X, verbose=0)
    if kind in ("graph", "onnx"):
        session = fastconv.InferenceSession(path)
        return session.run(None, {session.get_inputs()[0].name: X[:1]})[0]
    from fastconv.models.resuming import load_progress
    load_progress(path)
"""

KINDS = ["model", "weights", "graph", "onnx", "checkpoint", "backup"]

FULL = """
save(1)
(name,) = os.listdir(folder)
before = (folder / name).read_bytes()
if limit == "size of files":
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
elif limit == "disk":
    room = os.statvfs(folder)
    with open(folder / "other", "wb") as other:
        other.write(bytes(room.f_bavail * room.f_frsize - len(before) // 2))
elif limit == "read-only":
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:  # whom rights do not bind
        import ctypes
        owner = ctypes.CDLL(None).setfsuid
        owner(65534)
try:
    save(2)
    print("saved")
except OSError as error:
    print("OSError", errno.errorcode[error.errno])
if limit == "disk":
    os.unlink(folder / "other")
elif limit == "read-only":
    if os.geteuid() == 0:
        owner(0)
    os.chmod(folder, 0o755)
assert sorted(os.listdir(folder)) == [name], os.listdir(folder)
assert (folder / name).read_bytes() == before
load(folder / name)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def skip_without_onnx(kind):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="the package onnx is not installed: nothing is exported")


@pytest.mark.parametrize(
    ("limit", "errors"),
    [("size of files", {"EFBIG"}), ("read-only", {"EACCES", "EPERM", "EROFS"})],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_save_that_fails(kind, limit, errors):
    skip_without_onnx(kind)
    with tempfile.TemporaryDirectory() as folder:  # pytest's are for this user only
        os.chmod(folder, 0o755)
        done = python(f"limit = {limit!r}\n{SETUP}\n{FULL}", kind, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] in errors, done.stdout


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("unshare") is None,
    reason="mounts a small disk",
)
def test_a_disk_that_is_full(tmp_path):
    mount = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    script = f'mount -t tmpfs -o size=4m none "{tmp_path}" && exec "$@"'
    if subprocess.run([*mount, script, "sh", "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk of his own")
    for kind in ("model", "backup"):
        command = [sys.executable, "-c", f"limit = 'disk'\n{SETUP}\n{FULL}", kind, str(tmp_path)]
        done = subprocess.run(
            [*mount, script, "sh", *command], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "OSError ENOSPC\n"


KILLED = """
import itertools
save(1)
print("saved", flush=True)
for value in itertools.cycle((2, 1)):
    save(value)
"""

CHECK = """
for path in folder.iterdir():
    if not path.name.startswith("."):  # a write that was killed
        values = load(path)
        assert values is None or np.ptp(values) == 0
"""


@pytest.mark.parametrize("kind", ["model", "graph", "backup"])
def test_a_save_that_is_killed(tmp_path, kind):
    # At any moment; test_saving.py and test_resuming.py kill in the middle of a write.
    generator = random.Random()
    for _ in range(count(2, 60)):
        process = subprocess.Popen(
            [sys.executable, "-c", SETUP + KILLED, kind, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"saved\n"
        time.sleep(generator.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = python(SETUP + textwrap.dedent(CHECK), kind, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")]
