"""A network of keras.applications without its top, frozen, under a new head."""

from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import layers
from fastconv.keras.applications import MobileNet
from fastconv.keras.applications.mobilenet import preprocess_input

digits = load_digits()
images = digits.images[:320, ..., None].repeat(3, axis=-1) * 15.0
images = images.repeat(4, axis=1).repeat(4, axis=2).astype("float32")
x, y = preprocess_input(images), digits.target[:320]

base = MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)
base.trainable = False
print(base.name, len(base.layers), base.output_shape)

inputs = keras.Input(shape=(32, 32, 3))
features = base(inputs, training=False)
h = layers.GlobalAveragePooling2D()(features)
h = layers.Dropout(0.2)(h)
outputs = layers.Dense(10, activation="softmax")(h)
model = keras.Model(inputs, outputs)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
assert len(model.trainable_variables) == 2
model.fit(x, y, batch_size=32, epochs=2, verbose=2)

base.trainable = True
for layer in base.layers[:-6]:
    layer.trainable = False
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=1e-4),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
print("trainable weights:", len(model.trainable_variables))
model.fit(x, y, batch_size=32, epochs=1, verbose=2)
