"""Throughput of one session with one caller and with several, each run on one thread.

python bench/concurrency.py [--callers 2] [--rounds 9] [MODEL.onnx]

Without a model: a small network of convolutions. The ratio is taken round by round.
"""

import argparse
import statistics
import threading
import time

import numpy as np

import fastconv
from fastconv.inference import ModelGraph, Node, ValueInfo


def small_network():
    """Eight convolutions of 64 channels on maps of 56 x 56."""
    rng = np.random.default_rng(0)
    nodes, constants, value = [], {}, "x"
    for i in range(8):
        constants[f"w{i}"] = rng.standard_normal((64, 64, 3, 3)).astype("float32") / 24
        attrs = {"pads": [1, 1, 1, 1]}
        nodes.append(Node("Conv", [value, f"w{i}"], [f"c{i}"], attrs, version=17))
        nodes.append(Node("Relu", [f"c{i}"], [f"r{i}"], {}, version=17))
        value = f"r{i}"
    inputs = [ValueInfo("x", "float32", (1, 64, 56, 56))]
    outputs = [ValueInfo(value, "float32", None)]
    return ModelGraph("small", inputs, outputs, nodes, constants)


def throughput(session, feeds, callers, seconds):
    """Return runs a second of all callers together."""
    counts = [0] * callers
    start = time.perf_counter()
    end = start + seconds

    def call(i):
        while time.perf_counter() < end:
            session.run(None, feeds)
            counts[i] += 1

    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="an ONNX model of one input; open sizes become 1")
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    session = fastconv.InferenceSession(arguments.model or small_network(), num_threads=1)
    (info,) = session.get_inputs()
    shape = [n if isinstance(n, int) else 1 for n in info.shape]
    feeds = {info.name: np.random.default_rng(1).standard_normal(shape).astype("float32")}
    session.run(None, feeds)
    ratios = []
    for number in range(arguments.rounds):
        one = throughput(session, feeds, 1, arguments.seconds)
        many = throughput(session, feeds, arguments.callers, arguments.seconds)
        ratios.append(many / one)
        print(f"round {number + 1}  {one:7.1f} and {many:7.1f} runs/s, ratio {ratios[-1]:.2f}")
    print(f"{arguments.callers} callers: {statistics.median(ratios):.2f} x the throughput of one")


if __name__ == "__main__":
    main()
