"""External data: read from inside the model's folder only, mapped, with its range checked."""

import mmap
import os

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastconv.onnx  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

WEIGHT = np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3)


def write(folder, **entries):
    """Write a model whose weight lies in an external file with these entries; return its path."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [tensor],
    )
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    data = b"12345678" + WEIGHT.tobytes() + b"end"
    for path in (inner / "weights.bin", inner / "sub" / "weights.bin", tmp_path / "outside.bin"):
        path.write_bytes(data)
    return inner


def is_mapped(array) -> bool:
    base = array
    while getattr(base, "base", None) is not None:
        base = base.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


@pytest.mark.parametrize("location", ["weights.bin", "sub/weights.bin", "./weights.bin"])
@pytest.mark.parametrize("length", [{}, {"length": WEIGHT.nbytes}])
def test_external_data_is_mapped(folder, location, length):
    path = write(folder, location=location, offset=8, checksum="ignored", **length)
    found = fastconv.onnx.load(path).constants["w"]
    np.testing.assert_array_equal(found, WEIGHT)
    assert is_mapped(found) and not found.flags.writeable


def test_unaligned_data_is_copied(folder):
    (folder / "weights.bin").write_bytes(b"1" + WEIGHT.tobytes())
    found = fastconv.onnx.load(write(folder, location="weights.bin", offset=1)).constants["w"]
    np.testing.assert_array_equal(found, WEIGHT)
    assert found.flags.aligned


def test_link_inside_the_folder(folder):
    (folder / "link.bin").symlink_to("sub/weights.bin")
    found = fastconv.onnx.load(write(folder, location="link.bin", offset=8)).constants["w"]
    np.testing.assert_array_equal(found, WEIGHT)


def test_onnx_writes_what_is_read(folder):
    plain = write(folder, location="weights.bin", offset=8, length=WEIGHT.nbytes)
    proto = onnx.load(plain)
    path = folder / "saved.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="saved.data", size_threshold=0)
    np.testing.assert_array_equal(fastconv.onnx.load(path).constants["w"], WEIGHT)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "../outside.bin",
        "sub/../weights.bin",
        "sub/../../outside.bin",
        "..\\outside.bin",
        "/etc/passwd",
        "C:\\weights.bin",
        "\\\\host\\weights.bin",
        "weights.bin\0",
    ],
)
def test_paths_out_of_the_folder(folder, location):
    path = write(folder, location=location, offset=8)
    with pytest.raises(ValueError, match=r"'w': the external file .* is not a path inside"):
        fastconv.onnx.load(path)


def test_absolute_path_of_the_right_file(folder):
    path = write(folder, location=folder / "weights.bin", offset=8)
    with pytest.raises(ValueError, match="is not a path inside"):
        fastconv.onnx.load(path)


@pytest.mark.parametrize("target", ["../outside.bin", "absolute", "folder"])
def test_links_out_of_the_folder(folder, target):
    location = "link.bin"
    if target == "folder":
        (folder / "away").symlink_to(folder.parent)
        location = "away/outside.bin"
    else:
        outside = folder.parent / "outside.bin"
        (folder / location).symlink_to(outside if target == "absolute" else target)
    path = write(folder, location=location, offset=8)
    with pytest.raises(ValueError, match=r"'w'.*leads out of the model's folder"):
        fastconv.onnx.load(path)


@pytest.mark.parametrize(
    "entries, match",
    [
        ({"location": "none.bin"}, "cannot be read"),
        ({"location": "weights.bin/x"}, "cannot be read"),
        ({"location": "sub"}, "no regular file"),
        ({"location": "pipe"}, "no regular file"),
        ({"location": "loop"}, "cannot be read"),
        ({"location": "empty.bin"}, "has only 0"),
        ({"location": "weights.bin", "offset": 12}, "has only 227"),
        ({"location": "weights.bin", "offset": 2**62}, "has only 227"),
        ({"location": "weights.bin", "offset": -8}, "'-8', not a number"),
        ({"location": "weights.bin", "offset": "x"}, "'x', not a number"),
        ({"location": "weights.bin", "offset": "9" * 5000}, "not a number"),
        ({"location": "weights.bin", "length": 8}, "needs 216 bytes.* length of 8"),
        ({"location": "weights.bin", "length": 2**62}, "needs 216 bytes"),
        ({"location": "x" * 5000}, "cannot be read"),
    ],
)
def test_wrong_files_and_ranges(folder, entries, match):
    (folder / "empty.bin").write_bytes(b"")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ValueError, match=f"'w'.*{match}"):
        fastconv.onnx.load(write(folder, **entries))


def test_bytes_and_objects_have_no_folder(folder):
    path = write(folder, location="weights.bin", offset=8)
    for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(ValueError, match="give the path of the model"):
            fastconv.onnx.load(source)
