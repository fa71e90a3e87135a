"""Learn on the digits 0 to 4, freeze the convolutions, learn 5 to 9; then fine-tune everything."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import layers

digits = load_digits()
x = digits.images[..., None].astype("float32") / 16
low = digits.target < 5
x_low, y_low = x[low], digits.target[low]
x_high, y_high = x[~low], digits.target[~low] - 5

feature_layers = [
    layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
    layers.BatchNormalization(name="norm1"),
    layers.MaxPooling2D(name="pool1"),
    layers.Conv2D(32, 3, activation="relu", name="conv2"),
    layers.Flatten(name="features"),
]
base = keras.Sequential([keras.Input((8, 8, 1)), *feature_layers], name="base")
model = keras.Sequential([base, layers.Dense(5, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_low, y_low, epochs=4, verbose=0)
print("digits 0 to 4:", model.evaluate(x_low, y_low, verbose=0))

base.trainable = False
inputs = keras.Input(shape=(8, 8, 1))
features = base(inputs, training=False)
h = layers.Dropout(0.2)(features)
outputs = layers.Dense(5, activation="softmax", name="head")(h)
transfer = keras.Model(inputs, outputs)
transfer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
transfer.summary()
assert len(transfer.trainable_weights) == 2
before = base.get_layer("conv1").get_weights()[0].copy()
transfer.fit(x_high, y_high, epochs=3, verbose=0)
np.testing.assert_allclose(base.get_layer("conv1").get_weights()[0], before, atol=1e-3)
print("new head:", transfer.evaluate(x_high, y_high, verbose=0))

base.trainable = True
for layer in base.layers[:-2]:
    layer.trainable = False
transfer.compile(
    keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
print("trainable:", [w.name for w in transfer.trainable_weights])
transfer.fit(x_high, y_high, epochs=2, verbose=0)
print("fine-tuned:", transfer.evaluate(x_high, y_high, verbose=0))
