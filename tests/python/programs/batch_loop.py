"""A training loop of one's own over train_on_batch and test_on_batch."""

import numpy as np
from sklearn.datasets import load_digits

import fastconv as keras

digits = load_digits()
x, y = digits.images[..., None].astype("float32") / 16, digits.target
x_train, y_train, x_test, y_test = x[:1500], y[:1500], x[1500:], y[1500:]

model = keras.models.Sequential(
    [
        keras.layers.Conv2D(8, 3, activation="relu", input_shape=(8, 8, 1)),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
        keras.layers.Activation("softmax"),
    ]
)
model.compile(
    keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps=50, decay_rate=0.9)
    ),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
print(model.metrics_names)

batch_size = 50
rng = np.random.default_rng(1)
for epoch in range(3):
    order = rng.permutation(len(x_train))
    losses = []
    for start in range(0, len(x_train), batch_size):
        batch = order[start : start + batch_size]
        loss, accuracy = model.train_on_batch(x_train[batch], y_train[batch])
        losses.append(loss)
    model.reset_metrics()
    result = model.test_on_batch(x_test, y_test, return_dict=True)
    print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, test accuracy {result['accuracy']:.3f}")

probabilities = model.predict_on_batch(x_test[:4])
assert np.allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)
