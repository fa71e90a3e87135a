"""Runs the tests of fusion and of operators on every other instruction set there is."""

import os
import pathlib
import subprocess
import sys

import pytest

from fastconv._runtime import core

HERE = pathlib.Path(__file__).parent
OTHERS = [isa for isa in core.config()["isas_supported"] if isa != core.config()["isa"]]


@pytest.mark.parametrize(
    "file",
    [
        "test_column_gradients.py",
        "test_concat.py",
        "test_depthwise.py",
        "test_fusion.py",
        "test_layout.py",
        "test_narrow.py",
        "test_norm_fusion.py",
        "test_operators.py",
        "test_squeeze.py",
        "test_strassen.py",
        "test_winograd.py",
    ],
)
@pytest.mark.parametrize("isa", OTHERS)
def test_graphs(isa, file):
    # Not this run's xdist settings, and no pytest options meant for this run.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    env["FASTCONV_ISA"] = isa
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / file],
        cwd=HERE.parents[2],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"FASTCONV_ISA={isa}\n{done.stdout}\n{done.stderr}"
