"""One network, two answers: which digit, and how much ink; two inputs, losses with weights."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import layers

digits = load_digits()
images = digits.images[..., None].astype("float32") / 16
row_sums = images.sum(axis=(2, 3))
labels = digits.target
ink = images.mean(axis=(1, 2, 3))

image_input = keras.Input(shape=(8, 8, 1), name="image")
sums_input = keras.Input(shape=(8,), name="row_sums")
x = layers.Conv2D(16, 3, activation="relu")(image_input)
x = layers.Flatten()(x)
s = layers.Dense(8, activation="relu")(sums_input)
shared = layers.Concatenate()([x, s])
digit = layers.Dense(10, activation="softmax", name="digit")(shared)
amount = layers.Dense(1, name="ink")(shared)
model = keras.Model(inputs=[image_input, sums_input], outputs=[digit, amount])

model.compile(
    optimizer="adam",
    loss={"digit": "sparse_categorical_crossentropy", "ink": "mse"},
    loss_weights={"digit": 1.0, "ink": 5.0},
    metrics={"digit": ["accuracy"], "ink": ["mae"]},
)
history = model.fit(
    {"image": images[:1536], "row_sums": row_sums[:1536]},
    {"digit": labels[:1536], "ink": ink[:1536]},
    epochs=3,
    batch_size=32,
    verbose=2,
)
print(sorted(history.history))
assert {"digit_accuracy", "ink_mae", "digit_loss", "ink_loss", "loss"} <= set(history.history)

results = model.evaluate([images[1536:], row_sums[1536:]], [labels[1536:], ink[1536:]], verbose=0)
print([round(float(value), 4) for value in results])
classes, amounts = model.predict([images[1536:], row_sums[1536:]], verbose=0)
print(np.mean(classes.argmax(-1) == labels[1536:]), amounts.shape)
