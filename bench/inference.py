"""Latency of whole networks, fastconv beside its peers.

python bench/inference.py run [--networks resnet50,lenet5] [--threads 1,2] [--batch 1] [--json FILE]
python bench/inference.py start [--json FILE]       process start to first result, peak memory
python bench/inference.py prepare                   make the networks' files only
python bench/inference.py report --json FILE        write docs/benchmarks.md and its chart
python bench/inference.py shapes                    write bench/shapes/NETWORK.txt

Every engine runs in a process of its own, in rounds A B C A B C; the ratio best peer / fastconv is
taken round by round, its median is reported. Outputs are compared with PyTorch in float64. With
--json, results are added to the file (same cases are replaced), so a long run can be done in parts.

Engines: fastconv, onnxruntime, openvino, ncnn, mnn, torch, torch-channels-last; variants of
fastconv: fastconv-strict, fastconv-avx2, fastconv-scalar, and any fastconv-NAME with a python of
its own: --python fastconv-old=/path/to/venv/bin/python
"""

import argparse
import datetime
import os
import platform
import statistics
import tempfile
from pathlib import Path

from peers import networks, process, records, report, shapes

ROOT = Path(__file__).resolve().parents[1]
ONE = "fastconv,onnxruntime,openvino,ncnn,mnn"
MANY = "fastconv,onnxruntime,openvino,torch,torch-channels-last"
START = "fastconv,onnxruntime,openvino,ncnn"
WORST_ERROR = 1e-3


def numbers(text):
    return [int(item) for item in text.split(",")]


def names(text):
    return text.split(",")


def measure_case(args, network, threads, batch, folder):
    """Measure one network in rounds; return the records."""
    import numpy as np

    networks.prepare(args.work, network, batch)
    paths = networks.files(args.work, network, batch)
    expected = np.load(paths["reference"])
    files = {kind: str(path) for kind, path in paths.items() if kind != "reference"}
    engines = args.engines or names(ONE if batch == 1 else MANY)
    task = {"network": network, "threads": threads, "batch": batch, "seconds": args.seconds}
    result = []
    for number in range(args.rounds):
        for engine in list(engines):
            output = Path(folder) / f"{engine}.npy"
            try:
                found = process.measure(
                    process.python_of(args.python, engine),
                    {**task, "engine": engine, "files": files, "output": str(output)},
                )
            except process.Failed as failure:
                print(f"  {engine}: LEFT OUT ({failure})", flush=True)
                engines.remove(engine)
                continue
            found["error"] = records.error(np.load(output), expected)
            result.append(record("run", {**task, "engine": engine}, number, found))
            if not found["error"] <= WORST_ERROR:
                print(f"  {engine}: WRONG OUTPUT, error {found['error']:.3g}", flush=True)
    return result


def line(title, found, figure="median", scale=1e3):
    """Return one line: the median of each engine and the ratios of fastconv and its variants."""
    times = records.rounds(found, figure)
    cells = [f"{name} {scale * statistics.median(t):.4g}" for name, t in times.items()]
    for engine in times:
        each, ratio = records.ratios(times, engine)
        if ratio is not None and not records.is_peer(engine):
            spread = f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
            cells.append(
                f"| {engine.replace('fastconv', 'best peer / fastconv')} {ratio:.2f}{spread}"
            )
    return f"{title:34} " + "  ".join(cells)


def run(args):
    wrong, every = [], []
    with tempfile.TemporaryDirectory() as folder:
        for batch in args.batch:
            for threads in args.threads:
                for network in args.networks:
                    found = measure_case(args, network, threads, batch, folder)
                    title = f"{network}, {threads} thread(s), batch {batch}, ms"
                    print(line(title, found), flush=True)
                    if args.errors:
                        errors = {r["engine"]: r["error"] for r in found}
                        print("    error: " + "  ".join(f"{e} {v:.1e}" for e, v in errors.items()))
                    wrong += [r for r in found if not r["error"] <= WORST_ERROR]
                    every += found
                    if args.json:
                        records.write(args.json, machine(), found)
    summary = {}
    for record in every:
        summary.setdefault(records.case(record), []).append(record)
    ratios = [records.ratios(records.rounds(found))[1] for found in summary.values()]
    ratios = [r for r in ratios if r is not None]
    if len(ratios) > 1:
        mean = records.geometric_mean(ratios)
        print(f"geometric mean {mean:.2f}, smallest {min(ratios):.2f} of {len(ratios)} cases")
    if wrong:
        raise SystemExit(
            "WRONG OUTPUT: "
            + ", ".join(
                sorted({f"{r['engine']} on {r['network']} ({r['error']:.2g})" for r in wrong})
            )
        )


def own_file(args, network, folder):
    """Return the network in fastconv's own format, as the engine that is measured writes it."""
    target = Path(folder).absolute() / f"{network}.fastconv"
    source = networks.files(args.work, network, 1)["onnx"]
    python = process.python_of(args.python, "fastconv")
    command = [python, "-m", "fastconv.cli", "convert", "--no-check", source, target]
    process.run(command, "fastconv", 1, decode=False)
    return target


def start(args):
    """Measure the time from the start of a process to its first result, and its memory."""
    engines = args.engines or names(START)
    with tempfile.TemporaryDirectory() as folder:
        for network in args.networks:
            networks.prepare(args.work, network, 1)
            files = {**networks.files(args.work, network, 1), "fastconv": ""}
            if any(not records.is_peer(engine) for engine in engines):
                files["fastconv"] = own_file(args, network, folder)
            for threads in args.threads:
                found = []
                for number in range(args.rounds):
                    for engine in engines:
                        task = {"network": network, "threads": threads, "batch": 1}
                        task |= {"engine": engine, "files": files, "runs": 10}
                        python = process.python_of(args.python, engine)
                        result = process.first_result(python, task)
                        found.append(record("start", task, number, result))
                print(line(f"{network}, {threads} thread(s), start, ms", found, "seconds"))
                for key, title in (
                    ("memory_first", "peak memory"),
                    ("memory", "after 10 more runs"),
                ):
                    memory = records.rounds(found, key)
                    cells = [f"{e} {statistics.median(m) / 1e6:.0f}" for e, m in memory.items()]
                    print(f"    {title}, MB: " + "  ".join(cells), flush=True)
                if args.json:
                    records.write(args.json, machine(), found)


def record(kind, task, number, found):
    keys = ("network", "threads", "batch", "engine")
    date = datetime.date.today().isoformat()
    return {"kind": kind, **{k: task[k] for k in keys}, "round": number, "date": date, **found}


def machine():
    cpu = "unknown CPU"
    for text in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if text.startswith("model name"):
            cpu = text.partition(":")[2].strip()
            break
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


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
    parser.add_argument("--networks", type=names, help="default: all; start: resnet50")
    parser.add_argument("--engines", type=names, help=f"default: {ONE}; other batches: {MANY}")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--batch", type=numbers, default=[1])
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
