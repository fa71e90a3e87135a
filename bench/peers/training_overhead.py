"""What `fit` adds to the bare steps: python -m peers.training_overhead JSON   (from bench/)

In one process, in turn: `fit` on arrays, `train_on_batch` on batches that are there, and the plan
of the step alone with all it is fed ready. Prints, for the first two, the smallest, median and
largest time over the plan's, less 1.
"""

import json
import statistics
import sys
import time

from . import training_data, training_networks


class Recorder:
    """Stands in for a plan and keeps what it is fed."""

    def __init__(self, plan):
        self.plan, self.feeds = plan, []

    def run(self, feeds):
        self.feeds.append(feeds)
        return self.plan.run(feeds)


def measure(task):
    import numpy as np

    from .trainers import fastconv as engine

    case, files = training_networks.NETWORKS[task["network"]], task["files"]
    count = case.losses * case.batch
    x, y = np.load(files["x"])[:count], np.load(files["y"])[:count]
    trainer = engine.open(task["network"], training_data.weights(files["weights"]), task["threads"])
    batches = trainer.batches(x, y, case.batch)
    trainer.step(batches[0])
    (step,) = trainer.model._plans.values()
    plan, step.plan = step.plan, Recorder(step.plan)
    start = time.perf_counter()
    for batch in batches:
        trainer.step(batch)
    repeats = max(1, round(task["seconds"] / (time.perf_counter() - start)))
    feeds, step.plan = step.plan.feeds, plan

    def fit():
        trainer.model.fit(x, y, batch_size=case.batch, epochs=repeats, verbose=0)

    def single():
        for _ in range(repeats):
            for batch in batches:
                trainer.step(batch)

    def bare():
        for _ in range(repeats):
            for fed in feeds:
                plan.run(fed)

    ways, times = {"fit": fit, "train_on_batch": single, "bare": bare}, {}
    for way in ways.values():
        way()
    for _ in range(task["rounds"]):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times.setdefault(name, []).append(time.perf_counter() - start)
    bare = times.pop("bare")
    found = {}
    for name, each in times.items():
        more = [a / b - 1 for a, b in zip(each, bare, strict=True)]
        found[name] = [min(more), statistics.median(more), max(more)]
    return found


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
