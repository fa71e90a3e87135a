"""Small data sets in the true file formats, and a machine that has none of its own."""

import gzip
import struct

import numpy as np
import pytest

from fastconv.datasets import _store

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte") + (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx_bytes(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture(scope="session")
def idx_bytes():
    """idx_bytes(array): the content of a plain IDX file."""
    return _idx_bytes


@pytest.fixture(scope="session")
def idx_names():
    return NAMES


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    """No data folder but a fresh cache, so that no test depends on what is installed."""
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr(_store, "cache_folder", lambda: cache)
    monkeypatch.setattr(_store, "system_folders", list)
    return cache


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, 12, dtype=np.uint8),
        rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, 5, dtype=np.uint8),
    ]


@pytest.fixture
def write_idx(arrays):
    """write_idx(folder, compress=True) puts the four files there."""

    def write(folder, compress=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in zip(NAMES, arrays, strict=True):
            raw = _idx_bytes(array)
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
            else:
                (folder / name).write_bytes(raw)
        return folder

    return write


@pytest.fixture
def assert_loaded(arrays):
    """assert_loaded(load_data()): it is what the four small files hold now."""

    def check(got):
        for a, b in zip([*got[0], *got[1]], arrays, strict=True):
            assert a.dtype == np.uint8
            np.testing.assert_array_equal(a, b)

    return check
