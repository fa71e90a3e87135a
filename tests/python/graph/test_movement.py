"""Operators that move elements of every type, and the indices of extrema."""

import numpy as np
import pytest

from fastconv._runtime import core
from one_op import ALL, FLOATS, random, random_shape, run, same

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("dtype", ALL)
def test_gather(dtype):
    for _ in range(25):
        x = random(RNG, RNG.integers(1, 6, RNG.integers(1, 5)), dtype)
        axis = int(RNG.integers(-x.ndim, x.ndim))
        n = x.shape[axis]
        indices = random(RNG, random_shape(RNG, 3), "int64", -n, n - 1)
        same(run("gather", x, indices, axis=axis), np.take(x, indices, axis))


@pytest.mark.parametrize(
    "shape, axis", [((5, 40_000), 0), ((9000, 6), 1), ((300, 7, 50), 1), ((100_000,), 0)]
)
def test_gather_in_pieces(shape, axis):
    x = random(RNG, shape, "float32")
    indices = random(RNG, (11, 3), "int64", -shape[axis], shape[axis] - 1)
    same(run("gather", x, indices, axis=axis), np.take(x, indices, axis))


@pytest.mark.parametrize("bad", [3, -4, 2**62, -(2**63)])
def test_gather_out_of_range(bad):
    x = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match=f"gather: index {bad} at position 2 .* size 3"):
        run("gather", x, np.array([0, -3, bad, 1]), axis=1)


def test_gather_from_nothing():
    empty = np.zeros((2, 0, 3), "float32")
    assert run("gather", empty, np.zeros((4, 0), "int64"), axis=1).shape == (2, 4, 0, 3)
    assert run("gather", empty, np.array([1, 0]), axis=0).shape == (2, 0, 3)
    with pytest.raises(ValueError, match="size 0"):
        run("gather", empty, np.array(0), axis=1)
    with pytest.raises(ValueError, match="index 5"):  # also where no element would be read
        run("gather", empty, np.array(5), axis=0)


def test_gather_of_constants_is_checked_too():
    graph = core.Graph()
    x = graph.constant(np.zeros(3))
    (y,) = graph.add("gather", [x, graph.constant(np.array([7]))])
    plan = core.Plan(graph, [y])
    for _ in range(2):
        with pytest.raises(ValueError, match="index 7"):
            plan.run([])


def random_slice(rng, n):
    """Return begin, size, step and the same as a Python slice."""
    if n == 0 or rng.random() < 0.05:
        return 0, 0, 1, slice(0, 0)
    begin = int(rng.integers(n))
    step = int(rng.integers(1, 4)) * (1 if rng.random() < 0.5 else -1)
    most = (n - 1 - begin) // step + 1 if step > 0 else begin // -step + 1
    size = int(rng.integers(1, most + 1))
    end = begin + size * step
    return begin, size, step, slice(begin, end if end >= 0 else None, step)


@pytest.mark.parametrize("dtype", ALL)
def test_strided_slice(dtype):
    for _ in range(40):
        x = random(RNG, random_shape(RNG, 5, 7), dtype)
        parts = [random_slice(RNG, n) for n in x.shape]
        whole = [RNG.random() < 0.3 for _ in parts]
        parts = [
            (0, n, 1, slice(None)) if w else p
            for p, w, n in zip(parts, whole, x.shape, strict=True)
        ]
        begin, size, step = ([p[i] for p in parts] for i in range(3))
        same(
            run("strided_slice", x, begin=begin, size=size, step=step),
            x[tuple(p[3] for p in parts)],
        )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_strided_slices_in_pieces(dtype):
    x = random(RNG, (7, 300, 301), dtype)
    same(
        run("strided_slice", x, begin=[6, 299, 300], size=[7, 300, 301], step=[-1, -1, -1]),
        x[::-1, ::-1, ::-1],
    )
    same(run("strided_slice", x, begin=[0, 1, 0], size=[7, 150, 301], step=[1, 2, 1]), x[:, 1::2])
    same(
        run("strided_slice", x, begin=[0, 0, 300], size=[7, 300, 151], step=[1, 1, -2]),
        x[..., ::-2],
    )
    same(run("strided_slice", x, begin=[5, 0, 0], size=[3, 300, 301], step=[-2, 1, 1]), x[5::-2])
    flat = random(RNG, (1_000_003,), dtype)
    same(run("strided_slice", flat, begin=[1_000_002], size=[1_000_003], step=[-1]), flat[::-1])
    same(run("strided_slice", flat, begin=[2], size=[1_000_000], step=[1]), flat[2:-1])


