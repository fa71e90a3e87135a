"""Runs a course program on fastconv or on Keras and records what its models compute.

Nothing in a program knows of this: the methods `fit` and `train_on_batch` of the library's models
are wrapped while it runs. Each training starts from the same weights in both libraries, sees the
samples in their own order, and has no dropout, so that its losses can be compared step by step.
"""

import contextlib
import re
import types
from pathlib import Path

import numpy as np

import fastconv

FOLDER = Path(__file__).parent / "programs"
STEPS = 20


class Training:
    """One `fit`, or one loop over `train_on_batch`: first outputs and the loss of each step."""

    def __init__(self, weights, outputs, normalized):
        self.weights = weights
        self.outputs = outputs
        self.normalized = normalized
        self.losses = []


def source_for(path, library):
    """The program's text; for Keras, its import lines name Keras."""
    text = path.read_text()
    if library is fastconv:
        return text
    text = text.replace("import fastconv as keras", "import keras")
    text = text.replace(
        "import fastconv as tf", "import keras\ntf = types.SimpleNamespace(keras=keras)"
    )
    text = re.sub(r"from fastconv\.keras\.?", "from keras.", text)
    text = text.replace("from keras. import", "from keras import")
    # Keras 3 shows the old generators only to `tf.keras`.
    text = text.replace("from keras.pre", "from keras._tf_keras.keras.pre")
    assert "fastconv" not in text
    return text


def run_program(name, library, monkeypatch, weights=()):
    """Run one program and return its trainings.

    `weights`: those of each training of an earlier run, to start from.
    """
    library.utils.clear_session()
    library.utils.set_random_seed(0)
    recorder = Recorder(library, list(weights))
    with monkeypatch.context() as patch:
        recorder.install(patch)
        path = FOLDER / name
        code = compile(source_for(path, library), str(path), "exec")
        exec(code, {"__name__": "__main__", "types": types})
    return recorder.trainings


class Recorder:
    """Wraps what trains, drops samples at random, or downloads."""

    def __init__(self, library, weights):
        self.library = library
        self.weights = weights
        self.trainings = []
        self._loops = {}
        self._busy = False

    def install(self, patch):
        """Replace methods of the library until the test ends."""
        model = self.library.Model
        patch.setattr(model, "fit", self._wrapped_fit(model.fit))
        patch.setattr(model, "train_on_batch", self._wrapped_train_on_batch(model.train_on_batch))
        for layer in ("Dropout", "SpatialDropout2D"):
            cls = getattr(self.library.layers, layer)
            patch.setattr(cls, "call", lambda self, inputs, training=False: inputs)
        for dataset in ("mnist", "fashion_mnist"):
            patch.setattr(getattr(self.library.datasets, dataset), "load_data", stand_in)

    def _begin(self, model, x):
        """Give the model its starting weights and note its outputs."""
        outputs = model.predict_on_batch(x)  # builds the model
        number = len(self.trainings)
        if number < len(self.weights):
            model.set_weights(self.weights[number])
            outputs = model.predict_on_batch(x)
        outputs = outputs.values() if isinstance(outputs, dict) else outputs
        outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        training = Training(model.get_weights(), outputs, _has_batch_norm(model))
        self.trainings.append(training)
        return training

    def _wrapped_fit(self, fit):
        recorder = self

        def wrapper(model, x=None, y=None, **arguments):
            first, x = _first_batch(x, arguments.get("batch_size") or 32)
            training = recorder._begin(model, first)
            noted = recorder.library.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: training.losses.append(float(logs["loss"]))
            )
            callbacks = [*(arguments.pop("callbacks", None) or []), noted]
            arguments["shuffle"] = False
            with recorder._inside():
                history = fit(model, x, y, callbacks=callbacks, **arguments)
            epoch = history.params["steps"] if hasattr(history, "params") else None
            means = np.array(training.losses[: min(STEPS, epoch or STEPS)])
            counts = np.arange(1, len(means) + 1)
            training.losses = np.diff(means * counts, prepend=0.0)
            return history

        return wrapper

    def _wrapped_train_on_batch(self, train_on_batch):
        recorder = self

        def wrapper(model, x, *args, **kwargs):
            if recorder._busy:
                return train_on_batch(model, x, *args, **kwargs)
            training = recorder._loops.get(id(model))
            if training is None:
                training = recorder._loops[id(model)] = recorder._begin(model, x)
            result = train_on_batch(model, x, *args, **kwargs)
            if len(training.losses) < STEPS:
                value = next(iter(result.values())) if isinstance(result, dict) else result
                training.losses.append(float(np.ravel(value)[0]))
            return result

        return wrapper

    @contextlib.contextmanager
    def _inside(self):
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


def _first_batch(x, size):
    """The inputs of the first batch, and data that still begin with it."""
    if hasattr(x, "__next__"):
        first = next(x)

        def again():  # Keras takes nothing else that only has __next__
            yield first
            yield from x

        return first[0], again()
    if isinstance(x, dict):
        return {name: value[:size] for name, value in x.items()}, x
    if isinstance(x, (list, tuple)):
        return [value[:size] for value in x], x
    return (x[:size] if isinstance(x, np.ndarray) else x[0][0]), x


def _has_batch_norm(model):
    return any(
        type(layer).__name__ == "BatchNormalization" or _has_batch_norm(layer)
        for layer in getattr(model, "layers", None) or getattr(model, "_layers", [])
    )


def stand_in():
    """The digits of 8 x 8 pixels at the size of MNIST: real images, without a download.

    A little noise keeps values apart: where maxima tie, their gradient is a matter of rounding.
    """
    (x, y), (x_test, y_test) = fastconv.datasets.digits.load_data()
    random = np.random.default_rng(0)
    places = np.linspace(0, 7, 28)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(8)))  # linear interpolation

    def enlarge(images):
        large = np.einsum("ia,nab,jb->nij", weights, images * 15.0, weights)
        return (large + random.uniform(0, 15, large.shape)).astype(np.uint8)

    return (enlarge(x[:640]), y[:640]), (enlarge(x_test[:200]), y_test[:200])
