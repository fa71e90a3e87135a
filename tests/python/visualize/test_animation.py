"""The animation of a convolution: frames, numbers and the file."""

import re
import sys

import numpy as np
import pytest

from fastconv.visualize import convolution_animation

Image = pytest.importorskip("PIL.Image", reason="animations need Pillow")


def written(monkeypatch):
    """Collects the texts that are drawn, a list a frame."""
    from fastconv.visualize import _animation

    frames = []
    frame = _animation._Drawing.frame
    cell = _animation._Drawing._cell
    formula = _animation._Drawing._formula

    def spied_frame(self, row, column):
        frames.append({"cells": {}, "at": (row, column)})
        return frame(self, row, column)

    def spied_cell(self, draw, grid, i, j, colour, text):
        frames[-1]["cells"][grid, i, j] = (colour, text)
        return cell(self, draw, grid, i, j, colour, text)

    def spied_formula(self, window, result):
        lines = formula(self, window, result)
        if frames:  # not while the size is measured
            frames[-1]["window"], frames[-1]["formula"] = window, lines
        return lines

    monkeypatch.setattr(_animation._Drawing, "frame", spied_frame)
    monkeypatch.setattr(_animation._Drawing, "_cell", spied_cell)
    monkeypatch.setattr(_animation._Drawing, "_formula", spied_formula)
    return frames


@pytest.mark.parametrize(
    "sizes, out",
    [
        ({}, (3, 3)),
        ({"padding": 1, "stride": 2}, (3, 3)),
        ({"input_size": (5, 7), "kernel_size": (2, 3), "padding": (0, 1)}, (4, 7)),
        ({"input_size": 7, "dilation": 2}, (3, 3)),
        ({"input_size": 4, "kernel_size": 4}, (1, 1)),
        ({"input_size": 6, "stride": (1, 3), "dilation": (2, 1), "seed": 3}, (2, 2)),
    ],
)
def test_numbers_are_those_of_the_convolution(sizes, out, tmp_path, monkeypatch):
    spied = written(monkeypatch)
    frames = convolution_animation(tmp_path / "a.gif", **sizes)
    assert len(frames) == len(spied) == out[0] * out[1]
    assert [f["at"] for f in spied] == list(np.ndindex(out))
    grids = {}
    for (grid, i, j), (_, text) in spied[-1]["cells"].items():
        grids.setdefault(grid, {})[i, j] = int(text)
    assert len(grids[2]) == len(spied)
    for number, frame in enumerate(spied):
        value = sum(grids[0][place] * weight for place, weight in frame["window"].items())
        assert grids[2][frame["at"]] == value
        assert sorted(frame["window"].values()) == sorted(grids[1].values())
        assert re.search(rf"= {value}$", frame["formula"][-1])
        if len(frame["formula"]) == 2:  # the terms as they are written
            assert eval(frame["formula"][0].replace("·", "*")) == value
        shown = [text for (grid, *_), (_, text) in frame["cells"].items() if grid == 2 and text]
        assert len(shown) == number + 1


def test_padding_is_zero_and_grey(tmp_path, monkeypatch):
    from fastconv.visualize import _animation

    spied = written(monkeypatch)
    convolution_animation(tmp_path / "a.gif", 3, 3, padding=(1, 2))
    cells = {place: c for (grid, *place), c in _first(spied) if grid == 0 for place in [(*place,)]}
    assert len(cells) == 5 * 7
    for (i, j), (colour, text) in cells.items():
        inside = 1 <= i < 4 and 2 <= j < 5
        assert colour == (_animation._INPUT if inside else _animation._PADDING)
        assert inside or text == "0"


def _first(spied):
    return spied[0]["cells"].items()


def test_file_is_a_small_endless_gif(tmp_path):
    path = tmp_path / "a.gif"
    frames = convolution_animation(path, 5, 3, padding=1, frame_ms=500)
    assert path.stat().st_size < 150_000
    with Image.open(path) as file:
        assert (file.n_frames, file.size) == (25, frames[0].size)
        assert (file.info["duration"], file.info["loop"]) == (500, 0)
        file.seek(24)
        difference = np.abs(np.asarray(file.convert("RGB"), int) - np.asarray(frames[24], int))
        assert difference.mean() < 3  # of the palette
    again = convolution_animation(path, 5, 3, padding=1)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(frames, again, strict=True))


def test_errors(tmp_path):
    path = tmp_path / "a.gif"
    with pytest.raises(ValueError, match=r"\.gif file, received the name '.*a\.png'"):
        convolution_animation(tmp_path / "a.png")
    with pytest.raises(ValueError, match="stride is 0, expected an integer from 1"):
        convolution_animation(path, stride=0)
    with pytest.raises(ValueError, match=r"input_size is \(5, 5, 5\)"):
        convolution_animation(path, (5, 5, 5))
    with pytest.raises(ValueError, match=r"kernel_size is 2\.5"):
        convolution_animation(path, kernel_size=2.5)
    with pytest.raises(ValueError, match="the kernel spans 5 pixels"):
        convolution_animation(path, 4, dilation=2)
    with pytest.raises(ValueError, match="output has 1444 values, an animation shows at most 1000"):
        convolution_animation(path, 40)
    with pytest.raises(ValueError, match="frame_ms is 5"):
        convolution_animation(path, frame_ms=5)
    assert not path.exists()


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"fastconv\[image\]"):
        convolution_animation(tmp_path / "a.gif")
