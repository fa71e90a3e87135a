"""Against overfitting: penalties, dropout, batch normalization, constraints, noise-free test."""

from sklearn.datasets import load_digits

from fastconv.keras import regularizers
from fastconv.keras.constraints import max_norm
from fastconv.keras.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    SpatialDropout2D,
)
from fastconv.keras.models import Sequential
from fastconv.keras.optimizers import Adam

digits = load_digits()
x = digits.images[..., None] / 16.0
y = digits.target
x_train, y_train, x_test, y_test = x[:300], y[:300], x[300:], y[300:]

model = Sequential(
    [
        Input(shape=(8, 8, 1)),
        Conv2D(16, 3, activation="relu", kernel_regularizer=regularizers.l2(1e-3)),
        BatchNormalization(),
        SpatialDropout2D(0.1),
        Flatten(),
        Dense(
            64,
            activation="relu",
            kernel_regularizer=regularizers.l1_l2(l1=1e-5, l2=1e-4),
            kernel_constraint=max_norm(3),
        ),
        Dropout(0.5),
        Dense(10, activation="softmax", bias_regularizer="l2", activity_regularizer="l1"),
    ]
)
model.compile(
    optimizer=Adam(learning_rate=0.003, clipnorm=1.0),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(
    x_train, y_train, epochs=5, batch_size=30, validation_data=(x_test, y_test), verbose=2
)
print("penalties:", len(model.losses))
train_loss, train_accuracy = model.evaluate(x_train, y_train, verbose=0)
test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"accuracy on training data {train_accuracy:.3f}, on test data {test_accuracy:.3f}")
