"""The arithmetic of a convolution as an animation: the kernel slides over the input."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_CELL = 34  # pixels
_SPACE = 22
_TITLE = 22
_PAPER = "white"
_INK = "#222222"
_INPUT = "#cfe2f3"
_PADDING = "#f2f2f2"
_WINDOW = "#3d85c6"
_OUTPUT = "#d9ead3"
_CURRENT = "#93c47d"
_LINE = "#888888"
_MAX_TERMS = 9  # of the sum below the pictures
_MAX_FRAMES = 1000


def convolution_animation(
    path: str | os.PathLike[str],
    input_size: int | tuple[int, int] = 5,
    kernel_size: int | tuple[int, int] = 3,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    seed: int = 0,
    frame_ms: int = 900,
) -> list[Image]:
    """Draws a convolution of one channel with its numbers, one output value a frame.

    On the left the input (blue) with its padding of zeros (grey); the cells under the kernel carry
    their weight in a corner. On the right the output as far as it has been computed, and below the
    sum that makes its current value. The arithmetic is that of Dumoulin & Visin, "A guide to
    convolution arithmetic for deep learning", arXiv:1603.07285. Input and kernel are small random
    integers.

    Args:
        path: where to save the animated .gif.
        input_size, kernel_size, stride, padding, dilation: cells, an int or (vertical, horizontal).
        seed: of the numbers.
        frame_ms: how long a frame is shown, in milliseconds.

    Returns:
        The frames, one a value of the output, as Pillow images in RGB.

    Raises:
        ImportError: Pillow is not installed (``pip install 'fastconv[image]'``).
        ValueError: sizes out of range, a kernel that does not fit into the padded input, or a file
            name that does not end in .gif.
    """
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"the animation is a .gif file, received the name {str(path)!r}")
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("animations need pillow: pip install 'fastconv[image]'") from error
    from fastconv._files import write_atomically
    from fastconv.functional import conv2d

    size = _pair("input_size", input_size, 1)
    kernel_shape = _pair("kernel_size", kernel_size, 1)
    steps, rates = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    pads = _pair("padding", padding, 0)
    if isinstance(frame_ms, bool) or not isinstance(frame_ms, (int, np.integer)) or frame_ms < 20:
        raise ValueError(f"frame_ms is {frame_ms!r}, expected an integer from 20")
    random = np.random.default_rng(seed)
    values = random.integers(0, 10, size)
    kernel = random.integers(-2, 3, kernel_shape)
    output = conv2d(
        values[None, None].astype(np.float64),
        kernel[None, None].astype(np.float64),
        stride=steps,
        padding=pads,
        dilation=rates,
    )[0, 0]
    output = np.rint(output).astype(int)
    if output.size > _MAX_FRAMES:
        raise ValueError(
            f"the output has {output.size} values, an animation shows at most {_MAX_FRAMES}"
        )
    draw = _Drawing(values, kernel, output, steps, pads, rates)
    frames = [draw.frame(row, column) for row, column in np.ndindex(output.shape)]
    palette = _palette()
    paletted = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    paletted[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=paletted[1:],
        duration=int(frame_ms),
        loop=0,
        optimize=True,
    )
    write_atomically(Path(path), file.getvalue())
    return frames


def _palette() -> Image:
    """The colours of all frames: areas, and text at their edges."""
    from PIL import Image, ImageColor

    areas = [_PAPER, _INPUT, _PADDING, _OUTPUT, _CURRENT]
    texts = [_INK, _WINDOW, _LINE]
    colours = [np.array(ImageColor.getrgb(name)) for name in (*areas, *texts)]
    mixed = [
        share * text + (1 - share) * area
        for text in colours[len(areas) : len(areas) + 2]
        for area in colours[: len(areas)]
        for share in (0.25, 0.5, 0.75)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint([*colours, *mixed]).astype(int).ravel().tolist())
    return palette


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in pair)
    if len(pair) != 2 or not whole or min(pair) < least:
        raise ValueError(f"{name} is {value!r}, expected an integer from {least} or two of them")
    return int(pair[0]), int(pair[1])


class _Drawing:
    """Draws the frames of one convolution."""

    def __init__(
        self, values: Any, kernel: Any, output: Any, steps: tuple[int, int], pads: Any, rates: Any
    ) -> None:
        from PIL import ImageFont

        self.kernel, self.output = kernel, output
        self.steps, self.pads, self.rates = steps, pads, rates
        self.inside = values.shape
        self.padded = np.pad(values, [(p, p) for p in pads])
        self.big, self.small = ImageFont.load_default(14), ImageFont.load_default(10)
        self.middle = ImageFont.load_default(12)
        rows = max(self.padded.shape[0], output.shape[0], kernel.shape[0])
        self.lefts = [_SPACE]
        for grid in (self.padded, kernel):
            self.lefts.append(self.lefts[-1] + grid.shape[1] * _CELL + 2 * _SPACE)
        self.top = _SPACE + _TITLE
        self.formula_top = self.top + rows * _CELL + _SPACE // 2
        self.formula_rows = 2 if kernel.size <= _MAX_TERMS else 1
        ends = [self.lefts[2] + output.shape[1] * _CELL]
        for place in np.ndindex(output.shape):
            line = self._formula(self._window(*place), output[place])[0]
            ends.append(_SPACE + int(self.middle.getlength(line)))
        self.size = (max(ends) + _SPACE, self.formula_top + 20 * self.formula_rows + _SPACE // 2)

    def frame(self, row: int, column: int) -> Image:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", self.size, _PAPER)
        draw = ImageDraw.Draw(picture)
        window = self._window(row, column)
        titles = ("input", "kernel", "output")
        for title, x in zip(titles, self.lefts, strict=True):
            draw.text((x, _SPACE // 2), title, fill=_INK, font=self.big)
        for (i, j), value in np.ndenumerate(self.padded):
            zero = not all(
                p <= at < p + n for at, p, n in zip((i, j), self.pads, self.inside, strict=True)
            )
            self._cell(draw, 0, i, j, _PADDING if zero else _INPUT, str(value))
        for (i, j), weight in window.items():
            self._weight(draw, i, j, weight)
        for (i, j), weight in np.ndenumerate(self.kernel):
            self._cell(draw, 1, i, j, _PAPER, str(weight))
        for (i, j), value in np.ndenumerate(self.output):
            known = (i, j) <= (row, column)
            colour = _CURRENT if (i, j) == (row, column) else _OUTPUT if known else _PAPER
            self._cell(draw, 2, i, j, colour, str(value) if known else "")
        for number, line in enumerate(self._formula(window, self.output[row, column])):
            y = self.formula_top + 20 * number
            draw.text((_SPACE, y), line, fill=_INK, font=self.big if number else self.middle)
        return picture

    def _window(self, row: int, column: int) -> dict[tuple[int, int], int]:
        """Places of the padded input under the kernel, with their weights."""
        top, left = row * self.steps[0], column * self.steps[1]
        return {
            (top + i * self.rates[0], left + j * self.rates[1]): self.kernel[i, j]
            for i, j in np.ndindex(self.kernel.shape)
        }

    def _box(self, grid: int, i: int, j: int) -> tuple[int, int, int, int]:
        x, y = self.lefts[grid] + j * _CELL, self.top + i * _CELL
        return x, y, x + _CELL, y + _CELL

    def _cell(self, draw: Any, grid: int, i: int, j: int, colour: str, text: str) -> None:
        box = self._box(grid, i, j)
        draw.rectangle(box, fill=colour, outline=_LINE)
        middle = (box[0] + _CELL / 2, box[1] + _CELL / 2)
        draw.text(middle, text, fill=_INK, font=self.big, anchor="mm")

    def _weight(self, draw: Any, i: int, j: int, weight: Any) -> None:
        x0, y0, x1, y1 = self._box(0, i, j)
        draw.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), outline=_WINDOW, width=2)
        draw.text((x1 - 4, y1 - 3), f"x{weight}", fill=_WINDOW, font=self.small, anchor="rs")

    def _formula(self, window: Any, result: Any) -> list[str]:
        if len(window) > _MAX_TERMS:
            return [f"sum of {len(window)} products = {result}"]
        terms = [
            f"{self.padded[place]}·{weight if weight >= 0 else f'({weight})'}"
            for place, weight in window.items()
        ]
        return [" + ".join(terms), f"= {result}"]
