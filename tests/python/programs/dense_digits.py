"""A dense network classifies handwritten digits."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastconv as keras

digits = load_digits()
x = digits.data.astype("float32") / 16.0
y = keras.utils.to_categorical(digits.target, num_classes=10)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)

model = keras.models.Sequential(
    [
        keras.layers.Dense(64, activation="relu", input_dim=64),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.summary()
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])

history = model.fit(x_train, y_train, epochs=10, batch_size=32, validation_split=0.1, verbose=2)
print("best validation accuracy:", max(history.history["val_accuracy"]))

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test loss {loss:.3f}, test accuracy {accuracy:.3f}")
assert accuracy > 0.9

predicted = model.predict(x_test[:5]).argmax(axis=1)
print("predicted:", predicted, "true:", y_test[:5].argmax(axis=1))
