"""The examples of docs/pictures.md run, make its pictures, and its commands parse."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "pictures.md").read_text(encoding="utf-8")
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


@pytest.mark.skipif(not FASHION.exists(), reason="needs Debian's package dataset-fashion-mnist")
def test_examples_run_and_make_the_pictures(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    pytest.importorskip("PIL", reason="animations need Pillow")
    pytest.importorskip("skimage", reason="the photo is scikit-image's")
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "pictures.md", "exec"), names)
    assert (names["predicted"].argmax(axis=1) == names["y_test"]).mean() > 0.75
    made = {path.name for path in tmp_path.iterdir()}
    assert made | {"image_filters.jpg", "explorer.png"} == set(shown())
    cat = names["cat"]
    assert names["blurred"].dtype == np.uint8
    assert names["blurred"].std() < cat.std() < names["sharp"].std()


def shown():
    return re.findall(r"!\[[^\]]+\]\(images/([^)]+)\)", PAGE)


def test_pictures_are_there_and_small():
    sizes = [(DOCS / "images" / name).stat().st_size for name in shown()]
    assert len(sizes) == 11
    assert 0 < max(sizes) < 150_000 and sum(sizes) < 600_000


def test_command_lines_parse():
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines():
        words = shlex.split(line)
        assert words[0] == "fastconv"
        cli._parser().parse_args(words[1:])
