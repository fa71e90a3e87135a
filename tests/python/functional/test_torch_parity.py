"""The same calls on PyTorch: outputs, gradients, and what happens beside them."""

import numpy as np
import pytest

from fastconv import functional as F
from functional.cases import CASES
from functional.tools import backward_arguments

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
TF = pytest.importorskip("torch.nn.functional", reason="PyTorch is not installed")

# What the project promises, relative to the largest value.
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-9}
DTYPES = [np.float32, np.float64]


def check(actual, expected, dtype):
    expected = expected.detach().numpy()
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if actual.size:
        limit = TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=limit)


def _torch_function(name):
    if name == "hardsigmoid":
        # PyTorch's own rounds 1/6 to float32 in float64 too.
        return lambda input: (input + 3).clamp(0, 6) / 6
    return getattr(TF, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_operator(case, dtype):
    arrays = case.make(dtype)
    tensors = {k: torch.tensor(a, requires_grad=True) for k, a in arrays.items()}
    y = getattr(F, case.name)(**arrays, **case.arguments)
    expected = _torch_function(case.name)(**tensors, **case.arguments)
    check(y, expected, dtype)

    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    wanted = torch.autograd.grad(expected, list(tensors.values()), torch.tensor(g))
    backward = getattr(F, f"{case.name}_backward")
    found = backward(g, **backward_arguments(backward, {**arrays, **case.arguments}))
    found = found if isinstance(found, tuple) else (found,)
    for a, b in zip(found, wanted, strict=False):  # without a bias there is one gradient more
        check(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [2, (1, 3), "same"])
def test_padding_mode(mode, padding, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 6, 7)).astype(dtype)
    w = rng.standard_normal((4, 3, 3, 4)).astype(dtype)
    layer = torch.nn.Conv2d(3, 4, (3, 4), padding=padding, padding_mode=mode, bias=False)
    layer.weight = torch.nn.Parameter(torch.tensor(w))
    check(F.conv2d(x, w, padding=padding, padding_mode=mode), layer(torch.tensor(x)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_indices(ceil_mode, dtype):
    x = np.random.default_rng(0).integers(-2, 3, (2, 17, 9, 8)).astype(dtype)
    arguments = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": ceil_mode}
    for ours, theirs in (
        (
            F.max_pool2d(x, return_indices=True, **arguments),
            TF.max_pool2d(torch.tensor(x), return_indices=True, **arguments),
        ),
        (
            F.adaptive_max_pool2d(x, (4, 3), return_indices=True),
            TF.adaptive_max_pool2d(torch.tensor(x), (4, 3), return_indices=True),
        ),
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.numpy().dtype
            np.testing.assert_array_equal(a, b.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (4, 17, 6), (3, 8, 5, 4), (2, 3, 2, 2, 3)])
def test_batch_norm(shape, affine, training, dtype):
    rng = np.random.default_rng(0)
    c = shape[1]
    x = (rng.standard_normal(shape) + 3).astype(dtype)
    weight, bias, mean = (rng.standard_normal(c).astype(dtype) for _ in range(3))
    var = rng.random(c).astype(dtype) + dtype(0.5)
    t_mean, t_var = torch.tensor(mean), torch.tensor(var)
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    if not affine:
        weight = bias = None
    before = mean.copy(), var.copy()
    y = F.batch_norm(x, mean, var, weight, bias, training, 0.3, 1e-4)
    expected = TF.batch_norm(
        tx, t_mean, t_var, tw if affine else None, tb if affine else None, training, 0.3, 1e-4
    )
    check(y, expected, dtype)
    check(mean, t_mean, dtype)
    check(var, t_var, dtype)

    g = rng.standard_normal(shape).astype(dtype)
    found = F.batch_norm_backward(g, x, weight, *before, training, 1e-4)
    wanted = torch.autograd.grad(expected, [tx, tw, tb] if affine else [tx], torch.tensor(g))
    for a, b in zip(found, wanted, strict=False):
        # A gradient through batch statistics cancels: measure against what went in.
        limit = TOLERANCE[dtype] * max(np.abs(b.numpy()).max(), 1)
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("shape", [(5,), (6, 5), (2, 5, 3, 4)])
def test_cross_entropy(shape, kind, weighted, reduction, smoothing, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    axis = 0 if len(shape) == 1 else 1
    if kind == "indices":
        target = np.asarray(rng.integers(0, 5, shape[:axis] + shape[axis + 1 :]))
        if target.size > 1:
            target.flat[1] = -100
    else:
        target = rng.random(shape).astype(dtype)
    weight = rng.random(5).astype(dtype) if weighted else None
    tx = torch.tensor(x, requires_grad=True)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    loss = F.cross_entropy(x, target, weight, **options)
    expected = TF.cross_entropy(
        tx, torch.tensor(target), torch.tensor(weight) if weighted else None, **options
    )
    check(np.asarray(loss), expected, dtype)
    g = rng.standard_normal(expected.shape).astype(dtype)
    found = F.cross_entropy_backward(np.asarray(g), x, target, weight, **options)
    (wanted,) = torch.autograd.grad(expected, [tx], torch.tensor(g))
    check(found, wanted, dtype)


def test_cross_entropy_of_nothing():
    x, target = np.zeros((2, 3), np.float32), np.full(2, -100)
    assert np.isnan(F.cross_entropy(x, target))
    assert np.isnan(TF.cross_entropy(torch.tensor(x), torch.tensor(target)))
    empty = np.zeros((0, 3), np.float32)
    assert np.isnan(F.cross_entropy(empty, target[:0]))
    assert F.cross_entropy(empty, target[:0], reduction="sum") == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "sigmoid", "tanh", "elu", "silu", "hardswish", "softplus"]
)
def test_special_values(name, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.0, -3.0, 1e30, -1e30], dtype)
    y = getattr(F, name)(x)
    np.testing.assert_allclose(y, getattr(TF, name)(torch.tensor(x)).numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "hardsigmoid"])
def test_gradients_at_corners(name):
    x = np.array([0.0, -0.0, 3.0, -3.0, np.inf, -np.inf], np.float64)
    tx = torch.tensor(x, requires_grad=True)
    (wanted,) = torch.autograd.grad(getattr(TF, name)(tx).sum(), tx)
    found = getattr(F, f"{name}_backward")(np.ones_like(x), x)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-7)
