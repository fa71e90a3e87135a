"""Small networks that tests share."""

import numpy as np

from fastconv import layers, models

L = layers


def digits_like(head="softmax", data_format="channels_last"):
    """Two convolutions on grey images of 12 x 10, with fixed random weights."""
    options = {"data_format": data_format}
    model = models.Sequential(
        [
            L.Input((12, 10, 1) if data_format == "channels_last" else (1, 12, 10)),
            L.Conv2D(6, 3, activation="relu", name="first", **options),
            L.MaxPooling2D(name="pool", **options),
            L.Conv2D(5, 3, padding="same", name="second", **options),
            L.BatchNormalization(axis=-1 if data_format == "channels_last" else 1, name="norm"),
            L.Activation("relu", name="act"),
            L.GlobalAveragePooling2D(name="mean", **options),
            L.Dense(4, activation=head, name="head"),
        ],
        name="small",
    )
    random = np.random.default_rng(3)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -1.0
        weight.assign(random.uniform(low, 1.2, weight.shape))
    return model


def course(dropout=None):
    """The network of a first course, for images of 28 x 28."""
    return models.Sequential(
        [
            L.Input((28, 28, 1)),
            L.Conv2D(32, 3, activation="relu"),
            L.MaxPooling2D(2),
            L.Conv2D(64, 3, activation="relu"),
            L.MaxPooling2D(2),
            L.Conv2D(64, 3, activation="relu"),
            L.Flatten(),
            L.Dense(64, activation="relu"),
            *([] if dropout is None else [L.Dropout(dropout)]),
            L.Dense(10, activation="softmax"),
        ]
    )


def residual():
    """A block with a shortcut, one with branches, and an inner model; for diagrams."""
    inner = models.Sequential([L.Input((8, 8, 4)), L.Conv2D(4, 1, name="inside")], name="inner")
    x = L.Input((8, 8, 3), name="image")
    y = L.Conv2D(4, 3, padding="same", name="stem")(x)
    z = L.Conv2D(4, 3, padding="same", name="a")(y)
    z = L.BatchNormalization(name="b")(z)
    z = L.ReLU(name="c")(z)
    y = L.Add(name="sum")([z, y])
    branches = [L.Conv2D(2, 1, name="left")(y), inner(y), L.MaxPooling2D(1, name="right")(y)]
    y = L.Concatenate(name="join")(branches)
    y = y * 2.0 + 1.0
    return models.Model(x, L.Dense(2, name="head")(L.Flatten(name="flat")(y)), name="branched")


def image(seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (12, 10)).astype(np.float32)
