"""The networks of the inference benchmark and their files; needs nothing but the standard library.

A network is made by `models.py` in a process of its own, once, into a folder:
NAME.onnx (a free batch size), NAME.ncnn.param and .bin, NAME.mnn, NAME-reference-BATCH.npy.
"""

import os
import subprocess
import sys
from pathlib import Path

NETWORKS = {  # name -> shape of one image, channels first
    "resnet18": (3, 224, 224),
    "resnet50": (3, 224, 224),
    "vgg16": (3, 224, 224),
    "alexnet": (3, 224, 224),
    "googlenet": (3, 224, 224),
    "squeezenet1_1": (3, 224, 224),
    "mobilenet_v2": (3, 224, 224),
    "mobilenet_v3_small": (3, 224, 224),
    "efficientnet_b0": (3, 224, 224),
    "densenet121": (3, 224, 224),
    "seresnet50": (3, 224, 224),
    "lenet5": (1, 28, 28),
}
INPUT, OUTPUT, BATCH = "x", "y", "n"  # names in the ONNX files


def default_folder():
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fastconv" / "bench"


def files(folder, name, batch):
    """Return the file of each kind; the reference is the float64 output for `batch_input`."""
    folder = Path(folder)
    return {
        "onnx": folder / f"{name}.onnx",
        "ncnn": folder / f"{name}.ncnn.param",
        "mnn": folder / f"{name}.mnn",
        "state": folder / f"{name}.pt",
        "reference": folder / f"{name}-reference-{batch}.npy",
    }


def batch_input(name, batch, seed=0):
    """Return the images that every engine gets, (N, C, H, W) float32: patches of a colour, noise.

    Noise alone would look the same after a few layers, whatever the seed.
    """
    import numpy as np

    channels, height, width = NETWORKS[name]
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((batch, channels, 7, 7), dtype=np.float32)
    patches = coarse.repeat(height // 7, axis=2).repeat(width // 7, axis=3)
    return patches + rng.standard_normal(patches.shape, dtype=np.float32) / 2


def prepare(folder, name, batch, python=sys.executable):
    """Make what is missing of a network's files."""
    if all(path.exists() for path in files(folder, name, batch).values()):
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    command = [python, "-m", "peers.models", name, str(Path(folder).absolute()), str(batch)]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"{name} could not be made:\n{(result.stderr or result.stdout)[-3000:]}")
