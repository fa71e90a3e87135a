"""Lines as they stand in course code: each gives the same result (`r`) in Keras and fastconv."""

import inspect
from pathlib import Path

import numpy as np
import pytest

import fastconv

IDIOMS = (Path(__file__).parent / "idioms.txt").read_text().splitlines()


def names(keras):
    """What the idioms may use."""
    layers = keras.layers
    x = np.random.default_rng(0).random((40, 8, 8, 1)).astype("float32")
    y = np.arange(40) % 3

    def net():
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Dense(4, activation="relu"),
                layers.Dense(3, activation="softmax"),
            ]
        )

    def ready(**arguments):
        model = net()
        model.compile("adam", "sparse_categorical_crossentropy", **arguments)
        return model

    def fit(model, x=x, y=y, **arguments):
        return model.fit(x, y, **{"verbose": 0, "epochs": 1, **arguments})

    known = {"np": np, "keras": keras, "layers": layers, "x": x, "y": y, "Y": np.eye(3)[y]}
    return {**known, "net": net, "ready": ready, "fit": fit}


def result(keras, code):
    """Run an idiom; shapes, lists and tuples are one thing."""
    keras.utils.clear_session()
    space = names(keras)
    exec(code, space)
    return plain(space["r"])


def plain(value):
    if isinstance(value, (list, tuple)) or type(value).__name__ in ("Size", "dict_keys"):
        return [plain(item) for item in value]
    return value.__name__ if inspect.isfunction(value) or inspect.isclass(value) else value


def test_there_are_idioms():
    assert len(IDIOMS) > 100 and len(set(IDIOMS)) == len(IDIOMS)


@pytest.mark.parametrize("code", IDIOMS, ids=range(len(IDIOMS)))
def test_idiom(keras, code):
    try:
        expected = result(keras, code)
    except Exception as error:  # what Keras refuses, fastconv refuses with the same kind of error
        kinds = tuple({type(error), TypeError, ValueError})
        with pytest.raises(kinds):
            result(fastconv, code)
        return
    assert result(fastconv, code) == expected
