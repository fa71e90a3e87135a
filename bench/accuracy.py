"""Seconds of training until 90, 92 and 93 % of Fashion-MNIST's test images are recognised.

python bench/accuracy.py [--engines fastconv,torch] [--seeds 1] [--epochs 15] [--threads 2]

The small network of examples/fashion_resnet.py and its recipe: SGD with Nesterov's momentum and
decoupled weight decay, a learning rate that rises and then follows half a cosine, label smoothing,
images mirrored and moved. Every engine runs in a process of its own and starts from the same
weights; the same NumPy code makes the same batches for all, and its time counts. After each epoch
the test images are recognised, which is not timed; training ends when the last target is reached.

Engines as in bench/training.py; one that is installed elsewhere: --python ENGINE=PYTHON
"""

import argparse
import statistics
import tempfile

import numpy as np

from peers import process, report, rounds, training_data

NETWORK = "fashion_resnet"
ENGINES = "fastconv,torch,torch-channels-last"


def time_to(target, result):
    """Return the seconds of training after which a target was reached, or None."""
    reached = zip(result["seconds"], result["accuracy"], strict=True)
    return next((seconds for seconds, accuracy in reached if accuracy >= target), None)


def table(found, targets):
    """Return the lines of a table; found is {engine: [result of each seed]}.

    A time is the median of the seeds; one seed that fails to get there leaves it empty. The ratio
    to fastconv's is taken seed by seed.
    """
    header = ["s to", *[f"{100 * t:g} %" for t in targets], "s an epoch", "best accuracy"]
    rows = []
    for engine, results in found.items():
        cells = []
        for target in targets:
            times = [time_to(target, result) for result in results]
            own = [time_to(target, result) for result in found.get("fastconv", [])]
            if None in times:
                cells.append("")
                continue
            cell = f"{statistics.median(times):.0f}"
            if engine != "fastconv" and own and None not in own:
                ratio = statistics.median(a / b for a, b in zip(times, own, strict=True))
                cell += f" ({ratio:.2f} times fastconv's)"
            cells.append(cell)
        epochs = [result["seconds"][-1] / len(result["seconds"]) for result in results]
        best = ", ".join(f"{max(result['accuracy']):.4f}" for result in results)
        cells += [f"{statistics.median(epochs):.1f}", best]
        rows.append([report.LABELS.get(engine, engine), *cells])
    return report.table(header, rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", type=rounds.names, default=ENGINES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=15, help="length of the recipe")
    parser.add_argument("--targets", type=rounds.names, default="0.90,0.92,0.93")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=60000, help="of the 60,000 for training")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    args = parser.parse_args()
    targets = [float(target) for target in args.targets]
    engines, found = list(args.engines), {}
    with tempfile.TemporaryDirectory() as folder:
        x_test, y_test = training_data.fashion_mnist()[1]
        np.save(f"{folder}/x_test.npy", x_test)
        np.save(f"{folder}/y_test.npy", y_test)
        for seed in range(args.seeds):
            files = training_data.write(NETWORK, folder, seed)
            files |= {f"{kind}_test": f"{folder}/{kind}_test.npy" for kind in "xy"}
            task = {"network": NETWORK, "files": files, "seed": seed, "threads": args.threads}
            task |= {"epochs": args.epochs, "target": max(targets), "images": args.images}
            for engine in list(engines):
                python = process.python_of(args.python, engine)
                try:
                    result = process.measure(
                        python, {**task, "engine": engine}, "peers.accuracy_worker"
                    )
                except process.Failed as failure:
                    print(f"{engine}: LEFT OUT ({failure})", flush=True)
                    engines.remove(engine)
                    continue
                found.setdefault(engine, []).append(result)
                pairs = zip(result["seconds"], result["accuracy"], strict=True)
                shown = "  ".join(f"{s:.0f} s {a:.4f}" for s, a in pairs)
                print(f"seed {seed}, {engine}: {shown}", flush=True)
    found = {engine: found[engine] for engine in engines}
    print("\n" + "\n".join(table(found, targets)))


if __name__ == "__main__":
    main()
