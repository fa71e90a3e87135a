"""Regression: where the centre of the ink of a digit lies, in pixels."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras
from fastconv.keras import layers

images = load_digits().images.astype("float32")
rows, columns = np.mgrid[:8, :8]
ink = images.sum(axis=(1, 2))
centres = np.stack([(images * rows).sum((1, 2)) / ink, (images * columns).sum((1, 2)) / ink], 1)

x_train, y_train = images[:1400, ..., None], centres[:1400]
x_test, y_test = images[1400:, ..., None], centres[1400:]

model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Rescaling(1.0 / 16),
        layers.Conv2D(16, 3, activation="elu"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(32, activation="tanh"),
        layers.Dense(2),
    ]
)
model.compile(
    optimizer=keras.optimizers.RMSprop(0.005),
    loss="mse",
    metrics=["mae", keras.metrics.RootMeanSquaredError()],
)
model.fit(x_train, y_train, epochs=5, batch_size=64, verbose=0)
mse, mae, rmse = model.evaluate(x_test, y_test, verbose=0)
print(f"mse {mse:.4f}, mae {mae:.4f}, rmse {rmse:.4f}")
assert abs(rmse - mse**0.5) < 1e-3

model.compile(optimizer="adagrad", loss=keras.losses.Huber(delta=0.5), metrics=["mse"])
model.fit(x_train, y_train, epochs=1, verbose=0)
print(model.predict(x_test[:3], verbose=0).round(2), y_test[:3].round(2))
