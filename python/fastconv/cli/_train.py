"""``fastconv train``: the course's network, or another architecture, on a data set."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arguments import at_least
from ._labels import write_class_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Logs

MODEL, BEST, LOG, PICTURE = "model.fastconv", "best.fastconv", "log.csv", "learning_curve.png"


@dataclass(frozen=True)
class _Task:
    module: str  # in fastconv.datasets
    white: float  # the largest pixel value
    epochs: int
    batch_size: int


_TASKS = {
    "digits": _Task("digits", 16, 30, 32),
    "mnist": _Task("mnist", 255, 5, 128),
    "fashion-mnist": _Task("fashion_mnist", 255, 5, 128),
    "cifar10": _Task("cifar10", 255, 20, 128),
}


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a small CNN on images",
        description="Trains a CNN (three convolutions, two dense layers; or --architecture) and "
        f"writes into the output folder: {MODEL} (the network after the last epoch), {BEST} "
        f"(after the best epoch), {LOG} and {PICTURE}. Ctrl-C stops it; the best epoch so far is "
        "kept.",
        epilog="example: fastconv train --dataset fashion-mnist --epochs 5 --output runs/fashion",
    )
    parser.add_argument(
        "--dataset",
        choices=list(_TASKS),
        default="digits",
        help="digits is part of the package; the others are looked for on this machine and "
        "downloaded where they are missing (default: %(default)s)",
    )
    parser.add_argument(
        "--architecture",
        type=_architecture,
        metavar="NAME",
        help="a network of fastconv.applications, such as LeNet5 for 28 x 28 images or ResNet20 "
        "for cifar10 (docs/applications.md has a table)",
    )
    parser.add_argument(
        "--width",
        type=_positive,
        metavar="F",
        help="multiplier of the architecture's numbers of channels (default: 1)",
    )
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        metavar="N",
        help="passes over the training images (default: 30 for digits, 20 for cifar10, else 5)",
    )
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        metavar="N",
        help="images a step (default: 32 for digits, else 128)",
    )
    parser.add_argument(
        "--lr",
        type=_positive,
        default=1e-3,
        metavar="RATE",
        help="Adam's learning rate (default: %(default)s)",
    )
    parser.add_argument(
        "--validation-split",
        type=_fraction,
        default=0.1,
        metavar="F",
        help="share of the training images, taken from the end, that is kept from training and "
        "chooses the best epoch; 0 trains on all of them (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="threads to compute with (default: as many as this process may use)",
    )
    parser.add_argument(
        "--limit",
        type=at_least(10),
        metavar="N",
        help="use only the first N training and N test images, for a quick try",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for the results, made if missing; files of an earlier run in it are "
        "replaced (default: fastconv-DATASET)",
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _architecture(text: str) -> str:
    from fastconv.applications import ARCHITECTURES

    if text not in ARCHITECTURES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an architecture; there are {', '.join(ARCHITECTURES)}"
        )
    return text


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 0.9")
    return value


class _Diverged(Exception):
    """The loss or the weights are NaN or infinite."""


def course_network(input_shape: tuple[int, int, int], classes: int, white: float) -> Any:
    """The network of the course, on images (height, width, channels) with values 0 to white.

    The images' scale is part of the model, so it takes them as the data set has them.
    """
    from fastconv import layers, models

    padding = "same" if min(input_shape[:2]) <= 8 else "valid"
    return models.Sequential(
        [
            layers.Input(input_shape),
            layers.Rescaling(1 / white),
            layers.Conv2D(32, 3, activation="relu", padding=padding),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu", padding=padding),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu", padding=padding),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def _network(arguments: argparse.Namespace, input_shape: Any, classes: int, white: float) -> Any:
    """The network that the arguments ask for, with the images' scale inside."""
    if arguments.architecture is None:
        if arguments.width is not None:
            raise ValueError("--width needs --architecture")
        return course_network(input_shape, classes, white)
    from fastconv import applications, layers

    return getattr(applications, arguments.architecture)(
        input_tensor=layers.Rescaling(1 / white)(layers.Input(input_shape)),
        classes=classes,
        width=arguments.width or 1.0,
    )


