"""Small residual networks on Fashion-MNIST: below 100,000 and below 500,000 parameters.

Trained on all 60,000 training images, mirrored and shifted, with label smoothing and a learning
rate that follows half a cosine. The test images are used once, with the last weights.
"""

import time

import common
import fastconv as keras
from fastconv.keras import layers

# Filters and strides of the residual blocks.
STAGES = {
    "small": [(32, 1), (48, 2), (48, 1)],
    "medium": [(32, 1), (96, 2), (128, 2)],
}


def convolution(x, filters, size=3, strides=1):
    x = layers.Conv2D(
        filters, size, strides, "same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def residual_block(x, filters, strides):
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = convolution(x, filters, 1, strides)
    x = layers.ReLU()(convolution(x, filters, 3, strides))
    return layers.ReLU()(layers.add([convolution(x, filters), shortcut]))


def build_model(size):
    inputs = keras.Input((28, 28, 1))
    x = layers.MaxPooling2D()(layers.ReLU()(convolution(inputs, 32)))
    for filters, strides in STAGES[size]:
        x = residual_block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x), name=size)


def train(size, arguments):
    epochs = arguments.epochs
    (x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick)
    data = common.Shifted(x, keras.utils.to_categorical(y, 10), shift=1, seed=arguments.seed)
    model = build_model(size)
    steps = epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 8, warmup_target=0.1, warmup_steps=steps // 8
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=3e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05),
        metrics=["accuracy"],
    )
    start = time.perf_counter()
    model.fit(data, epochs=epochs, verbose=2)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, keras.utils.to_categorical(y_test, 10), verbose=0)
    print(
        f"{size}: {model.count_params():,} parameters, {epochs} epochs in {seconds:.0f} s, "
        f"test accuracy {accuracy:.4f}"
    )
    model.save(arguments.output / f"fashion_resnet_{size}.fastconv")


if __name__ == "__main__":
    arguments = common.options(__doc__, epochs=15, size=STAGES)
    for size in arguments.size:
        train(size, arguments)
