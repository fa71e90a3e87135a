"""``fastconv explore``: a local web page on which one looks into a model."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._files import kind_of
from ._graphs import open_session, session_dtypes
from ._labels import read_class_names
from ._models import image_shape, load_layer_model, read_pixels, white_level
from ._run import add_image_arguments, image_input

if TYPE_CHECKING:
    from fastconv._types import TensorLike


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "explore",
        help="look into a model on a local web page",
        description="Opens a web page on this machine: drop an image and see the prediction, the "
        "feature maps of a layer, Grad-CAM of a class and the time a layer takes; for an ONNX "
        "model (needs onnx: pip install 'fastconv[onnx]') or an inference graph the prediction "
        "and the time a step. Needs gradio: pip install 'fastconv[explore]'. Nothing leaves the "
        "machine.",
        epilog="example: fastconv explore fastconv-digits/model.fastconv",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .fastconv or .onnx file")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="a text file with a class name a line (default: those in the model file)",
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="(default: a free one from 7860 on)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    parser.add_argument(
        "--invert",
        choices=["auto", "yes", "no"],
        default="auto",
        help="swap dark and light, for layer models as in fastconv predict (default: %(default)s)",
    )
    add_image_arguments(parser)
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{value} is not a port, expected 1 to 65535")
    return value


def run(arguments: argparse.Namespace) -> int:
    from fastconv.explorer import build_page, launch

    analysis, read_image = open_analysis(arguments)
    page = build_page(analysis, read_image, arguments.model.name)
    address = launch(page, arguments.host, arguments.port, not arguments.no_browser)
    try:
        print(f"{arguments.model} is at {address} - Ctrl-C ends it", flush=True)
        threading.Event().wait()
    finally:
        page.close(verbose=False)
    return 0


def open_analysis(arguments: argparse.Namespace) -> Any:
    """Return the model's analysis, and what reads an image file for it and for showing."""
    from fastconv.explorer import GraphAnalysis, ModelAnalysis

    path = arguments.model
    names = None if arguments.labels is None else _labels(arguments.labels)
    if kind_of(path) == "graph":
        if arguments.invert != "auto":
            raise ValueError(f"--invert is for layer models, {path} is a graph")
        session = open_session(path)
        analysis = GraphAnalysis(session, names)
        info, (_, dtype) = session.get_inputs()[0], *session_dtypes(session)

        def read_graph_image(image: TensorLike) -> Any:
            return image_input(info.name, Path(image), info.shape, dtype, arguments), None

        return analysis, read_graph_image

    given = (arguments.layout, arguments.scale, arguments.mean, arguments.std)
    if given != (None, None, [0.0], [1.0]):
        raise ValueError(
            f"--layout, --scale, --mean and --std are for graphs, {path} is a layer model"
        )
    model = load_layer_model(path)
    shape, white = image_shape(model, path), white_level(model)
    if names is None:
        names = read_class_names(path, model.output_shape[-1])

    def read_image(image: TensorLike) -> Any:
        pixels, _ = read_pixels(Path(image), shape, arguments.invert)
        picture = np.rint(pixels).astype(np.uint8)
        batch = pixels[np.newaxis] * np.float32(white / 255)
        return batch, picture

    return ModelAnalysis(model, names), read_image


def _labels(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"no labels file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"{path} holds no class names, expected one a line")
    return names
