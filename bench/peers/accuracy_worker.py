"""Trains to an accuracy with one engine: python -m peers.accuracy_worker JSON   (from bench/)

Prints one line of JSON: after each epoch, the seconds of training so far and the test accuracy.
"""

import json
import math
import sys
import time

from . import training_data, training_networks, training_worker

HIGHEST_RATE = 0.1


def rate(step, steps):
    """Return the learning rate: up along a line for an eighth of the steps, then half a cosine."""
    warm_up = max(1, steps // 8)
    if step < warm_up:
        return HIGHEST_RATE * step / warm_up
    return HIGHEST_RATE * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2


def measure(task):
    import numpy as np

    case = training_networks.NETWORKS[task["network"]]
    names = ("x", "y", "x_test", "y_test")
    x, y, x_test, y_test = (np.load(task["files"][name]) for name in names)
    x, y = x[: task["images"]], y[: task["images"]]
    module, options = training_worker.engine(task["engine"])
    weights = training_data.weights(task["files"]["weights"])
    trainer = module.open(task["network"], weights, task["threads"], **options)
    rng = np.random.default_rng(task["seed"])
    steps, step, seconds, accuracy = task["epochs"] * (len(x) // case.batch), 0, [], []
    total = 0.0
    for _ in range(task["epochs"]):
        start = time.perf_counter()
        for images, targets in training_data.moved(x, y, case.batch, case.classes, rng):
            trainer.set_rate(rate(step, steps))
            (batch,) = trainer.batches(images, targets, case.batch)
            trainer.step(batch)
            step += 1
        total += time.perf_counter() - start
        seconds.append(total)
        accuracy.append(float((trainer.predict(x_test).argmax(axis=1) == y_test).mean()))
        if accuracy[-1] >= task["target"]:
            break
    return {"seconds": seconds, "accuracy": accuracy}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