def run(arguments: argparse.Namespace) -> int:
    import importlib

    import fastconv
    from fastconv import callbacks, optimizers, utils

    task = _TASKS[arguments.dataset]
    output = arguments.output or Path(f"fastconv-{arguments.dataset}")
    if arguments.threads:
        fastconv.set_num_threads(arguments.threads)
    dataset = importlib.import_module(f"fastconv.datasets.{task.module}")
    (x_train, y_train), (x_test, y_test) = (
        (_with_channels(x[: arguments.limit]), y[: arguments.limit]) for x, y in dataset.load_data()
    )
    utils.set_random_seed(arguments.seed)
    model = _network(arguments, x_train.shape[1:], len(dataset.CLASS_NAMES), task.white)
    _prepare(output)
    model.compile(
        optimizer=optimizers.Adam(arguments.lr),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    best = output / BEST
    labelled = before = _stamp(best)

    def label_best(epoch: int, logs: Logs) -> None:
        nonlocal labelled
        if _stamp(best) != labelled:
            write_class_names(best, dataset.CLASS_NAMES)
            labelled = _stamp(best)

    def stop_if_diverged(batch: int, logs: Logs) -> None:
        # Before the callbacks below can save anything.
        if not np.isfinite(logs["loss"]):
            raise _Diverged(f"the loss is {logs['loss']} at batch {batch + 1}")

    def stop_if_unusable(epoch: int, logs: Logs) -> None:
        values = [*logs.values(), *model.get_weights()]
        if not all(np.isfinite(value).all() for value in values):
            raise _Diverged(f"loss or weights are not finite after epoch {epoch + 1}")

    try:
        history = model.fit(
            x_train,
            y_train,
            batch_size=arguments.batch_size or task.batch_size,
            epochs=arguments.epochs or task.epochs,
            validation_split=arguments.validation_split,
            callbacks=[
                callbacks.LambdaCallback(
                    on_train_batch_end=stop_if_diverged, on_epoch_end=stop_if_unusable
                ),
                # The log comes first: what is kept below is in it.
                callbacks.CSVLogger(output / LOG),
                callbacks.ModelCheckpoint(
                    best,
                    monitor="val_accuracy" if arguments.validation_split else "loss",
                    save_best_only=True,
                ),
                callbacks.LambdaCallback(on_epoch_end=label_best),
            ],
        )
        loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
        model.save(output / MODEL)
        write_class_names(output / MODEL, dataset.CLASS_NAMES)
    except _Diverged as error:
        kept = _stamp(best) != before
        where = f"the best epoch before that is in {best}" if kept else "no epoch was finished"
        raise ValueError(
            f"training failed: {error}; {where}. Try a --lr smaller than {arguments.lr:g}"
        ) from None
    except KeyboardInterrupt:
        kept = _stamp(best) != before
        raise KeyboardInterrupt(
            f"The best epoch so far is in {best}" if kept else "No epoch was finished"
        ) from None
    print(f"test accuracy {accuracy:.4f}, test loss {loss:.4f} ({len(x_test)} images)")
    written = [MODEL, BEST, LOG]
    try:
        from fastconv.visualize import learning_curves

        learning_curves(history, output / PICTURE)
        written.append(PICTURE)
    except ImportError as error:
        print(f"no {PICTURE}: {error}", file=sys.stderr)
    print(f"written to {output}: {', '.join(written)}")
    return 0


def _prepare(output: Path) -> None:
    """Makes the output folder and checks, before hours of training, that it takes the results."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in (MODEL, BEST, LOG, PICTURE):
            if (output / name).is_dir():
                raise IsADirectoryError(f"{output / name} is a folder")
        if (output / LOG).exists() and not os.access(output / LOG, os.W_OK):
            raise PermissionError(f"{output / LOG} cannot be written")
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise OSError(f"cannot write results to {output}: {error}") from error


def _with_channels(images: NDArray[Any]) -> NDArray[Any]:
    return images if images.ndim == 4 else images[..., np.newaxis]


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells one version of a file from the next (each save makes a new file)."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
