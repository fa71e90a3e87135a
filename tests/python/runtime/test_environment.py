"""What the command and the settings say when the system or the environment does not allow them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource
import fastconv
limit = int(open("/proc/self/statm").read().split()[0]) * 4096 + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def python(*arguments, **env):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )


WRONG = [
    ({"FASTCONV_NUM_THREADS": "0"}, "FASTCONV_NUM_THREADS=0: expected an integer from 1 to 4096"),
    ({"FASTCONV_ISA": "mmx"}, "FASTCONV_ISA=mmx"),
]


@pytest.mark.parametrize("env, message", WRONG)
@pytest.mark.parametrize("how", ["module", "script"])
def test_the_command_tells_a_wrong_environment_in_one_line(env, message, how):
    script = Path(sys.executable).with_name("fastconv")
    if how == "script" and not script.exists():
        pytest.skip("the command is not installed beside this interpreter")
    command = ["-m", "fastconv.cli", "info"] if how == "module" else [str(script), "info"]
    result = python(*command, **env)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith(f"fastconv: error: {message}")


@pytest.mark.parametrize("env, message", WRONG)
def test_elsewhere_a_wrong_environment_is_an_import_error(env, message):
    code = f"try:\n import fastconv\nexcept ImportError as e:\n assert {message!r} in str(e)"
    result = python("-c", code, **env)
    assert result.returncode == 0, result.stderr
    assert python("-c", code + "\nelse: raise SystemExit(3)").returncode == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_that_the_system_does_not_start():
    result = python(
        "-c",
        CODE
        + """
import numpy as np
before = fastconv.get_num_threads()
for n in (4096, 4000):
    try:
        fastconv.set_num_threads(n)
    except ValueError as error:
        print(error)
assert fastconv.get_num_threads() == before
fastconv.set_num_threads(3)
x = np.ones((1, 8, 64, 64), "float32")
print(fastconv.functional.conv2d(x, np.ones((8, 8, 3, 3), "float32"), padding=1).max())
""",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    for n, line in zip((4096, 4000), lines, strict=False):
        assert line.startswith(f"set_num_threads: the system cannot start {n} threads, only ")
    assert lines[2] == "72.0"


def test_many_threads_that_the_system_starts():
    result = python(
        "-c",
        """
import fastconv, numpy as np
x = np.ones((64, 8, 32, 32), "float32")
fastconv.set_num_threads(64)
print(fastconv.functional.conv2d(x, np.ones((8, 8, 3, 3), "float32"), padding=1).max())
""",
    )
    assert result.stdout == "72.0\n", result.stderr
