"""With and without batch normalization, dropout and augmentation, on few images.

The same network of three convolutions, trained on 6,000 images of Fashion-MNIST; the gap between
training and test accuracy is what dropout and augmentation are for.
"""

import time

import common
import fastconv as keras
from fastconv.keras import layers

VARIANTS = {
    "plain": (),
    "batch-norm": ("norm",),
    "dropout": ("dropout",),
    "augmentation": ("augment",),
    "all": ("norm", "dropout", "augment"),
}


def build_model(parts):
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias="norm" not in parts))
        if "norm" in parts:
            model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    if "dropout" in parts:
        model.add(layers.Dropout(0.4))
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    return model


arguments = common.options(__doc__, epochs=20, variant=VARIANTS)
(x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick, images=6000)
for name in arguments.variant:
    parts = VARIANTS[name]
    moved = {"shift": 2, "mirror": True} if "augment" in parts else {"shift": 0, "mirror": False}
    model = build_model(parts)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(
        common.Shifted(x, y, batch_size=50, seed=arguments.seed, **moved),
        epochs=arguments.epochs,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    _, train = model.evaluate(x, y, verbose=0)
    _, test = model.evaluate(x_test, y_test, verbose=0)
    print(f"{name}: {seconds:.0f} s, training accuracy {train:.4f}, test accuracy {test:.4f}")
