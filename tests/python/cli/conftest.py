import os
import signal
import subprocess
import sys

import pytest


def _restore_interrupt():
    # A test run in the background may have been started with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def start():
    """start(*arguments) runs the command in a process of its own; returns the Popen."""

    def run(*arguments, cwd=None, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "fastconv.cli", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_restore_interrupt,
        )

    return run


@pytest.fixture(scope="session")
def command(start):
    """command(*arguments) -> (exit status, standard output, standard error)."""

    def run(*arguments, **options):
        process = start(*arguments, **options)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return run


@pytest.fixture(scope="session")
def trained(command, tmp_path_factory):
    """The output folder of a training run on the digits, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "deeper" / "run"
    status, out, err = command("train", "--epochs", 12, "--output", folder)
    assert status == 0, err
    return folder, out, err
