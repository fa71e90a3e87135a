"""Rare classes count more: class weights, and weights for single samples."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils.class_weight import compute_class_weight

import fastconv as keras

digits = load_digits()
x, y = digits.data.astype("float32") / 16, digits.target
keep = (y != 8) | (np.arange(len(y)) % 10 == 0)  # few eights are left
x, y = x[keep], y[keep]
weights = compute_class_weight("balanced", classes=np.unique(y), y=y)
class_weight = dict(enumerate(weights))
print({int(k): round(float(v), 2) for k, v in class_weight.items()})


def build():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(48, activation="swish"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["sparse_categorical_crossentropy"],
    )
    return model


model = build()
model.fit(x, y, epochs=5, batch_size=32, class_weight=class_weight, verbose=0)
print("with class weights:", model.evaluate(x, y, verbose=0))

sample_weight = np.ones(len(y), dtype="float32")
sample_weight[y == 8] = 5.0
model = build()
history = model.fit(
    x,
    y,
    sample_weight=sample_weight,
    validation_data=(x[:200], y[:200], sample_weight[:200]),
    epochs=5,
    verbose=0,
)
print("with sample weights:", model.evaluate(x, y, sample_weight=sample_weight, verbose=0))
print("eights found:", np.mean(model.predict(x[y == 8], verbose=0).argmax(-1) == 8))
