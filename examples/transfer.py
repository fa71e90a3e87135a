"""Transfer by include_top=False: what a ResNet learned on five classes does for five others.

It learns T-shirts, trousers, pullovers, dresses and coats from 20,000 images. Its features then
serve to tell sandals, shirts, sneakers, bags and ankle boots apart from 20 images of each: frozen
under a new head, or as the beginning of a training of all layers (fine-tuning); the same network
trained on these 100 images from random weights is the comparison.
"""

import time

import numpy as np

import common
import fastconv as keras
from fastconv.keras import layers
from fastconv.keras.applications import ResNet18

SHAPE = (32, 32, 1)


def compiled(model, rate):
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def with_head(base):
    inputs = keras.Input(SHAPE)
    x = base(inputs, training=base.trainable)
    outputs = layers.Dense(5, activation="softmax")(layers.Dropout(0.2)(x))
    return keras.Model(inputs, outputs)


def build_base(weights=None):
    return ResNet18(
        input_shape=SHAPE, width=0.25, include_top=False, pooling="avg", weights=weights
    )


arguments = common.options(__doc__, epochs=5)
(x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick, images=40000)
x, x_test = (layers.ZeroPadding2D(2)(images) for images in (x, x_test))
known, new, tested = y < 5, y >= 5, y_test >= 5

source = compiled(with_head(build_base()), 1e-3)
source.fit(x[known], y[known], batch_size=64, epochs=arguments.epochs, verbose=2)
weights = arguments.output / "resnet.weights.safetensors"
source.layers[1].save_weights(weights)

few = np.concatenate([np.flatnonzero(y == label)[:20] for label in range(5, 10)])
for name, base in {
    "from the beginning": build_base(),
    "frozen features": build_base(weights),
    "fine-tuned": build_base(weights),
}.items():
    base.trainable = name != "frozen features"
    model = compiled(with_head(base), 1e-3 if base.trainable else 1e-2)
    start = time.perf_counter()
    model.fit(x[few], y[few] - 5, batch_size=20, epochs=5 if arguments.quick else 100, verbose=0)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test[tested], y_test[tested] - 5, batch_size=200, verbose=0)
    print(f"{name}: {seconds:.0f} s, test accuracy {accuracy:.4f}")
