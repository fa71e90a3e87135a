"""FASTCONV_ISA forces an instruction set; one that cannot be had is a clear error."""

import os
import subprocess
import sys

import pytest

from fastconv._runtime import core


def import_with(isa):
    code = "from fastconv._runtime import core; print(core.config()['isa'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "FASTCONV_ISA": isa},
    )


@pytest.mark.parametrize("isa", core.config()["isas_supported"])
def test_forced(isa):
    assert import_with(isa).stdout.strip() == isa


@pytest.mark.parametrize("isa", ["avx3", "AVX2", "sse"])
def test_unknown(isa):
    result = import_with(isa)
    assert result.returncode == 1
    assert (
        f"FASTCONV_ISA={isa}: not an instruction set of this build; supported here: scalar"
        in result.stderr
    )
