"""Two classes of photos in folders, as in the course's cats and dogs, with ImageDataGenerator.

The classes are pieces of two photos that come with scikit-image: a cat, and a cup of coffee. The
left halves of the photos give the training images, the right halves the test images, so the test
is of new pieces of the same photos, not of other cats. Needs scikit-image and the extra image.
"""

import shutil

import numpy as np
from PIL import Image
from skimage import data

import common
import fastconv as keras
from fastconv.keras import layers
from fastconv.keras.preprocessing.image import ImageDataGenerator

PHOTOS = {"cat": data.chelsea, "coffee": data.coffee}
SIZE = 48


def make_folders(root, each, random):
    """Cut square pieces of random size and place out of both halves of each photo."""
    for name, load in PHOTOS.items():
        photo = load()
        middle = photo.shape[1] // 2
        for part, half in (("train", photo[:, :middle]), ("test", photo[:, middle:])):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(each):
                side = random.integers(40, 120)
                top = random.integers(0, half.shape[0] - side)
                left = random.integers(0, half.shape[1] - side)
                piece = Image.fromarray(half[top : top + side, left : left + side])
                piece.resize((SIZE, SIZE)).save(folder / f"{number:04d}.png")


arguments = common.options(__doc__, epochs=10)
root = arguments.output / "photos"
shutil.rmtree(root, ignore_errors=True)
make_folders(root, 24 if arguments.quick else 300, np.random.default_rng(arguments.seed))

augmented = ImageDataGenerator(
    rescale=1 / 255,
    rotation_range=20,
    width_shift_range=0.1,
    height_shift_range=0.1,
    brightness_range=(0.7, 1.3),
    zoom_range=0.2,
    horizontal_flip=True,
)
options = {"target_size": (SIZE, SIZE), "batch_size": 20, "class_mode": "binary"}
train = augmented.flow_from_directory(root / "train", seed=arguments.seed, **options)
test = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
    root / "test", shuffle=False, **options
)
model = keras.Sequential(
    [
        keras.Input((SIZE, SIZE, 3)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(train, epochs=arguments.epochs, verbose=2)
loss, accuracy = model.evaluate(test, verbose=0)
print(f"classes {train.class_indices}, test loss {loss:.3f}, test accuracy {accuracy:.4f}")
