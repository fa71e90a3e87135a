"""Sessions of the commands that run graphs, and the shapes and random values of their inputs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arguments import at_least
from ._files import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]


def add_threads_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="threads to compute with (default: as many as this process may use)",
    )


def add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=SIZES",
        help="sizes of an input whose shape is open, such as image=1,3,224,224, or one symbolic "
        "size, such as height=224; can be given several times",
    )
    parser.add_argument(
        "--batch",
        type=at_least(1),
        metavar="B",
        help="size of the first axis where it is open",
    )


def open_session(path: Path, threads: int | None = None) -> Any:
    """Return the `InferenceSession` of an ONNX file or an inference graph."""
    import fastconv

    kind = kind_of(path)
    if kind == "weights":
        raise ValueError(f"{path} holds weights only, without a model")
    if kind == "model":
        from fastconv import models

        models.load_model(str(path))  # damaged files have their own message
        raise ValueError(
            f"{path} is a layer model: use fastconv predict, or make it a graph with: "
            f"fastconv convert {path} {path.with_suffix('.onnx')}"
        )
    return fastconv.InferenceSession(path, num_threads=threads)


def described(shape: Sequence[Any] | None) -> str:
    """A shape as the messages show it."""
    if shape is None:
        return "of an unknown rank"
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ")"


def input_shapes(
    session: Any, arguments: argparse.Namespace, guess: bool = False
) -> dict[str, Shape]:
    """Return the shape of each input, from the model and from --shape and --batch.

    Args:
        session: the model.
        arguments: of a parser with `add_shape_arguments`.
        guess: whether open sizes are 1 for the first axis and 64 for others.

    Raises:
        ValueError: sizes that stay open, or do not fit the model.
    """
    inputs = {i.name: i.shape for i in session.get_inputs()}
    given, sizes = _given(inputs, arguments.shape)
    _add_batch(inputs, given, sizes, arguments.batch)
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in inputs.items():
        if name not in given and shape is None:
            raise ValueError(
                f"the shape of input '{name}' is not known: give it as --shape {name}=SIZES"
            )
        shape = given.get(name, shape)
        known = [sizes.get(d) if isinstance(d, str) else d for d in shape]
        if guess:
            for axis, size in enumerate(known):
                if size is None:
                    symbol, chosen = shape[axis], 64 if axis else 1
                    known[axis] = sizes.setdefault(symbol, chosen) if symbol else chosen
        missing = [i for i, size in enumerate(known) if size is None]
        if missing:
            names = ", ".join(shape[i] or f"axis {i}" for i in missing)
            example = ",".join(d.upper() if isinstance(d, str) else str(d or "?") for d in shape)
            batch = " or --batch B" if missing == [0] else ""
            raise ValueError(
                f"input '{name}' has the shape {described(shape)} with open sizes ({names}): give "
                f"them as --shape {name}={example}{batch}"
            )
        found[name] = tuple(size for size in known if size is not None)
    return found


def _given(
    inputs: dict[str, Any], texts: list[str]
) -> tuple[dict[str, Sequence[Any]], dict[str, int]]:
    """The shapes of inputs and the symbolic sizes that --shape gives."""
    given: dict[str, Sequence[Any]] = {}
    sizes: dict[str, int] = {}
    symbols = {d for shape in inputs.values() for d in shape or () if isinstance(d, str)}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            values = [int(number) for number in numbers.split(",")]
        except ValueError:
            values = []
        if not name or not values or min(values) < 1:
            raise ValueError(f"--shape {text}: expected NAME=SIZES, such as image=1,3,224,224")
        if name in inputs:
            shape = inputs[name]
            fits = shape is None or (
                len(shape) == len(values)
                and all(
                    not isinstance(d, int) or d == v for d, v in zip(shape, values, strict=True)
                )
            )
            if not fits:
                raise ValueError(f"--shape {text}: input '{name}' has the shape {described(shape)}")
            given[name] = values
            pairs: list[tuple[Any, int]] = list(zip(shape or (), values, strict=False))
        elif name in symbols and len(values) == 1:
            pairs = [(name, values[0])]
        else:
            raise ValueError(
                f"--shape {text}: there is no input or symbolic size '{name}', expected one of "
                f"{[*inputs, *sorted(symbols)]}"
            )
        for symbol, size in pairs:
            if isinstance(symbol, str) and sizes.setdefault(symbol, size) != size:
                raise ValueError(
                    f"--shape {text}: the size '{symbol}' is given as {sizes[symbol]} and {size}"
                )
    return given, sizes


def _add_batch(
    inputs: dict[str, Any], given: dict[str, Any], sizes: dict[str, int], batch: int | None
) -> None:
    if batch is None:
        return
    takes = False
    for name, shape in inputs.items():
        if not shape:
            continue
        first = given[name][0] if name in given else shape[0]
        if isinstance(first, str):
            if sizes.setdefault(first, batch) != batch:
                raise ValueError(f"--batch {batch}: --shape gives '{first}' as {sizes[first]}")
        elif first is None:
            given[name] = [batch, *shape[1:]]
        elif first != batch:
            continue
        takes = True
    if not takes:
        shapes = ", ".join(f"{n} {described(given.get(n, s))}" for n, s in inputs.items())
        raise ValueError(f"--batch {batch}: no input has an open first axis: {shapes or 'none'}")


def random_feeds(session: Any, shapes: dict[str, Shape]) -> dict[str, NDArray[Any]]:
    """Random values for the inputs: normal floats, all of a byte, any bool, zero for indices."""
    random = np.random.default_rng(0)
    feeds = {}
    for name, dtype in session_dtypes(session):
        shape = shapes[name]
        if math.prod(shape) * dtype.itemsize >= 2**46:
            raise ValueError(f"input '{name}' of shape {shape} is more than any memory holds")
        if dtype.kind == "f":
            kind = np.float64 if dtype == np.float64 else np.float32
            feeds[name] = random.standard_normal(shape, kind).astype(dtype, copy=False)
        elif dtype.kind == "b":
            feeds[name] = random.integers(0, 2, shape).astype(bool)
        elif dtype.itemsize == 1:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            feeds[name] = random.integers(low, high, shape, dtype, endpoint=True)
        else:
            feeds[name] = np.zeros(shape, dtype)
    return feeds


_NUMPY_NAMES = {"float": "float32", "double": "float64"}


def session_dtypes(session: Any) -> Iterator[tuple[str, np.dtype[Any]]]:
    """Yield the name and NumPy type of each input.

    Raises:
        ValueError: a type that NumPy lacks.
    """
    for info in session.get_inputs():
        name = info.type.removeprefix("tensor(").removesuffix(")")
        try:
            yield info.name, np.dtype(_NUMPY_NAMES.get(name, name))
        except TypeError:
            raise ValueError(
                f"input '{info.name}' has the type {name}, which NumPy lacks"
            ) from None
