import re
import sys

import numpy as np
import pytest

import fastconv
import graph_files

pytest.importorskip("onnx", reason="needs the onnx package")
Image = pytest.importorskip("PIL.Image", reason="images need pillow")
RNG = np.random.default_rng(1)


@pytest.fixture
def net(tmp_path):
    return graph_files.classifier(tmp_path / "net.onnx")


@pytest.fixture
def photo(tmp_path):
    pixels = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


def shown_image(fast, tmp_path, model, *arguments):
    """What the identity model got as its input."""
    status, _, err = fast("run", model, "--output", tmp_path / "seen.npy", *arguments)
    assert status == 0, err
    return np.load(tmp_path / "seen.npy")


def test_array(fast, net, tmp_path):
    x = RNG.random((2, 3, 9, 7)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    status, out, err = fast(
        "run", net, "--input", f"x={tmp_path / 'x.npy'}", "--output", tmp_path / "y.npz"
    )
    assert status == 0, err
    (expected,) = fastconv.InferenceSession(net).run(None, {"x": x})
    with np.load(tmp_path / "y.npz") as arrays:
        assert arrays.files == ["y"]
        np.testing.assert_array_equal(arrays["y"], expected)
    first = out.splitlines()[0]
    assert first.startswith("y: (2, 10) float32, min ")
    numbers = [float(n) for n in re.findall(r"(?:min|mean|max) (\S+?)(?:,|$)", first)]
    np.testing.assert_allclose(
        numbers, [expected.min(), expected.mean(), expected.max()], rtol=1e-4
    )
    for line, row in zip(out.splitlines()[1:3], expected, strict=True):
        found = [int(i) for i in re.findall(r"(\d+) \(", line)]
        assert found == np.argsort(-row)[:5].tolist()


def test_top(fast, net, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((12, 3, 4, 4), "float32"))
    _, out, _ = fast("run", net, "--input", tmp_path / "x.npy", "--top", 2)
    assert out.count("top: ") == 10 and "and 2 more rows" in out
    assert len(re.findall(r"\d+ \(", out.splitlines()[1])) == 2
    _, out, _ = fast("run", net, "--input", tmp_path / "x.npy", "--top", 0)
    assert "top" not in out


def test_own_file_and_threads(fast, net, tmp_path):
    np.save(tmp_path / "x.npy", RNG.random((1, 3, 4, 4)).astype("float32"))
    assert fast("convert", net, tmp_path / "net.fastconv")[0] == 0
    a = fast("run", net, "--input", tmp_path / "x.npy")
    b = fast("run", tmp_path / "net.fastconv", "--input", tmp_path / "x.npy", "--threads", 1)
    assert a == b and a[0] == 0


@pytest.mark.parametrize(
    "shape, layout, transposed",
    [
        ((1, 3, 4, 5), None, (2, 0, 1)),
        ((1, 4, 5, 3), None, (0, 1, 2)),
        (("n", "c", "h", "w"), None, (2, 0, 1)),
        (("n", "h", "w", "c"), "nhwc", (0, 1, 2)),
        ((3, 4, 5), None, (2, 0, 1)),
    ],
)
def test_layouts(fast, tmp_path, photo, shape, layout, transposed):
    model = graph_files.identity(tmp_path / "id.onnx", shape=shape)
    options = ["--layout", layout] if layout else []
    seen = shown_image(fast, tmp_path, model, "--input", photo[0], *options)
    expected = photo[1].transpose(transposed) / 255
    np.testing.assert_allclose(seen.reshape(expected.shape), expected, rtol=1e-6)
    assert seen.ndim == len(shape)


def test_scale_mean_std(fast, tmp_path, photo):
    model = graph_files.identity(tmp_path / "id.onnx")
    options = ["--scale", "0.5", "--mean", "1,2,3", "--std", "4"]
    seen = shown_image(fast, tmp_path, model, "--input", photo[0], *options)
    expected = (photo[1] * 0.5 - [1, 2, 3]) / 4
    np.testing.assert_allclose(seen[0].transpose(1, 2, 0), expected, rtol=1e-5)


def test_integer_images_keep_their_pixels(fast, tmp_path, photo):
    model = graph_files.identity(tmp_path / "id.onnx", "uint8")
    seen = shown_image(fast, tmp_path, model, "--input", photo[0])
    np.testing.assert_array_equal(seen[0].transpose(1, 2, 0), photo[1])


def test_grey_and_resizing(fast, tmp_path):
    Image.new("RGB", (20, 10), (255, 255, 255)).save(tmp_path / "white.png")
    for shape in ((1, 1, 3, "w"), (3, 20)):
        model = graph_files.identity(tmp_path / "id.onnx", shape=shape)
        seen = shown_image(fast, tmp_path, model, "--input", tmp_path / "white.png")
        np.testing.assert_array_equal(seen, np.ones([20 if d == "w" else d for d in shape]))


def test_two_inputs(fast, tmp_path):
    model = graph_files.two_inputs(tmp_path / "two.onnx")
    a, b = RNG.random((3, 2)).astype("float32"), RNG.random((3, 1)).astype("float32")
    np.savez(tmp_path / "both.npz", a=a, b=b)
    np.save(tmp_path / "b.npy", b)
    for given in (
        ["--input", tmp_path / "both.npz"],
        ["--input", f"a={tmp_path / 'both.npz'}", "--input", f"b={tmp_path / 'b.npy'}"],
    ):
        status, out, err = fast("run", model, *given, "--output", tmp_path / "out.npz")
        assert status == 0, err
        with np.load(tmp_path / "out.npz") as arrays:
            np.testing.assert_array_equal(arrays["plus"], a + b)
            np.testing.assert_array_equal(arrays["minus"], a - b)
        assert "plus: (3, 2) float32" in out and "minus: (3, 2) float32" in out


def test_types_are_converted_where_that_is_harmless(fast, tmp_path):
    model = graph_files.identity(tmp_path / "id.onnx", "int32", (2,))
    np.save(tmp_path / "x.npy", np.array([1, -5], "int64"))
    np.testing.assert_array_equal(
        shown_image(fast, tmp_path, model, "--input", tmp_path / "x.npy"), [1, -5]
    )
    np.save(tmp_path / "x.npy", np.array([1, 2**40]))
    status, _, err = fast("run", model, "--input", tmp_path / "x.npy")
    assert status == 2 and "dtype int64, expected int32" in err


@pytest.mark.parametrize(
    "dtype, values, text",
    [
        ("float32", [1, np.nan, 3], "min 1, mean 2, max 3, 1 NaN"),
        ("float32", [np.nan] * 3, ", 3 NaN"),
        ("float32", [-np.inf, 1, np.inf], "min -inf, mean nan, max inf"),
        ("bool", [True, False, True], "bool, 2 true"),
        ("int64", [-1, 5, 2], "min -1, mean 2, max 5"),
        ("float32", [], "no elements"),
    ],
)
def test_statistics(fast, tmp_path, dtype, values, text):
    model = graph_files.identity(tmp_path / "id.onnx", dtype, ("n",))
    np.save(tmp_path / "x.npy", np.array(values, dtype))
    status, out, err = fast("run", model, "--input", tmp_path / "x.npy")
    assert status == 0, err
    assert text in out


def test_output_called_file(fast, tmp_path):
    model = graph_files.write(
        tmp_path / "m.onnx",
        [("Relu", ["x"], ["file"], {})],
        {"x": ("float32", (2,))},
        {"file": ("float32", (2,))},
    )
    np.save(tmp_path / "x.npy", np.float32([-1, 1]))
    fast("run", model, "--input", tmp_path / "x.npy", "--output", tmp_path / "o.npz")
    assert np.load(tmp_path / "o.npz")["file"].tolist() == [0, 1]


# Errors


def test_bad_models(fails, tmp_path, layer_model):
    assert "no model file" in fails("run", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"not a model")
    assert "text.onnx" in fails("run", tmp_path / "text.onnx")
    (tmp_path / "text.fastconv").write_bytes(b"not a model")
    assert "text.fastconv" in fails("run", tmp_path / "text.fastconv")
    error = fails("run", layer_model)
    assert "is a layer model: use fastconv predict" in error and "fastconv convert" in error
    fastconv.models.load_model(layer_model).save_weights(tmp_path / "w.fastconv")
    assert "holds weights only" in fails("run", tmp_path / "w.fastconv")


def test_damaged_own_file(fails, fast, net, tmp_path):
    path = tmp_path / "net.fastconv"
    assert fast("convert", net, path)[0] == 0
    content = path.read_bytes()
    for part in (content[:100], content[:-1]):
        path.write_bytes(part)
        assert "net.fastconv" in fails("run", path)


def test_missing_operators(fails, tmp_path):
    path = graph_files.write(
        tmp_path / "m.onnx",
        [("NonZero", ["x"], ["y"], {"name": "nz"})],
        {"x": ("float32", (2,))},
        {"y": ("int64", (1, "k"))},
    )
    assert "not supported: NonZero ('nz')" in fails("run", path)


def test_without_onnx(fails, net, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'fastconv[onnx]'" in fails("run", net)


def test_without_pillow(fails, net, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install 'fastconv[image]'" in fails("run", net, "--input", photo[0])


def test_inputs_that_do_not_fit(fails, net, tmp_path, photo):
    np.save(tmp_path / "x.npy", np.ones((1, 2, 4, 4), "float32"))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "array", 1)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with open(tmp_path / "arrays.npy", "wb") as file:
        np.savez(file, x=1)
    (tmp_path / "junk.npy").write_bytes(b"junk")
    (tmp_path / "junk.npz").write_bytes(b"PK\3\4junk")
    np.savez(tmp_path / "two.npz", a=1, b=2)

    def error(value, *more):
        return fails("run", net, "--input", value, *more)

    assert "no value for 'x' (n, 3, h, w) float32: give --input x=FILE" in fails("run", net)
    assert "shape (1, 2, 4, 4), expected (n, 3, h, w)" in error(tmp_path / "x.npy")
    assert "expected float32" in error(tmp_path / "text.npy")
    assert "object.npy is not a NumPy file" in error(tmp_path / "object.npy")
    assert "junk.npy is not a NumPy file" in error(tmp_path / "junk.npy")
    assert "junk.npz is not a NumPy file" in error(f"x={tmp_path / 'junk.npz'}")
    assert "holds ['a', 'b'], not an array 'x'" in error(f"x={tmp_path / 'two.npz'}")
    assert "holds 'a', which is no input" in error(tmp_path / "two.npz")
    assert "is a .npy file by its content" in error(tmp_path / "array.npz")
    assert "is a .npz file by its content" in error(tmp_path / "arrays.npy")
    assert "no input file" in error("x=none.npy")
    assert "no image file none.png" in error("none.png")
    assert "no input 'z', expected one of ['x']" in error("z=none.npy")
    assert "is given twice" in error(tmp_path / "x.npy", "--input", tmp_path / "x.npy")
    (tmp_path / "no.png").write_bytes(b"")
    assert "not an image" in error(tmp_path / "no.png")
    assert "--mean has 2 numbers, expected 1 or 3" in error(photo[0], "--mean", "1,2")
    assert "--std is 0" in error(photo[0], "--std", "1,0,1")


def test_which_of_two_inputs(fails, tmp_path):
    model = graph_files.two_inputs(tmp_path / "two.onnx")
    np.save(tmp_path / "a.npy", np.ones((3, 2), "float32"))
    error = fails("run", model, "--input", tmp_path / "a.npy")
    assert "say which of the inputs it is, one of ['a', 'b']" in error
    error = fails("run", model, "--input", f"a={tmp_path / 'a.npy'}")
    assert "no value for 'b' (n, 1)" in error
    np.save(tmp_path / "b.npy", np.ones((2, 1), "float32"))
    error = fails(
        "run", model, "--input", f"a={tmp_path / 'a.npy'}", "--input", f"b={tmp_path / 'b.npy'}"
    )
    assert "sizes 3 and 2 for the axis 'n'" in error


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (5,)])
def test_models_that_take_no_images(fails, tmp_path, photo, shape):
    model = graph_files.identity(tmp_path / "id.onnx", shape=shape)
    error = fails("run", model, "--input", photo[0])
    assert ("has 4 in the layout nchw" if len(shape) == 4 else "is not an image") in error


def test_outputs_that_cannot_be_written(fails, net, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 3, 4, 4), "float32"))
    given = ["--input", tmp_path / "x.npy", "--output"]
    assert "ends in .npz or .npy" in fails("run", net, *given, tmp_path / "o.txt")
    assert "folder does not exist" in fails("run", net, *given, tmp_path / "no" / "o.npy")
    two = graph_files.two_inputs(tmp_path / "two.onnx")
    assert "2 outputs, use .npz" in fails("run", two, "--output", tmp_path / "o.npy")


@pytest.mark.parametrize("option", [["--top", "-1"], ["--scale", "x"], ["--layout", "chwn"]])
def test_wrong_options(command, option):
    status, out, err = command("run", "m.onnx", *option)
    assert status == 2 and out == "" and err.count("\n") == 1 and "--help" in err
