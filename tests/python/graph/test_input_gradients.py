"""Transposed convolutions (input gradients): residuals, phases, few channels, large weights."""

import numpy as np
import pytest

import reference as ref
from fastconv._runtime import core

from .graphs import Net, ops

DTYPES = ["float32", "float64"]
# Kind of convolution: input channels, output channels, kernel, strides, groups.
KINDS = {
    "plain": (5, 7, (3, 3), (1, 1), 1),
    "winograd": (32, 40, (3, 3), (1, 1), 1),
    "phases": (6, 19, (3, 3), (2, 2), 1),
    "uneven phases": (6, 5, (3, 2), (2, 3), 1),
    "pointwise": (70, 80, (1, 1), (1, 1), 1),
    "gaps": (9, 21, (1, 1), (2, 2), 1),
    "gaps in columns": (4, 9, (3, 1), (2, 3), 1),
    "grouped": (6, 8, (3, 3), (2, 1), 2),
    "depthwise": (35, 35, (3, 3), (1, 1), 35),
    "depthwise phases": (35, 35, (3, 3), (2, 2), 35),
    "depthwise gaps": (20, 20, (2, 1), (3, 2), 20),
    "overlap": (24, 3, (5, 5), (1, 1), 1),
    "overlapping phases": (40, 3, (5, 4), (2, 2), 1),
    "overlap with gaps": (40, 2, (2, 3), (3, 4), 1),
}


def on_threads(plan, data):
    """The result, which any number of threads must give bit for bit."""
    results = [plan.run([data], threads=n)[0] for n in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


def algorithm(plan, *feeds, op="conv_transpose2d"):
    return [s["algorithm"] for s in plan.profile(list(feeds)) if s["op"] == op]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_residuals_fuse(kind, swap, bias, dtype):
    cin, cout, kernel, strides, groups = KINDS[kind]
    net = Net(2, 9, 7, cin, dtype=dtype)
    y = net.conv_transpose(net.x, cout, kernel, strides, groups, bias)
    other = net.constant(net.arrays(*net.graph.shape(y)))
    both = [other, y] if swap else [y, other]
    on_threads(net.check(net.binary("add", *both), ["conv_transpose2d"]), net.data)
    clamped = net.activation(net.binary("add", *both), "relu")
    net.check(clamped, ["conv_transpose2d"])
    net.check(net.activation(net.binary("add", *both), "silu"), ["conv_transpose2d"])


@pytest.mark.parametrize("kind", KINDS)
def test_residual_whose_memory_the_result_takes(kind):
    cin, cout, kernel, strides, groups = KINDS[kind]
    net = Net(2, 6, 5, cin)
    first = net.conv_transpose(net.x, cout, kernel, strides, groups)
    first = net.activation(first, "tanh")
    second = net.conv_transpose(net.x, cout, kernel, strides, groups)
    y = net.op(lambda x: 2 * x, "scale", [net.binary("add", second, first)], {"alpha": 2.0})
    net.check(y)


@pytest.mark.parametrize("wish", ["direct", "winograd F(4,3)", "winograd F(2,3)"])
def test_residuals_of_every_algorithm(wish):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 9, 16)), rng.standard_normal((3, 3, 40, 16))
    residual = rng.standard_normal((2, 10, 11, 40))
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "output_size": [10, 11]}
    results = []
    for dtype, more in (("float64", {}), ("float32", {"algorithm": wish})):
        graph = core.Graph()
        inputs = [graph.input("x", [2, 8, 9, 16], dtype), graph.constant(w.astype(dtype)), None]
        inputs.append(graph.constant(residual.astype(dtype)))
        plan = core.Plan(graph, graph.add("conv_transpose2d", inputs, {**attrs, **more}))
        results.append(on_threads(plan, x.astype(dtype)))
    assert algorithm(plan, np.float32(x)) == [wish]
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=3e-5 * np.abs(results[0]).max())


