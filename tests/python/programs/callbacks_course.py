"""Early stopping, checkpoints, learning-rate rules, a CSV log, and a callback of one's own."""

import csv
import math
import os

from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1) / 16.0


def build_model():
    model = keras.Sequential()
    model.add(keras.layers.Conv2D(8, (3, 3), activation="relu", input_shape=(8, 8, 1)))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.Adam(0.01),
        metrics=["accuracy"],
    )
    return model


class PrintEveryThird(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        if epoch % 3 == 0:
            rate = float(self.model.optimizer.learning_rate)
            print(f"epoch {epoch}: loss {logs['loss']:.3f}, learning rate {rate:.4f}")


own = PrintEveryThird()
model = build_model()
history = model.fit(
    x,
    y,
    epochs=12,
    batch_size=64,
    validation_split=0.2,
    verbose=0,
    callbacks=[
        EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True, verbose=1),
        ModelCheckpoint("best.keras", monitor="val_accuracy", mode="max", save_best_only=True),
        ModelCheckpoint("epoch{epoch:02d}.weights.h5", save_weights_only=True),
        ReduceLROnPlateau(monitor="val_loss", factor=0.2, patience=2, min_lr=1e-5, verbose=1),
        CSVLogger("training.csv"),
        LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, sorted(logs))),
        TerminateOnNaN(),
        own,
    ],
)
assert len(own.losses) == len(history.epoch)
with open("training.csv") as file:
    rows = list(csv.DictReader(file))
assert len(rows) == len(history.epoch) and "val_accuracy" in rows[0]

best = keras.models.load_model("best.keras")
print("best model:", best.evaluate(x[-360:], y[-360:], verbose=0))
again = build_model()
again.load_weights(f"epoch{len(rows):02d}.weights.h5")
assert os.path.exists("epoch01.weights.h5")


def step_decay(epoch):
    return 0.01 * math.pow(0.5, math.floor(epoch / 2))


model = build_model()
history = model.fit(
    x, y, epochs=4, verbose=0, callbacks=[LearningRateScheduler(step_decay, verbose=1)]
)
print(history.history["learning_rate"])
assert abs(history.history["learning_rate"][-1] - 0.005) < 1e-8
