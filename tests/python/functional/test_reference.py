"""The reference itself: against PyTorch, and its gradients by finite differences."""

import numpy as np
import pytest

import reference as ref
from functional.cases import CASES
from functional.tools import nest


def _pairs(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _conv_arguments(case, arrays):
    a = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
    a.update(case.arguments)
    w = arrays["weight"]
    stride, dilation, more = (_pairs(a[k]) for k in ("stride", "dilation", "output_padding"))
    if w.ndim == 3:
        stride, dilation = (1, stride[0]), (1, dilation[0])
    kernel = w.shape[2:] if w.ndim == 4 else (1, w.shape[2])
    if a["padding"] == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple((t // 2, t - t // 2) for t in totals)
    elif a["padding"] == "valid":
        padding = ((0, 0), (0, 0))
    else:
        padding = nest(a["padding"], 1 if w.ndim == 3 else 2)
        padding = ((0, 0), *padding) if w.ndim == 3 else padding
    if case.name == "conv_transpose2d":
        return stride, padding, more, a["groups"], dilation
    return stride, padding, dilation, a["groups"]


def _convolution(case, arrays, g):
    x, w, b = arrays["input"], arrays["weight"], arrays.get("bias")
    if case.name == "linear":
        return ref.linear(x, w, b) if g is None else ref.linear_backward(g, x, w)
    plain = _conv_arguments(case, arrays)
    x4 = x if x.ndim == w.ndim else x[None]
    w4 = w
    if w.ndim == 3:
        x4, w4 = x4[:, :, None], w[:, :, None]
    transposed = case.name == "conv_transpose2d"
    y = (ref.conv_transpose2d if transposed else ref.conv2d)(x4, w4, b, *plain)
    shape = y.shape if w.ndim == 4 else (*y.shape[:2], y.shape[3])
    shape = shape if x.ndim == w.ndim else shape[1:]
    if g is None:
        return y.reshape(shape)
    backward = ref.conv_transpose2d_backward if transposed else ref.conv2d_backward
    dx, dw, db = backward(g.reshape(y.shape), x4, w4, *plain)
    return dx.reshape(x.shape), dw.reshape(w.shape), db


def _windows(case, x):
    a = case.arguments
    if case.name.startswith("adaptive"):
        out = _pairs(a["output_size"])
        return [ref.adaptive_windows(n, m or n) for n, m in zip(x.shape[-2:], out, strict=True)]
    kernel = _pairs(a["kernel_size"])
    stride, dilation = _pairs(a.get("stride", kernel)), _pairs(a.get("dilation", 1))
    return [
        ref.pool_windows(n, k, s, p, d, a.get("ceil_mode", False))
        for n, k, s, p, d in zip(
            x.shape[-2:], kernel, stride, nest(a.get("padding", 0)), dilation, strict=True
        )
    ]


def _pooling(case, arrays, g):
    x = arrays["input"]
    x4 = x if x.ndim == 4 else x[None]
    g4 = None if g is None or x.ndim == 4 else g[None]
    g4 = g if x.ndim == 4 else g4
    rows, cols = _windows(case, x)
    a = case.arguments
    if "max" in case.name:
        y, index = ref.max_pool(x4, rows, cols)
        out = y if g is None else ref.max_pool_backward(g4, x4.shape, index)
    elif "avg" in case.name:
        extra = (a.get("count_include_pad", True), a.get("divisor_override"))
        out = (
            ref.avg_pool(x4, rows, cols, *extra)
            if g is None
            else ref.avg_pool_backward(g4, x4.shape, rows, cols, *extra)
        )
    else:
        extra = (a["norm_type"], _pairs(a["kernel_size"]))
        out = (
            ref.lp_pool(x4, rows, cols, *extra)
            if g is None
            else ref.lp_pool_backward(g4, x4, rows, cols, *extra)
        )
    return out if x.ndim == 4 else out[0]


def run_reference(case, arrays, g=None):
    """The reference's output, or with g its gradients, for a case of the list."""
    name, x, a = case.name, arrays["input"], case.arguments
    if "weight" in arrays:
        return _convolution(case, arrays, g)
    if "pool" in name:
        return _pooling(case, arrays, g)
    if name == "local_response_norm":
        extra = (a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("k", 1.0))
        if g is None:
            return ref.local_response_norm(x, *extra)
        return ref.local_response_norm_backward(g, x, *extra)
    if name == "pad":
        mode = a.get("mode", "constant")
        if g is None:
            return ref.pad(x, a["pad"], mode, a.get("value", 0))
        return ref.pad_backward(g, x.shape, a["pad"], mode)
    if name.endswith("softmax"):
        return ref.softmax_family(x, a["dim"], name == "log_softmax", g)
    function, slope = ref.ACTIVATIONS[name]
    return function(x, *a.values()) if g is None else g * slope(x, *a.values())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_against_torch(case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = case.make(np.float64)
    tensors = {k: torch.tensor(a, requires_grad=True) for k, a in arrays.items()}
    function = getattr(torch.nn.functional, case.name)
    if case.name == "hardsigmoid":  # PyTorch's own has a float32 constant
        function = lambda input: (input + 3).clamp(0, 6) / 6  # noqa: E731
    expected = function(**tensors, **case.arguments)
    y = run_reference(case, arrays)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-11)
    g = np.random.default_rng(1).standard_normal(y.shape)
    wanted = torch.autograd.grad(expected, list(tensors.values()), torch.tensor(g))
    found = run_reference(case, arrays, g)
    for a, b in zip(found if isinstance(found, tuple) else (found,), wanted, strict=False):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-11)


def check_slope(forward, arrays, gradients, g, seed=2):
    """The gradient along a random direction is the forward's slope there."""
    rng = np.random.default_rng(seed)
    step = 1e-6
    direction = {k: rng.standard_normal(a.shape) for k, a in arrays.items()}
    ahead = forward({k: a + step * direction[k] for k, a in arrays.items()})
    behind = forward({k: a - step * direction[k] for k, a in arrays.items()})
    slope = (g * (ahead - behind)).sum() / (2 * step)
    parts = [(grad * way).sum() for grad, way in zip(gradients, direction.values(), strict=False)]
    size = np.sqrt(sum((grad**2).sum() for grad in gradients)) + abs(g).sum() * 1e-2
    assert abs(slope - sum(parts)) <= 1e-6 * size


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_reference_slope(case):
    arrays = case.make(np.float64)
    g = np.random.default_rng(1).standard_normal(run_reference(case, arrays).shape)
    found = run_reference(case, arrays, g)
    found = found if isinstance(found, tuple) else (found,)
    check_slope(lambda moved: run_reference(case, moved), arrays, found[: len(arrays)], g)


@pytest.mark.parametrize("training", [False, True])
def test_reference_slope_batch_norm(training):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 4, 5)), rng.standard_normal(4), rng.standard_normal(4)
    m, v, g = rng.standard_normal(4), rng.random(4) + 0.5, rng.standard_normal((3, 4, 5))
    found = ref.batch_norm_backward(g, x, w, m, v, training, 1e-5)

    def forward(a):
        return ref.batch_norm(a["x"], m, v, a["w"], a["b"], training, 1e-5)[0]

    check_slope(forward, {"x": x, "w": w, "b": b}, found, g)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_reference_slope_cross_entropy(kind, reduction):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((4, 5, 2)), rng.random(5)
    target = rng.random(x.shape) if kind == "probabilities" else rng.integers(0, 5, (4, 2))
    if kind == "indices":
        target[0, 0] = 2
    rest = (target, weight, 2, reduction, 0.1)
    g = rng.standard_normal((4, 2) if reduction == "none" else ())
    found = ref.cross_entropy_backward(g, x, *rest)
    check_slope(lambda a: ref.cross_entropy(a["x"], *rest), {"x": x}, (found,), np.asarray(g))
