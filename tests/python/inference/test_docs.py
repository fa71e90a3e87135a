"""docs/inference.md lists the operators that there are, and its commands parse."""

import re
import shlex
from pathlib import Path

from fastconv import cli
from fastconv.inference.lowering import OPERATORS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")


def test_operators_are_complete():
    table = TEXT.split("| group | ONNX operators |\n|---|---|\n")[1].split("\n\n")[0]
    listed = re.findall(r"`(\w+)`", table)
    assert len(set(listed)) == len(listed)
    # Constants are read with the model, so nothing has to lower them.
    assert set(listed) == {*OPERATORS, "Constant"}


def test_commands_parse():
    block = TEXT.split("## The command\n\n```bash\n")[1].split("```")[0]
    lines = block.splitlines()
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "fastconv"
        cli._parser().parse_args(words[1:])
    assert {line.split()[1] for line in lines} == {"run", "bench", "summary", "convert"}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
