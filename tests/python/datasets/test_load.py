import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fastconv import datasets
from fastconv.datasets import _store, cifar10, digits, fashion_mnist, mnist


def test_digits_shape_and_split():
    (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert y_train.shape == (1437,) and y_test.shape == (360,)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert x_train.min() == x_test.min() == 0 and x_train.max() == x_test.max() == 16
    assert list(y_train[:10]) == list(range(10))
    assert np.bincount(y_test).min() >= 30
    assert len(digits.CLASS_NAMES) == 10


def test_digits_are_those_of_scikit_learn():
    reference = pytest.importorskip("sklearn.datasets", reason="compares with scikit-learn")
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    bunch = reference.load_digits()
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), bunch.images)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), bunch.target)


def test_digits_need_no_home_and_no_extras(tmp_path):
    code = (
        "import sys; from fastconv.datasets import digits; digits.load_data();"
        "assert not {'tqdm', 'urllib.request', 'http.client', 'PIL'} & set(sys.modules)"
    )
    environment = {**os.environ, "HOME": str(tmp_path / "nowhere")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("module, folder", [(mnist, "mnist"), (fashion_mnist, "fashion-mnist")])
@pytest.mark.parametrize("compress", [True, False])
def test_environment_folder(
    tmp_path, monkeypatch, write_idx, assert_loaded, module, folder, compress
):
    write_idx(tmp_path / "data" / folder, compress)
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "data"))
    assert_loaded(module.load_data())
    # The data set's own folder may be named as well, and several folders as in PATH.
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("FASTCONV_DATA", f"{other}{os.pathsep}{tmp_path / 'data' / folder}")
    assert_loaded(module.load_data())


def test_environment_folder_that_does_not_exist(tmp_path, monkeypatch, bare_machine, write_idx):
    write_idx(bare_machine / "mnist")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "nope"))
    with pytest.raises(FileNotFoundError, match=r"nope \(from FASTCONV_DATA\) is not a folder"):
        mnist.load_data()


def test_order_of_the_search(tmp_path, monkeypatch, bare_machine, write_idx, arrays, assert_loaded):
    system = tmp_path / "share" / "datasets"
    monkeypatch.setattr(_store, "system_folders", lambda: [system])
    write_idx(system / "fashion-mnist")
    assert_loaded(fashion_mnist.load_data())
    arrays[0] = arrays[0] ^ 1
    write_idx(bare_machine / "fashion-mnist")
    assert_loaded(fashion_mnist.load_data())
    arrays[0] = arrays[0] ^ 2
    write_idx(tmp_path / "mine" / "fashion_mnist")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "mine"))
    assert_loaded(fashion_mnist.load_data())


def test_incomplete_environment_folder(tmp_path, monkeypatch, bare_machine, write_idx):
    write_idx(bare_machine / "mnist")
    folder = write_idx(tmp_path / "mnist")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"FASTCONV_DATA\) lacks t10k-labels-idx1-ubyte"):
        mnist.load_data()


def test_damaged_file_is_named(bare_machine, write_idx):
    folder = write_idx(bare_machine / "mnist")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is .*; remove the file"):
        mnist.load_data()


def test_system_folders_follow_prefix_and_xdg(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_DIRS", "/opt/share:relative:/usr/share")
    folders = _store.system_folders()
    assert folders[0] == Path(sys.prefix) / "share" / "datasets"
    assert Path("/opt/share/datasets") in folders
    assert all(f.is_absolute() for f in folders) and len(set(folders)) == len(folders)
    if os.name == "posix":
        assert Path("/usr/share/datasets") in folders


def test_cache_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _store.cache_folder() == tmp_path / "xdg" / "fastconv" / "datasets"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert _store.cache_folder() == tmp_path / ".cache" / "fastconv" / "datasets"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _store.cache_folder() == tmp_path / "Library" / "Caches" / "fastconv" / "datasets"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert _store.cache_folder() == tmp_path / "local" / "fastconv" / "datasets"


BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


@pytest.fixture
def batches():
    """Three records a batch, as the true files: label, then red, green and blue planes."""
    rng = np.random.default_rng(1)
    return {
        name: np.concatenate(
            [rng.integers(0, 10, (3, 1)), rng.integers(0, 256, (3, 3072))], axis=1
        ).astype(np.uint8)
        for name in BATCHES
    }


def check_cifar(batches):
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert x_train.shape == (15, 32, 32, 3) and x_test.shape == (3, 32, 32, 3)
    assert y_train.shape == (15, 1) and y_test.shape == (3, 1)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert x_train.flags.c_contiguous
    record = batches["data_batch_2.bin"][1]
    assert y_train[4, 0] == record[0]
    green = record[1 + 1024 : 1 + 2048].reshape(32, 32)
    np.testing.assert_array_equal(x_train[4, :, :, 1], green)


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def members_of(batches):
    return {f"cifar-10-batches-bin/{name}": a.tobytes() for name, a in batches.items()}


@pytest.mark.parametrize(
    "folder",
    ["cifar10/cifar-10-batches-bin", "cifar-10/cifar-10-batches-bin", "cifar10"]
    + ["cifar-10-batches-bin"],
)
def test_cifar10_unpacked(tmp_path, monkeypatch, batches, folder):
    home = tmp_path / folder
    home.mkdir(parents=True)
    for name, data in batches.items():
        (home / name).write_bytes(data.tobytes())
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    check_cifar(batches)
    (home / BATCHES[2]).write_bytes(batches[BATCHES[2]].tobytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin is cut short"):
        cifar10.load_data()
    (home / BATCHES[2]).write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_3\.bin .* label 10"):
        cifar10.load_data()


def test_cifar10_archive(bare_machine, batches):
    extra = {"cifar-10-batches-bin/readme.html": b"hello", "../../escape.bin": bytes(3073)}
    write_tar(bare_machine / "cifar10" / "cifar-10-binary.tar.gz", extra | members_of(batches))
    check_cifar(batches)
    assert not list(bare_machine.parent.rglob("escape.bin"))


@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.99])
def test_cifar10_cut_archive(bare_machine, batches, keep):
    archive = bare_machine / "cifar10" / "cifar-10-binary.tar.gz"
    data = write_tar(archive, members_of(batches)).read_bytes()
    archive.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz (is damaged|lacks)"):
        cifar10.load_data()


def test_cifar10_archive_lacks_a_batch(bare_machine, batches):
    del batches["data_batch_4.bin"]
    write_tar(bare_machine / "cifar10" / "cifar-10-binary.tar.gz", members_of(batches))
    with pytest.raises(ValueError, match=r"lacks data_batch_4\.bin"):
        cifar10.load_data()


def test_cifar10_archive_that_blows_up(bare_machine, batches, monkeypatch):
    monkeypatch.setattr(cifar10, "_MAX_UNPACKED", 100_000)
    archive = bare_machine / "cifar10" / "cifar-10-binary.tar.gz"
    write_tar(archive, {"filler": bytes(1_000_000)} | members_of(batches))
    with pytest.raises(ValueError, match="more than CIFAR-10 has"):
        cifar10.load_data()


def test_cifar10_oversized_member_is_not_read(bare_machine, batches):
    members = members_of(batches)
    members["cifar-10-batches-bin/data_batch_1.bin"] = bytes(3073 * 10_001)
    write_tar(bare_machine / "cifar10" / "cifar-10-binary.tar.gz", members)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin in .* is cut short or damaged"):
        cifar10.load_data()
