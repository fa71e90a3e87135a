"""Concat along the last axis: written in place by what computes its inputs where that can be."""

import numpy as np
import pytest

from fastconv import get_num_threads, set_num_threads
from fastconv._runtime import core

from .graphs import Net, ops

DTYPES = ["float32", "float64"]
POINT = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}


def join(net, *values):
    return net.op(lambda *v: np.concatenate(v, -1), "concat", list(values), {"axis": -1})


def algorithms(plan, *feeds):
    return [s["algorithm"] for s in plan.profile(list(feeds)) if s["op"] == "concat"]


def dense_block(net, x, layers, growth, act="relu"):
    """DenseNet's: every layer reads all features before it."""
    features = [x]
    for _ in range(layers):
        y = net.activation(net.norm(join(net, *features)), act)
        y = net.activation(net.conv(y, 2 * growth, **POINT), "relu")
        features.append(net.conv(y, growth, bias=False))
    return net.activation(net.norm(join(net, *features)), act)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ["relu", "clip", "silu"])
@pytest.mark.parametrize("channels, growth", [(8, 4), (19, 5), (64, 32)])
def test_a_dense_block_is_one_buffer(channels, growth, act, dtype):
    net = Net(2, 6, 5, 3, dtype=dtype)
    y = dense_block(net, net.conv(net.x, channels), 3, growth, act)
    plan = net.check(y, tolerance=1e-4 if dtype == "float32" else 1e-12)
    assert algorithms(plan, net.data) == ["in place"] * 3  # one input alone is no concat
    assert act not in ops(plan, net.data)


def test_an_activation_of_a_norm_stays_between_what_could_be_folded():
    net = Net(1, 4, 4, 3)
    x = net.conv(net.x, 5)
    vectors = [net.constant(np.abs(net.arrays(5)) + 0.5) for _ in range(4)]
    attrs = {"eps": 1e-3, "activation": "relu"}

    def exact(x, gamma, beta, mean, var):
        return np.maximum((x - mean) / np.sqrt(var + 1e-3) * gamma + beta, 0)

    y = net.op(exact, "batch_norm_inference", [x, *vectors], attrs)
    plan = net.check(net.norm(net.binary("mul", y, net.constant(-2.0))), fewer=False)
    norm = "batch_norm_inference"
    assert ops(plan, net.data) == ["conv2d", norm, "mul", norm]
    with pytest.raises(ValueError, match='activation is "swoosh"'):
        net.graph.add("batch_norm_inference", [x, *vectors], {**attrs, "activation": "swoosh"})
    with pytest.raises(ValueError, match="a node of its own"):
        net.graph.gradients([y], [None], [net.x])


def test_what_cannot_be_written_in_place_is_copied_once():
    net = Net(1, 6, 6, 8)
    plan = net.check(dense_block(net, net.activation(net.x, "tanh"), 3, 8))
    assert algorithms(plan, net.data) == ["copy", "in place", "in place"]


