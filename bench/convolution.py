"""GFLOP/s of the convolution kernels, beside the FMA peak of this machine.

python bench/convolution.py [--gradients] [--threads 1] [--dtype float32] [--seconds 0.3]
                            [--strict] [bench/shapes/basic.txt ...]

bench/shapes has a list of all convolutions of each of some networks (bench/inference.py shapes).
A layer is repeated alone, so its weights are as near as the caches hold them. Operations are those
of direct summation, whatever algorithm runs: Winograd's may go beyond 100 % of the peak. The totals
count each layer as often as its network has it.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import fastconv
from fastconv._runtime import core
from peers import shapes


def plans(shape, dtype, gradients, strict):
    """Yield name, plan and feeds of the forward pass and, if asked for, of both gradients."""
    n, h, w, c, k, kernel, stride, pad, groups = shape
    rng = np.random.default_rng(0)
    attrs = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [1, 1], "groups": groups}
    x = rng.standard_normal((n, h, w, c)).astype(dtype)
    weight = rng.standard_normal((kernel, kernel, c // groups, k)).astype(dtype)

    forward = core.Graph()
    y = forward.add("conv2d", [forward.input("x", x.shape, dtype), forward.constant(weight)], attrs)
    dy = rng.standard_normal(forward.shape(y[0])).astype(dtype)
    yield "forward", core.Plan(forward, y, strict=strict), [x]
    if not gradients:
        return

    g = core.Graph()
    out = g.add(
        "conv_transpose2d",
        [g.input("dy", dy.shape, dtype), g.constant(weight)],
        {**attrs, "output_size": [h, w]},
    )
    yield "input gradient", core.Plan(g, out, strict=strict), [dy]

    g = core.Graph()
    ids = [g.input("x", x.shape, dtype), g.input("dy", dy.shape, dtype)]
    out = g.add("conv2d_backward_weights", ids, {**attrs, "kernel": [kernel, kernel]})
    yield "weight gradient", core.Plan(g, out, strict=strict), [x, dy]


def best_time(plan, feeds, seconds):
    """Return the shortest time of the plan's steps, their operations, the main step's algorithm."""
    best, flops, algorithm, end = float("inf"), 0.0, "", time.perf_counter() + seconds
    while time.perf_counter() < end:
        steps = plan.profile(feeds)
        best = min(best, sum(s["seconds"] for s in steps))
        flops = sum(s["flops"] for s in steps)
        algorithm = max(steps, key=lambda s: s["flops"])["algorithm"]
    return best, flops, algorithm


def measure(path, args, peak):
    """Print a line for each layer of a list and the totals."""
    passes = ["forward"] + ["input gradient", "weight gradient"] * args.gradients
    print(f"\n{Path(path).stem:36}" + "".join(f"{t + ': ms, GFLOP/s, peak':>46}" for t in passes))
    totals = {}
    for name, shape, times in shapes.parse(Path(path).read_text()):
        row = f"{name[:28]:28}{f'x {times}' if times > 1 else '':>8}"
        for kind, plan, feeds in plans(shape, args.dtype, args.gradients, args.strict):
            best, flops, algorithm = best_time(plan, feeds, args.seconds)
            rate = flops / best / 1e9
            row += f"{algorithm:>20}{best * 1e3:10.3f}{rate:9.1f}{100 * rate / peak:5.0f} %"
            seconds, all_flops = totals.get(kind, (0.0, 0.0))
            totals[kind] = seconds + times * best, all_flops + times * flops
        print(row, flush=True)
    row = f"{'all layers':36}"
    for seconds, flops in totals.values():
        rate = flops / seconds / 1e9
        row += f"{seconds * 1e3:30.3f}{rate:9.1f}{100 * rate / peak:5.0f} %"
    print(row, flush=True)


def main():
    basic = Path(__file__).parent / "shapes" / "basic.txt"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=[basic], metavar="LIST")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seconds", type=float, default=0.3, help="a measurement")
    parser.add_argument("--gradients", action="store_true", help="measure both gradients too")
    parser.add_argument("--strict", action="store_true", help="direct summation only")
    args = parser.parse_args()
    fastconv.set_num_threads(args.threads)
    peak = core.fma_peak(0.3) * args.threads / (1 if args.dtype == "float32" else 2)
    isa = core.config()["isa"]
    print(f"{isa}, {args.threads} thread(s), {args.dtype}, FMA peak {peak:.0f} GFLOP/s")
    for path in args.shapes:
        measure(path, args, peak)


if __name__ == "__main__":
    main()
