import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from fastconv.datasets._idx import read_idx, read_pair

IMAGES = np.arange(2 * 5 * 7, dtype=np.uint8).reshape(2, 5, 7)


def put(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_reads_plain_and_gzip(tmp_path, compress, idx_bytes):
    path = put(tmp_path / "file", compress(idx_bytes(IMAGES)))
    got = read_idx(path, 3)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, IMAGES)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("keep", [0, 1, 10, 16, 40])
def test_cut_content(tmp_path, compress, keep, idx_bytes):
    path = put(tmp_path / "images.idx", compress(idx_bytes(IMAGES)[:keep]))
    with pytest.raises(ValueError, match=r"images\.idx is (cut short|damaged)"):
        read_idx(path, 3)


@pytest.mark.parametrize("keep", [1, 2, 5, 17, 40, -9, -8, -4, -1])
def test_cut_gzip(tmp_path, keep, idx_bytes):
    path = put(tmp_path / "images.gz", gzip.compress(idx_bytes(IMAGES))[:keep])
    with pytest.raises(ValueError, match=r"images\.gz is (cut short|damaged)"):
        read_idx(path, 3)


def test_flipped_bits_in_gzip(tmp_path, idx_bytes):
    good, refused = gzip.compress(idx_bytes(IMAGES)), 0
    for position in range(10, len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        path = put(tmp_path / "images.gz", bytes(bad))
        try:
            # A few bits of a deflate stream are padding.
            np.testing.assert_array_equal(read_idx(path, 3), IMAGES)
        except ValueError as error:
            assert "images.gz" in str(error)
            refused += 1
    assert refused > len(good) - 20


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_surplus_bytes(tmp_path, compress, idx_bytes):
    path = put(tmp_path / "images", compress(idx_bytes(IMAGES) + b"x"))
    with pytest.raises(ValueError, match="damaged"):
        read_idx(path, 3)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**31, 1, 1), (60000, 28, 28), (0, 28, 28)])
def test_oversized_header_asks_for_no_memory(tmp_path, compress, shape):
    raw = struct.pack(">BBBB3I", 0, 0, 8, 3, *shape) + bytes(100)
    path = put(tmp_path / "images", compress(raw))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"images is .*its header .* asks for"):
            read_idx(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_forged_gzip_trailer(tmp_path):
    raw = struct.pack(">BBBB3I", 0, 0, 8, 3, 1 << 20, 28, 28) + bytes(100)
    packed = gzip.compress(raw)[:-4] + struct.pack("<I", 16 + (1 << 20) * 784)
    with pytest.raises(ValueError, match="damaged"):
        read_idx(put(tmp_path / "images", packed), 3)


@pytest.mark.parametrize(
    "start", [b"\x00\x00\x0d\x03", b"\x00\x00\x08\x01", b"\x08\x03\x00\x00", b"\x89PNG"]
)
def test_other_kinds_of_file(tmp_path, start, idx_bytes):
    path = put(tmp_path / "images", start + idx_bytes(IMAGES)[4:])
    with pytest.raises(ValueError, match="images is not an IDX file"):
        read_idx(path, 3)


def test_missing_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such-file"):
        read_idx(tmp_path / "no-such-file", 3)


def test_pair_is_checked(tmp_path, idx_bytes):
    images = put(tmp_path / "images", idx_bytes(IMAGES))
    short = put(tmp_path / "short", idx_bytes(np.zeros(1, np.uint8)))
    wrong = put(tmp_path / "wrong", idx_bytes(np.array([3, 10], np.uint8)))
    empty = put(tmp_path / "empty", idx_bytes(np.zeros((0, 5, 7), np.uint8)))
    none = put(tmp_path / "none", idx_bytes(np.zeros(0, np.uint8)))
    with pytest.raises(ValueError, match=r"images holds 2 images but .*short holds 1 labels"):
        read_pair(images, short)
    with pytest.raises(ValueError, match=r"wrong has a label 10, expected 0 to 9"):
        read_pair(images, wrong)
    with pytest.raises(ValueError, match=r"empty holds no image"):
        read_pair(empty, none)
