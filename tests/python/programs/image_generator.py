"""ImageDataGenerator: rescaled images in batches, a part of them kept for validation."""

import fastconv as keras
from fastconv.keras.datasets import mnist
from fastconv.keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from fastconv.keras.models import Sequential
from fastconv.keras.preprocessing.image import ImageDataGenerator

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train.reshape(-1, 28, 28, 1).astype("float32")
x_test = x_test.reshape(-1, 28, 28, 1).astype("float32")
y_train = keras.utils.to_categorical(y_train, 10)
y_test = keras.utils.to_categorical(y_test, 10)

model = Sequential()
model.add(Conv2D(16, (5, 5), strides=2, activation="relu", input_shape=(28, 28, 1)))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dropout(0.25))
model.add(Dense(10, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

datagen = ImageDataGenerator(
    rescale=1.0 / 255, featurewise_center=True, featurewise_std_normalization=True
)
datagen.fit(x_train)
model.fit(
    datagen.flow(x_train, y_train, batch_size=32, shuffle=False),
    steps_per_epoch=len(x_train) // 32,
    epochs=2,
    validation_data=datagen.flow(x_test, y_test, batch_size=50, shuffle=False),
    verbose=2,
)

moving = ImageDataGenerator(
    rescale=1.0 / 255,
    rotation_range=10,
    width_shift_range=0.1,
    height_shift_range=0.1,
    zoom_range=0.1,
    shear_range=5,
    fill_mode="nearest",
    validation_split=0.2,
)
train = moving.flow(x_train, y_train, batch_size=32, subset="training", seed=1)
held_out = moving.flow(x_train, y_train, batch_size=32, subset="validation", seed=1)
print(len(train), "batches for training,", len(held_out), "for validation")
images, labels = next(train)
print(images.shape, labels.shape, float(images.min()) >= 0, float(images.max()) <= 1)
loss, accuracy = model.evaluate(held_out, verbose=0)
