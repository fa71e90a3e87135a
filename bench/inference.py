"""Latency of whole networks, fastconv beside its peers.

python bench/inference.py run [--networks resnet50,lenet5] [--threads 1,2] [--batch 1] [--json FILE]
python bench/inference.py start [--json FILE]       process start to first result, peak memory
python bench/inference.py prepare                   make the networks' files only
python bench/inference.py report --json FILE        write docs/benchmarks.md and its chart
python bench/inference.py shapes                    write bench/shapes/NETWORK.txt

Every engine runs in a process of its own, in rounds A B C A B C; the ratio best peer / fastconv is
taken round by round, its median is reported. Outputs are compared with PyTorch in float64. With
--json, results are added to the file, so a long run can be done in parts; a case that is measured
again replaces the old one as a whole, since only figures of one run compare.

Engines: fastconv, onnxruntime, openvino, ncnn, mnn, torch, torch-channels-last; variants of
fastconv: fastconv-strict, fastconv-avx2, fastconv-scalar, and any fastconv-NAME with a python of
its own: --python fastconv-old=/path/to/venv/bin/python
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

from peers import networks, process, records, report, rounds, shapes

ROOT = Path(__file__).resolve().parents[1]
ONE = "fastconv,onnxruntime,openvino,ncnn,mnn"
MANY = "fastconv,onnxruntime,openvino,torch,torch-channels-last"
START = "fastconv,onnxruntime,openvino,ncnn"
WORST_ERROR = 1e-3


def run_case(args, network, threads, batch, folder):
    """Measure one network; return the records."""
    import numpy as np

    networks.prepare(args.work, network, batch)
    files = networks.files(args.work, network, batch)
    expected = np.load(files.pop("reference"))
    output = Path(folder) / "output.npy"
    task = {"network": network, "threads": threads, "batch": batch, "seconds": args.seconds}
    task |= {"files": files, "output": str(output)}

    def measure(python, task):
        result = process.measure(python, task)
        return {**result, "error": records.error(np.load(output), expected)}

    engines = args.engines or rounds.names(ONE if batch == 1 else MANY)
    return rounds.in_rounds(args, "run", task, engines, measure)


def line(title, found, figure="median"):
    """Return one line: the median of each engine and the ratios of fastconv and its variants."""
    times = records.rounds(found, figure)
    cells = [f"{name} {1e3 * statistics.median(t):.4g}" for name, t in times.items()]
    for engine in times:
        each, ratio = records.ratios(times, engine)
        if ratio is not None and not records.is_peer(engine):
            spread = f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
            cells.append(
                f"| {engine.replace('fastconv', 'best peer / fastconv')} {ratio:.2f}{spread}"
            )
    return f"{title:34} " + "  ".join(cells)


def run(args):
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for batch, threads, network in itertools.product(args.batch, args.threads, args.networks):
            found = run_case(args, network, threads, batch, folder)
            print(line(f"{network}, {threads} thread(s), batch {batch}, ms", found), flush=True)
            if args.errors:
                errors = {r["engine"]: r["error"] for r in found}
                print("    error: " + "  ".join(f"{e} {v:.1e}" for e, v in errors.items()))
            if args.json:
                records.write(args.json, rounds.machine(), found)
            cases.append(found)
    ratios = [records.ratios(records.rounds(found))[1] for found in cases]
    ratios = [ratio for ratio in ratios if ratio is not None]
    if len(ratios) > 1:
        mean = records.geometric_mean(ratios)
        print(f"geometric mean {mean:.2f}, smallest {min(ratios):.2f} of {len(ratios)} cases")
    wrong = {
        f"{r['engine']} on {r['network']} ({r['error']:.2g})"
        for r in itertools.chain(*cases)
        if not r["error"] <= WORST_ERROR
    }
    if wrong:
        raise SystemExit(f"WRONG OUTPUT: {', '.join(sorted(wrong))}")


def write_own_file(args, network, target):
    """Write the network in fastconv's own format, with the fastconv that is measured."""
    source = networks.files(args.work, network, 1)["onnx"]
    python = process.python_of(args.python, "fastconv")
    command = [python, "-m", "fastconv.cli", "convert", "--no-check", source.absolute(), target]
    process.run(command, "fastconv", 1, decode=False)


def start(args):
    """Measure the time from the start of a process to its first result, and its memory."""
    engines = args.engines or rounds.names(START)
    with tempfile.TemporaryDirectory() as folder:
        for network, threads in itertools.product(args.networks, args.threads):
            networks.prepare(args.work, network, 1)
            files = networks.files(args.work, network, 1)
            if not all(records.is_peer(engine) for engine in engines):
                files["fastconv"] = Path(folder) / f"{network}.fastconv"
                if not files["fastconv"].exists():
                    write_own_file(args, network, files["fastconv"])
            task = {"network": network, "threads": threads, "batch": 1, "files": files, "runs": 10}
            found = rounds.in_rounds(args, "start", task, engines, process.first_result)
            print(line(f"{network}, {threads} thread(s), start, ms", found, "seconds"))
            for key, title in (("memory_first", "peak memory"), ("memory", "after 10 more runs")):
                memory = records.rounds(found, key)
                cells = [f"{e} {statistics.median(m) / 1e6:.0f}" for e, m in memory.items()]
                print(f"    {title}, MB: " + "  ".join(cells), flush=True)
            if args.json:
                records.write(args.json, rounds.machine(), found)


def prepare(args):
    for network in args.networks:
        for batch in args.batch:
            networks.prepare(args.work, network, batch)
            print(network, batch, flush=True)


def write_shapes(args):
    for network in args.networks:
        networks.prepare(args.work, network, 1)
        path = ROOT / "bench" / "shapes" / f"{network}.txt"
        path.write_text(shapes.of_model(networks.files(args.work, network, 1)["onnx"]))
        print(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "start", "prepare", "report", "shapes"])
    parser.add_argument("--networks", type=rounds.names, help="default: all; start: resnet50")
    parser.add_argument(
        "--engines", type=rounds.names, help=f"default: {ONE}; other batches: {MANY}"
    )
    parser.add_argument("--threads", type=rounds.numbers, default=[1, 2])
    parser.add_argument("--batch", type=rounds.numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to this file")
    parser.add_argument("--errors", action="store_true", help="show the error of each engine")
    parser.add_argument("--work", type=Path, default=networks.default_folder(), metavar="FOLDER")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    args = parser.parse_args()
    if args.networks is None:
        args.networks = ["resnet50"] if args.what == "start" else list(networks.NETWORKS)
    for network in args.networks:
        if network not in networks.NETWORKS:
            parser.error(f"no network {network!r}; there are {', '.join(networks.NETWORKS)}")
    if args.what == "report" and not (args.json and args.json.exists()):
        parser.error("report needs --json FILE, written by run and start")
    if args.what == "report":
        report.write(records.read(args.json), ROOT / "docs")
    elif args.what == "shapes":
        write_shapes(args)
    else:
        {"run": run, "start": start, "prepare": prepare}[args.what](args)


if __name__ == "__main__":
    main()
