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


@pytest.fixture
def fast(capsys):
    """fast(*arguments) -> what `command` gives, from this process."""
    from fastconv import cli

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def fails(fast):
    """fails(*arguments) -> the one line of an error; checks status and standard output."""

    def run(*arguments):
        status, out, err = fast(*arguments)
        assert status == 2 and out == ""
        assert err.startswith("fastconv: error: ") and err.count("\n") == 1
        return err

    return run


@pytest.fixture
def layer_model(tmp_path):
    """A file of a small layer model."""
    from fastconv import layers, models

    model = models.Sequential(
        [layers.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5)]
    )
    model.save(str(tmp_path / "layers.fastconv"))
    return tmp_path / "layers.fastconv"
