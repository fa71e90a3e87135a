"""GFLOP/s of the convolution kernels, beside the FMA peak of this machine.

python bench/convolution.py [--gradients | --backward] [--batch N] [--threads 1] [--dtype float32]
                            [--seconds 0.3] [--strict] [bench/shapes/basic.txt ...]

bench/shapes has a list of all convolutions of each of some networks (bench/inference.py shapes).
A layer is repeated alone, so its weights are as near as the caches hold them. Operations are those
of direct summation, whatever algorithm runs: Winograd's may go beyond 100 % of the peak. The totals
count each layer as often as its network has it.

--backward prints how much longer both gradients take than the forward pass, with weights that are
new in every run, as in training: at most 2.5 times is wanted of convolutions of 8 channels or more,
3 times of others. The layers that are furthest from it follow at the end.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import fastconv
from fastconv._runtime import core
from peers import shapes

BEHIND = "reduce_max"  # which no pass makes part of a convolution


def graphs(shape, dtype, gradients, new_weights=False):
    """Yield name, graph, its output and feeds of the forward pass and, on demand, of the gradients.

    new_weights: they are an input, so that every run packs them.
    """
    n, h, w, c, k, kernel, stride, pad, groups = shape
    rng = np.random.default_rng(0)
    attrs = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [1, 1], "groups": groups}

    def random(shape):
        return as_in_arena(rng.standard_normal(shape).astype(dtype))

    x, weight = random((n, h, w, c)), random((kernel, kernel, c // groups, k))

    def weights(graph):
        return graph.input("w", weight.shape, dtype) if new_weights else graph.constant(weight)

    more = [weight] if new_weights else []
    forward = core.Graph()
    y = forward.add("conv2d", [forward.input("x", x.shape, dtype), weights(forward)], attrs)
    yield "forward", forward, y, [x, *more]
    if not gradients:
        return

    dy = random(forward.shape(y[0]))
    g = core.Graph()
    out = g.add(
        "conv_transpose2d",
        [g.input("dy", dy.shape, dtype), weights(g)],
        {**attrs, "output_size": [h, w]},
    )
    yield "input gradient", g, out, [dy, *more]

    g = core.Graph()
    ids = [g.input("x", x.shape, dtype), g.input("dy", dy.shape, dtype)]
    out = g.add("conv2d_backward_weights", ids, {**attrs, "kernel": [kernel, kernel]})
    yield "weight gradient", g, out, [x, dy]


def as_in_arena(array):
    """Return a copy that begins at a cache line, as all values between steps do."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def plans(shape, dtype, gradients, strict, new_weights=False):
    """Yield name, plan and feeds of the passes of `graphs`, each with a step behind it.

    Results of a run are new arrays, whose pages the C library maps anew in each run if they are
    large: that may take longer than to compute them. What a step behind reads is in the plan's
    arena, as it is in training, and begins at a cache line. best_time does not count that step.
    """
    for name, graph, out, feeds in graphs(shape, dtype, gradients, new_weights):
        behind = graph.add(BEHIND, out)
        yield name, core.Plan(graph, behind, strict=strict), feeds


def best_time(plan, feeds, seconds):
    """Return the shortest time of the plan's steps, their operations, the main step's algorithm."""
    best, flops, algorithm, end = float("inf"), 0.0, "", time.perf_counter() + seconds
    while time.perf_counter() < end:
        steps = [s for s in plan.profile(feeds) if s["op"] != BEHIND]
        best = min(best, sum(s["seconds"] for s in steps))
        flops = sum(s["flops"] for s in steps)
        algorithm = max(steps, key=lambda s: s["flops"])["algorithm"]
    return best, flops, algorithm


def layers(path, batch):
    """Yield name, shape and times of the layers of a list, of `batch` images if that is not 0."""
    for name, shape, times in shapes.parse(Path(path).read_text()):
        yield name, (batch or shape[0], *shape[1:]), times


def bar(shape):
    """Return how many times the forward pass's time both gradients may take."""
    return 2.5 if min(shape[3], shape[4]) >= 8 else 3.0


def worst(rows, n):
    """Return the n rows (list, name, shape, ratio, ...) whose ratio is furthest above its bar."""
    return sorted(rows, key=lambda row: row[3] / bar(row[2]), reverse=True)[:n]


def backward_row(title, name, shape, passes):
    """Return title, name, shape, ratio and a line of text from each pass's time and algorithm."""
    forward = passes["forward"][0]
    ratio = (passes["input gradient"][0] + passes["weight gradient"][0]) / forward
    times = "".join(f"{algorithm:>16}{ms:9.3f}" for ms, algorithm in passes.values())
    mark = "" if ratio <= bar(shape) else "  above"
    size = " ".join(map(str, shape))
    return title, name, shape, ratio, f"{size:34}{times}{ratio:7.2f} of {bar(shape)}{mark}"


def best_of_turns(shape, args, turns=5):
    """Return {pass: (ms, algorithm)}; the passes take turns, as a core's speed may change."""
    cases = list(plans(shape, args.dtype, True, args.strict, True))
    passes = {kind: (float("inf"), "") for kind, _, _ in cases}
    for _ in range(turns):
        for kind, plan, feeds in cases:
            best, _, algorithm = best_time(plan, feeds, args.seconds / turns)
            passes[kind] = min(passes[kind][0], best * 1e3), algorithm
    return passes


def measure_backward(paths, args):
    """Print a line for each layer of the lists, then the worst."""
    kinds = ("forward", "input gradient", "weight gradient")
    heading = f"{'':34}" + "".join(f"{kind + ', ms':>25}" for kind in kinds) + "  ratio"
    rows = []
    for path in paths:
        title = Path(path).stem
        print(f"\n{title}\n{heading}")
        for name, shape, _ in layers(path, args.batch):
            passes = best_of_turns(shape, args)
            rows.append(backward_row(title, name, shape, passes))
            print(f"{rows[-1][4]}  {name}", flush=True)
    above = sum(row[3] > bar(row[2]) for row in rows)
    print(f"\n{above} of {len(rows)} layers are above; the furthest:\n{heading}")
    for title, name, _, _, line in worst(rows, 15):
        print(f"{line}  {title}, {name}")


def measure(path, args, peak):
    """Print a line for each layer of a list and the totals."""
    passes = ["forward"] + ["input gradient", "weight gradient"] * args.gradients
    print(f"\n{Path(path).stem:36}" + "".join(f"{t + ': ms, GFLOP/s, peak':>46}" for t in passes))
    totals = {}
    for name, shape, times in layers(path, args.batch):
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


def main(arguments=None):
    basic = Path(__file__).parent / "shapes" / "basic.txt"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=[basic], metavar="LIST")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seconds", type=float, default=0.3, help="a measurement")
    parser.add_argument("--batch", type=int, default=0, help="images, instead of the list's number")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--gradients", action="store_true", help="measure both gradients too")
    what.add_argument("--backward", action="store_true", help="gradients over the forward pass")
    parser.add_argument("--strict", action="store_true", help="direct summation only")
    args = parser.parse_args(arguments)
    if args.batch < 0:
        parser.error(f"--batch is {args.batch}, expected at least 0")
    fastconv.set_num_threads(args.threads)
    peak = core.fma_peak(0.3) * args.threads / (1 if args.dtype == "float32" else 2)
    isa = core.config()["isa"]
    print(f"{isa}, {args.threads} thread(s), {args.dtype}, FMA peak {peak:.0f} GFLOP/s")
    if args.backward:
        measure_backward(args.shapes, args)
        return
    for path in args.shapes:
        measure(path, args, peak)


if __name__ == "__main__":
    main()
