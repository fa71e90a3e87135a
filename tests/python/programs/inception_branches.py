"""Branches with kernels of several sizes, joined by concatenate, as in GoogLeNet."""

from fastconv.keras.datasets import mnist
from fastconv.keras.layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPooling2D,
    concatenate,
)
from fastconv.keras.models import Model


def inception(x, f1, f3_reduce, f3, f5_reduce, f5, pool):
    branch1 = Conv2D(f1, (1, 1), padding="same", activation="relu")(x)
    branch3 = Conv2D(f3_reduce, (1, 1), padding="same", activation="relu")(x)
    branch3 = Conv2D(f3, (3, 3), padding="same", activation="relu")(branch3)
    branch5 = Conv2D(f5_reduce, (1, 1), padding="same", activation="relu")(x)
    branch5 = Conv2D(f5, (5, 5), padding="same", activation="relu")(branch5)
    branch_pool = MaxPooling2D((3, 3), strides=(1, 1), padding="same")(x)
    branch_pool = Conv2D(pool, (1, 1), padding="same", activation="relu")(branch_pool)
    return concatenate([branch1, branch3, branch5, branch_pool], axis=-1)


(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, x_test = x_train[:, :, :, None] / 255.0, x_test[:, :, :, None] / 255.0

input_img = Input(shape=(28, 28, 1), name="image")
x = Conv2D(8, (5, 5), strides=2, padding="same", activation="relu")(input_img)
x = inception(x, 4, 4, 8, 2, 4, 4)
x = MaxPooling2D((2, 2))(x)
x = inception(x, 8, 4, 8, 2, 4, 4)
x = AveragePooling2D((7, 7))(x)
x = Flatten()(x)
x = Dropout(0.4)(x)
output = Dense(10, activation="softmax")(x)

model = Model(input_img, output)
print("parameters:", model.count_params())
model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=1, batch_size=32, verbose=2)
print("loss, accuracy:", model.evaluate(x_test, y_test, verbose=0))
