"""GFLOP/s of the convolution kernels, forward and backward, beside the FMA peak of this machine.

python bench/convolution.py [--threads 1] [--dtype float32] [--seconds 0.3] [bench/shapes/basic.txt]
"""

import argparse
import time
from pathlib import Path

import numpy as np

import fastconv
from fastconv._runtime import core


def read_shapes(path):
    """Yield (name, numbers) for each line of a shape file."""
    for line in Path(path).read_text().splitlines():
        numbers, _, name = line.partition("#")
        if numbers.strip():
            yield name.strip(), [int(n) for n in numbers.split()]


def plans(shape, dtype):
    """Yield name, plan and feeds of the forward pass and of both gradients."""
    n, h, w, c, k, kernel, stride, pad, groups = shape
    rng = np.random.default_rng(0)
    attrs = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [1, 1], "groups": groups}
    x = rng.standard_normal((n, h, w, c)).astype(dtype)
    weight = rng.standard_normal((kernel, kernel, c // groups, k)).astype(dtype)

    forward = core.Graph()
    y = forward.add("conv2d", [forward.input("x", x.shape, dtype), forward.constant(weight)], attrs)
    dy = rng.standard_normal(forward.shape(y[0])).astype(dtype)
    yield "forward", core.Plan(forward, y), [x]

    g = core.Graph()
    out = g.add(
        "conv_transpose2d",
        [g.input("dy", dy.shape, dtype), g.constant(weight)],
        {**attrs, "output_size": [h, w]},
    )
    yield "input gradient", core.Plan(g, out), [dy]

    g = core.Graph()
    ids = [g.input("x", x.shape, dtype), g.input("dy", dy.shape, dtype)]
    out = g.add("conv2d_backward_weights", ids, {**attrs, "kernel": [kernel, kernel]})
    yield "weight gradient", core.Plan(g, out), [x, dy]


def best_time(plan, feeds, seconds):
    """Return the shortest time of the plan's steps in `seconds`, and their operations."""
    best, flops, end = float("inf"), 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        steps = plan.profile(feeds)
        best = min(best, sum(s["seconds"] for s in steps))
        flops = sum(s["flops"] for s in steps)
    return best, flops


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="?", default=Path(__file__).parent / "shapes" / "basic.txt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seconds", type=float, default=0.3, help="a measurement")
    args = parser.parse_args()
    fastconv.set_num_threads(args.threads)
    peak = core.fma_peak(0.3) * args.threads / (1 if args.dtype == "float32" else 2)
    isa = core.config()["isa"]
    print(f"{isa}, {args.threads} thread(s), {args.dtype}, FMA peak {peak:.0f} GFLOP/s")
    print(
        f"{'layer':28}"
        + "".join(f"{t:>26}" for t in ("forward", "input gradient", "weight gradient"))
    )
    for name, shape in read_shapes(args.shapes):
        row = f"{name:28}"
        for _, plan, feeds in plans(shape, args.dtype):
            best, flops = best_time(plan, feeds, args.seconds)
            rate = flops / best / 1e9
            row += f"{best * 1e3:10.3f} ms {rate:6.1f} {100 * rate / peak:4.0f} %"
        print(row, flush=True)


if __name__ == "__main__":
    main()
