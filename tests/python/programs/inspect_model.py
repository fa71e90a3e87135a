"""Looking inside: layers, weights, feature maps, and a stack whose last layer is replaced."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras

digits = load_digits()
x, y = digits.images[..., None].astype("float32") / 16, digits.target

model = keras.Sequential()
model.add(keras.Input(shape=(8, 8, 1)))
model.add(keras.layers.Conv2D(4, (3, 3), activation="relu", name="conv"))
model.add(keras.layers.Conv2D(6, (3, 3), activation="relu", padding="same"))
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(3, name="wrong"))
print(len(model.layers), "layers,", model.count_params(), "parameters")

model.pop()
model.add(keras.layers.Dense(10, activation="softmax", name="right"))
assert model.layers[-1].name == "right" and model.output_shape == (None, 10)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=2, verbose=0)

kernel, bias = model.layers[0].get_weights()
print("kernel", kernel.shape, "bias", bias.shape)
assert kernel.shape == (3, 3, 1, 4) and bias.shape == (4,)
dense = model.get_layer("right")
print(dense.units, dense.kernel.shape, dense.get_config()["activation"])
assert model.get_layer(index=0) is model.layers[0]

feature_model = keras.Model(inputs=model.inputs, outputs=model.get_layer("conv").output)
maps = feature_model.predict(x[:2], verbose=0)
print("feature maps:", maps.shape)
assert maps.shape == (2, 6, 6, 4)
outputs = [layer.output for layer in model.layers[:2]]
first, second = keras.Model(model.inputs, outputs).predict(x[:2], verbose=0)
assert np.allclose(first, maps, atol=1e-6) and second.shape == (2, 6, 6, 6)

model.layers[0].set_weights([np.zeros_like(kernel), np.ones_like(bias)])
assert np.allclose(feature_model.predict(x[:2], verbose=0), 1.0)
for layer in model.layers:
    print(layer.name, layer.trainable, [tuple(w.shape) for w in layer.weights])
