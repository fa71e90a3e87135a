"""Winograd's convolution: as close to float64 as direct sums, and chosen where it pays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
import reference as ref
from fastconv._runtime import core
from fastconv.inference.model import ModelGraph, Node, ValueInfo

from .graphs import ACTIVATIONS

# Kernel and stride of each.
SIZES = {
    "winograd F(2,3)": (3, 1),
    "winograd F(3,3)": (3, 1),
    "winograd F(4,3)": (3, 1),
    "winograd F(5,3)": (3, 1),
    "winograd F(6,3)": (3, 1),
    "winograd F(2,5)": (5, 1),
    "winograd F(3,5)": (5, 1),
    "winograd F(4,5)": (5, 1),
    "winograd F(2,3)/2": (3, 2),
    "winograd F(4,3)/2": (3, 2),
}


# Of the largest value, for up to 256 channels.
LARGEST_ERROR = {
    "direct": 4e-6,
    "winograd F(2,3)": 3e-6,
    "winograd F(3,3)": 4e-6,
    "winograd F(4,3)": 4e-6,
    "winograd F(5,3)": 3e-5,
    "winograd F(6,3)": 3e-5,
    "winograd F(2,5)": 4e-6,
    "winograd F(3,5)": 1.5e-5,
    "winograd F(4,5)": 1.5e-5,
    "winograd F(2,3)/2": 3e-6,
    "winograd F(4,3)/2": 4e-6,
}


def convolution(
    shape, weight, pads=(1, 1, 1, 1), transposed=False, stride=1, longer=0, **attributes
):
    """Attributes of a convolution, and its output's shape; longer: rows and columns at the end."""
    room = [pads[0] + pads[2], pads[1] + pads[3]]
    if transposed:
        size = [
            (n - 1) * stride - r + k + longer
            for n, r, k in zip(shape[1:3], room, weight, strict=False)
        ]
    else:
        size = [
            (n + r - k) // stride + 1 for n, r, k in zip(shape[1:3], room, weight, strict=False)
        ]
    cout = weight[2] if transposed else weight[3]
    attrs = {"strides": [stride] * 2, "pads": list(pads), "dilations": [1, 1], **attributes}
    if transposed:
        attrs["output_size"] = size
    return attrs, (shape[0], *size, cout)


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype("float32") for s in shapes]


def exact(x, w, pads, transposed=False, stride=1, longer=0):
    t, left, b, r = pads
    nchw = np.float64(x).transpose(0, 3, 1, 2)
    oihw = np.float64(w).transpose(3, 2, 0, 1)
    if transposed:
        y = ref.conv_transpose2d(
            nchw,
            oihw,
            None,
            stride=(stride, stride),
            padding=((t, b), (left, r)),
            output_padding=(longer, longer),
        )
    else:
        y = ref.conv2d(nchw, oihw, None, stride=(stride, stride), padding=((t, b), (left, r)))
    return y.transpose(0, 2, 3, 1)


def algorithms(plan, *feeds):
    return [s["algorithm"] for s in plan.profile(list(feeds)) if "conv" in s["op"]]


def run(algorithm, x, w, pads=(1, 1, 1, 1), transposed=False, stride=1):
    """One convolution of variables, by the algorithm if there is one."""
    g = core.Graph()
    attrs, _ = convolution(x.shape, w.shape, pads, transposed, stride)
    if algorithm:
        attrs["algorithm"] = algorithm
    v = g.input("x", list(x.shape), x.dtype.name)
    op = "conv_transpose2d" if transposed else "conv2d"
    (y,) = g.add(op, [v, g.variable(core.Variable(w))], attrs)
    return core.Plan(g, [y]).run([x])[0]


