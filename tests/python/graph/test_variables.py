"""Variables on foreign memory, constants, and how a graph finds them."""

import gc
import time
import weakref

import numpy as np
import pytest

from fastconv._runtime import core

CONV = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1}


def random(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Array(np.ndarray):
    """An array that a weak reference can watch."""


def dense_plan(variable, rows=4):
    g = core.Graph()
    x = g.input("x", [rows, variable.shape[0]], variable.dtype)
    return core.Plan(g, [g.add("dense", [x, g.variable(variable)])[0]])


def test_wrap_reads_the_arrays_own_memory():
    array = random(6, 5)
    v = core.Variable.wrap(array, "w")
    assert (v.name, v.shape, v.dtype, v.version) == ("w", (6, 5), "float32", 1)
    np.testing.assert_array_equal(v.numpy(), array)
    array[2, 3] = 42
    assert v.numpy()[2, 3] == 42
    assert not np.shares_memory(v.numpy(), array)


def test_wrap_keeps_the_array_as_long_as_needed():
    array = random(6, 5).view(Array)
    alive = weakref.ref(array)
    v = core.Variable.wrap(array)
    expected = np.array(array)
    plan = dense_plan(v)
    del array, v
    gc.collect()
    assert alive() is not None
    x = random(4, 6)
    np.testing.assert_allclose(plan.run([x])[0], x @ expected, rtol=1e-5, atol=1e-6)
    del plan
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [8, 16, 24, 40, 56, 64])
def test_wrapped_files(tmp_path, dtype, offset):
    # A memory-mapped model file is aligned to 8 bytes, not to vectors; read packed and as it is.
    w, b, z = (
        random(3, 3, 6, 11, dtype=dtype),
        random(11, dtype=dtype, seed=1),
        random(7, 11, dtype=dtype),
    )
    path = tmp_path / "weights"
    path.write_bytes(b"\0" * offset + w.tobytes() + b.tobytes() + z.tobytes())
    data = np.memmap(path, mode="r")

    def take(array, at):
        return data[at : at + array.nbytes].view(dtype).reshape(array.shape)

    wrapped = [
        core.Variable.wrap(take(a, offset + before))
        for a, before in ((w, 0), (b, w.nbytes), (z, w.nbytes + b.nbytes))
    ]
    x = random(2, 7, 7, 6, dtype=dtype, seed=3)

    def run(make):
        g = core.Graph()
        vw, vb, vz = map(g.variable, make)
        y = g.add("conv2d", [g.input("x", x.shape, dtype), vw, vb], CONV)[0]
        y = g.add("tanh", [g.add("mul", [y, vz])[0]])[0]
        return core.Plan(g, [y, vz, g.add("exp", [vz])[0]]).run([x])

    for got, expected in zip(run(wrapped), run(map(core.Variable, (w, b, z))), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_wrapped_variables_are_read_only():
    v = core.Variable.wrap(random(3, 2), "frozen")
    with pytest.raises(ValueError, match="'frozen' is read-only"):
        v.assign(random(3, 2))
    g = core.Graph()
    rate = g.constant(np.array(1, "float32"))
    with pytest.raises(ValueError, match=r"sgd_update.*input 0.*'frozen' is read-only"):
        g.add("sgd_update", [g.variable(v), g.constant(random(3, 2)), None, rate])
    constant = g.constant(random(3, 2))
    with pytest.raises(ValueError, match=r"sgd_update.*input 0.*'constant' is read-only"):
        g.add("sgd_update", [constant, g.constant(random(3, 2)), None, rate])


@pytest.mark.parametrize(
    "array, error",
    [
        (random(4, 6)[:, ::2], ValueError),
        (random(4, 6).T, ValueError),
        (np.frombuffer(b"x" * 17, "float32", 4, offset=1), ValueError),
        (random(4).astype(">f4"), TypeError),
        (np.array(["a"]), TypeError),
        ([1.0, 2.0], TypeError),
        (None, TypeError),
    ],
)
def test_wrap_refuses_what_it_cannot_read(array, error):
    with pytest.raises(error):
        core.Variable.wrap(array)


def test_wrap_of_nothing():
    assert core.Variable.wrap(np.zeros((0, 3), "float32")).numpy().shape == (0, 3)
    assert core.Variable.wrap(np.array(2.5)).numpy() == 2.5


def test_a_graph_knows_a_variable_again():
    g = core.Graph()
    a, b = core.Variable(random(2)), core.Variable(random(2))
    ids = [g.variable(v) for v in (a, b, a, b)]
    assert ids[0] == ids[2] != ids[1] == ids[3]


def test_many_variables_are_found_at_once():
    variables = [core.Variable(np.zeros(1, "float32")) for _ in range(20_000)]

    def seconds(n):
        g = core.Graph()
        start = time.process_time()
        for v in variables[:n]:
            g.variable(v)
        return time.process_time() - start

    seconds(1000)
    few = min(seconds(1000) for _ in range(5))
    assert seconds(20_000) < 20 * few * 5 + 0.01


TAKES = {
    "relu": 1,
    "relu_grad": 2,
    "neg": 1,
    "add": 2,
    "pow": 2,
    "reduce_sum": 1,
    "softmax": 1,
    "softmax_backward": 2,
    "reshape": 1,
    "transpose": 1,
    "broadcast_to": 1,
    "dense": 3,
    "conv2d": 5,
    "mul_add": 3,
    "max_pool2d": 1,
    "batch_norm_inference": 5,
    "local_response_norm": 1,
    "local_response_norm_backward": 2,
    "sigmoid_cross_entropy_backward": 3,
    "dropout": 2,
}


@pytest.mark.parametrize("op", TAKES)
def test_too_many_inputs_are_refused(op):
    g = core.Graph()
    x = g.input("x", [2, 2])
    count = TAKES[op] + 1
    with pytest.raises(
        ValueError, match=f"{op} 'here': got {count} inputs, expected at most {TAKES[op]}"
    ):
        g.add(op, [x] * count, {}, "here")


@pytest.mark.parametrize(
    "op",
    [
        "softmax_backward",
        "local_response_norm_backward",
        "sigmoid_cross_entropy_backward",
        "add",
    ],
)
def test_too_few_inputs_are_refused(op):
    g = core.Graph()
    x = g.input("x", [2, 2])
    with pytest.raises(ValueError, match=f"{op}: input . is missing"):
        g.add(op, [x, x][: TAKES[op] - 1], {"size": 1})
