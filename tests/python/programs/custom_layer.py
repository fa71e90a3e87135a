"""Layers of one's own: a dense layer, a scale with two states, and a block made of layers."""

from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import layers, ops


class Linear(layers.Layer):
    def __init__(self, units=32, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True)

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.w) + self.b)

    def get_config(self):
        config = super().get_config()
        config.update(
            {"units": self.units, "activation": keras.activations.serialize(self.activation)}
        )
        return config


class ChannelScale(layers.Layer):
    """Scales each channel; `penalty` keeps the scales near to one."""

    def __init__(self, penalty=0.01, **kwargs):
        super().__init__(**kwargs)
        self.penalty = penalty

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer="ones")
        super().build(input_shape)

    def call(self, inputs, training=None):
        self.add_loss(self.penalty * ops.sum(ops.square(self.scale - 1.0)))
        return inputs * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape


class ConvBlock(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = layers.Conv2D(filters, 3, padding="same")
        self.norm = layers.BatchNormalization()
        self.scale = ChannelScale()

    def call(self, inputs, training=None):
        x = self.norm(self.conv(inputs), training=training)
        return ops.relu(self.scale(x))


x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1) / 16.0

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        ConvBlock(8, name="block"),
        layers.GlobalAveragePooling2D(),
        Linear(16, activation="relu"),
        Linear(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=2, batch_size=32, verbose=2)

assert len(model.get_layer("block").trainable_weights) == 5
assert len(model.get_layer("block").non_trainable_weights) == 2
for weight in model.trainable_weights:
    print(weight.name, tuple(weight.shape))

linear = Linear.from_config(Linear(4, activation="tanh").get_config())
print(linear.units, linear(x.reshape(-1, 64)[:2]).shape)
