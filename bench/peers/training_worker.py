"""The process that trains with one engine: python -m peers.training_worker JSON   (from bench/)

Prints one line of JSON: seconds a step (or an epoch), memory, losses of the first steps.
"""

import importlib
import itertools
import json
import statistics
import sys
from importlib.metadata import PackageNotFoundError, version

from . import training_networks, worker

VARIANTS = {  # engine -> module and options; the environment of a process is in `process`
    "torch-channels-last": ("torch", {"order": "channels_last"}),
    "torch-compile": ("torch", {"compiled": True}),
    "keras-tensorflow": ("keras", {}),
    "keras-jax": ("keras", {}),
}


def engine(name):
    """Return the engine's module and its options of `open`."""
    module, options = VARIANTS.get(name, (name, {}))
    if module.startswith("fastconv-"):  # another build of fastconv, or another instruction set
        module = "fastconv"
    return importlib.import_module(f".trainers.{module}", __package__), options


def versions(packages):
    def of(package):
        try:
            return version(package)
        except PackageNotFoundError:  # run from its sources
            return getattr(importlib.import_module(package), "__version__", "unknown")

    return " on ".join([of(packages[0]), *[f"{p} {of(p)}" for p in packages[1:]]])


def measure(task):
    import numpy as np

    from . import training_data

    case, files = training_networks.NETWORKS[task["network"]], task["files"]
    module, options = engine(task["engine"])
    x, y = np.load(files["x"]), np.load(files["y"])

    def trainer(**more):
        weights = training_data.weights(files["weights"])
        return module.open(task["network"], weights, task["threads"], **more, **options)

    before = worker.memory("VmRSS")
    first = len(x) if not case.epoch else case.losses * case.batch
    if case.epoch:
        this = trainer()
        this.epoch(x[: 10 * case.batch], y[: 10 * case.batch], case.batch)
        times = worker.repeat(lambda: this.epoch(x, y, case.batch), task["seconds"], 1)
        memory = worker.memory("VmHWM")
        del this
        losses = losses_of(trainer(dropout=False), x[:first], y[:first], case)[0]
    else:
        this = trainer()
        losses, batches = losses_of(this, x, y, case)
        batches = itertools.cycle(batches)
        worker.repeat(lambda: this.step(next(batches)), task["seconds"] / 4, 2)
        times = worker.repeat(lambda: this.step(next(batches)), task["seconds"], 5)
        memory = worker.memory("VmHWM")
    return {
        "median": statistics.median(times),
        "minimum": min(times),
        "runs": len(times),
        "duration": task["seconds"],
        "memory": memory,
        "growth": memory - before,
        "losses": losses,
        "version": versions(module.PACKAGES),
    }


def losses_of(trainer, x, y, case):
    batches = trainer.batches(x, y, case.batch)
    return [trainer.step(batch) for batch in batches], batches


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
