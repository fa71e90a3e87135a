"""The examples in the docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import fastconv

ROOT = Path(fastconv.__file__).parent
MODULES = [
    ".".join(["fastconv", *path.relative_to(ROOT).with_suffix("").parts])
    for path in sorted(ROOT.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


def test_there_are_examples():
    assert len(MODULES) > 15


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
