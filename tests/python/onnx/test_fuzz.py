"""The fuzzer itself: a short run finds nothing, and it does find what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")

MUTATE = Path(__file__).resolve().parents[2] / "fuzz" / "mutate.py"


def fuzz(*arguments):
    command = [sys.executable, MUTATE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("kind", "least"), [("onnx", 150), ("own", 50)])
def test_mutated_models(kind, least):
    out = fuzz("--count", "1500", "--seed", "1", "--kind", kind)
    assert out.returncode == 0, out.stdout + out.stderr
    ok, refused = map(int, re.search(r"(\d+) ok, (\d+) refused", out.stdout).groups())
    assert ok > least and refused > 300


@pytest.mark.parametrize("kind", ["onnx", "own"])
def test_cases_are_repeatable(tmp_path, kind):
    files = [tmp_path / name for name in "ab"]
    for file in files:
        out = fuzz("--case", "12", "--seed", "5", "--save", file, "--kind", kind)
        assert out.returncode == 0, out.stdout + out.stderr
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "action, result",
    [
        ("os.abort()", "crash"),
        ("time.sleep(1000)", "hang"),
        ("{}['x']", "KeyError"),
        ("bytearray(10**10)", "MemoryError"),
        ("sys.exit(0)", "SystemExit"),
    ],
)
def test_defects_are_found(tmp_path, action, result):
    target = tmp_path / "bad.py"
    target.write_text(
        "import os, sys, time\n"
        "calls = 0\n"
        "def check(data):\n"
        "    global calls\n"
        "    calls += 1\n"
        f"    if calls == 4: {action}\n"
        "    return 'ok'\n"
    )
    # A worker's first call is its warm-up; one that has to be replaced leaves two more models.
    out = fuzz("--count", "5", "--workers", "1", "--timeout", "2", "--target", f"{target}:check")
    assert out.returncode == 1
    assert f"case 2: {result}" in out.stdout
    assert "5 models" in out.stdout and f"4 ok, 0 refused, 0 memory, 1 {result}" in out.stdout
