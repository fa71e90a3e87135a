"""How a dense network and a convolutional one stand images that are moved or turned.

Both learn 20,000 images of Fashion-MNIST as they are; the test images are then moved by some
pixels to the left or turned clockwise, and what leaves the frame is lost.
"""

import common
import fastconv as keras
from fastconv.keras import layers

NETWORKS = {
    "dense": [layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dense(10)],
    "cnn": [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ],
}
PIXELS, DEGREES = (0, 1, 2, 4, 6), (0, 10, 20, 40, 60)


def moved(images, pixels):
    """Return the images moved to the left."""
    share = -pixels / images.shape[2]
    layer = layers.RandomTranslation(0.0, (share, share), fill_mode="constant")
    return layer(images, training=True)


def turned(images, degrees):
    """Return the images turned clockwise around their centre."""
    share = -degrees / 360
    return layers.RandomRotation((share, share), fill_mode="constant")(images, training=True)


arguments = common.options(__doc__, epochs=8)
(x, y), (x_test, y_test) = common.fashion_mnist(arguments.quick, images=20000)
print("network  " + "".join([f"{p:5d} px" for p in PIXELS] + [f"{d:7d}°" for d in DEGREES]))
for name, stack in NETWORKS.items():
    model = keras.Sequential([keras.Input((28, 28, 1)), *stack])
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=64, epochs=arguments.epochs, verbose=0)
    tests = [moved(x_test, p) for p in PIXELS] + [turned(x_test, d) for d in DEGREES]
    results = [model.evaluate(images, y_test, batch_size=200, verbose=0)[1] for images in tests]
    print(f"{name:9}" + "".join(f"{result:8.4f}" for result in results))