def test_residuals_gradient_is_the_outputs():
    graph = core.Graph()
    rng = np.random.default_rng(1)
    attrs = {"strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1], "output_size": [5, 5]}
    x = graph.input("x", [1, 2, 2, 3], "float64")
    w, r = (
        graph.constant(rng.standard_normal((3, 3, 4, 3))),
        graph.input("r", [1, 5, 5, 4], "float64"),
    )
    (y,) = graph.add("conv_transpose2d", [x, w, None, r], attrs)
    seed = graph.input("dy", [1, 5, 5, 4], "float64")
    plan = core.Plan(graph, graph.gradients([y], [seed], [r]))
    dy = rng.standard_normal((1, 5, 5, 4))
    feeds = [rng.standard_normal((1, 2, 2, 3)), dy, dy]
    np.testing.assert_array_equal(plan.run(feeds)[0], dy)


def test_residual_of_another_shape_is_refused():
    graph = core.Graph()
    attrs = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "output_size": [4, 4]}
    x, w = graph.input("x", [1, 2, 2, 3], "float32"), graph.input("w", [3, 3, 4, 3], "float32")
    r = graph.input("r", [1, 4, 4, 3], "float32")
    with pytest.raises(ValueError, match="residual"):
        graph.add("conv_transpose2d", [x, w, None, r], attrs)


@pytest.mark.parametrize("seed", range(40))
def test_few_output_channels(seed):
    """Runs of a column's sums that overlap, also where pads leave columns out or add some."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[seed % 4 == 3]
    kernel = tuple(map(int, rng.integers(1, 6, 2)))
    size = np.maximum(rng.integers(1, 14, 2), kernel)
    pads = tuple(map(int, rng.integers(0, 7, 4)))
    net = Net(
        int(rng.integers(1, 4)), *map(int, size), int(rng.integers(8, 70)), dtype=dtype, seed=seed
    )
    strides = (int(rng.integers(1, 3)), 1)
    dilations = (1, 1) if size[0] < 2 * kernel[0] else (int(rng.integers(1, 3)), 1)
    y = net.conv(
        net.x, int(rng.integers(1, 5)), kernel, pads, strides, dilations, bias=bool(seed % 2)
    )
    if seed % 3:
        y = net.activation(y, ["relu", "silu"][seed % 2])
    on_threads(net.check(y, ["conv2d"], fewer=False), net.data)


def gradient_case(rng, cin, cout, groups, kernel, strides, dtype):
    """A plan of a conv_transpose2d with random pads and output size, its feeds, its result."""
    size = [max(k, int(n)) for k, n in zip(kernel, rng.integers(2, 24, 2), strict=True)]
    pads = [int(rng.integers(0, k + 1)) for k in (*kernel, *kernel)]
    ends = [size[i] + pads[i] + pads[i + 2] for i in range(2)]
    rows, columns = ((ends[i] - kernel[i]) // strides[i] + 1 for i in range(2))
    n = int(rng.integers(1, 4))
    x = rng.standard_normal((n, rows, columns, cin)).astype(dtype)
    w = rng.standard_normal((*kernel, cout // groups, cin)).astype(dtype)
    b = rng.standard_normal(cout).astype(dtype) if rng.integers(2) else None
    other = rng.standard_normal((n, *size, cout)).astype(dtype) if rng.integers(2) else None
    full = ref.conv_transpose2d(
        x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), None, strides, groups=groups
    ).transpose(0, 2, 3, 1)
    exact = np.zeros((n, *ends, cout))  # where the last windows end before the input does
    exact[:, : full.shape[1], : full.shape[2]] = full
    exact = exact[:, pads[0] :, pads[1] :][:, : size[0], : size[1]]
    exact = exact + (0 if b is None else b) + (0 if other is None else other)
    graph = core.Graph()
    inputs = [graph.input("x", x.shape, dtype), graph.input("w", w.shape, dtype)]
    inputs += [None if a is None else graph.constant(a) for a in (b, other)]
    attrs = {"strides": list(strides), "pads": pads, "dilations": [1, 1], "groups": groups}
    activation = ["", "relu", "silu"][int(rng.integers(3))]
    if activation:
        exact = np.maximum(exact, 0) if activation == "relu" else exact / (1 + np.exp(-exact))
        attrs["activation"] = activation
    y = graph.add("conv_transpose2d", inputs, {**attrs, "output_size": size})
    return core.Plan(graph, y), [x, w], exact


def check_case(plan, feeds, exact):
    results = [plan.run(feeds, threads=n)[0] for n in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    unit = 2e-5 if feeds[0].dtype == np.float32 else 1e-12
    np.testing.assert_allclose(results[0], exact, rtol=0, atol=unit * max(1, np.abs(exact).max()))


@pytest.mark.parametrize("seed", range(80))
def test_depthwise_with_strides(seed):
    """Odd and even sizes and pads, kernels for which all phases run at once and others."""
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([16, 32, 48, *rng.integers(2, 70, 3)]))
    kernel = (int(rng.integers(2, 6)), int(rng.choice([3, 5, 3, 5, 2, 4])))
    strides = (2, 2) if seed % 5 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    dtype = DTYPES[seed % 4 == 3]
    check_case(*gradient_case(rng, channels, channels, channels, kernel, strides, dtype))


def test_depthwise_results_larger_than_the_cache():
    """They are written past it."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 30, 29, 160)), rng.standard_normal((3, 3, 1, 160))
    attrs = {"strides": [2, 2], "pads": [1] * 4, "dilations": [1, 1], "groups": 160}
    results = []
    for dtype in ("float32", "float64"):
        graph = core.Graph()
        inputs = [graph.input("x", x.shape, dtype), graph.constant(w.astype(dtype))]
        y = graph.add("conv_transpose2d", inputs, {**attrs, "output_size": [60, 58]})
        total = graph.add("reduce_sum", graph.add("square", y), {"axes": [0, 1, 2]})
        plan = core.Plan(graph, [*total, *y])
        inner = core.Plan(graph, total)  # y lies in the arena, on cache lines
        total, y = (plan.run([x.astype(dtype)], threads=2)[i] for i in range(2))
        np.testing.assert_array_equal(inner.run([x.astype(dtype)])[0], total)
        results += [total, y]
    np.testing.assert_allclose(results[1], results[3], rtol=0, atol=1e-5)
    np.testing.assert_allclose(results[0], results[2], rtol=1e-4)


