"""A dense network, LeNet-5 and the course's convolutional network on Fashion-MNIST.

All see the same 55,000 images in the same number of epochs, with Adam and a learning rate that
follows half a cosine; the last 5,000 training images are for validation. The test images are used
once, with the last weights.
"""

import math
import time

import common
import fastconv as keras
from fastconv.keras import layers


def dense():
    return [
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]


def lenet5():
    """LeCun et al. 1998, with softmax in place of the radial basis functions."""
    return [
        layers.Conv2D(6, 5, padding="same", activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="tanh"),
        layers.Dense(84, activation="tanh"),
        layers.Dense(10, activation="softmax"),
    ]


def course():
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]


NETWORKS = {"dense": dense, "lenet5": lenet5, "course": course}

if __name__ == "__main__":
    arguments = common.options(__doc__, epochs=10, network=NETWORKS)
    (x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick)
    for name in arguments.network:
        model = keras.Sequential([keras.Input((28, 28, 1)), *NETWORKS[name]()], name=name)
        steps = arguments.epochs * math.ceil(len(x) * 11 / 12 / 64)
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        start = time.perf_counter()
        history = model.fit(
            x,
            y,
            batch_size=64,
            epochs=arguments.epochs,
            validation_split=1 / 12,
            callbacks=[keras.callbacks.CSVLogger(arguments.output / f"fashion_{name}.csv")],
            verbose=2,
        )
        seconds = time.perf_counter() - start
        _, accuracy = model.evaluate(x_test, y_test, verbose=0)
        print(
            f"{name}: {model.count_params():,} parameters, {arguments.epochs} epochs in "
            f"{seconds:.0f} s, test accuracy {accuracy:.4f}"
        )
