"""A model as a class, as in the PyTorch-like style of Keras courses."""

import numpy as np

import fastconv as keras
from fastconv.keras import layers

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train = x_train[..., np.newaxis].astype("float32") / 255.0
x_test = x_test[..., np.newaxis].astype("float32") / 255.0


class LeNet(keras.Model):
    def __init__(self, num_classes=10, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [
            layers.Conv2D(6, 5, padding="same", activation="sigmoid"),
            layers.AvgPool2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AvgPool2D(2),
        ]
        self.flatten = layers.Flatten()
        self.hidden = layers.Dense(84, activation="tanh")
        self.dropout = layers.Dropout(0.3)
        self.classifier = layers.Dense(num_classes)

    def call(self, inputs, training=False):
        x = inputs
        for layer in self.blocks:
            x = layer(x)
        x = self.hidden(self.flatten(x))
        x = self.dropout(x, training=training)
        return self.classifier(x)


model = LeNet(num_classes=10)
model.compile(
    optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=20, epochs=2, validation_data=(x_test, y_test), verbose=2)
model.summary()
print("logits:", model(x_test[:2]).shape)
print("layers:", [layer.name for layer in model.layers])
model.save_weights("lenet.weights.h5")

restored = LeNet()
restored(x_test[:1])
restored.load_weights("lenet.weights.h5")
np.testing.assert_allclose(
    restored.predict(x_test[:8], verbose=0), model.predict(x_test[:8], verbose=0), atol=1e-5
)
