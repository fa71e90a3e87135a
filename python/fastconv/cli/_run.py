"""``fastconv run``: an ONNX model or inference graph on arrays and images."""

from __future__ import annotations

import argparse
import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.inference.memory import check_memory

from ._arguments import at_least
from ._graphs import add_threads_argument, described, open_session, session_dtypes
from ._images import open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Shape

_ROWS = 10  # of classifier outputs that are shown


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "run",
        help="run an ONNX model or inference graph",
        description="Runs an ONNX model (needs onnx: pip install 'fastconv[onnx]') or an inference "
        "graph that `fastconv convert` wrote, and prints what its outputs are. Images (need "
        "pillow: pip install 'fastconv[image]') are resized to the model's height and width where "
        "those are fixed.",
        epilog="example: fastconv run model.onnx --input cat.jpg --mean 0.485,0.456,0.406 "
        "--std 0.229,0.224,0.225",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx or .fastconv file")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="value of an input: a .npy file, a .npz file (the array of that name, or its only "
        "one) or an image; NAME= can be left out if the model has one input or if the .npz file "
        "holds all",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the outputs to a .npz file, or the only one to a .npy file",
    )
    parser.add_argument(
        "--top",
        type=at_least(0),
        default=5,
        metavar="K",
        help="how many classes to print for each row of an output that looks like a "
        "classifier's (default: %(default)s)",
    )
    add_image_arguments(parser)
    add_threads_argument(parser)
    parser.set_defaults(run=run)


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `image_input` needs."""
    images = parser.add_argument_group("images", "value = (pixel * scale - mean) / std")
    images.add_argument(
        "--layout",
        choices=["nchw", "nhwc"],
        help="where the input has its channels (default: told by its shape, else nchw)",
    )
    images.add_argument(
        "--scale",
        type=float,
        metavar="S",
        help="for pixels 0 to 255 (default: 1/255, or 1 if the input takes integers)",
    )
    images.add_argument(
        "--mean",
        type=_numbers,
        default=[0.0],
        metavar="M",
        help="a number, or one a channel: R,G,B",
    )
    images.add_argument(
        "--std", type=_numbers, default=[1.0], metavar="S", help="a number, or one a channel: R,G,B"
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def run(arguments: argparse.Namespace) -> int:
    session = open_session(arguments.model, arguments.threads)
    names = [info.name for info in session.get_outputs()]
    _check_output(arguments.output, names)
    outputs = session.run(None, _feeds(session, arguments))
    for name, value in zip(names, outputs, strict=True):
        print(f"{name}: {value.shape} {value.dtype}{_statistics(value)}")
        for line in _classes(value, arguments.top):
            print(f"  {line}")
    if arguments.output:
        _save(arguments.output, dict(zip(names, outputs, strict=True)))
        print(f"written to {arguments.output}")
    return 0


# Inputs


def _feeds(session: Any, arguments: argparse.Namespace) -> dict[str, NDArray[Any]]:
    inputs = {info.name: info for info in session.get_inputs()}
    dtypes = dict(session_dtypes(session))
    feeds: dict[str, NDArray[Any]] = {}
    for text in arguments.input:
        for name, path in _named_files(text, inputs):
            if name in feeds:
                raise ValueError(f"--input {text}: the input '{name}' is given twice")
            value = _read(name, path, inputs[name].shape, dtypes[name], arguments)
            feeds[name] = _converted(value, dtypes[name], f"the array of {path}")
    missing = [name for name in inputs if name not in feeds]
    if missing:
        wanted = ", ".join(f"'{n}' {described(inputs[n].shape)} {dtypes[n]}" for n in missing)
        raise ValueError(f"no value for {wanted}: give --input {missing[0]}=FILE")
    return feeds


def _named_files(text: str, inputs: dict[str, Any]) -> list[tuple[str, Path]]:
    """The inputs that an argument gives, and its file."""
    for name in inputs:
        if text.startswith(f"{name}="):
            return [(name, Path(text[len(name) + 1 :]))]
    path = Path(text)
    if path.suffix == ".npz" and path.is_file():
        return [(name, path) for name in _names_inside(path, inputs)]
    if "=" in text and not path.is_file():
        raise ValueError(
            f"--input {text}: there is no input '{text.split('=')[0]}', expected one of "
            f"{list(inputs)}"
        )
    if len(inputs) != 1:
        raise ValueError(f"--input {text}: say which of the inputs it is, one of {list(inputs)}")
    return [(next(iter(inputs)), path)]


def _load(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of a .npy file, or all of a .npz file by name."""
    try:
        with open(path, "rb") as file:
            _check_sizes(file)
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else dict(found)
    except FileNotFoundError:
        raise FileNotFoundError(f"no input file {path}") from None
    except (ValueError, OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a NumPy file that can be read: {error}") from error


def _check_sizes(file: Any) -> None:
    """Check that arrays take the memory that the file says, before it is asked for.

    Raises:
        ValueError: an array is of another size than its part of the file.
    """
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            check_memory(sum(info.file_size for info in archive.infolist()))
            for info in archive.infolist():
                with archive.open(info) as member:
                    _check_size(member, info.file_size)
    else:
        _check_size(file, file.seek(0, 2))
    file.seek(0)


def _check_size(file: Any, size: int) -> None:
    file.seek(0)
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format, expected one of {list(readers)}")
    shape, _, dtype = readers[version](file)
    count = math.prod(shape)
    if not dtype.hasobject and file.tell() + count * dtype.itemsize > size:
        raise ValueError(
            f"an array of shape {shape} and type {dtype} does not fit into {size} bytes"
        )


def _names_inside(path: Path, inputs: dict[str, Any]) -> list[str]:
    names = list(_arrays(path))
    if len(names) == 1 == len(inputs):
        return list(inputs)
    unknown = [name for name in names if name not in inputs]
    if unknown:
        raise ValueError(
            f"{path} holds '{unknown[0]}', which is no input, expected some of {list(inputs)}"
        )
    return names


def _read(
    name: str, path: Path, shape: Shape, dtype: np.dtype[Any], arguments: Any
) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = _load(path)
        if isinstance(array, dict):
            raise ValueError(f"{path} is a .npz file by its content: name it so")
        return array
    if suffix != ".npz":
        return image_input(name, path, shape, dtype, arguments)
    arrays = _arrays(path)
    key = next(iter(arrays)) if len(arrays) == 1 else name
    if key not in arrays:
        raise ValueError(f"{path} holds {list(arrays)}, not an array '{name}'")
    return arrays[key]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    arrays = _load(path)
    if not isinstance(arrays, dict):
        raise ValueError(f"{path} is a .npy file by its content: name it so")
    return arrays


def _converted(array: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """The array in the model's type, where that loses no more than floating-point digits."""
    if array.dtype == dtype:
        return array
    if np.can_cast(array.dtype, dtype, "same_kind"):
        result = array.astype(dtype)
        if dtype.kind == "f" or np.array_equal(result, array):
            return result
    raise TypeError(f"{what} has dtype {array.dtype}, expected {dtype}")


def image_input(
    name: str, path: Path, shape: Shape, dtype: np.dtype[Any], arguments: Any
) -> NDArray[Any]:
    """Read an image as the value of an input of that shape and type."""
    channels_first, height, width, channels = _image_axes(name, path, shape, arguments.layout)
    image = open_image(path, channels)
    size = (width or image.width, height or image.height)
    if size != image.size:
        from PIL import Image

        image = image.resize(size, Image.Resampling.BILINEAR)
    scale = arguments.scale
    if scale is None:
        scale = 1 / 255 if dtype.kind == "f" else 1.0
    for option, values in (("--mean", arguments.mean), ("--std", arguments.std)):
        if len(values) not in (1, channels):
            raise ValueError(
                f"{option} has {len(values)} numbers, expected 1 or {channels} for input '{name}'"
            )
    if 0 in arguments.std:
        raise ValueError("--std is 0, which values are divided by")
    pixels = np.asarray(image, np.float64).reshape(size[1], size[0], channels)
    pixels = (pixels * scale - np.array(arguments.mean)) / np.array(arguments.std)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    value = pixels.astype(dtype)
    if len(shape) == 2:
        plane: NDArray[Any] = value[..., 0]
        return plane
    if channels_first:
        value = value.transpose(2, 0, 1)
    return np.ascontiguousarray(value if len(shape) == 3 else value[np.newaxis])


def _image_axes(name: str, path: Path, shape: Shape, layout: str | None) -> Any:
    """(whether channels come first, height, width, channels); a size is None where it is open."""
    if shape is None or len(shape) not in (2, 3, 4):
        raise ValueError(
            f"{path} is no .npy or .npz file, and the input '{name}' {described(shape)} is not an "
            "image"
        )
    channels: int | None
    if len(shape) == 2:
        first, height, width, channels = False, *shape, 1
    else:
        axes = list(shape[-3:])
        first = layout == "nchw" or (
            layout is None and (axes[0] in (1, 3) or axes[2] not in (1, 3))
        )
        height, width, channels = axes[1:] + axes[:1] if first else axes
    if isinstance(channels, int) and channels not in (1, 3):
        raise ValueError(
            f"{path} is an image of 1 or 3 channels, the input '{name}' {described(shape)} has "
            f"{channels} in the layout {'nchw' if first else 'nhwc'}"
        )
    fixed = [d if isinstance(d, int) else None for d in (height, width)]
    return first, *fixed, channels if isinstance(channels, int) else 3


# Outputs


def _check_output(path: Path | None, names: list[str]) -> None:
    """Errors before the model runs instead of after."""
    if path is None:
        return
    if path.suffix not in (".npz", ".npy"):
        raise ValueError(f"--output {path}: expected a name that ends in .npz or .npy")
    if path.suffix == ".npy" and len(names) != 1:
        raise ValueError(f"--output {path}: the model has {len(names)} outputs, use .npz")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"--output {path}: the folder does not exist")


def _save(path: Path, outputs: dict[str, NDArray[Any]]) -> None:
    from fastconv._files import write_atomically

    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, next(iter(outputs.values())))
    else:
        # np.savez takes names as keywords, which an output called "file" would not be.
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, value in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(value))
    write_atomically(path, buffer.getbuffer())


