"""Deeper is not better without shortcuts: plain-20, plain-56 and ResNet-56, scaled down.

The networks of He et al. 2016 for CIFAR-10 with half the filters (8, 16, 32), on 10,000 images of
Fashion-MNIST at 14 x 14 pixels. What degrades is the accuracy on the training images.
"""

import time

import common
import fastconv as keras
from fastconv.keras import layers

NETWORKS = {"plain-20": (20, False), "plain-56": (56, False), "resnet-56": (56, True)}


def build_model(depth, shortcuts, normalize=True, input_shape=(14, 14, 1)):
    """Return a network of depth - 1 convolutions of 3 x 3 and one dense layer."""

    def convolution(x, filters, strides=1):
        initializer = "he_normal" if normalize else "glorot_uniform"
        x = layers.Conv2D(
            filters, 3, strides, "same", use_bias=not normalize, kernel_initializer=initializer
        )(x)
        return layers.BatchNormalization(momentum=0.9)(x) if normalize else x

    inputs = keras.Input(input_shape)
    x = layers.ReLU()(convolution(inputs, 8))
    for stage, filters in enumerate((8, 16, 32)):
        for block in range((depth - 2) // 6):
            strides = 2 if stage > 0 and block == 0 else 1
            y = convolution(layers.ReLU()(convolution(x, filters, strides)), filters)
            if shortcuts:
                if strides > 1:
                    x = layers.AveragePooling2D(strides, padding="same")(x)
                    x = layers.Concatenate()([x, x * 0.0])  # new channels begin with zeros
                y = layers.add([x, y])
            x = layers.ReLU()(y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


if __name__ == "__main__":
    arguments = common.options(__doc__, epochs=8, network=NETWORKS)
    (x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick, images=10000)
    halve = keras.layers.AveragePooling2D(2)
    x, x_test = halve(x), halve(x_test)
    steps = arguments.epochs * (len(x) // 128)
    for name in arguments.network:
        model = build_model(*NETWORKS[name])
        rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
        model.compile(
            keras.optimizers.SGD(rate, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        start = time.perf_counter()
        model.fit(x, y, batch_size=128, epochs=arguments.epochs, verbose=0)
        seconds = time.perf_counter() - start
        _, train = model.evaluate(x, y, batch_size=200, verbose=0)
        _, test = model.evaluate(x_test, y_test, batch_size=200, verbose=0)
        print(f"{name}: {seconds:.0f} s, training accuracy {train:.4f}, test accuracy {test:.4f}")
