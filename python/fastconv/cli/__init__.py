"""The command ``fastconv``: train, predict, explore, run, bench, convert, summary, info."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import _bench, _convert, _explore, _models, _run, _train

EXIT_ERROR = 2  # as argparse
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastconv",
        description="Train and run convolutional networks on the CPU.",
        epilog="example: fastconv train --dataset fashion-mnist --epochs 5",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _train.add_command(commands)
    _run.add_command(commands)
    _bench.add_command(commands)
    _convert.add_command(commands)
    _models.add_commands(commands)
    _explore.add_command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0: done; 2: an error, told in one line on standard error (with the traceback when the
    environment variable ``FASTCONV_DEBUG`` is set); 130: stopped by Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        print(f"fastconv: stopped. {interrupt}".rstrip(), file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("FASTCONV_DEBUG"):
            raise
        expected = (ValueError, TypeError, OSError, ImportError)
        kind = "" if isinstance(error, expected) else f"{type(error).__name__}: "
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"fastconv: error: {kind}{message}", file=sys.stderr)
        return EXIT_ERROR
