"""Run single operators on random arrays, some of which are not contiguous."""

import numpy as np

from fastconv._runtime import core

FLOATS = ["float32", "float64"]
SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS
ALL = [*NUMBERS, "bool"]


def build(op, arrays, attrs):
    graph = core.Graph()
    inputs = [graph.input(str(i), a.shape, str(a.dtype)) for i, a in enumerate(arrays)]
    (out,) = graph.add(op, inputs, attrs)
    return graph, out


def run(op, *arrays, **attrs):
    """Return the operator's output; the planned shape and dtype are those of the array."""
    arrays = [np.asarray(a) for a in arrays]
    graph, out = build(op, arrays, attrs)
    (y,) = core.Plan(graph, [out]).run(arrays)
    assert graph.shape(out) == y.shape
    assert graph.dtype(out) == str(y.dtype)
    return y


def random(rng, shape, dtype, low=None, high=None):
    """Return numbers over the type's range or in [low, high], often as a view with gaps."""
    dtype = np.dtype(dtype)
    shape = tuple(shape)
    gaps = rng.integers(3) if shape and shape[-1] else 0
    full = (*shape[:-1], shape[-1] * 2) if gaps == 1 else shape
    if dtype.kind == "b":
        a = rng.integers(0, 2, full).astype(bool)
    elif dtype.kind == "f":
        a = (rng.standard_normal(full) * 3).astype(dtype)
    else:
        info = np.iinfo(dtype)
        low = info.min if low is None else max(low, info.min)
        high = info.max if high is None else min(high, info.max)
        a = rng.integers(low, high, full, dtype, endpoint=True)
    return (a, a[..., ::2], a[..., ::-1])[gaps] if gaps else a


def random_shape(rng, rank=4, most=5, empty=True):
    return tuple(
        int(n)
        for n in rng.integers(
            0 if empty and rng.random() < 0.1 else 1, most, rng.integers(rank + 1)
        )
    )


def broadcast_shapes(rng, count):
    """Return shapes that can be broadcast together."""
    full = random_shape(rng)
    shapes = []
    for _ in range(count):
        s = [n if rng.random() < 0.7 else 1 for n in full]
        shapes.append(tuple(s[rng.integers(len(s) + 1) if rng.random() < 0.3 else 0 :]))
    return shapes


def same(actual, expected):
    """Check equality in dtype, shape and bits up to the sign of zero."""
    expected = np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
