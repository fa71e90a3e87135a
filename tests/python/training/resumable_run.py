"""A training run that test_resuming kills: resumable_run.py KIND SAVE_FREQ FOLDER KILL_IN_WRITE.

Prints a line after each batch. KILL_IN_WRITE: the number of the write in whose middle the process
kills itself, 0 for none.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import fastconv as keras
from fastconv import layers

EPOCHS, BATCHES, SIZE = 4, 9, 12


class Augmented(keras.utils.PyDataset):
    """Images flipped at random, by the process-wide NumPy generator, in an order of its own."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
        self.order = np.arange(len(x))

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        part = self.order[index * SIZE : (index + 1) * SIZE]
        flip = np.random.random(len(part)) < 0.5  # noqa: NPY002 - what course programs do
        x = np.where(flip[:, None, None, None], self.x[part][:, :, ::-1], self.x[part])
        return x, self.y[part]

    def on_epoch_end(self):
        np.random.shuffle(self.order)  # noqa: NPY002


def endless(x, y):
    random = np.random.default_rng(3)
    while True:
        chosen = random.integers(0, len(x), SIZE)
        yield x[chosen], y[chosen]


def network():
    return keras.Sequential(
        [  # without an input shape: it is built by the first batch
            layers.Conv2D(6, 3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def kill_in_write(number):
    """Let the `number`-th file that is written end in the middle, with the process."""
    original, count = os.fdopen, 0

    def fdopen(handle, mode):
        nonlocal count
        file = original(handle, mode)
        count += 1
        if count == number:

            class Half:
                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    return file.__exit__(*error)

                def write(self, data):
                    file.write(data[: len(data) // 2])
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)

            return Half()
        return file

    os.fdopen = fdopen


def main(kind, save_freq, folder, kill):
    folder = Path(folder)
    kill_in_write(int(kill))
    keras.utils.set_random_seed(11)
    (x, y), _ = keras.datasets.digits.load_data()
    x = x[: BATCHES * SIZE + 20, ..., None] / np.float32(16)
    y = y[: len(x)]
    model = network()
    extra = []
    if kind == "arrays":
        rate = keras.optimizers.schedules.OneCycle(0.01, EPOCHS * BATCHES)
        optimizer = keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.8, clipnorm=1.0)
        extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
        data = {"x": x[:108], "y": y[:108], "batch_size": SIZE}
    else:
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        extra = [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.5, factor=0.5),
            keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        ]
        data = {"x": Augmented(x[:108], y[:108])}
        if kind == "generator":
            data = {"x": endless(x[:108], y[:108]), "steps_per_epoch": BATCHES}
            data |= {"validation_data": endless(x[108:], y[108:]), "validation_steps": 2}
    model.compile(
        optimizer,
        "sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.ConfusionMatrix(10)],
    )
    save_freq = save_freq if save_freq == "epoch" else int(save_freq)
    history = model.fit(
        **{"validation_data": (x[108:], y[108:]), **data},
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(
                folder / "backup", save_freq=save_freq, double_checkpoint=kind == "arrays"
            ),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.ModelCheckpoint(folder / "best.fastconv", save_best_only=True),
            *extra,
            keras.callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: print(b, flush=True)),
        ],
    )
    weights = [np.ascontiguousarray(w).tobytes() for w in model.get_weights()]
    slots = [v.numpy().tobytes() for v in optimizer.variables]
    best = keras.models.load_model(folder / "best.fastconv").get_weights()
    log = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    result = {
        "weights": hashlib.sha256(b"".join(weights)).hexdigest(),
        "slots": hashlib.sha256(b"".join(slots)).hexdigest(),
        "best": hashlib.sha256(b"".join(w.tobytes() for w in best)).hexdigest(),
        "iterations": optimizer.iterations,
        "learning_rate": float(optimizer.learning_rate),
        "history": {k: np.asarray(v).tolist() for k, v in history.history.items()},
        "epochs": history.epoch,
        "log": [len(log), log[0][:2], [row[0] for row in log[1:]]],
        "random": float(np.random.random()),  # noqa: NPY002
        "left": sorted(path.name for path in folder.iterdir()),
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
