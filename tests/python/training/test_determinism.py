"""The same seed gives the same training, at any number of threads."""

import numpy as np
import pytest

import fastconv
from fastconv import layers

X = np.random.default_rng(0).standard_normal((70, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 4, 70)


def _train(seed=5, shuffle=True):
    fastconv.utils.set_random_seed(seed)
    model = fastconv.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(X, Y, epochs=3, batch_size=16, shuffle=shuffle, verbose=0)
    return history.history["loss"], model.get_weights()


def _assert_equal(a, b):
    assert a[0] == b[0]
    for p, q in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(p, q)


def test_same_seed():
    _assert_equal(_train(), _train())


def test_other_seed():
    assert _train(5)[0] != _train(6)[0]


def test_threads():
    before = fastconv.get_num_threads()
    try:
        fastconv.set_num_threads(1)
        one = _train()
        for n in (2, 3):
            fastconv.set_num_threads(n)
            _assert_equal(one, _train())
    finally:
        fastconv.set_num_threads(before)


def test_dropout_masks_differ_between_steps_and_layers():
    model = fastconv.Sequential([layers.Input((400,)), layers.Dropout(0.5), layers.Dense(1)])
    x = np.ones((1, 400), "float32")
    fastconv.utils.set_random_seed(0)
    model.compile(fastconv.optimizers.SGD(1e-6), "mae")
    seen = []
    for _ in range(3):
        before = model.get_weights()[0]
        model.train_on_batch(x, [[1e9]])
        seen.append((model.get_weights()[0] != before).ravel())
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    a = layers.Input((400,))
    two = fastconv.Model(a, [layers.Dropout(0.5)(a), layers.Dropout(0.5)(a)])
    first, second = two(x, training=True)
    assert not np.array_equal(first, second)
    assert 0.35 < np.mean(np.asarray(first) == 0) < 0.65


def test_shuffling_reaches_every_sample():
    seen = []

    def spy(y_true, y_pred):
        seen.append(y_true.ravel())
        return np.zeros(len(y_true))

    fastconv.utils.set_random_seed(0)
    model = fastconv.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[spy])
    data = np.arange(20.0)[:, None]
    model.fit(data, data, epochs=2, batch_size=6, verbose=0)
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert sorted(first) == sorted(second) == list(range(20))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(20))


def test_memory_of_plans_is_bounded():
    model = fastconv.Sequential([layers.Input((None, 2)), layers.Conv1D(2, 1)])
    for length in range(1, 40):
        model.predict(np.zeros((1, length, 2)), verbose=0)
        model(np.zeros((1, length, 2)))
    assert len(model._plans) <= 8
    assert len(model._eager_plans) <= 8


@pytest.mark.parametrize("size", [1, 3])
def test_results_do_not_depend_on_earlier_shapes(size):
    model = fastconv.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Flatten()])
    x = X[:7, :6, :6, :1]
    fresh = model.predict(x[:size], verbose=0)
    model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(x[:size], verbose=0), fresh)
