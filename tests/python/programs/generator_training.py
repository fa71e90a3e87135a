"""Batches from a Python generator, with noise added on the way."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras

digits = load_digits()
images = digits.images[..., np.newaxis].astype("float32") / 16
labels = digits.target
x_train, y_train = images[:1500], labels[:1500]
x_val, y_val = images[1500:], labels[1500:]


def batches(x, y, batch_size, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            yield x[chosen] + noise * rng.standard_normal(x[chosen].shape), y[chosen]


model = keras.Sequential(
    [
        keras.layers.Input(shape=(8, 8, 1)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPool2D(),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.GlobalMaxPool2D(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    batches(x_train, y_train, 50, noise=0.05),
    steps_per_epoch=30,
    epochs=3,
    validation_data=batches(x_val, y_val, 50),
    validation_steps=5,
    verbose=2,
)
assert len(history.history["val_loss"]) == 3
print(model.evaluate(batches(x_val, y_val, 99), steps=3, verbose=0))
predictions = model.predict(x_val)
print("accuracy:", np.mean(predictions.argmax(axis=-1) == y_val))
