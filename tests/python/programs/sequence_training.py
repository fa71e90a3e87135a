"""A Sequence cuts its batches itself; the second half of the digits is for validation."""

import math

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras


class DigitSequence(keras.utils.Sequence):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.epochs_seen = 0

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, idx):
        low = idx * self.batch_size
        high = min(low + self.batch_size, len(self.x))
        return np.array(self.x[low:high]), np.array(self.y[low:high])

    def on_epoch_end(self):
        self.epochs_seen += 1


digits = load_digits()
x = (digits.images / 16.0).astype("float32")
train = DigitSequence(x[:896], digits.target[:896], 32, workers=1, use_multiprocessing=False)
validation = DigitSequence(x[896:], digits.target[896:], 64)

model = keras.models.Sequential()
model.add(keras.layers.Reshape((8, 8, 1), input_shape=(8, 8)))
model.add(keras.layers.SeparableConv2D(16, 3, activation="relu"))
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(10, activation="softmax"))
model.compile(
    optimizer=keras.optimizers.RMSprop(learning_rate=0.002),
    loss="sparse_categorical_crossentropy",
    metrics=["sparse_categorical_accuracy"],
)
history = model.fit(train, epochs=4, validation_data=validation, shuffle=True, verbose=0)
print(history.history.keys())
print("epochs seen:", train.epochs_seen)
assert train.epochs_seen >= 4
loss, accuracy = model.evaluate(validation, verbose=0)
print(f"validation accuracy {accuracy:.3f}")
assert model.predict(validation, verbose=0).shape == (901, 10)
