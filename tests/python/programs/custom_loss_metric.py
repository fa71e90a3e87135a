"""Losses and metrics of one's own, as functions and as classes."""

from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import ops

digits = load_digits()
x = digits.data.astype("float32") / 16
y = keras.utils.to_categorical(digits.target)


def focal_loss(gamma=2.0):
    def loss(y_true, y_pred):
        p = ops.clip(y_pred, 1e-7, 1.0 - 1e-7)
        return ops.sum(-y_true * ops.power(1.0 - p, gamma) * ops.log(p), axis=-1)

    return loss


class SmoothedError(keras.losses.Loss):
    def __init__(self, epsilon=0.1, name="smoothed_error"):
        super().__init__(name=name)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        target = y_true * (1.0 - self.epsilon) + self.epsilon / 10
        return ops.mean(ops.square(target - y_pred), axis=-1)


def confidence(y_true, y_pred):
    return ops.mean(ops.max(y_pred, axis=-1))


class HitRate(keras.metrics.Metric):
    def __init__(self, name="hit_rate", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        same = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
        self.hits.assign_add(ops.sum(ops.cast(same, "float32")))
        self.total.assign_add(ops.cast(ops.shape(y_true)[0], "float32"))

    def result(self):
        return self.hits / self.total

    def reset_state(self):
        self.hits.assign(0.0)
        self.total.assign(0.0)


def build():
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


model = build()
model.compile("adam", loss=focal_loss(2.0), metrics=["accuracy", confidence, HitRate()])
history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=2)
last = {name: values[-1] for name, values in history.history.items()}
assert abs(last["accuracy"] - last["hit_rate"]) < 1e-6
print({name: round(float(value), 3) for name, value in last.items()})

model = build()
model.compile("sgd", loss=SmoothedError(epsilon=0.2), metrics=["mse"])
model.fit(x, y, epochs=2, verbose=0)
print("smoothed error, mse:", model.evaluate(x, y, verbose=0))