@st.composite
def cases(draw):
    algorithm = draw(st.sampled_from([*SIZES]))
    kernel, stride = SIZES[algorithm]
    transposed = draw(st.booleans())
    pads = list(draw(st.tuples(*[st.integers(0, kernel - 1)] * 4)))
    if transposed and stride == 2:  # where rows of one tap come first, so do columns
        pads[1] = draw(st.sampled_from([p for p in range(kernel) if p % 2 == pads[0] % 2]))
    room = [pads[0] + pads[2], pads[1] + pads[3]]
    least = [max(1, kernel - r) for r in room]
    if transposed:  # with stride 2 there are outputs of each phase
        least = [1 + r // 2 if stride == 2 else max(1, r - kernel + 2) for r in room]
    return {
        "algorithm": algorithm,
        "transposed": transposed,
        "pads": pads,
        "longer": draw(st.integers(0, 1)) if transposed and stride == 2 else 0,
        "n": draw(st.integers(1, 3)),
        "size": [draw(st.integers(s, s + 20)) for s in least],
        "cin": draw(st.integers(1, 70)),
        "cout": draw(st.sampled_from([1, 3, 8, 16, 17, 33, 64, 71, 130])),
        "bias": draw(st.booleans()),
        "residual": draw(st.booleans()) and not transposed,
        "activation": draw(st.sampled_from(["", *ACTIVATIONS])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(cases())
def test_any_shape(c):
    """Against float64, the same bits at any number of threads."""
    xs = (c["n"], *c["size"], c["cin"])
    k, stride = SIZES[c["algorithm"]]
    ws = (k, k, c["cout"], c["cin"]) if c["transposed"] else (k, k, c["cin"], c["cout"])
    how = c["pads"], c["transposed"], stride, c["longer"]
    attrs, ys = convolution(xs, ws, *how, algorithm=c["algorithm"])
    x, w, b, r = arrays(c["seed"], xs, ws, c["cout"], ys)
    want = exact(x, w, *how)
    scale = max(np.abs(want).max(), k * np.sqrt(c["cin"]))
    g = core.Graph()
    feeds = [x]
    inputs = [g.input("x", list(xs)), g.variable(core.Variable(w)), None]
    if c["bias"]:
        inputs[2] = g.variable(core.Variable(b))
        want = want + b
    if c["residual"]:
        feeds.append(r)
        # It dies here: the output may lie where it does.
        inputs.append(g.add("neg", [g.input("r", list(ys))])[0])
        want = want - r
    if c["activation"]:
        more, function = ACTIVATIONS[c["activation"]]
        attrs.update(more, activation=c["activation"])
        want = function(want)
    (y,) = g.add("conv_transpose2d" if c["transposed"] else "conv2d", inputs, attrs)
    plan = core.Plan(g, [y])
    assert algorithms(plan, *feeds) == [c["algorithm"]]
    (got,) = plan.run(feeds, 1)
    np.testing.assert_allclose(got, want, rtol=0, atol=2.5 * LARGEST_ERROR[c["algorithm"]] * scale)
    for threads in (2, 3):
        np.testing.assert_array_equal(plan.run(feeds, threads)[0], got)


@pytest.mark.parametrize("algorithm", SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_many_blocks(algorithm, transposed):
    """Large enough that pieces transform their own input, on a map that is no multiple of tiles."""
    k, stride = SIZES[algorithm]
    shape = (k, k, 140, 60) if transposed else (k, k, 60, 140)
    more = 1 if transposed else stride
    x, w = arrays(0, (2, 57 * more, 75 * more, 60), shape)
    pads = (1, 0, 0, 1) if stride == 1 else (0, 0, 1, 1)
    want = exact(x, w, pads, transposed, stride)
    got = run(algorithm, x, w, pads, transposed, stride)
    np.testing.assert_allclose(
        got, want, rtol=0, atol=LARGEST_ERROR[algorithm] * np.abs(want).max()
    )


@pytest.mark.parametrize("algorithm", SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_new_weights_every_run(algorithm, transposed):
    """More transformed weights than L2 holds, on small maps: blocks of them are made as needed."""
    k, stride = SIZES[algorithm]
    xs, ws = (3, 9, 11, 410), (k, k, 139, 410) if transposed else (k, k, 410, 139)
    pads = (1, 1, 0, 1)
    attrs, _ = convolution(xs, ws, pads, transposed, stride, algorithm=algorithm)
    g = core.Graph()
    inputs = [g.input("x", list(xs)), g.input("w", list(ws))]
    plan = core.Plan(g, g.add("conv_transpose2d" if transposed else "conv2d", inputs, attrs))
    for seed in range(2):
        x, w = arrays(seed, xs, ws)
        assert algorithms(plan, x, w) == [algorithm]
        want = exact(x, w, pads, transposed, stride)
        (got,) = plan.run([x, w], 1)
        scale = LARGEST_ERROR[algorithm] * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=1.5 * scale)
        np.testing.assert_array_equal(plan.run([x, w], 3)[0], got)


@pytest.mark.parametrize("channels, size", [(64, 56), (128, 28), (256, 14)])
@pytest.mark.parametrize("kernel, stride", [(3, 1), (5, 1), (3, 2)])
def test_error(channels, size, kernel, stride):
    """No more than a few times that of direct sums, with the points of ADR 5."""
    x, w = arrays(1, (1, size, size, channels), (kernel, kernel, channels, 32))
    want = exact(x, w, (1, 1, 1, 1), stride=stride)
    largest = np.abs(want).max()
    for algorithm, most in LARGEST_ERROR.items():
        if SIZES.get(algorithm, (kernel, stride)) != (kernel, stride):
            continue
        error = np.abs(run(algorithm, x, w, stride=stride) - want).max() / largest
        assert error < most, algorithm


def plan_of(shape, w, strict=False, dtype="float32", **attributes):
    g = core.Graph()
    attrs, _ = convolution(shape, w)
    x = g.input("x", list(shape), dtype)
    v = g.variable(core.Variable(np.zeros(w, dtype)))
    (y,) = g.add("conv2d", [x, v], {**attrs, **attributes})
    return algorithms(core.Plan(g, [y], None, strict), np.zeros(shape, dtype))


def test_choice():
    layer = (1, 28, 28, 128), (3, 3, 128, 128)
    assert plan_of(*layer) == ["winograd F(4,3)"]
    if core.config()["isa"] != "scalar":  # where arithmetic is slow, memory is not what counts
        assert plan_of((1, 7, 7, 512), (3, 3, 512, 512)) == ["winograd F(2,3)"]
    assert plan_of((8, 7, 7, 512), (3, 3, 512, 512)) == ["winograd F(4,3)"]
    assert plan_of(*layer, strict=True) == ["direct"]
    assert plan_of(*layer, strict=True, algorithm="winograd F(4,3)") == ["direct"]
    assert plan_of(*layer, dtype="float64") == ["direct"]
    assert plan_of(*layer, algorithm="direct") == ["direct"]
    assert plan_of((1, 56, 56, 128), (3, 3, 128, 128), strides=[2, 2]) == ["winograd F(4,3)/2"]
    assert plan_of((1, 28, 28, 256), (3, 3, 256, 256), strides=[2, 2]) == ["winograd F(2,3)/2"]
    assert plan_of((1, 27, 27, 64), (5, 5, 64, 192), pads=[2, 2, 2, 2]) == ["winograd F(4,5)"]
    assert plan_of((1, 27, 27, 64), (5, 5, 64, 192), pads=[2, 2, 2, 2], strides=[2, 2]) == [
        "direct"
    ]
    assert plan_of((1, 112, 112, 128), (3, 3, 128, 128)) == ["winograd F(6,3)"]
    assert plan_of(*layer, strides=[1, 2]) == ["direct"]
    assert plan_of(*layer, dilations=[2, 1]) == ["direct"]
    assert plan_of((1, 28, 28, 256), (3, 3, 128, 128), groups=2) == ["direct"]
    assert plan_of((1, 28, 28, 128), (3, 2, 128, 128)) == ["direct"]
    assert plan_of((1, 224, 224, 3), (3, 3, 3, 64)) == ["direct"]
    # Narrow vectors hold too few columns' sums.
    assert plan_of((1, 3, 3, 256), (3, 3, 256, 4)) in (["direct"], ["overlap"])


def test_choice_of_strided_input_gradients():
    def chosen(shape, channels, pads=(1, 1, 1, 1), output=0, **options):
        g = core.Graph()
        w = (3, 3, channels, shape[3])
        attrs, _ = convolution(shape, w, pads, True, 2, longer=output)
        inputs = [g.input("dy", list(shape)), g.input("w", list(w))]
        plan = core.Plan(g, g.add("conv_transpose2d", inputs, attrs), **options)
        return algorithms(plan, *(np.zeros(s, "float32") for s in (shape, w)))

    layer = (16, 28, 28, 128), 128
    assert chosen(*layer, output=1) == ["winograd F(4,3)/2"]
    assert chosen(*layer, (0, 0, 1, 1)) == ["winograd F(4,3)/2"]
    assert chosen((16, 14, 14, 256), 256, output=1) == ["winograd F(2,3)/2"]
    assert chosen(*layer, strict=True) == ["direct"]
    # Rows of one tap come first, columns of two.
    assert chosen(*layer, (1, 0, 1, 1)) == ["direct"]
    assert chosen((16, 1, 28, 128), 128, (2, 1, 0, 1)) == ["direct"]


def test_wishes_that_cannot_be():
    for wish in SIZES:
        assert plan_of((1, 8, 8, 6), (4, 4, 6, 4), algorithm=wish) == ["direct"]
        # The size of another kernel is no reason to run a third.
        if SIZES[wish] != (3, 1):
            assert plan_of((1, 56, 56, 64), (3, 3, 64, 64), algorithm=wish) == ["direct"]
    with pytest.raises(
        ValueError,
        match=r'"fft", expected "direct", "strassen", "winners" or "winograd " and one of F',
    ):
        plan_of((1, 8, 8, 6), (3, 3, 6, 4), algorithm="fft")


def test_no_images():
    x, w = np.zeros((0, 8, 8, 32), "float32"), arrays(0, (3, 3, 32, 32))[0]
    for algorithm in ["", *SIZES]:
        assert run(algorithm, x, w).shape == (0, 8, 8, 32)


@pytest.mark.parametrize("algorithm", SIZES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_not_finite(algorithm, value):
    """It reaches what it must, and nothing outside the tiles that read it."""
    k, stride = SIZES[algorithm]
    x, w = arrays(2, (1, 24 * stride, 24 * stride, 20), (k, k, 20, 18))
    pads = [k // 2] * 4
    clean = run(algorithm, x, w, pads, stride=stride)
    x[0, 9 * stride, 14 * stride, 3] = value
    got = run(algorithm, x, w, pads, stride=stride)
    if not np.isfinite(value):
        reach = k // 2 // stride
        assert not np.isfinite(got[0, 9 - reach : 10 + reach, 14 - reach : 15 + reach]).any()
    far = np.ones((24, 24), bool)
    far[2:18, 6:22] = False
    np.testing.assert_array_equal(got[0, far], clean[0, far])


@pytest.mark.parametrize("algorithm", SIZES)
def test_assigned_weights_are_packed_again(algorithm):
    k, stride = SIZES[algorithm]
    x, w = arrays(3, (1, 9, 9, 16), (k, k, 16, 16))
    g = core.Graph()
    v = core.Variable(w)
    attrs, _ = convolution(x.shape, w.shape, stride=stride, algorithm=algorithm)
    (y,) = g.add("conv2d", [g.input("x", list(x.shape)), g.variable(v)], attrs)
    plan = core.Plan(g, [y])
    (before,) = plan.run([x])
    v.assign(2 * w)
    np.testing.assert_array_equal(plan.run([x])[0], 2 * before)


def test_plans_share_weights():
    """Each algorithm's weights are there once, however many sizes use it."""
    w = core.Variable(arrays(4, (3, 3, 64, 64))[0])
    store = core.PackStore()
    plans, sizes = [], []
    for size in (1, 28, 40, 57, 28, 1, 2):
        g = core.Graph()
        attrs, _ = convolution((1, size, size, 64), (3, 3, 64, 64))
        x = np.zeros((1, size, size, 64), "float32")
        (y,) = g.add("conv2d", [g.input("x", list(x.shape)), g.variable(w)], attrs)
        plans.append(core.Plan(g, [y], store))
        assert algorithms(plans[-1], x) == ["direct" if size < 3 else "winograd F(4,3)"]
        sizes.append(store.bytes)
    pair = 4 * 64 * 64
    assert sizes == [9 * pair] + [45 * pair] * 6
    plans.clear()
    assert store.bytes == 0


def test_any_size_has_one_algorithm():
    (w,) = arrays(4, (3, 3, 64, 64))
    v, store, sizes, used = core.Variable(w), core.PackStore(), [], set()
    for size, batch in ((1, 1), (2, 3), (7, 1), (28, 1), (60, 4)):
        g = core.Graph()
        x = np.zeros((batch, size, size, 64), "float32")
        attrs, _ = convolution(x.shape, w.shape)
        (y,) = g.add("conv2d", [g.input("x", list(x.shape)), g.variable(v)], attrs)
        plan = core.Plan(g, [y], store, any_size=True)
        used.update(algorithms(plan, x))
        sizes.append(store.bytes)
    assert used == {"winograd F(4,3)"}
    assert len(set(sizes)) == 1


def test_training():
    """Forward and input gradient in a plan that changes the weights."""
    x, w, seed = arrays(5, (4, 24, 24, 64), (3, 3, 64, 48), (4, 24, 24, 48))
    g = core.Graph()
    v = core.Variable(w)
    xi, wi = g.input("x", list(x.shape)), g.variable(v)
    attrs, _ = convolution(x.shape, w.shape)
    (y,) = g.add("conv2d", [xi, wi], attrs)
    dx, dw = g.gradients([y], [g.constant(seed)], [xi, wi])
    rate = g.constant(np.array(1e-3, "float32"))
    g.add("sgd_update", [wi, dw, None, rate], {"momentum": 0.0, "nesterov": False})
    plan = core.Plan(g, [y, dx, dw])
    ran = {s["op"]: s["algorithm"] for s in plan.profile([x])}
    used = ran["conv2d"], ran["conv_transpose2d"]
    assert all(algorithm.startswith("winograd") for algorithm in used)
    now = v.numpy().copy()
    assert np.abs(now - w).max() > 0
    got = plan.run([x])
    want = exact(x, now, (1, 1, 1, 1)), exact(seed, now, (1, 1, 1, 1), True)
    for a, b, algorithm in zip(got[:2], want, used, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=LARGEST_ERROR[algorithm] * np.abs(b).max())


def test_precision_of_sessions():
    x, w1, w2 = arrays(6, (1, 64, 28, 28), (64, 64, 3, 3), (64, 64, 3, 3))
    model = ModelGraph(
        "net",
        [ValueInfo("x", "float32", x.shape)],
        [ValueInfo("y", "float32", None)],
        [
            Node("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1]}, version=13),
            Node("Conv", ["a", "w2"], ["y"], {"pads": [1, 1, 1, 1]}, version=13),
        ],
        {"w1": w1, "w2": w2},
        {},
    )
    want = ref.conv2d(x, w1, None, padding=((1, 1), (1, 1)))
    want = ref.conv2d(want, w2, None, padding=((1, 1), (1, 1)))
    found = {}
    for precision in ("default", "strict"):
        session = fastconv.InferenceSession(model, precision=precision)
        (y,) = session.run(None, {"x": x})
        np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 * np.abs(want).max())
        rows = session.profile({"x": x})
        found[precision] = [r["algorithm"] for r in rows if r["op"] == "conv2d"]
    assert found == {"default": ["winograd F(4,3)"] * 2, "strict": ["direct"] * 2}
