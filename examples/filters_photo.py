"""Classical filters on a photo: the kernels that a first convolution learns to resemble.

The photo is scikit-image's astronaut, or --image. Needs the extras image and plot.
"""

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fastconv import filters

KERNELS = {
    "box blur": filters.box_blur(9),
    "Gaussian blur": filters.gaussian_blur(3.0),
    "sharpen": filters.sharpen(),
    "Sobel, to the right": filters.sobel_x(),
    "Laplacian": filters.laplacian(),
    "emboss": filters.emboss(),
    "Laplacian of Gaussian": filters.laplacian_of_gaussian(2.0),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--image", type=Path, help="a photo (default: scikit-image's astronaut)")
parser.add_argument("--quick", action="store_true", help="a smaller photo")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
arguments = parser.parse_args()

path = arguments.image
if path is None:
    files = metadata.files("scikit-image")
    path = next(file.locate() for file in files if file.name == "astronaut.png")
photo = Image.open(path).convert("L")
photo.thumbnail((128, 128) if arguments.quick else (320, 320))
photo = np.asarray(photo, np.float32) / 255

figure = Figure(figsize=(10, 5.4), layout="constrained")
panels = iter(figure.subplots(2, 4).ravel())
for name, image in {
    "photo": photo,
    **{n: filters.apply(photo, k) for n, k in KERNELS.items()},
}.items():
    axes = next(panels)
    # Derivatives, whose kernels sum to zero, are grey where nothing changes.
    derivative = name != "photo" and abs(KERNELS[name].sum()) < 0.01
    limit = min(np.abs(image).max(), 1.0) if derivative else 1.0
    axes.imshow(image, cmap="gray", vmin=-limit if derivative else 0, vmax=limit)
    axes.set_title(name)
    axes.set_axis_off()
    print(f"{name}: values from {image.min():.2f} to {image.max():.2f}")
arguments.output.mkdir(parents=True, exist_ok=True)
figure.savefig(arguments.output / "filters.png", dpi=80)
