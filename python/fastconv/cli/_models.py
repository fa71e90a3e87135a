"""``fastconv predict``, ``summary`` and ``info``: what works on a trained model, or on none."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arguments import at_least
from ._files import kind_of
from ._graphs import add_shape_arguments, input_shapes, open_session, random_feeds
from ._images import open_image
from ._labels import read_class_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv.models import Model


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    predict = commands.add_parser(
        "predict",
        help="classify image files",
        description="Classifies image files with a model, such as `fastconv train` writes. Where "
        "its output is not probabilities, softmax makes it so. Images are "
        "turned into grey levels or RGB and resized, as the model's input asks. Needs pillow: "
        "pip install 'fastconv[image]'.",
        epilog="example: fastconv predict fastconv-digits/model.fastconv three.png --top 2",
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="a .fastconv file")
    predict.add_argument("images", type=Path, metavar="IMAGE", nargs="+")
    predict.add_argument(
        "--top",
        type=at_least(1),
        default=3,
        metavar="N",
        help="how many classes to print for each image (default: %(default)s)",
    )
    predict.add_argument(
        "--invert",
        choices=["auto", "yes", "no"],
        default="auto",
        help="swap dark and light before classifying; auto does so for grey models when the "
        "image's border is light, because the data sets have a dark background (default: "
        "%(default)s)",
    )
    predict.set_defaults(run=_predict)

    summary = commands.add_parser(
        "summary",
        help="print a model's layers",
        description="Prints a model's layers with output shape, parameters, multiply-adds, memory "
        "of the outputs and receptive field. Of an ONNX model (needs onnx: pip install "
        "'fastconv[onnx]') or an inference graph, the layers are those left after simplification, "
        "and the last lines tell the memory in use at once; of a layer model, all counts are for "
        "one sample.",
        epilog="example: fastconv summary model.onnx --shape image=1,3,224,224",
    )
    summary.add_argument("model", type=Path, metavar="MODEL", help="a .fastconv or .onnx file")
    add_shape_arguments(summary)
    summary.set_defaults(run=_summary)

    info = commands.add_parser(
        "info",
        help="print the version and what the computation uses",
        description="Prints the version, the instruction set in use, OpenMP and the threads.",
        epilog="example: FASTCONV_NUM_THREADS=1 fastconv info",
    )
    info.set_defaults(run=_info)


def load_layer_model(path: Path) -> Any:
    """Return the layer model of a file."""
    from fastconv import models

    if kind_of(path) == "graph":
        raise ValueError(f"{path} is not a layer model; run it with: fastconv run {path}")
    return models.load_model(str(path))


def _summary(arguments: argparse.Namespace) -> int:
    if kind_of(arguments.model) == "graph":
        session = open_session(arguments.model)
        print(session.summary(random_feeds(session, input_shapes(session, arguments))))
        return 0
    if arguments.batch:
        raise ValueError(f"--batch is for graphs, {arguments.model} is a layer model")
    model = load_layer_model(arguments.model)
    shapes = _layer_shapes(model, arguments.shape)
    open_names = [name for name, shape in shapes.items() if None in shape]
    if open_names and not arguments.shape:
        model.summary()
        example = ",".join(str(d or "?") for d in shapes[open_names[0]])
        print(
            f"fastconv: without counts: input '{open_names[0]}' has open sizes, give them as "
            f"--shape {open_names[0]}={example}",
            file=sys.stderr,
        )
        return 0
    model.summary(show_counts=True, input_shape=list(shapes.values()) or None)
    return 0


def _layer_shapes(model: Model, texts: list[str]) -> dict[str, tuple[Any, ...]]:
    """Return the shapes of the inputs of a layer model without the batch, changed by --shape."""
    if model._function is None:
        if texts:
            raise ValueError("--shape: the inputs of a subclassed model have no names")
        return {}
    names = model.input_names
    shapes = {n: tuple(t.shape[1:]) for n, t in zip(names, model.inputs, strict=True)}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        if name not in shapes:
            raise ValueError(f"--shape {text}: there is no input '{name}', expected one of {names}")
        sizes = numbers.split(",")
        if not all(size.isdigit() and int(size) > 0 for size in sizes):
            raise ValueError(f"--shape {text}: the sizes must be positive integers")
        given = tuple(map(int, sizes))
        given = given[1:] if len(given) == len(shapes[name]) + 1 else given
        fits = len(given) == len(shapes[name]) and all(
            want in (None, size) for want, size in zip(shapes[name], given, strict=True)
        )
        if not fits:
            raise ValueError(f"--shape {text}: input '{name}' takes {shapes[name]} without a batch")
        shapes[name] = given
    return shapes


def _info(arguments: argparse.Namespace) -> int:
    import fastconv

    config = fastconv.show_config()
    width = max(map(len, config))
    for key, value in config.items():
        if isinstance(value, dict):
            value = [f"{name} {v}" for name, v in value.items()]
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{key:{width}}  {shown}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    model = load_layer_model(arguments.model)
    shape = image_shape(model, arguments.model)
    white = white_level(model)
    read = [read_pixels(path, shape, arguments.invert) for path in arguments.images]
    batch = np.stack([pixels for pixels, _ in read]) * np.float32(white / 255)
    probabilities = _probabilities(model.predict(batch, verbose=0), arguments.model)
    names = read_class_names(arguments.model, probabilities.shape[1])
    width = max(map(len, names))
    for path, (_, inverted), row in zip(arguments.images, read, probabilities, strict=True):
        print(f"{path}{' (inverted)' if inverted else ''}")
        for index in np.argsort(-row, kind="stable")[: arguments.top]:
            print(f"  {names[index]:{width}}  {100 * row[index]:6.2f} %")
    return 0


def image_shape(model: Model, path: Path) -> tuple[int, int, int]:
    """The (height, width, channels) of the images that a model takes."""
    shape = model.input_shape
    if len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3):
        raise ValueError(f"{path} takes inputs {shape}, not images (batch, height, width, 1 or 3)")
    height, width, channels = shape[1:]
    return height, width, channels


def _probabilities(outputs: Any, path: Path) -> NDArray[Any]:
    """The model's outputs, through softmax where they are logits."""
    from fastconv.utils.numeric import as_probabilities

    try:
        rows, applied = as_probabilities(outputs)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if applied:
        print(f"the model's outputs are not probabilities: {applied} applied", file=sys.stderr)
    return rows


def white_level(model: Model) -> float:
    """The pixel value that the model takes as white, told by its first Rescaling layer.

    The digits have 17 grey levels, so their model scales by 1 / 16 where others do by 1 / 255.
    """
    from fastconv import layers

    for layer in model.layers:
        if isinstance(layer, layers.Rescaling):
            # Rescaling maps 0..white to 0..1, or with an offset of -1 to -1..1.
            return float((1 - layer.offset) / layer.scale)
        if layer.weights:
            break
    return 255.0


def read_pixels(path: Path, shape: tuple[int, int, int], invert: str) -> tuple[NDArray[Any], bool]:
    """Pixels 0..255 as float32 of the shape (height, width, channels); whether it was inverted."""
    height, width, channels = shape
    image = open_image(path, channels)  # tells what to install where Pillow is missing
    from PIL import Image

    image = image.resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(image, np.float32).reshape(shape)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    light = channels == 1 and border.mean() > 127.5
    inverted = invert == "yes" or (invert == "auto" and light)
    return (255 - pixels if inverted else pixels), inverted
