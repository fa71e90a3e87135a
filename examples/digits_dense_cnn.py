"""A dense network against a convolutional one with fewer weights, on 8 x 8 handwritten digits."""

import common
import fastconv as keras
from fastconv.keras import layers

NETWORKS = {
    "dense": [
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ],
    "cnn": [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(10, activation="softmax"),
    ],
}

arguments = common.options(__doc__, epochs=40)
(x, y), (x_test, y_test) = keras.datasets.digits.load_data()
for name, stack in NETWORKS.items():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 16), *stack])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[..., None], y, epochs=arguments.epochs, verbose=0)
    _, accuracy = model.evaluate(x_test[..., None], y_test, verbose=0)
    print(f"{name}: {model.count_params():,} parameters, test accuracy {accuracy:.4f}")
