"""Binary classification: is the digit a seven? One sigmoid output, and metrics for it."""

from sklearn.datasets import load_digits

import fastconv as tf

digits = load_digits()
x = digits.images.reshape(-1, 8, 8, 1).astype("float32") / 16.0
y = (digits.target == 7).astype("float32")
split = 1400

inputs = tf.keras.Input((8, 8, 1))
h = tf.keras.layers.Conv2D(12, 3, padding="same")(inputs)
h = tf.keras.layers.LeakyReLU(negative_slope=0.1)(h)
h = tf.keras.layers.MaxPooling2D(2)(h)
h = tf.keras.layers.Flatten()(h)
outputs = tf.keras.layers.Dense(1, activation="sigmoid")(h)
model = tf.keras.Model(inputs, outputs)

model.compile(
    optimizer=tf.keras.optimizers.Adam(learning_rate=0.003),
    loss=tf.keras.losses.BinaryCrossentropy(),
    metrics=[
        "accuracy",
        tf.keras.metrics.Precision(name="precision"),
        tf.keras.metrics.Recall(name="recall"),
        tf.keras.metrics.AUC(name="auc"),
    ],
)
model.fit(x[:split], y[:split], batch_size=32, epochs=5, validation_data=(x[split:], y[split:]))
results = model.evaluate(x[split:], y[split:], verbose=0)
for name, value in zip(["loss", "accuracy", "precision", "recall", "auc"], results, strict=True):
    print(f"{name}: {value:.3f}")
assert results[4] > 0.9

sevens = (model.predict(x[split:]) > 0.5).astype("int32")
print("sevens found:", int(sevens.sum()), "of", int(y[split:].sum()))
