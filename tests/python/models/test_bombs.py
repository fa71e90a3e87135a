"""Small files that unpack to large ones: what they declare and what they hold is limited."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="h5py is not installed: Keras's files are not read")

import fastconv  # noqa: E402
from fastconv import layers  # noqa: E402

LARGE = 1 << 28


@pytest.fixture
def dense():
    model = fastconv.Sequential([layers.Input((3,)), layers.Dense(2, name="dense")])
    model.build((None, 3))
    return model


def written(path, **arguments):
    """Write a file of weights whose kernel is stored with these arguments of h5py's."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.create_dataset("0", data=np.ones((3, 2), np.float32), **arguments)
        group["1"] = np.zeros(2, np.float32)
    return path


def peak(call):
    """Return the error of a call, and the most memory that Python's allocators had in it."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call()
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2, 2), "compression": "gzip", "compression_opts": 9},
        {"chunks": (1, 2), "shuffle": True},
    ],
)
def test_packed_arrays_are_read(dense, tmp_path, arguments):
    dense.load_weights(written(tmp_path / "m.weights.h5", **arguments))
    np.testing.assert_array_equal(dense.get_weights()[0], np.ones((3, 2)))


def test_a_declared_size_that_is_a_lie(dense, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(LARGE))
    data = bytearray(path.read_bytes())
    # Before the data, and in the directory at the end.
    for at in (22, data.rindex(b"PK\x01\x02") + 24):
        assert data[at : at + 4] == struct.pack("<I", LARGE)
        data[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    message, memory = peak(lambda: dense.load_weights(path))
    assert "m.keras is damaged" in message
    assert memory < LARGE / 16


def test_pieces_larger_than_the_array(dense, tmp_path):
    path = written(
        tmp_path / "m.weights.h5", chunks=(2**14, 2**10), maxshape=(None, None), compression="gzip"
    )
    assert path.stat().st_size < 2**20
    message, _ = peak(lambda: dense.load_weights(path))
    assert "pieces of (16384, 1024)" in message


def test_a_piece_that_unpacks_to_more(dense, tmp_path):
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        kernel = group.create_dataset("0", (3, 2), "float32", chunks=(3, 2), compression="gzip")
        kernel.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**16)))
        group["1"] = np.zeros(2, np.float32)
    message, _ = peak(lambda: dense.load_weights(path))
    assert "unpacks to more than its 24 bytes" in message


def test_other_filters(dense, tmp_path):
    path = written(tmp_path / "m.weights.h5", compression="lzf")
    message, _ = peak(lambda: dense.load_weights(path))
    assert "filters" in message


def test_models_that_ask_for_more_weights_than_the_file_has(tmp_path):
    model = fastconv.Sequential([layers.Input((3,)), layers.Dense(1003)])
    model.compile("sgd", "mse", metrics=[fastconv.metrics.MeanIoU(1007)])
    path = tmp_path / "m.fastconv"
    model.save(path)
    data = path.read_bytes()
    for key, small, large in (("units", 1003, 10**10), ("num_classes", 1007, 10**6)):
        entry = rf"\"{key}\": "
        forged = data.replace(f"{entry}{small}".encode(), f"{entry}{large}".encode())
        assert forged != data
        forged = forged.replace(b'"crc32"', b'"no_32"')
        header = int.from_bytes(data[:8], "little") + len(forged) - len(data)
        path.write_bytes(header.to_bytes(8, "little") + forged[8:])
        message, memory = peak(lambda: fastconv.models.load_model(path))
        assert f"{path} has (its tensors take" in message
        assert memory < LARGE / 8


def test_numpy_files_of_the_command(tmp_path):
    from fastconv.cli import _run

    head = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    np.lib.format.write_array_header_1_0(head, description)
    (tmp_path / "x.npy").write_bytes(head.getvalue() + bytes(100))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(1 << 20))
    for name in ("x.npy", "x.npz"):
        message, memory = peak(lambda name=name: _run._load(tmp_path / name))
        assert name in message
        assert memory < LARGE / 16
