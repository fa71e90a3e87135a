"""Runs the property tests once more on every other instruction set this machine supports."""

import os
import pathlib
import subprocess
import sys

import pytest

from fastconv._runtime import core

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
FILES = sorted(p.name for p in (HERE / "properties").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512", "neon"])
def test_properties(isa, file):
    config = core.config()
    if isa == config["isa"]:
        pytest.skip(f"{isa} is in use here: the property tests themselves cover it")
    if isa not in config["isas_supported"]:
        pytest.skip(f"{isa} is not supported by this machine and build")
    # Not this run's xdist settings, and no pytest options meant for this run.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    env["FASTCONV_ISA"] = isa
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            HERE / "properties" / file,
        ],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"FASTCONV_ISA={isa}\n{done.stdout}\n{done.stderr}"


def test_forced_isa_is_used():
    code = "from fastconv._runtime import core; print(core.config()['isa'])"
    env = {**os.environ, "FASTCONV_ISA": "scalar"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "scalar", done.stderr