@pytest.mark.parametrize(
    "begin, size, step",
    [
        ([0], [1], [1]),
        ([0, 0], [1, 1], [1, 0]),
        ([0, 5], [1, 1], [1, 1]),
        ([0, -1], [1, 1], [1, 1]),
        ([0, 0], [1, 6], [1, 1]),
        ([0, 2], [1, 4], [1, -1]),
        ([0, 0], [1, -1], [1, 1]),
        ([0, 1], [1, 2], [1, 2**62]),
        ([0, 1], [1, 2], [1, -(2**63)]),
        ([0, 1], [1, 2**62], [1, 2**62]),
        ([0, 1], [2**45, 2**45], [1, 1]),
        ([0, 0.5], [1, 1], [1, 1]),
        (0, [1, 1], [1, 1]),
    ],
)
def test_slices_that_leave_the_array(begin, size, step):
    with pytest.raises(ValueError, match="strided_slice"):
        run("strided_slice", np.zeros((3, 5)), begin=begin, size=size, step=step)


@pytest.mark.parametrize("dtype", ALL)
def test_tile(dtype):
    for _ in range(30):
        x = random(RNG, random_shape(RNG, 4, 4), dtype)
        repeats = [int(r) for r in RNG.integers(0 if RNG.random() < 0.1 else 1, 4, x.ndim)]
        same(run("tile", x, repeats=repeats), np.tile(x, repeats))
    big = random(RNG, (3, 200, 70), dtype)
    same(run("tile", big, repeats=[2, 3, 2]), np.tile(big, (2, 3, 2)))
    same(run("tile", big[:, :, :1], repeats=[1, 1, 300]), np.tile(big[:, :, :1], (1, 1, 300)))


@pytest.mark.parametrize(
    "repeats", [[1], [1, -1], [1, 2**62], [2**40, 2**40], "11", [1.5, 1], None]
)
def test_bad_repeats(repeats):
    with pytest.raises(ValueError, match="tile"):
        run("tile", np.zeros((2, 3)), **({} if repeats is None else {"repeats": repeats}))


@pytest.mark.parametrize("dtype", ALL)
def test_the_other_movers(dtype):
    for _ in range(20):
        x = random(RNG, random_shape(RNG, 5, 7), dtype)
        perm = [int(p) for p in RNG.permutation(x.ndim)]
        same(run("transpose", x, perm=perm), x.transpose(perm))
        same(run("reshape", x, shape=[x.size]), x.reshape(-1))
        pads = RNG.integers(0, 3, 2 * x.ndim)
        pairs = list(zip(pads[: x.ndim].tolist(), pads[x.ndim :].tolist(), strict=True))
        padded = np.pad(x, pairs, constant_values=np.array(3).astype(dtype)) if x.ndim else x
        same(run("pad", x, pads=pads.tolist(), value=3), padded)
        target = (2, *x.shape)
        same(run("broadcast_to", x, shape=target), np.broadcast_to(x, target))
        if x.ndim == 0:
            continue
        same(run("broadcast_to", x[..., :1], shape=target), np.broadcast_to(x[..., :1], target))
        axis = int(RNG.integers(x.ndim))
        same(run("concat", x, x[::-1], axis=axis), np.concatenate([x, x[::-1]], axis))
        n = x.shape[axis]
        part = [slice(None)] * x.ndim
        part[axis] = slice(1, n - 1)
        same(
            run("slice", x, axis=axis, start=1, end=max(n - 1, 0)),
            x[tuple(part)] if n > 1 else np.take(x, [], axis),
        )
        same(run("flatten", x), x.reshape(x.shape[0], int(np.prod(x.shape[1:]))))


def test_large_transposes_of_small_types():
    for dtype in ("uint8", "int16", "bool", "int32"):
        x = random(RNG, (2, 130, 90, 3), dtype)
        for perm in ([0, 3, 1, 2], [0, 2, 1, 3], [3, 2, 1, 0]):
            same(run("transpose", x, perm=perm), x.transpose(perm))


def test_pad_saturates_its_value():
    x = np.zeros(1, "uint8")
    same(run("pad", x, pads=[1, 1], value=300.0), np.array([255, 0, 255], "uint8"))
    same(run("pad", np.zeros(1, "int64"), pads=[1, 0], value=2**62 + 1), np.array([2**62 + 1, 0]))