def _statistics(value: NDArray[Any]) -> str:
    if not value.size:
        return ", no elements"
    if value.dtype.kind == "b":
        return f", {np.count_nonzero(value)} true"
    text = ""
    if value.dtype.kind == "f":
        bad = np.isnan(value)
        if bad.any():
            text = f", {np.count_nonzero(bad)} NaN"
            value = value[~bad]
            if not value.size:
                return text
    with np.errstate(all="ignore"):
        mean = value.mean(dtype=np.float64)
    return f", min {value.min():g}, mean {mean:g}, max {value.max():g}{text}"


def _classes(value: NDArray[Any], top: int) -> list[str]:
    """The largest entries of each row, for outputs (N, classes) or (N, classes, 1, 1)."""
    shape = value.shape
    classifies = len(shape) >= 2 and shape[1] > 1 and all(d == 1 for d in shape[2:])
    if not (top and classifies and value.dtype.kind == "f"):
        return []
    rows = value.reshape(shape[:2])
    lines = []
    for row in rows[:_ROWS]:
        order = np.argsort(-row, kind="stable")[:top]
        lines.append("top: " + ", ".join(f"{i} ({row[i]:.4g})" for i in order))
    if len(rows) > _ROWS:
        lines.append(f"and {len(rows) - _ROWS} more rows")
    return lines
