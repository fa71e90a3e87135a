"""fastconv.functional beside torch.nn.functional, on NCHW arrays.

python bench/functional.py [--threads 1,2] [--batch 1] [--rounds 3] [--only TEXT] [--write FILE]

All distinct convolutions of ResNet-50 and LeNet-5 (bench/shapes), their pooling and batch
normalization. What is timed is the call: fastconv converts layouts and packs the weights in each,
as they are arguments. Both engines get their own arrays in NCHW; torch runs in inference mode.

Each engine runs in a process of its own, in rounds A B A B; the ratio torch / fastconv is taken
round by round, its median is reported. Outputs are compared. --write puts the tables between the
markers of FILE (docs/benchmarks.md). --python ENGINE=PYTHON: another interpreter for an engine.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("fastconv", "torch")
BEGIN, END = (
    "<!-- functional: begin (bench/functional.py --write) -->",
    "<!-- functional: end -->",
)
WORST_ERROR = 1e-5  # of the output's largest value

# channels, height = width
NORMS = [
    (64, 112),
    (64, 56),
    (256, 56),
    (128, 56),
    (128, 28),
    (512, 28),
    (256, 28),
    (256, 14),
    (1024, 14),
    (512, 14),
    (512, 7),
    (2048, 7),
]
# function, channels, height = width, arguments
POOLS = [
    ("max_pool2d", 64, 112, {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", 64, 112, {"kernel_size": 2}),
    ("avg_pool2d", 64, 112, {"kernel_size": 2}),
    ("avg_pool2d", 2048, 7, {"kernel_size": 7}),
    ("adaptive_avg_pool2d", 2048, 7, {"output_size": 1}),
    ("max_pool2d", 6, 28, {"kernel_size": 2}),
    ("max_pool2d", 16, 10, {"kernel_size": 2}),
    ("avg_pool2d", 6, 28, {"kernel_size": 2}),
    ("avg_pool2d", 16, 10, {"kernel_size": 2}),
]


def cases(batch):
    """Return (title, function, shapes of the arrays, arguments) of every case."""
    found = []
    for network in ("resnet50", "lenet5"):
        for line in (ROOT / "bench" / "shapes" / f"{network}.txt").read_text().splitlines():
            numbers = [int(n) for n in line.partition("#")[0].split()]
            if not numbers:
                continue
            _, h, w, c, k, size, stride, padding, groups = numbers[:9]
            shapes = [(batch, c, h, w), (k, c // groups, size, size)]
            if network == "lenet5":
                shapes.append((k,))
            title = f"conv {c} to {k}, {size}x{size}/{stride}, {h}x{w}"
            arguments = {"stride": stride, "padding": padding, "groups": groups}
            found.append((title, "conv2d", shapes, arguments))
    for function, c, size, arguments in POOLS:
        title = f"{function} {' '.join(f'{k[0]}{v}' for k, v in arguments.items())},"
        found.append(
            (f"{title} {c} of {size}x{size}", function, [(batch, c, size, size)], arguments)
        )
    for training in (False, True):
        for c, size in NORMS:
            title = f"batch_norm{' training' if training else ''}, {c} of {size}x{size}"
            shapes = [(batch, c, size, size), *[(c,)] * 4]
            found.append((title, "batch_norm", shapes, {"training": training}))
    return found


def arrays_of(function, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if function == "conv2d":
        arrays[1] /= math.sqrt(math.prod(shapes[1][1:]))
    if function == "batch_norm":
        arrays[2] = rng.uniform(0.5, 2, shapes[2]).astype(np.float32)
    return arrays


def measure(call, seconds):
    """Return the median time of a call."""
    end = time.perf_counter() + 0.3 * seconds
    call()
    while time.perf_counter() < end:
        call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def work(args):
    """Time every case with one engine; write times and outputs."""
    if args.worker.startswith("fastconv"):
        import fastconv.functional as engine
    else:
        import torch

        engine = torch.nn.functional
        torch.set_num_threads(args.threads[0])
        torch.set_grad_enabled(False)
    times, outputs = {}, {}
    for title, function, shapes, arguments in chosen(args, args.batch[0]):
        arrays = arrays_of(function, shapes)
        if args.worker == "torch":
            arrays = [torch.from_numpy(a) for a in arrays]
        run = getattr(engine, function)
        outputs[title] = np.asarray(run(*arrays, **arguments))
        times[title] = measure(lambda: run(*arrays, **arguments), args.seconds)  # noqa: B023
    np.savez(args.output, **outputs)
    print(json.dumps(times))


def start_worker(args, engine, threads, batch, output):
    python = dict(item.split("=", 1) for item in args.python).get(engine, sys.executable)
    environment = {
        **os.environ,
        "FASTCONV_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
    command = [python, __file__, "--worker", engine, "--threads", str(threads)]
    command += ["--batch", str(batch), "--seconds", str(args.seconds), "--only", args.only]
    command += ["--output", output]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def chosen(args, batch):
    return [case for case in cases(batch) if args.only in case[0]]


def compare(args, threads, batch):
    """Return {title: ({engine: median time}, median ratio)} of the cases."""
    rounds, outputs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            times = {}
            for engine in args.engines:
                output = str(Path(folder) / f"{engine}.npz")
                times[engine] = start_worker(args, engine, threads, batch, output)
                if engine not in outputs:
                    with np.load(output) as found:
                        outputs[engine] = dict(found)
            rounds.append(times)
    result = {}
    mine, peer = args.engines[0], args.engines[-1]
    for title, *_ in chosen(args, batch):
        expected = outputs[peer][title]
        error = np.abs(outputs[mine][title] - expected).max() / np.abs(expected).max()
        if not error <= WORST_ERROR:
            raise SystemExit(f"WRONG OUTPUT: {title}: differs by {error:.2g} of the largest value")
        medians = {e: statistics.median(r[e][title] for r in rounds) for e in args.engines}
        ratios = [r[peer][title] / r[mine][title] for r in rounds]
        result[title] = (medians, statistics.median(ratios))
    return result


def table(columns, engines):
    """Return the lines of one table; columns: {(threads, batch): result of compare}."""
    heads = [f"{'/'.join(engines)}, {t} thread{'s' * (t > 1)}, batch {b}" for t, b in columns]
    lines = ["| µs | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for title in next(iter(columns.values())):
        cells = []
        for result in columns.values():
            medians, ratio = result[title]
            each = " / ".join(f"{1e6 * t:.4g}" for t in medians.values())
            cells.append(f"{each}: {ratio:.2f}" if ratio >= 1 else f"{each}: **{ratio:.2f}**")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    cells = []
    for result in columns.values():
        ratios = [ratio for _, ratio in result.values()]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        cells.append(f"{mean:.2f}, smallest {min(ratios):.2f}")
    lines.append("| geometric mean | " + " | ".join(cells) + " |")
    return lines


def write(path, lines):
    text = path.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{path} lacks the lines {BEGIN} and {END}, once each and in order")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + "\n".join([BEGIN, *lines, END]) + after)


def numbers(text):
    return [int(item) for item in text.split(",")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--batch", type=numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their title")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    columns = {(t, b): compare(args, t, b) for b in args.batch for t in args.threads}
    lines = table(columns, args.engines)
    print("\n".join(lines))
    if args.write:
        command = " ".join(["python", "bench/functional.py", *sys.argv[1:]])
        machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
        write(args.write, ["", f"`{command}`, {machine}:", "", *lines, ""])
    return None


if __name__ == "__main__":
    main()
