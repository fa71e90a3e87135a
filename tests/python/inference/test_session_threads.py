"""Sixteen Python threads on one session, on sessions of their own, and on models."""

import threading

import numpy as np
import pytest

import fastconv
from fastconv import layers
from fastconv.inference import ModelGraph, Node, ValueInfo
from long_tests import count

THREADS = 16
SIZES = [(1, 8, 8), (2, 9, 12), (1, 16, 8), (3, 8, 8), (1, 20, 20)]


def network():
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 3, 3, 3)).astype("f4"),
        "v": rng.standard_normal((16, 16, 3, 3)).astype("f4"),
    }
    nodes = [
        Node("Conv", ["x", "w"], ["a"], {"pads": [1, 1, 1, 1]}, version=17),
        Node("Relu", ["a"], ["b"], {}, version=17),
        Node("Conv", ["b", "v"], ["c"], {"pads": [1, 1, 1, 1]}, version=17),
        Node("GlobalAveragePool", ["c"], ["y"], {}, version=17),
    ]
    return ModelGraph(
        "net",
        [ValueInfo("x", "float32", ("n", 3, "h", "w"))],
        [ValueInfo("y", "float32", None)],
        nodes,
        weights,
    )


def image(i):
    n, h, w = SIZES[i % len(SIZES)]
    return np.random.default_rng(i).standard_normal((n, 3, h, w)).astype("f4")


@pytest.fixture
def two_threads():
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(2)
    yield
    fastconv.set_num_threads(before)


def at_once(work):
    """Call work(i) in sixteen threads that begin together; raise what one of them raised."""
    start, errors = threading.Barrier(THREADS), []

    def run(i):
        start.wait()
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(scope="module")
def expected():
    session = fastconv.InferenceSession(network())
    return [session.run(None, {"x": image(i)})[0] for i in range(40)]


def same(session, i, expected):
    np.testing.assert_array_equal(session.run(None, {"x": image(i)})[0], expected[i])


def test_one_session(two_threads, expected):
    session = fastconv.InferenceSession(network())

    def work(k):
        for i in range(count(20, 1000)):
            same(session, (7 * k + i) % len(expected), expected)

    at_once(work)


def test_many_sessions(two_threads, expected):
    graph = network()
    shared = [fastconv.InferenceSession(graph) for _ in range(4)]

    def work(k):
        for i in range(count(5, 200)):
            same(fastconv.InferenceSession(graph), (3 * k + i) % len(expected), expected)
            same(shared[(k + i) % 4], (5 * k + i) % len(expected), expected)

    at_once(work)


def test_one_model_and_many(two_threads):
    def make(seed):
        fastconv.utils.set_random_seed(seed)
        model = fastconv.Sequential(
            [layers.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(2)]
        )
        model.compile("sgd", "mse")
        return model

    x = np.random.default_rng(0).standard_normal((12, 8, 8, 3)).astype("f4")
    y = x[:, :2, 0, 0]
    model, models = make(0), [make(k + 1) for k in range(THREADS)]
    result = model.predict(x, verbose=0)
    trained = []
    for own in models:
        before = own.get_weights()
        own.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        trained.append(own.get_weights())
        own.set_weights(before)

    def work(k):
        np.testing.assert_array_equal(model.predict(x, verbose=0), result)
        models[k].fit(x, y, batch_size=4, shuffle=False, verbose=0)
        for a, b in zip(models[k].get_weights(), trained[k], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(model.predict(x, verbose=0), result)

    at_once(work)
