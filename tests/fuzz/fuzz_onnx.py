"""Coverage-guided fuzzing of model files with atheris (`pip install atheris`).

    python tests/fuzz/corpus.py corpus
    python tests/fuzz/fuzz_onnx.py corpus -max_len=4096 -rss_limit_mb=2048 -timeout=30

libFuzzer's options follow the folder of the corpus; new inputs are added to it, and a model that
crashes is written to the working directory.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["fastconv"]):
    import fastconv.inference.file
    import fastconv.onnx.reader  # noqa: F401

from mutator import Mutator
from target import check

_MUTATOR = Mutator(0)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change messages or bytes as mutate.py does, or let libFuzzer do it."""
    if seed % 3 == 0:
        return atheris.Mutate(data, max_size)
    return _MUTATOR.mutate(bytes(data), random.Random(seed))[:max_size]


def main() -> None:
    atheris.Setup(sys.argv, check_one, custom_mutator=mutate)
    atheris.Fuzz()


def check_one(data: bytes) -> None:
    check(bytes(data))


if __name__ == "__main__":
    main()
