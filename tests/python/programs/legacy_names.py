"""Older course code: names imported one by one, input_shape, Keras 1's aliases, lr schedules."""

import numpy as np

from fastconv.keras.datasets import fashion_mnist
from fastconv.keras.layers import Activation, Convolution2D, Dense, Dropout, Flatten, MaxPool2D
from fastconv.keras.models import Sequential
from fastconv.keras.optimizers import SGD
from fastconv.keras.utils import to_categorical

batch_size = 32
num_classes = 10

(x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
x_train = np.expand_dims(x_train.astype("float32"), -1) / 255
x_test = np.expand_dims(x_test.astype("float32"), -1) / 255
print("x_train shape:", x_train.shape)
y_train = to_categorical(y_train, num_classes)
y_test = to_categorical(y_test, num_classes)

model = Sequential()
model.add(Convolution2D(16, kernel_size=(3, 3), padding="same", input_shape=x_train.shape[1:]))
model.add(Activation("relu"))
model.add(MaxPool2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Convolution2D(32, (3, 3), strides=(2, 2), kernel_initializer="he_uniform"))
model.add(Activation("relu"))
model.add(Flatten())
model.add(Dense(num_classes))
model.add(Activation("softmax"))

sgd = SGD(learning_rate=0.05, momentum=0.9, nesterov=True)
model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
model.fit(
    x_train,
    y_train,
    batch_size=batch_size,
    epochs=1,
    verbose=1,
    validation_data=(x_test, y_test),
)
score = model.evaluate(x_test, y_test, verbose=0)
print("Test loss:", score[0])
print("Test accuracy:", score[1])
