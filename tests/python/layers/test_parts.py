"""Initializers, regularizers, constraints, activations, utils."""

import numpy as np
import pytest

import fastconv
from fastconv import activations, constraints, initializers, regularizers, utils


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / (1800 + 3600)),
        ("glorot_normal", 2 / (1800 + 3600)),
        ("he_uniform", 2 / 1800),
        ("he_normal", 2 / 1800),
        ("lecun_uniform", 1 / 1800),
        ("lecun_normal", 1 / 1800),
        ("random_normal", 0.05**2),
        ("random_uniform", 0.1**2 / 12),
        ("orthogonal", 1 / 1800),
    ],
)
def test_variances(name, variance):
    values = initializers.get(name)((3, 3, 200, 400))
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.01 * np.sqrt(variance) + 1e-4
    assert values.var() == pytest.approx(variance, rel=0.03)


def test_truncated_normal_stays_within_two_deviations():
    values = initializers.TruncatedNormal(stddev=0.1)((300, 300))
    assert np.abs(values).max() <= 0.2 + 1e-6
    assert initializers.HeNormal()((500, 500)).var() == pytest.approx(2 / 500, rel=0.03)


def test_constants_and_identity():
    np.testing.assert_array_equal(initializers.get("zeros")((2, 2)), np.zeros((2, 2)))
    np.testing.assert_array_equal(initializers.get("ones")((2,)), np.ones(2))
    np.testing.assert_array_equal(initializers.Constant(3)((2,)), [3, 3])
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), 2 * np.eye(2, 3))
    q = initializers.Orthogonal()((4, 6)).astype("float64")
    np.testing.assert_allclose(q @ q.T, np.eye(4), atol=1e-6)


def test_seeds():
    a = initializers.GlorotUniform(seed=1)
    np.testing.assert_array_equal(a((3, 3)), a((3, 3)))
    np.testing.assert_array_equal(a((3, 3)), initializers.GlorotUniform(seed=1)((3, 3)))
    utils.set_random_seed(5)
    first = initializers.get("he_normal")((3, 3))
    second = initializers.get("he_normal")((3, 3))
    utils.set_random_seed(5)
    np.testing.assert_array_equal(initializers.get("he_normal")((3, 3)), first)
    assert not np.array_equal(first, second)
    # One unseeded instance in two layers gives two different kernels.
    shared = initializers.HeNormal()
    one, two = (fastconv.layers.Dense(4, kernel_initializer=shared) for _ in range(2))
    one.build((None, 4))
    two.build((None, 4))
    assert not np.array_equal(one.kernel.numpy(), two.kernel.numpy())
    with pytest.raises(ValueError, match="seed"):
        utils.set_random_seed(-1)
    with pytest.raises(ValueError, match="seed"):
        utils.set_random_seed("one")


@pytest.mark.parametrize("module", [initializers, regularizers, constraints])
def test_get_and_serialize(module):
    for name in ("HeNormal", "L1L2", "MaxNorm"):
        cls = getattr(module, name, None)
        if cls is None:
            continue
        first = module.get(name)
        again = module.deserialize(module.serialize(first))
        assert type(again) is type(first)
        assert again.get_config() == first.get_config()
    assert module.get(None) is None
    with pytest.raises(ValueError, match="nonsense"):
        module.get("nonsense")
    with pytest.raises(ValueError, match="identifier"):
        module.get(3.5)


def test_regularizers_by_hand():
    w = np.array([[1.0, -2.0], [3.0, 0.0]])
    assert regularizers.L1(0.1)(w) == pytest.approx(0.6)
    assert regularizers.L2(0.1)(w) == pytest.approx(1.4)
    assert regularizers.L1L2(0.1, 0.1)(w) == pytest.approx(2.0)
    assert regularizers.get("l2").l2 == pytest.approx(0.01)
    with pytest.raises(ValueError, match="l2"):
        regularizers.L2(-1)


def test_constraints_by_hand():
    w = np.array([[3.0, 0.3], [4.0, -0.4]])
    np.testing.assert_allclose(constraints.MaxNorm(1)(w), [[0.6, 0.3], [0.8, -0.4]], rtol=1e-6)
    np.testing.assert_allclose(constraints.UnitNorm()(w), [[0.6, 0.6], [0.8, -0.8]], rtol=1e-5)
    np.testing.assert_allclose(constraints.NonNeg()(w), [[3, 0.3], [4, 0]])
    np.testing.assert_allclose(
        constraints.MinMaxNorm(1, 2)(w), [[1.2, 0.6], [1.6, -0.8]], rtol=1e-5
    )


def test_activations():
    x = np.array([[-3.0, -1.0, 0.0, 2.0, 9.0]])
    np.testing.assert_allclose(activations.relu(x, 0.1, 6.0), [[-0.3, -0.1, 0, 2, 6]])
    np.testing.assert_allclose(activations.relu6(x), [[0, 0, 0, 2, 6]])
    np.testing.assert_allclose(activations.hard_sigmoid(x), [[0, 1 / 3, 0.5, 5 / 6, 1]])
    np.testing.assert_allclose(activations.softmax(x).sum(), 1)
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.serialize(activations.relu) == "relu"
    with pytest.raises(ValueError, match="at least 2 axes"):
        activations.softmax(np.ones(3))
    with pytest.raises(TypeError, match="3"):
        activations.get(3)


def test_to_categorical():
    np.testing.assert_array_equal(utils.to_categorical([0, 2], 3), [[1, 0, 0], [0, 0, 1]])
    assert utils.to_categorical(np.array([[1], [0]])).shape == (2, 2)
    assert utils.to_categorical(np.zeros((2, 3), int), 4).shape == (2, 3, 4)
    assert utils.to_categorical([1]).dtype == np.float32
    with pytest.raises(ValueError, match="out of range"):
        utils.to_categorical([3], 3)
    with pytest.raises(ValueError, match="negative"):
        utils.to_categorical([-1])
    with pytest.raises(ValueError, match="whole"):
        utils.to_categorical([0.5])


def test_normalize():
    np.testing.assert_allclose(utils.normalize([[3.0, 4.0], [0, 0]]), [[0.6, 0.8], [0, 0]])
