"""How much a test does: little with the other tests, all that was asked for in `nox -s faults`."""

import os

LONG = bool(os.environ.get("FASTCONV_LONG_TESTS"))


def count(short, long):
    """Return how often a test repeats something."""
    return long if LONG else short