@pytest.mark.parametrize("dtype", ALL)
def test_variables_constants_and_outputs_of_every_dtype(dtype):
    data = random(RNG, (3, 4), dtype)
    variable = core.Variable(data, "v")
    assert variable.dtype == dtype
    same(variable.numpy(), data)
    other = random(RNG, (3, 4), dtype)
    variable.assign(other)
    graph = core.Graph()
    x, v, c = graph.input("x", [3, 4], dtype), graph.variable(variable), graph.constant(data)
    assert graph.dtype(x) == graph.dtype(v) == graph.dtype(c) == dtype
    (all_of_them,) = graph.add("concat", [x, v, c], {"axis": 0})
    results = core.Plan(graph, [x, v, c, all_of_them]).run([data])
    for y, expected in zip(
        results, [data, other, data, np.concatenate([data, other, data])], strict=True
    ):
        same(y, expected)
    with pytest.raises(ValueError, match=dtype):
        core.Plan(graph, [all_of_them]).run(
            [np.zeros((3, 4), "int64" if dtype != "int64" else "int32")]
        )


@pytest.mark.parametrize(
    "dtype", ["float16", "complex64", ">f4", ">i4", "M8[s]", "U3", "O", "longdouble"]
)
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"not supported; expected float32, .* or bool"):
        core.Variable(np.zeros(3, dtype))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("op, pick", [("arg_max", np.argmax), ("arg_min", np.argmin)])
def test_arg(op, pick, dtype):
    for _ in range(30):
        x = random(RNG, RNG.integers(1, 7, RNG.integers(1, 5)), dtype, -3, 3)
        if dtype in FLOATS:
            x = np.round(x)
            if RNG.random() < 0.5:
                x.flat[RNG.integers(x.size)] = np.nan
        axis = int(RNG.integers(-x.ndim, x.ndim))
        same(run(op, x, axis=axis), pick(x, axis, keepdims=True))
        same(run(op, x, axis=axis, keepdims=False), np.asarray(pick(x, axis)))
        last = x.shape[axis] - 1 - pick(np.flip(x, axis), axis)
        same(run(op, x, axis=axis, keepdims=False, select_last_index=True), np.asarray(last))


@pytest.mark.parametrize(
    "shape, axis", [((40, 21, 1300), 1), ((70_000, 5), 1), ((6, 70_000), 0), ((200_000,), 0)]
)
def test_arg_in_pieces(shape, axis):
    x = random(RNG, shape, "float32")
    same(run("arg_max", x, axis=axis, keepdims=False), np.asarray(np.argmax(x, axis)))
    same(run("arg_min", x, axis=axis, keepdims=False), np.asarray(np.argmin(x, axis)))


def test_arg_of_nothing():
    assert run("arg_max", np.zeros((0, 3)), axis=1).shape == (0, 1)
    assert run("arg_max", np.zeros((0, 0)), axis=1, keepdims=False).shape == (0,)
    with pytest.raises(ValueError, match="no elements along axis 0"):
        run("arg_max", np.zeros((0, 3)), axis=0)


@pytest.mark.parametrize(
    "op, arrays, attrs",
    [
        ("arg_max", [np.zeros((2, 3))], {}),
        ("arg_max", [np.zeros((2, 3))], {"axis": 2}),
        ("arg_min", [np.zeros(())], {"axis": 0}),
        ("arg_min", [np.zeros(3)], {"axis": 0, "keepdims": "no"}),
        ("gather", [np.zeros((2, 3)), np.zeros(1)], {"axis": 0}),
        ("gather", [np.zeros((2, 3)), np.zeros(1, "int32")], {"axis": 0}),
        ("gather", [np.zeros((2, 3)), np.zeros(1, "int64")], {"axis": 2}),
        ("gather", [np.zeros(()), np.zeros(1, "int64")], {"axis": 0}),
        ("gather", [np.zeros(2)], {"axis": 0}),
        ("gather", [np.zeros((2**20, 0)), np.zeros((2**20, 0), "int64")], {"axis": "a"}),
        ("concat", [np.zeros(3, "int8"), np.zeros(3, "uint8")], {"axis": 0}),
    ],
)
def test_bad_arguments(op, arrays, attrs):
    with pytest.raises(ValueError, match=op):
        run(op, *arrays, **attrs)


def test_outputs_too_large_are_refused():
    graph = core.Graph()
    x = graph.input("x", [2**30], "int8")
    i = graph.input("i", [2**30, 2**10], "int64")
    with pytest.raises(ValueError, match="too large"):
        graph.add(
            "gather", [graph.add("reshape", [x], {"shape": [2**15, 2**15]})[0], i], {"axis": 0}
        )
