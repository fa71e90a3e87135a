"""The README's examples run, and its commands are those that CI runs."""

import re
import shlex
from pathlib import Path

import pytest

import graph_files
from fastconv import cli

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


def test_there_are_three_examples():
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("code", EXAMPLES, ids=["keras", "functional", "onnx"])
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "model.onnx" in code:
        pytest.importorskip("onnx", reason="needs the onnx package")
        graph_files.classifier("model.onnx")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    if "features" in names:
        assert names["features"].shape == (1, 8, 32, 32)
        assert names["d_weight"].shape == names["weight"].shape
    elif "scores" in names:
        assert names["scores"].shape == (1, 10)
    else:
        (_, accuracy) = names["model"].evaluate(names["x_test"][..., None], names["y_test"])
        assert accuracy > 0.85


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_command_lines_parse():
    block = re.search(r"## The command\n\n```bash\n(.*?)```", README, re.S).group(1)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "fastconv"
        cli._parser().parse_args(words[1:])


@pytest.mark.parametrize("name", ["main job", "tests"])
def test_ci_finds_its_command(name):
    command = re.search(f"^<!-- ci: {name} -->\n```bash\n(.*)\n```$", README, re.M).group(1)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install '.[")
