"""Loads and runs mutated models in worker processes and counts what happens.

    python tests/fuzz/mutate.py --count 100000 --seed 0
    python tests/fuzz/mutate.py --kind own --count 100000 --first 100000

Each model must load and run, or be refused with a ValueError or TypeError. The exit status is 1 if
a worker crashed, took too long, used too much memory while loading, or raised anything else. A
kind, a number and a seed give the same model on every machine: `--case N` repeats one in this
process, and `--first N` goes on where another run has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib.util
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections import Counter
from multiprocessing.connection import wait
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

GOOD = ("ok", "refused", "memory")


def load_function(spec: str):
    """Return the function of "FILE.py:NAME"."""
    path, _, name = spec.rpartition(":")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return getattr(module, name)


def make_mutator(arguments):
    """Return the mutator of the kind of file."""
    if arguments.kind == "own":
        from own import OwnMutator

        return OwnMutator(arguments.seed)
    from mutator import Mutator

    return Mutator(arguments.seed)


def outcome(check, data: bytes) -> tuple[str, str]:
    """Return what happens to a model, and the traceback if that is a defect."""
    try:
        return check(data), ""
    except BaseException as error:
        return type(error).__name__, traceback.format_exc()


def work(arguments, start: int, step: int, current, connection) -> None:
    """Check the models start, start + step, ... and send what happens to each."""
    faulthandler.enable()
    mutator, check = make_mutator(arguments), load_function(arguments.target)
    # One model in advance: libraries and threads take their memory before the limit is set.
    outcome(check, mutator.case(0))
    limit = _address_space() + arguments.memory * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send((None, "", ""))  # ready: the time of the first model begins
    for index in range(start, arguments.first + arguments.count, step):
        current.value = index
        connection.send((index, *outcome(check, mutator.case(index))))
    connection.close()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


class Worker:
    """A process and the number of the model that it is at."""

    def __init__(self, context, arguments, start: int, step: int):
        self.current = context.Value("q", -1)
        self.connection, other = context.Pipe(duplex=False)
        self.process = context.Process(
            target=work, args=(arguments, start, step, self.current, other), daemon=True
        )
        self.process.start()
        other.close()
        self.seen = time.monotonic()


def run(arguments) -> int:
    context = multiprocessing.get_context("spawn")
    step, end = arguments.workers, arguments.first + arguments.count
    starts = range(arguments.first, min(end, arguments.first + step))
    workers = [Worker(context, arguments, start, step) for start in starts]
    counts: Counter[str] = Counter()
    begin = reported = time.monotonic()

    def note(index: int, result: str, details: str) -> None:
        counts[result] += 1
        if result not in GOOD:
            print(f"case {index}: {result}\n{details}", flush=True)

    while workers:
        ready = wait([worker.connection for worker in workers], timeout=0.5)
        now = time.monotonic()
        for worker in list(workers):
            result = details = ""
            if worker.connection in ready:
                try:
                    index, result, details = worker.connection.recv()
                    worker.seen = now
                    if index is not None:
                        note(index, result, details)
                    continue
                except (EOFError, OSError):
                    worker.process.join()
                    if worker.process.exitcode:
                        result = "crash"
                        details = f"exit status {worker.process.exitcode}"
            # The first model waits for the imports.
            elif now - worker.seen > arguments.timeout + (60 if worker.current.value < 0 else 0):
                worker.process.kill()
                worker.process.join()
                result, details = "hang", f"more than {arguments.timeout} s"
            else:
                continue
            workers.remove(worker)
            worker.connection.close()
            if result:
                if worker.current.value < 0:
                    raise RuntimeError(f"a worker did not start: {details}")
                note(worker.current.value, result, details)
                if sum(counts[name] for name in counts if name not in GOOD) >= arguments.stop_after:
                    end = 0
                if worker.current.value + step < end:
                    start = worker.current.value + step
                    workers.append(Worker(context, arguments, start, step))
        if now - reported > 60:
            reported = now
            print(f"{sum(counts.values())} models, {now - begin:.0f} s: {dict(counts)}", flush=True)
    bad = sum(count for name, count in counts.items() if name not in GOOD)
    print(
        f"{sum(counts.values())} models in {time.monotonic() - begin:.0f} s: "
        + ", ".join(f"{counts[name]} {name}" for name in [*GOOD, *sorted(set(counts) - set(GOOD))])
        + f"; {bad} defects",
        flush=True,
    )
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many models")
    parser.add_argument("--first", type=int, default=0, help="number of the first model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("onnx", "own"), default="onnx", help="of the files")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for one model")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a worker may add")
    parser.add_argument("--stop-after", type=int, default=50, help="defects")
    parser.add_argument("--case", type=int, help="check this model only, in this process")
    parser.add_argument("--save", help="with --case: write the model to this file first")
    parser.add_argument(
        "--target",
        help="FILE.py:FUNCTION, target.py's for the kind if not given",
    )
    arguments = parser.parse_args()
    if arguments.target is None:
        function = "check_own" if arguments.kind == "own" else "check"
        arguments.target = f"{Path(__file__).with_name('target.py')}:{function}"
    if arguments.case is None:
        return run(arguments)
    data = make_mutator(arguments).case(arguments.case)
    if arguments.save:
        Path(arguments.save).write_bytes(data)
    result, details = outcome(load_function(arguments.target), data)
    with contextlib.suppress(BrokenPipeError):
        print(f"case {arguments.case}: {result}\n{details}")
    return 0 if result in GOOD else 1


if __name__ == "__main__":
    sys.exit(main())
