"""fastconv.functional beside torch.nn.functional, on NCHW arrays.

python bench/functional.py [--backward] [--threads 1,2] [--batch 1] [--rounds 3] [--only TEXT]
                           [--write FILE]

All distinct convolutions of ResNet-50 and LeNet-5 (bench/shapes), their pooling and batch
normalization. What is timed is the call: fastconv converts layouts and packs the weights in each,
as they are arguments. Both engines get their own arrays in NCHW; torch runs in inference mode.

--backward times gradients, of bench/shapes/training.txt too: fastconv's `f_backward(grad_output,
input, ...)` against the fastest of three ways of PyTorch to get the same NumPy arrays from NumPy's
grad_output. torch's forward pass is over before, with all that it keeps for the gradient (tensors
of the input and the weights, pooling's indices, batch normalization's statistics, which fastconv
has to find again): `torch.autograd.grad`; ATen's operator of the gradient itself (torch.nn.grad
calls it too, twice); and that operator on channels-last tensors, between conversions of grad_output
and of the result.

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
BACKWARD_BEGIN, BACKWARD_END = (
    "<!-- functional backward: begin (bench/functional.py --backward --write) -->",
    "<!-- functional backward: end -->",
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

# Of the course's network and of VGG and ResNet-18 on 32 x 32 pixels.
TRAINING_NORMS = [(64, 32), (128, 16), (256, 8), (512, 4)]
TRAINING_POOLS = [
    ("max_pool2d", 32, 26, {"kernel_size": 2}),
    ("max_pool2d", 64, 11, {"kernel_size": 2}),
    ("max_pool2d", 64, 32, {"kernel_size": 2}),
    ("adaptive_avg_pool2d", 512, 4, {"output_size": 1}),
]


def cases(batch, backward=False):
    """Return (title, function, shapes of the arrays, arguments) of every case."""
    found = []
    for network in ("resnet50", "lenet5", *(["training"] if backward else [])):
        for line in (ROOT / "bench" / "shapes" / f"{network}.txt").read_text().splitlines():
            numbers = [int(n) for n in line.partition("#")[0].split()]
            if not numbers:
                continue
            _, h, w, c, k, size, stride, padding, groups = numbers[:9]
            shapes = [(batch, c, h, w), (k, c // groups, size, size)]
            if network == "lenet5" or backward:
                shapes.append((k,))
            kind = "conv" if groups == 1 else "depthwise"
            title = f"{kind} {c} to {k}, {size}x{size}/{stride}, {h}x{w}"
            arguments = {"stride": stride, "padding": padding, "groups": groups}
            found.append((title, "conv2d", shapes, arguments))
    for function, c, size, arguments in POOLS + (TRAINING_POOLS if backward else []):
        title = f"{function} {' '.join(f'{k[0]}{v}' for k, v in arguments.items())},"
        found.append(
            (f"{title} {c} of {size}x{size}", function, [(batch, c, size, size)], arguments)
        )
    for training in (True,) if backward else (False, True):
        for c, size in NORMS + (TRAINING_NORMS if backward else []):
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


def grad_output_of(shape):
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def fastconv_calls(case, backward):
    """Return [a function that makes the case's arrays]."""
    import fastconv.functional as F

    _, function, shapes, arguments = case
    arrays = arrays_of(function, shapes)
    if not backward:
        run = getattr(F, function)
        return [lambda: [run(*arrays, **arguments)]]
    forward, run = getattr(F, function), getattr(F, f"{function}_backward")
    grad = grad_output_of(forward(*arrays, **arguments).shape)
    if function == "batch_norm":  # input, weight, running mean and variance
        arrays = [arrays[0], arrays[3], arrays[1], arrays[2]]
    elif function == "conv2d":
        arrays = arrays[:2]

    def call():
        found = run(grad, *arrays, **arguments)
        return found if isinstance(found, tuple) else [found]

    return [call]


def torch_calls(case, backward):
    """Return the ways in which PyTorch makes the case's arrays."""
    import torch

    _, function, shapes, arguments = case
    tensors = [torch.from_numpy(a) for a in arrays_of(function, shapes)]
    forward = getattr(torch.nn.functional, function)
    if not backward:

        def call():
            with torch.inference_mode():
                return [forward(*tensors, **arguments)]

        return [call]
    differentiable = [
        tensors[i] for i in ((0, 3, 4) if function == "batch_norm" else range(len(tensors)))
    ]
    for tensor in differentiable:
        tensor.requires_grad_()
    y = forward(*tensors, **arguments)
    grad = grad_output_of(tuple(y.shape))

    def autograd():
        return torch.autograd.grad(y, differentiable, torch.from_numpy(grad), retain_graph=True)

    def operator(layout):
        run = torch_gradient(function, [t.detach() for t in tensors], arguments, layout)
        return lambda: run(torch.from_numpy(grad).contiguous(memory_format=layout))

    ways = [autograd, operator(torch.contiguous_format), operator(torch.channels_last)]
    return [lambda way=way: [np.ascontiguousarray(g.numpy()) for g in way()] for way in ways]


def torch_gradient(function, tensors, arguments, layout):
    """Return ATen's operator as a function of grad_output, the forward's tensors in a layout."""
    import torch

    aten = torch.ops.aten
    x, *rest = (t.contiguous(memory_format=layout) if t.ndim == 4 else t for t in tensors)
    if function == "conv2d":
        weight, bias = rest
        window = [[arguments[name]] * 2 for name in ("stride", "padding")]
        rest = [[len(bias)], *window, [1, 1], False, [0, 0], arguments["groups"], [True] * 3]
        return lambda g: aten.convolution_backward(g, x, weight, *rest)
    if function == "batch_norm":
        mean, var, weight, bias = rest
        _, *kept = aten.native_batch_norm(x, weight, bias, mean, var, True, 0.1, 1e-5)
        rest = [mean, var, *kept, True, 1e-5, [True] * 3]
        return lambda g: aten.native_batch_norm_backward(g, x, weight, *rest)
    if function == "adaptive_avg_pool2d":
        return lambda g: [aten._adaptive_avg_pool2d_backward(g, x)]
    kernel = arguments["kernel_size"]
    window = [
        [n] * 2 for n in (kernel, arguments.get("stride", kernel), arguments.get("padding", 0))
    ]
    if function == "avg_pool2d":
        return lambda g: [aten.avg_pool2d_backward(g, x, *window, False, True, None)]
    _, indices = torch.nn.functional.max_pool2d(x, **arguments, return_indices=True)
    rest = [*window, [1, 1], False, indices]
    return lambda g: [aten.max_pool2d_with_indices_backward(g, x, *rest)]


def work(args):
    """Time every case with one engine; write times and outputs."""
    calls_of = torch_calls
    if args.worker.startswith("fastconv"):
        calls_of = fastconv_calls
    else:
        import torch

        torch.set_num_threads(args.threads[0])
    times, outputs = {}, {}
    for case in chosen(args, args.batch[0]):
        calls = calls_of(case, args.backward)
        for i, array in enumerate(calls[0]()):
            outputs[f"{case[0]}, {i}"] = array
        times[case[0]] = min(measure(call, args.seconds) for call in calls)
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
    command += ["--output", output, *(["--backward"] if args.backward else [])]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def chosen(args, batch):
    return [case for case in cases(batch, args.backward) if args.only in case[0]]


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
        for name in (name for name in outputs[peer] if name.rpartition(", ")[0] == title):
            expected = outputs[peer][name]
            error = np.abs(outputs[mine][name] - expected).max() / np.abs(expected).max()
            if not error <= WORST_ERROR:
                message = f"differs by {error:.2g} of the largest value"
                raise SystemExit(f"WRONG OUTPUT: {name}: {message}")
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


def write(path, lines, begin, end):
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SystemExit(f"{path} lacks the lines {begin} and {end}, once each and in order")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    path.write_text(before + "\n".join([begin, *lines, end]) + after)


def numbers(text):
    return [int(item) for item in text.split(",")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backward", action="store_true", help="time gradients")
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
        marks = (BACKWARD_BEGIN, BACKWARD_END) if args.backward else (BEGIN, END)
        write(args.write, ["", f"`{command}`, {machine}:", "", *lines, ""], *marks)
    return None


if __name__ == "__main__":
    main()
