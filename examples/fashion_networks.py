"""A dense network, LeNet-5 and the course's convolutional network on Fashion-MNIST.

All see the same 55,000 images in the same number of epochs, first as they are, then mirrored and
moved by up to a pixel, with Adam and a learning rate that follows half a cosine. The last 5,000
training images are for validation. The test images are used once, with the last weights.
"""

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


def train(name, moved, data, arguments):
    (x, y), (x_test, y_test) = data
    cut = len(x) * 11 // 12
    x, y, validation = x[:cut], y[:cut], (x[cut:], y[cut:])
    shift = {"shift": 1, "mirror": True} if moved else {"shift": 0, "mirror": False}
    batches = common.Shifted(x, y, batch_size=64, seed=arguments.seed, **shift)
    model = keras.Sequential([keras.Input((28, 28, 1)), *NETWORKS[name]()], name=name)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, arguments.epochs * len(batches))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    start = time.perf_counter()
    log = keras.callbacks.CSVLogger(arguments.output / f"fashion_{name}.csv")
    model.fit(
        batches,
        epochs=arguments.epochs,
        validation_data=validation,
        callbacks=[log],
        verbose=2,
    )
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(
        f"{name}, images {'moved' if moved else 'as they are'}: {model.count_params():,} "
        f"parameters, {arguments.epochs} epochs in {seconds:.0f} s, test accuracy {accuracy:.4f}"
    )


if __name__ == "__main__":
    arguments = common.options(__doc__, epochs=12, network=NETWORKS, images=("plain", "moved"))
    data = common.fashion_mnist(arguments.quick)
    for images in arguments.images:
        for name in arguments.network:
            train(name, images == "moved", data, arguments)
