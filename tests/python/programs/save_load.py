"""Saving and loading: the whole model, its weights, its architecture."""

import json

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras.models import load_model, model_from_json

digits = load_digits()
x, y = digits.images[..., None].astype("float32") / 16, digits.target

model = keras.Sequential(name="digits")
model.add(keras.layers.Input(shape=(8, 8, 1)))
model.add(keras.layers.Conv2D(8, 3, activation="relu", name="conv"))
model.add(keras.layers.BatchNormalization(name="norm"))
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(10, activation="softmax", name="out"))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=1, verbose=0)
expected = model.predict(x[:10], verbose=0)

model.save("digits.keras")
loaded = load_model("digits.keras")
np.testing.assert_allclose(loaded.predict(x[:10], verbose=0), expected, atol=1e-5)
print("loaded:", loaded.name, loaded.evaluate(x, y, verbose=0))
loaded.fit(x, y, epochs=1, verbose=0)  # goes on with the optimizer's state

model.save_weights("digits.weights.h5")
clone = keras.models.clone_model(model)
clone.load_weights("digits.weights.h5")
np.testing.assert_allclose(clone.predict(x[:10], verbose=0), expected, atol=1e-5)

text = model.to_json()
assert json.loads(text)["class_name"] == "Sequential"
again = model_from_json(text)
again.set_weights(model.get_weights())
np.testing.assert_allclose(again.predict(x[:10], verbose=0), expected, atol=1e-5)

config = model.get_config()
rebuilt = keras.Sequential.from_config(config)
assert [layer.name for layer in rebuilt.layers] == [layer.name for layer in model.layers]
try:
    model.save("digits.keras", overwrite=False)
except Exception as error:
    print(type(error).__name__)
else:
    raise AssertionError("the file was replaced")
