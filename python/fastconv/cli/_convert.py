"""``fastconv convert``: between ONNX, inference graphs and layer models."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._files import is_own, kind_of
from ._graphs import add_shape_arguments, input_shapes, random_feeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 1e-4  # of an output's largest value


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "convert",
        help="convert a model from or to ONNX",
        description="Writes an ONNX model, an inference graph or a layer model as ONNX (OUT ends "
        "in .onnx) or as an inference graph (.fastconv), which loads faster and without the "
        "package onnx. Graphs are simplified: constant parts are computed, what nothing needs is "
        "dropped. The new file is run on random input and compared before it gets its name. "
        "Needs onnx: pip install 'fastconv[onnx]'.",
        epilog="example: fastconv convert model.onnx model.fastconv",
    )
    parser.add_argument("source", type=Path, metavar="IN", help="an .onnx or .fastconv file")
    parser.add_argument("target", type=Path, metavar="OUT", help="an .onnx or .fastconv file")
    parser.add_argument(
        "--no-check", action="store_true", help="do not run the new file to compare it"
    )
    add_shape_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from fastconv.inference.summary import size_text

    source, target = arguments.source, arguments.target
    kind = kind_of(source)
    if target.suffix not in (".onnx", ".fastconv"):
        raise ValueError(f"{target} should end in .onnx or .fastconv, which says what to write")
    if kind == "weights":
        raise ValueError(f"{source} holds weights only, without a model")
    if kind == "graph" and target.suffix == ".fastconv" and is_own(source):
        raise ValueError(f"{source} is an inference graph already")
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target} is the file to convert; give the new one another name")
    with _beside(target) as temporary:
        if kind == "model":
            compared = _from_layers(source, temporary)
        else:
            compared = _from_graph(source, temporary)
        if not arguments.no_check:
            _check(*compared, temporary, arguments)
        size = temporary.stat().st_size
        os.replace(temporary, target)
    checked = "" if arguments.no_check else ", checked"
    print(f"written to {target}: {size_text(size)}{checked}")
    return 0


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Any]:
    """A name in the folder of the target for what is not checked yet."""
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        yield Path(folder) / target.name


def _from_layers(source: Path, target: Path) -> tuple[Callable[..., Any], Path]:
    """Write a layer model; returns a function of the random feeds and what messages call it."""
    from fastconv import models
    from fastconv.onnx import export

    model = models.load_model(str(source), compile=False)
    if target.suffix == ".onnx":
        export(model, target)
    else:
        import fastconv.onnx
        from fastconv.inference import file
        from fastconv.inference.network import Network
        from fastconv.onnx.exporter import to_proto

        file.save(Network(fastconv.onnx.load(to_proto(model))).model, target)

    def predict(feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        values = list(feeds.values())
        result = model.predict(values[0] if len(values) == 1 else values, verbose=0)
        if isinstance(result, dict):
            result = list(result.values())
        return list(result) if isinstance(result, (list, tuple)) else [result]

    return predict, source


def _from_graph(source: Path, target: Path) -> tuple[Callable[..., Any], Path]:
    """Write a graph; returns a function of the random feeds and what messages call it."""
    from fastconv.inference import file
    from fastconv.session import InferenceSession

    session = InferenceSession(source)
    if target.suffix == ".onnx":
        from fastconv.onnx.writer import save

        save(session.model, target)
    else:
        file.save(session.model, target)
    return lambda feeds: session.run(None, feeds), source


def _check(expected: Any, source: Path, target: Path, arguments: argparse.Namespace) -> None:
    from fastconv.session import InferenceSession

    session = InferenceSession(target)
    feeds = random_feeds(session, input_shapes(session, arguments, guess=True))
    try:
        want = expected(feeds)
    except (ValueError, TypeError, MemoryError) as error:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
        raise ValueError(
            f"the conversion cannot be checked, {source} fails on random input {shapes}: {error}; "
            "give sizes with --shape, or --no-check"
        ) from error
    have = session.run(None, feeds)
    for info, a, b in zip(session.get_outputs(), want, have, strict=True):
        difference = _difference(a, b)
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"the converted model gives another output '{info.name}' than {source}: "
                f"difference {difference:.3g} of the largest value; nothing was written"
            )


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference over the largest value; equal infinities and NaN differ by 0."""
    if a.shape != b.shape:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    largest = np.abs(a[finite]).max(initial=0.0)
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0) / (largest or 1.0))
