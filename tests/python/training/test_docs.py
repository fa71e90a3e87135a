"""The examples of docs/training.md run, each by itself."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def test_there_are_examples():
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("index", range(6))
def test_example_runs(index, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(EXAMPLES[index], "training.md", "exec"), names)
    if index == 0:
        numbers = [float(word) for word in capsys.readouterr().out.split()]
        stated = re.search(r"# ([\d.e, -]+)$", EXAMPLES[0], re.M).group(1)
        assert numbers == pytest.approx([float(word) for word in stated.split(",")], rel=1e-3)
    elif index == 1:
        assert names["history"].history["val_accuracy"][-1] > 0.85
    elif index == 2:
        assert (tmp_path / "best.fastconv").exists() and not (tmp_path / "backup").exists()
    elif index == 3:
        assert names["model"].get_compile_config()["recompute"] is True
    elif index == 5:
        assert names["counted"].receptive_field == (19, 19)


def test_named_schedules_exist():
    from fastconv.optimizers import schedules

    names = re.findall(r"^\| `(\w+)\(", TEXT, re.M)
    assert set(names) == set(schedules.CLASSES)
