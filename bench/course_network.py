"""The course's network on Fashion-MNIST: seconds an epoch and accuracy, fastconv and its peers.

Conv 32 3x3 - MaxPool - Conv 64 3x3 - MaxPool - Conv 64 3x3 - Dense 64 - Dropout 0.2 - Dense 10,
Adam 1e-3, batch 128. Every engine runs in a process of its own, in rounds A B C A B C; the ratio
is taken round by round.

python bench/course_network.py speed [--rounds 5] [--threads 2] [--engines fastconv,torch,keras]
python bench/course_network.py accuracy [--seeds 3] [--epochs 5]

An engine that is installed elsewhere: --python keras=/path/to/venv/bin/python
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

from peers import process

ENGINES = ["fastconv", "torch", "torch-channels-last", "keras"]


def load(folder):
    """Return the training and test arrays that the parent process has written."""
    import numpy as np

    return [np.load(Path(folder) / f"{name}.npy") for name in ("x", "y", "x_test", "y_test")]


def keras_network(keras):
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def run_keras_style(keras, data, seed, epochs):
    """Train through `fit`; return the seconds of each epoch and the test accuracy."""
    x, y, x_test, y_test = data
    keras.utils.set_random_seed(seed)
    model = keras_network(keras)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x[:1280], y[:1280], batch_size=128, epochs=1, verbose=0)
    keras.utils.set_random_seed(seed)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        model.fit(x, y, batch_size=128, epochs=1, verbose=0)
        seconds.append(time.perf_counter() - start)
    return seconds, float(model.evaluate(x_test, y_test, batch_size=128, verbose=0)[1])


def run_fastconv(data, seed, epochs, threads):
    import fastconv

    fastconv.set_num_threads(threads)
    return run_keras_style(fastconv, data, seed, epochs)


def run_keras(data, seed, epochs, threads):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return run_keras_style(keras, data, seed, epochs)


def run_torch(data, seed, epochs, threads, channels_last=False):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    order = torch.channels_last if channels_last else torch.contiguous_format
    x, y, x_test, y_test = (torch.from_numpy(a) for a in data)
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=order)
    x_test = x_test.permute(0, 3, 1, 2).contiguous(memory_format=order)
    model = nn.Sequential(
        *[nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()],
        *[nn.Linear(576, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)],
    )
    for layer in model:  # Keras's initial weights
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    model = model.to(memory_format=order)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-7)
    loss_function = nn.CrossEntropyLoss()

    def step(batch):
        optimizer.zero_grad(set_to_none=True)
        loss_function(model(x[batch]), y[batch]).backward()
        optimizer.step()

    state = {k: v.clone() for k, v in model.state_dict().items()}
    for batch in torch.arange(1280).split(128):
        step(batch)
    model.load_state_dict(state)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-7)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in torch.randperm(len(x)).split(128):
            step(batch)
        seconds.append(time.perf_counter() - start)
    model.eval()
    with torch.no_grad():
        hits = sum(
            (model(a).argmax(1) == b).sum().item()
            for a, b in zip(x_test.split(1000), y_test.split(1000), strict=True)
        )
    return seconds, hits / len(y_test)


def worker(args):
    data = load(args.data)
    if args.engine == "fastconv":
        result = run_fastconv(data, args.seed, args.epochs, args.threads)
    elif args.engine == "keras":
        result = run_keras(data, args.seed, args.epochs, args.threads)
    else:
        last = args.engine == "torch-channels-last"
        result = run_torch(data, args.seed, args.epochs, args.threads, last)
    print(json.dumps({"seconds": result[0], "accuracy": result[1]}))


def start(args, engine, data, seed, epochs):
    """Run one engine in a process of its own; None when it is not installed."""
    python = process.python_of(args.python, engine)
    command = [python, Path(__file__).resolve(), "worker", "--engine", engine, "--data", data]
    command += ["--seed", seed, "--epochs", epochs, "--threads", args.threads]
    try:
        return process.run(command, engine, args.threads)
    except process.Failed as failure:
        print(f"{engine}: left out ({failure})", flush=True)
        return None


def write_data(folder):
    import numpy as np

    from fastconv.datasets import fashion_mnist

    (x, y), (x_test, y_test) = fashion_mnist.load_data()
    for name, a in (("x", x), ("x_test", x_test)):
        np.save(folder / f"{name}.npy", (a[..., None] / 255).astype("float32"))
    for name, a in (("y", y), ("y_test", y_test)):
        np.save(folder / f"{name}.npy", a.astype("int64"))


def speed(args, data):
    engines, seconds = args.engines.split(","), {}
    for number in range(args.rounds):
        for engine in list(engines):
            result = start(args, engine, data, seed=number, epochs=1)
            if result is None:
                engines.remove(engine)
                continue
            seconds.setdefault(engine, []).append(result["seconds"][0])
            print(f"round {number + 1}  {engine:22}{result['seconds'][0]:8.2f} s", flush=True)
    print(f"\n{'engine':22}{'median s / epoch':>18}{'time / fastconv (median)':>28}")
    for engine in engines:
        ratio = [a / b for a, b in zip(seconds[engine], seconds["fastconv"], strict=True)]
        print(
            f"{engine:22}{statistics.median(seconds[engine]):18.2f}{statistics.median(ratio):28.2f}"
        )


def accuracy(args, data):
    print(f"{'engine':22}{'test accuracy a seed':>30}{'mean':>10}")
    for engine in args.engines.split(","):
        results = [start(args, engine, data, seed, args.epochs) for seed in range(args.seeds)]
        if None in results:
            continue
        values = [r["accuracy"] for r in results]
        shown = " ".join(f"{v:.4f}" for v in values)
        print(f"{engine:22}{shown:>30}{statistics.mean(values):10.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "accuracy", "worker"])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PYTHON")
    args = parser.parse_args()
    if args.what == "worker":
        return worker(args)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        (speed if args.what == "speed" else accuracy)(args, Path(folder))


if __name__ == "__main__":
    main()
