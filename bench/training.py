"""Time of training whole networks, fastconv beside its peers.

python bench/training.py run [--networks course,resnet18] [--engines fastconv,torch] [--json FILE]
python bench/training.py overhead [--networks course]     what `fit` adds to the bare steps
python bench/training.py report --json FILE               print the tables in Markdown

Every engine runs in a process of its own, in rounds A B C A B C; the ratio best peer / fastconv is
taken round by round, its median is reported. All start from the same weights and get the same
batches in the same order; the losses of the first steps are compared with those of PyTorch in NCHW.
A step is forward, backward and update, `train_on_batch` in Keras's words, with the batch in memory;
the course's network is timed by epochs of `fit` instead (PyTorch: an ordinary loop). With --json,
results are added to the file, so a long run can be done in parts.

Engines: fastconv, torch, torch-channels-last, torch-compile, keras-tensorflow, keras-jax; one that
is installed elsewhere, or another build of fastconv, fastconv-NAME: --python
keras-jax=/path/to/venv/bin/python
"""

import argparse
import tempfile
from pathlib import Path

from peers import process, records, rounds, training_data, training_report
from peers.training_networks import NETWORKS, SPEED

ENGINES = "fastconv,torch,torch-channels-last,torch-compile,keras-tensorflow,keras-jax"
WORST_LOSS = 1e-3  # relative, over the steps that have to agree, where PyTorch's layouts do too


def worker(python, task):
    return process.measure(python, task, "peers.training_worker")


def show(network, found):
    """Print one network's medians and ratios; return the fastconv engines that are wrong."""
    case = NETWORKS[network]
    scale, unit = (1, "s an epoch") if case.epoch else (1e3, "ms a step")
    print(f"{training_report.title(network)}, {unit}, peak MB, growth MB, loss difference")
    errors = training_report.loss_errors(found)
    figures = [training_report.medians(found, f) for f in ("median", "memory", "growth")]
    for engine in figures[0]:
        time, memory, growth = (f[engine] for f in figures)
        cells = f"{scale * time:9.4g}{memory / 1e6:8.0f}{growth / 1e6:8.0f}"
        error = errors.get(engine)
        text = "" if error is None else f"{error[0]:10.1e} {error[1]:.1e}"
        print(f"    {engine:20}{cells}{text}")
    for name, peer in (("PyTorch", training_report.is_torch), ("peer", records.is_peer)):
        text = training_report.ratio_text(*training_report.ratio(found, peer=peer))
        if text:
            print(f"    best {name} / fastconv {text}, bar {case.bar:g}", flush=True)
    own = max(errors.get("torch-channels-last", (0, 0))[0], WORST_LOSS)
    return [e for e, error in errors.items() if not records.is_peer(e) and not error[0] <= own]


def run(args):
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for network in args.networks:
            files = training_data.write(network, folder)
            for threads in args.threads:
                task = {"network": network, "threads": threads, "seconds": args.seconds}
                task |= {"files": files, "batch": NETWORKS[network].batch}
                found = rounds.in_rounds(args, "train", task, args.engines, worker)
                wrong += [f"{engine} on {network}" for engine in show(network, found)]
                if args.json:
                    records.write(args.json, rounds.machine(), found)
    if wrong:
        raise SystemExit(f"WRONG LOSSES: {', '.join(wrong)}")


def overhead(args):
    python = process.python_of(args.python, "fastconv")
    with tempfile.TemporaryDirectory() as folder:
        for network in args.networks:
            task = {"network": network, "engine": "fastconv", "rounds": args.rounds}
            task |= {"seconds": args.seconds, "files": training_data.write(network, folder)}
            for threads in args.threads:
                found = process.measure(
                    python, {**task, "threads": threads}, "peers.training_overhead"
                )
                print(f"{training_report.title(network)}, {threads} thread(s), over the bare steps")
                for what, each in found.items():
                    text = f"{each[1]:+.1%} ({each[0]:+.1%} to {each[2]:+.1%})"
                    print(f"    {what:16}{text}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "overhead", "report"])
    parser.add_argument("--networks", type=rounds.names, default=SPEED)
    parser.add_argument("--engines", type=rounds.names, default=ENGINES, help="default: all")
    parser.add_argument("--threads", type=rounds.numbers, default=[2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to this file")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    args = parser.parse_args()
    for network in args.networks:
        if network not in SPEED:
            parser.error(f"no network {network!r}; there are {', '.join(SPEED)}")
    if args.what == "report":
        if not (args.json and args.json.exists()):
            parser.error("report needs --json FILE, written by run")
        print(training_report.section(records.read(args.json)))
    else:
        {"run": run, "overhead": overhead}[args.what](args)


if __name__ == "__main__":
    main()