@pytest.mark.parametrize("seed", range(80))
def test_few_channels_with_pads(seed):
    """Kernels whose rows share an input row's products, and those with too many; few inputs too."""
    rng = np.random.default_rng(seed)
    channels, outputs = int(rng.integers(1, 40)), int(rng.integers(1, 7))
    kernel = tuple(map(int, rng.integers(1, 6, 2)))
    strides = (1, 1) if seed % 2 else tuple(map(int, rng.integers(1, 4, 2)))
    dtype = DTYPES[seed % 4 == 3]
    check_case(*gradient_case(rng, channels, outputs, 1, kernel, strides, dtype))


def test_few_output_channels_take_overlapping_runs():
    if core.config()["isa"] != "avx512":
        pytest.skip("narrower vectors have the channels of more taps")
    net = Net(3, 10, 10, 16)
    plan = net.check(net.conv_transpose(net.x, 6, (5, 5), (1, 1)))
    assert algorithm(plan, net.data) == ["overlap"]
    net = Net(3, 9, 8, 64)
    plan = net.check(net.conv_transpose(net.x, 3, (7, 7), (2, 2)))
    assert algorithm(plan, net.data) == ["overlap"]
    net = Net(2, 9, 8, 64)
    plan = net.check(net.conv(net.x, 3, (3, 3)))
    assert algorithm(plan, net.data, op="conv2d") == ["overlap"]
    net = Net(2, 9, 8, 6)
    plan = net.check(net.conv_transpose(net.x, 1, (5, 5), (1, 1)))
    assert algorithm(plan, net.data) == ["overlap"]


@pytest.mark.parametrize(
    "kernel, strides, channels", [((1, 1), (2, 2), 700), ((3, 3), (2, 2), 260)]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_weights_larger_than_the_cache_are_cut(kernel, strides, channels, transposed):
    net = Net(2, 7, 7, channels)
    if transposed:
        y = net.conv_transpose(net.x, channels + 9, kernel, strides)
    else:
        y = net.conv(net.x, channels + 9, kernel, (kernel[0] // 2,) * 4, strides)
    on_threads(net.check(y), net.data)


def test_shared_tiles_of_large_weights():
    """More transformed input than is shared elsewhere: every block would read large weights."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 14, 14, 256)), rng.standard_normal((3, 3, 256, 256))
    results = []
    for wish in ("winograd F(4,3)", "direct"):
        graph = core.Graph()
        inputs = [graph.input("x", list(x.shape), "float32"), graph.constant(np.float32(w))]
        attrs = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "algorithm": wish}
        plan = core.Plan(graph, graph.add("conv2d", inputs, attrs))
        results.append(on_threads(plan, np.float32(x)))
        assert ops(plan, np.float32(x)) == ["conv2d"]
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=3e-5 * np.abs(results[1]).max())
