"""``fastconv bench``: latency and throughput of an ONNX model or inference graph."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._arguments import at_least
from ._graphs import (
    add_shape_arguments,
    add_threads_argument,
    input_shapes,
    open_session,
    random_feeds,
)

_WARM_UP = 2
_FEWEST = 3


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure how fast a model runs",
        description="Runs an ONNX model or inference graph on random input, and prints latency, "
        "throughput and memory. GFLOP/s count the model's multiplications and additions in "
        "convolutions and matrix products.",
        epilog="example: fastconv bench model.onnx --shape image=1,3,224,224 --threads 1",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx or .fastconv file")
    add_shape_arguments(parser)
    add_threads_argument(parser)
    parser.add_argument(
        "--rounds",
        type=at_least(1),
        metavar="R",
        help="how often to run (default: as often as the seconds allow)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=3.0,
        metavar="S",
        help="how long to measure (default: %(default)g)",
    )
    parser.add_argument("--profile", action="store_true", help="also print the time of each step")
    parser.set_defaults(run=run)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def run(arguments: argparse.Namespace) -> int:
    import fastconv
    from fastconv.inference.summary import size_text

    start = time.perf_counter()
    session = open_session(arguments.model, arguments.threads)
    load = time.perf_counter() - start
    feeds = random_feeds(session, input_shapes(session, arguments))
    start = time.perf_counter()
    session.run(None, feeds)
    first = time.perf_counter() - start
    times = _measure(lambda: session.run(None, feeds), arguments.rounds, arguments.seconds)
    median = float(np.median(times))
    batch = next((a.shape[0] for a in feeds.values() if a.ndim), 1)
    macs = session.summary(feeds).macs

    for name, value in feeds.items():
        print(f"input {name}: {value.shape} {value.dtype}")
    config = fastconv.show_config()
    print(f"threads     {arguments.threads or config['threads']}, {config['isa']}")
    print(f"load        {1e3 * load:.1f} ms, first run {1e3 * first:.1f} ms")
    print(
        f"latency     {1e3 * median:.3f} ms median, {1e3 * min(times):.3f} ms minimum, "
        f"{1e3 * np.percentile(times, 90):.3f} ms 90th percentile ({len(times)} runs)"
    )
    print(f"throughput  {batch / median:.1f} items/s (batch of {batch})")
    if macs:
        print(f"compute     {2e-9 * macs / median:.1f} GFLOP/s ({2e-9 * macs:.3g} GFLOP a run)")
    peak = _peak_memory()
    if peak:
        print(f"memory      {size_text(peak)} at the peak of this process")
    if arguments.profile:
        print()
        print(session.profile(feeds))
    return 0


def _measure(call: Callable[..., Any], rounds: int | None, seconds: float) -> list[float]:
    for _ in range(_WARM_UP):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        times.append(now - start)
        if len(times) >= rounds if rounds else now >= end and len(times) >= _FEWEST:
            return times


def _peak_memory() -> int | None:
    """Bytes; getrusage would also count the process that started this one."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
