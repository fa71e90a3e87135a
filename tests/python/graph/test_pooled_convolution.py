"""Max-pooling inside the convolution before it and inside its gradients; maps without dead rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv._runtime import core

from .graphs import ACTIVATIONS

FORWARD = ["direct", *(f"winograd F({m},3)" for m in (2, 3, 4, 5, 6))]
TO_INPUT = [*FORWARD, *(f"winograd F({m},3)T" for m in (3, 4, 5))]
MOST_TILES = 16  # of an image that is pooled as a whole


def steps(plan, feeds):
    return [(s["op"], s["algorithm"]) for s in plan.profile(feeds)]


def on_threads(plan, feeds):
    """The outputs, with the same bits on any number of threads."""
    got = plan.run(feeds, 1)
    for threads in (2, 3):
        for a, b in zip(got, plan.run(feeds, threads), strict=True):
            np.testing.assert_array_equal(a, b)
    return got


@st.composite
def cases(draw, algorithms=FORWARD):
    algorithm = draw(st.sampled_from(algorithms))
    kernel = (3, 3) if algorithm != "direct" else draw(st.tuples(*[st.integers(1, 4)] * 2))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    window = draw(st.tuples(*[st.integers(1, 3)] * 2))
    if draw(st.booleans()):
        window = (2, 2)
    map_size = [draw(st.integers(w, w + 12)) for w in window]
    room = [pads[i] + pads[i + 2] - kernel[i] + 1 for i in range(2)]
    if any(n - r < 1 for n, r in zip(map_size, room, strict=True)):
        pads, room = (0, 0, 0, 0), [1 - k for k in kernel]
    return {
        "algorithm": algorithm,
        "kernel": kernel,
        "pads": pads,
        "window": window,
        "map": map_size,
        "x": (draw(st.integers(1, 9)), *(n - r for n, r in zip(map_size, room, strict=True))),
        "cin": draw(st.sampled_from([1, 2, 3, 8, 16, 17, 32])),
        "cout": draw(st.sampled_from([1, 4, 6, 16, 17, 33, 64, 70])),
        "activation": draw(st.sampled_from(["", "relu", "tanh"])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def attributes(c, **more):
    a = {"strides": [1, 1], "pads": list(c["pads"]), "dilations": [1, 1], **more}
    return {**a, "algorithm": c["algorithm"]}


def arrays(seed, *shapes, dtype="float32"):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def inputs_of(g, feeds):
    return [g.input(f"i{k}", list(f.shape), f.dtype.name) for k, f in enumerate(feeds)]


def winner_bytes(winners, shape):
    return winners.view(np.uint8)[: np.prod(shape)].reshape(shape)


@given(cases())
def test_forward(c):
    """The bits of the convolution and of the pooling after it, ties and NaN too."""
    x, w, b = arrays(
        c["seed"], (*c["x"], c["cin"]), (*c["kernel"], c["cin"], c["cout"]), (c["cout"],)
    )
    w[np.abs(w) < 0.3] = 0
    if c["algorithm"] == "direct" and x.size > 3:
        x.flat[3] = np.nan
    conv = attributes(c)
    if c["activation"]:
        conv["activation"] = c["activation"]
    window = list(c["window"])
    pool = {"kernel": window, "strides": window, "pads": [0] * 4, "input_size": c["map"]}
    pooled = [n // w for n, w in zip(c["map"], window, strict=True)]
    (dy,) = arrays(c["seed"], (c["x"][0], *pooled, c["cout"]))
    feeds = [x, w, b, dy]

    def plan_of(apart):
        """The maxima, and which elements they are, as pooling's gradient tells."""
        g = core.Graph()
        *inputs, vdy = inputs_of(g, feeds)
        if apart:
            y = g.add("max_pool2d_with_winners", g.add("conv2d", inputs, conv), pool)
        else:
            y = g.add("conv2d_max_pool", inputs, {**conv, "window": window, "winners": True})
        return core.Plan(g, [y[0], *g.add("max_pool2d_backward", [vdy, y[1]], pool)])

    plan, apart = plan_of(False), plan_of(True)
    got, want = on_threads(plan, feeds), apart.run(feeds)
    used = steps(plan, feeds)[0][1]
    if used == steps(apart, feeds)[0][1]:
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    else:  # windows cross the tiles of a large map
        assert used == "direct"
        m = int(c["algorithm"][-4])
        whole = [n * w for n, w in zip(pooled, window, strict=True)]
        assert np.prod([-(-n // m) for n in whole]) > MOST_TILES
        np.testing.assert_allclose(got[0], want[0], atol=1e-3)


@given(cases(TO_INPUT))
def test_backward(c):
    """What the gradients of pooling and convolution give one after the other."""
    pooled = (c["x"][0], *(n // w for n, w in zip(c["map"], c["window"], strict=True)), c["cout"])
    x, w, dy = arrays(c["seed"], (*c["x"], c["cin"]), (*c["kernel"], c["cin"], c["cout"]), pooled)
    taps = c["window"][0] * c["window"][1]
    rng = np.random.default_rng(c["seed"])
    winners = np.zeros(-(-(dy.size + 64) // 8), np.int64)
    winner_bytes(winners, dy.shape)[:] = rng.integers(0, taps, dy.shape)
    window = list(c["window"])
    own = {"window": window, "map": c["map"]}
    size, kernel = {"output_size": list(c["x"][1:])}, {"kernel": list(c["kernel"])}

    g = core.Graph()
    vx, vw, vdy, vwin = inputs_of(g, [x, w, dy, winners])
    (dx,) = g.add("conv2d_max_pool_backward_input", [vdy, vw, vwin], attributes(c, **own, **size))
    weights = {**attributes(c, **own, **kernel), "algorithm": c["algorithm"].rstrip("T")}
    (dw,) = g.add("conv2d_max_pool_backward_weights", [vx, vdy, vwin], weights)
    plan = core.Plan(g, [dx, dw])

    spread = np.zeros((x.shape[0], *c["map"], c["cout"]))
    for i in range(window[0]):
        for j in range(window[1]):
            chosen = winner_bytes(winners, dy.shape) == i * window[1] + j
            rows, cols = pooled[1] * window[0], pooled[2] * window[1]
            spread[:, i : rows : window[0], j : cols : window[1]] = np.where(chosen, dy, 0)
    top, left, bottom, right = c["pads"]
    want = ref.conv2d_backward(
        spread.transpose(0, 3, 1, 2),
        np.float64(x).transpose(0, 3, 1, 2),
        np.float64(w).transpose(3, 2, 0, 1),
        padding=((top, bottom), (left, right)),
    )
    got = on_threads(plan, [x, w, dy, winners])
    for a, b, axes, terms in (
        (got[0], want[0], (0, 2, 3, 1), 9 * c["cout"]),
        (got[1], want[1], (2, 3, 1, 0), spread.size / c["cout"]),
    ):
        exact = b.transpose(axes)
        scale = max(np.abs(exact).max(), np.sqrt(terms))
        np.testing.assert_allclose(a, exact, rtol=0, atol=1e-4 * scale)


@given(cases(["direct"]), st.sampled_from(["float32", "float64"]))
def test_weights_from_winners(c, dtype):
    """Sums over the maxima only are those over the whole map."""
    cin = 1 + c["cin"] % 4
    pooled = (c["x"][0], *(n // w for n, w in zip(c["map"], c["window"], strict=True)), c["cout"])
    x, dy = arrays(c["seed"], (*c["x"], cin), pooled, dtype=dtype)
    winners = np.zeros(-(-(dy.size + 64) // 8), np.int64)
    taps = np.random.default_rng(c["seed"]).integers(0, np.prod(c["window"]), dy.shape)
    winner_bytes(winners, dy.shape)[:] = taps

    def plan_of(algorithm):
        g = core.Graph()
        attrs = {"window": list(c["window"]), "map": c["map"], "kernel": list(c["kernel"])}
        attrs = {**attributes(c, **attrs), "algorithm": algorithm}
        values = inputs_of(g, [x, dy, winners])
        return core.Plan(g, g.add("conv2d_max_pool_backward_weights", values, attrs))

    feeds = [x, dy, winners]
    mine, direct = plan_of("winners"), plan_of("direct")
    width = {"avx512": 64, "avx2": 32}.get(core.config()["isa"], 16) // x.itemsize
    vectors = -(-c["kernel"][1] * cin // width)
    taken = vectors <= 2 and c["kernel"][0] * vectors <= 12
    assert (steps(mine, feeds)[0][1] == "winners") == taken
    (got,), (want,) = on_threads(mine, feeds), direct.run(feeds)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    scale = max(np.abs(want).max(), np.sqrt(np.prod(pooled[:3])))
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


@st.composite
def networks(draw):
    """Two convolutions with pooling, of maps of any size."""
    h, w = draw(st.integers(14, 22)), draw(st.integers(14, 22))
    size, layers = [h, w], []
    for _ in range(2):
        kernel = draw(st.integers(1, 3))
        pad = draw(st.integers(0, kernel - 1))
        size = [n + 2 * pad - kernel + 1 for n in size]
        window = draw(st.integers(2, 3))
        stride = draw(st.sampled_from([window, window, draw(st.integers(1, 3))]))
        if min(size) < window:
            break
        size = [(n - window) // stride + 1 for n in size]
        layers.append((kernel, pad, window, stride))
        if min(size) < 3:
            break
    return {
        "layers": layers,
        "activation": draw(st.sampled_from(["", "relu", "tanh", "sigmoid", "leaky_relu", "clip"])),
        "channels": draw(st.sampled_from([(1, 4, 3), (2, 3, 17), (3, 16, 8)])),
        "h": h,
        "w": w,
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def build(c, dtype, keep_maps):
    """The gradients' graph; with `keep_maps` all maps are outputs too, so that nothing is fused."""
    g = core.Graph()
    channels = c["channels"]
    x = g.input("x", [2, c["h"], c["w"], channels[0]], dtype)
    rng = np.random.default_rng(c["seed"])
    y, weights, maps = x, [], []
    for i, (kernel, pad, window, stride) in enumerate(c["layers"]):
        w = rng.standard_normal((kernel, kernel, channels[i], channels[i + 1]))
        b = rng.standard_normal(channels[i + 1])
        weights += [g.variable(core.Variable(a.astype(dtype))) for a in (w, b)]
        conv = {"strides": [1, 1], "pads": [pad] * 4, "dilations": [1, 1]}
        (y,) = g.add("conv2d", [y, *weights[-2:]], conv)
        maps.append(y)
        if c["activation"]:
            (y,) = g.add(c["activation"], [y], ACTIVATIONS.get(c["activation"], ({},))[0])
            maps.append(y)
        pool = {"kernel": [window] * 2, "strides": [stride] * 2, "pads": [0] * 4}
        (y,) = g.add("max_pool2d", [y], pool)
        maps.append(y)
    seed = g.input("dy", g.shape(y), dtype)
    gradients = g.gradients([y], [seed], [x, *weights])
    outputs = [y, *gradients]
    plan = core.Plan(g, outputs + (maps[:-1] if keep_maps else []))
    feeds = [rng.standard_normal(s).astype(dtype) for s in (g.shape(x), g.shape(y))]
    return plan, feeds, len(outputs)


@given(networks())
def test_whole_networks(c):
    """Fused and cropped or not, the results are the same."""
    plan, feeds, n = build(c, "float64", False)
    whole, _, _ = build(c, "float64", True)
    for a, b in zip(on_threads(plan, feeds), whole.run(feeds)[:n], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, np.abs(b).max()))


def course(plan_of, **more):
    """The graph of the course's network up to its last convolution."""
    c = {
        "layers": [(3, 0, 2, 2), (3, 0, 2, 2)],
        "activation": "relu",
        "channels": (1, 32, 64),
        "h": 28,
        "w": 28,
        "seed": 0,
        **more,
    }
    return plan_of(c, "float32", False)


def test_course_network():
    """No map before pooling is kept, and what floor pooling drops is not computed."""
    plan, feeds, _ = course(build)
    shapes = {}
    for s in plan.profile(feeds):
        shapes.setdefault(s["op"], []).append(tuple(s["shape"]))
    assert shapes["conv2d_max_pool"] == [(2, 12, 12, 32), (2, 5, 5, 64)]
    assert (2, 12, 12, 32) in shapes["conv2d_max_pool_backward_input"]
    assert len(shapes["conv2d_max_pool_backward_weights"]) == 2
    assert "max_pool2d_backward" not in shapes
    assert shapes["relu_grad"] == [(2, 5, 5, 64), (2, 12, 12, 32)]


@pytest.mark.parametrize("change", [{"layers": [(3, 0, 3, 2)]}, {"layers": [(1, 0, 2, 2)]}])
def test_left_apart(change):
    """Windows that overlap, and convolutions of one tap."""
    plan, feeds, _ = course(build, channels=(3, 16), **change)
    ops = [op for op, _ in steps(plan, feeds)]
    assert "conv2d" in ops
    assert "max_pool2d_backward" in ops


def test_refusals():
    g = core.Graph()
    x, w = g.input("x", [1, 6, 6, 4]), g.input("w", [3, 3, 4, 8])
    conv = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    with pytest.raises(ValueError, match="larger than the map"):
        g.add("conv2d_max_pool", [x, w], {**conv, "window": [5, 1]})
    with pytest.raises(ValueError, match="two positive numbers"):
        g.add("conv2d_max_pool", [x, w], {**conv, "window": [0, 1]})
    grouped = g.input("grouped", [3, 3, 2, 8])
    with pytest.raises(ValueError, match="groups is 2"):
        g.add("conv2d_max_pool", [x, grouped], {**conv, "groups": 2, "window": [2, 2]})
