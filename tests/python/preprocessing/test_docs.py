"""The examples of docs/data.md run."""

import re
from pathlib import Path

import numpy as np
import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"
EXAMPLES = dict(
    re.findall(
        r"<!-- example: (\w+) -->\n```python\n(.*?)```",
        DOCUMENT.read_text(encoding="utf-8"),
        re.S,
    )
)


def test_examples_are_found():
    assert list(EXAMPLES) == ["folder", "layers", "mixing", "generator"]
    assert DOCUMENT.read_text(encoding="utf-8").count("```python") == 4


@pytest.mark.parametrize("name", ["folder", "layers", "mixing", "generator"])
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "photos" in EXAMPLES[name]:
        image = pytest.importorskip("PIL.Image", reason="needs pillow")
        for label, kind in enumerate(("cats", "dogs")):
            (tmp_path / "photos" / kind).mkdir(parents=True)
            for i in range(25):
                path = tmp_path / "photos" / kind / f"{i}.jpg"
                image.new("RGB", (40, 30), (200 * label, 9 * i, 0)).save(path)
    names = {}
    exec(compile(EXAMPLES[name], "data.md", "exec"), names)
    if name == "folder":
        assert names["train"].class_names == ["cats", "dogs"]
        assert names["images"].shape == (32, 64, 64, 3) and names["labels"].shape == (32,)
        assert len(names["valid"].file_paths) == 10
    elif name == "layers":
        assert names["model"].history.history["val_accuracy"][-1] > 0.8
    elif name == "mixing":
        assert names["images"].shape == (32, 8, 8, 1)
        np.testing.assert_allclose(names["labels"].sum(axis=1), 1, rtol=1e-5)
    else:
        assert len(names["model"].history.history["val_loss"]) == 2
        assert names["train"].samples == 40 and names["valid"].samples == 10
