"""The same seed gives the same training, at any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastconv
import small_networks
from fastconv import applications, layers, optimizers

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


def _application(name, size, width, **options):
    shape = (size, size, 3)
    return lambda: getattr(applications, name)(input_shape=shape, width=width, **options)


# Batch and builder; each has steps that are cut into many pieces, and some that are cut into few.
NETWORKS = {
    "course": (33, lambda: small_networks.course(dropout=0.2)),
    "LeNet5": (33, lambda: applications.LeNet5(input_shape=(28, 28, 1))),
    "AlexNet": (5, _application("AlexNet", 67, 1 / 4)),
    "VGG11": (5, _application("VGG11", 32, 1 / 4, batch_norm=True)),
    "ResNet18": (5, _application("ResNet18", 64, 1 / 2)),
    "MobileNetV2": (5, _application("MobileNetV2", 64, 1 / 2)),
    "ResNet50": (3, _application("ResNet50", 64, 1 / 2)),
}


def _steps(name, optimizer):
    """Return the losses of some steps and the weights and statistics after them."""
    batch, build = NETWORKS[name]
    fastconv.utils.set_random_seed(1)
    model = build()
    model.compile(optimizer(), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(2)
    x = rng.standard_normal((batch, *model.input_shape[1:]), dtype=np.float32)
    losses = [model.train_on_batch(x, np.arange(batch) % 10) for _ in range(3)]
    return losses, model.get_weights()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_any_number_of_threads(name):
    optimizer = optimizers.Adam if name in ("course", "LeNet5") else optimizers.SGD
    before = fastconv.get_num_threads()
    try:
        fastconv.set_num_threads(1)
        one = _steps(name, optimizer)
        assert np.isfinite(one[0]).all() and one[0][0] != one[0][2]
        for n in (1, 2, 3):
            fastconv.set_num_threads(n)
            _assert_equal(one, _steps(name, optimizer))
    finally:
        fastconv.set_num_threads(before)


CONFIG = fastconv._runtime.core.config()


@pytest.mark.parametrize("isa", [isa for isa in CONFIG["isas_supported"] if isa != CONFIG["isa"]])
def test_networks_on_other_instruction_sets(isa):
    # Not this run's xdist settings, and no pytest options meant for this run.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    env["FASTCONV_ISA"] = isa
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-k", "test_networks_at_any_number_of_threads", __file__]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"FASTCONV_ISA={isa}\n{done.stdout}\n{done.stderr}"
    assert f"{len(NETWORKS)} passed" in done.stdout


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
