"""What the examples share: their options, Fashion-MNIST with values 0 to 1, and shifted images."""

import argparse
from pathlib import Path

import numpy as np

import fastconv as keras


def options(text, epochs, **choices):
    """Read the command line; `--quick` sees to it that an example ends in seconds.

    `choices` are further options: a name and the values it may have; the default is all of them.
    """
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--epochs", type=int, help=f"passes over the data (default: {epochs})")
    parser.add_argument("--quick", action="store_true", help="one epoch on little data")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order of samples")
    parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", nargs="+", choices=list(values), default=list(values))
    arguments = parser.parse_args()
    arguments.epochs = arguments.epochs or (1 if arguments.quick else epochs)
    arguments.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)
    return arguments


def fashion_mnist(quick=False, images=60000):
    """Return ((x, y), (x_test, y_test)): x (N, 28, 28, 1) from 0 to 1, y class indices."""
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    images, tests = (1000, 1000) if quick else (images, 10000)
    x, x_test = ((a[..., None] / 255).astype("float32") for a in (x[:images], x_test[:tests]))
    return (x, y[:images]), (x_test, y_test[:tests])


class Shifted(keras.utils.PyDataset):
    """Batches of images that are moved by up to `shift` pixels and, half of them, mirrored."""

    def __init__(self, x, y, batch_size=128, shift=2, mirror=True, seed=0):
        super().__init__()
        self.size = x.shape[1]
        self.x = np.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
        self.y, self.batch_size, self.shift, self.mirror = y, batch_size, shift, mirror
        self.random = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.y) // self.batch_size

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        top, left = self.random.integers(0, 2 * self.shift + 1, (2, len(chosen), 1))
        rows, columns = top + np.arange(self.size), left + np.arange(self.size)
        if self.mirror:
            half = self.random.random(len(chosen)) < 0.5
            columns[half] = columns[half, ::-1]
        images = self.x[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        return images, self.y[chosen]

    def on_epoch_end(self):
        self.order = self.random.permutation(len(self.y))