def layers(net):
    """Layers with 6 x 7 outputs: of every kind, one with outputs that no tap meets."""
    x = net.x
    return [
        net.conv(x, 5, **POINT),
        net.conv(x, 70),
        net.activation(net.conv(x, 16, groups=8), "hard_swish"),
        net.conv(x, 8, groups=2),
        net.activation(net.conv(net.conv(x, 16), 24), "silu"),
        net.conv_transpose(net.conv(x, 4, (5, 4), (0, 0, 0, 0)), 6, (5, 4), (1, 1)),
        net.activation(
            net.conv_transpose(net.conv(x, 4, **POINT, strides=(3, 3)), 6, (1, 1), (5, 3)),
            "sigmoid",
        ),
        net.activation(net.dense(x, 9), "relu"),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layer_writes_in_place(dtype):
    net = Net(2, 6, 7, 8, dtype=dtype)
    plan = net.check(net.activation(join(net, *layers(net)), "tanh"))
    assert algorithms(plan, net.data) == ["in place"]


@pytest.mark.parametrize("act", ["relu", "silu"])
@pytest.mark.parametrize("algorithm", ["winograd F(2,3)", "winograd F(4,3)"])
def test_winograd_writes_in_place(algorithm, act):
    graph = core.Graph()
    arrays = Net(1, 1, 1, 1).arrays
    data = arrays(2, 9, 11, 8)
    x = graph.input("x", list(data.shape), "float32")
    attrs = {"pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1], "groups": 1}
    attrs |= {"algorithm": algorithm, "activation": act}
    parts = [
        graph.add("conv2d", [x, graph.constant(arrays(3, 3, 8, cout)), None], attrs)[0]
        for cout in (5, 40)
    ]
    (y,) = graph.add("concat", parts, {"axis": 3})
    plan = core.Plan(graph, [y])
    assert [s["algorithm"] for s in plan.profile([data])] == [algorithm, algorithm, "in place"]
    apart = core.Plan(graph, parts).run([data])
    assert plan.run([data])[0].tobytes() == np.concatenate(apart, -1).tobytes()


def test_the_output_of_a_plan_is_written_in_place():
    net = Net(2, 5, 6, 8)
    plan = net.check(join(net, net.conv(net.x, 5), net.conv(net.x, 7)))
    assert algorithms(plan, net.data) == ["in place"]


def test_a_concat_in_a_concat():
    net = Net(2, 5, 6, 8)
    inner = join(net, net.conv(net.x, 5), net.x, net.conv(net.x, 7))
    y = net.activation(join(net, net.conv(net.x, 3), inner, inner), "relu")
    assert algorithms(net.check(y), net.data) == ["copy", "copy"]


def test_what_others_read_keeps_its_own_memory():
    net = Net(2, 5, 6, 8)
    a, b = net.conv(net.x, 5), net.conv(net.x, 5)
    y = net.activation(join(net, a, b, a), "relu")
    z = net.binary("mul", b, net.activation(a, "tanh"))
    plan = core.Plan(net.graph, [y, z, a])
    for got, v in zip(plan.run([net.data]), [y, z, a], strict=True):
        np.testing.assert_allclose(got, net.exact[v], atol=2e-5 * np.abs(net.exact[v]).max())


def test_a_residual_of_two_concats():
    net = Net(1, 6, 6, 8)
    a, b = net.conv(net.x, 8), net.conv(net.x, 8)
    total = net.binary("add", net.conv(a, 8), b)
    y = join(net, join(net, a, total), join(net, total, b, a))
    net.check(net.activation(y, "relu"))


def random_net(seed, dtype):
    """A few dozen convolutions, norms and concats of each other's outputs."""
    rng = np.random.default_rng(seed)
    shape = [int(n) for n in rng.integers(1, 7, 3)]
    net = Net(*shape, int(rng.choice([1, 3, 8, 16])), dtype=dtype, seed=seed)
    values, chain = [net.x], []
    for _ in range(14):
        # Mostly what no concat writes in place: others' readers must find it dense.
        free = [v for v in values if v not in chain or rng.random() < 0.2]
        x = free[-1 - int(rng.integers(min(3, len(free))))]
        cin = net.graph.shape(x)[-1]
        kind = rng.integers(10)
        if kind <= 2:
            cout = int(rng.choice([1, 4, 7, 16, 33]))
            y = net.conv(x, cout, **(POINT if rng.random() < 0.5 else {}))
            if rng.random() < 0.2:
                y = net.binary("add", y, net.conv(x, cout))
        elif kind == 3:
            y = net.conv(x, cin, groups=cin)
        elif kind == 4:
            y = net.norm(x)
        elif kind > 5 and chain:
            parts = (
                chain
                if rng.random() < 0.6
                else [values[i] for i in rng.integers(len(values), size=3)]
            )
            y = join(net, *parts)
            if rng.random() < 0.5:
                y = net.norm(y)
        else:
            y = net.activation(x, "tanh")
        if rng.random() < 0.3:
            y = net.activation(y, str(rng.choice(["relu", "silu", "leaky_relu"])))
        if kind <= 2:
            chain.append(y)
        values.append(y)
    if chain:
        values.append(net.activation(net.norm(join(net, *chain)), "relu"))
    more = [values[i] for i in rng.integers(1, len(values), size=int(rng.integers(3)))]
    return net, [values[-1], *more]


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_chains(dtype):
    unit = 1e-4 if dtype == "float32" else 1e-12
    in_place = 0
    before = get_num_threads()
    try:
        for seed in range(150):
            net, outputs = random_net(seed, dtype)
            plan = core.Plan(net.graph, outputs)
            results = []
            for threads in (1, 3):
                set_num_threads(threads)
                results.append(plan.run([net.data]))
            for got, again, v in zip(*results, outputs, strict=True):
                assert got.tobytes() == again.tobytes(), seed
                scale = max(1.0, np.abs(net.exact[v]).max())
                np.testing.assert_allclose(
                    got, net.exact[v], rtol=0, atol=unit * scale, err_msg=str(seed)
                )
            in_place += algorithms(plan, net.data).count("in place")
    finally:
        set_num_threads(before)
    assert in_place > 50
