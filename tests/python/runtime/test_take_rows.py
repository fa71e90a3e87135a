"""Batches gathered by threads."""

import numpy as np
import pytest

from fastconv import _core


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (40, 33, 31, 3), (9, 0)])
def test_rows_are_those_of_numpy(shape, dtype):
    rng = np.random.default_rng()
    array = rng.integers(0, 200, shape).astype(dtype)
    rows = rng.integers(-shape[0], shape[0], 2 * shape[0] + 1)
    out = np.full((len(rows), *shape[1:]), 7, dtype)
    _core.take_rows(array, rows, out)
    np.testing.assert_array_equal(out, array[rows])


@pytest.mark.parametrize("row", [-4, 3, 2**40, -(2**40)])
def test_a_row_that_is_not_there_is_an_error(row):
    out = np.zeros((2, 2))
    with pytest.raises(ValueError, match=rf"index {row} at position 1 .* axis of size 3"):
        _core.take_rows(np.ones((3, 2)), np.array([0, row]), out)
    assert not out.any()


@pytest.mark.parametrize(
    "array, rows, out",
    [
        (np.ones((3, 4))[:, ::2], [0], np.ones((1, 2))),
        (np.ones((3, 2)), [0], np.ones((1, 4))[:, ::2]),
        (np.ones((3, 2)), [0], np.ones((2, 2))),
        (np.ones((3, 2)), [0], np.ones((1, 3))),
        (np.ones((3, 2)), [0], np.ones((1, 2), "float32")),
        (np.ones((3, 2), object), [0], np.ones((1, 2), object)),
        (np.ones(()), [0], np.ones((1,))),
        (np.ones((3, 2)), [[0]], np.ones((1, 2))),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(array, rows, out):
    with pytest.raises(ValueError, match="take_rows: expected C-contiguous arrays"):
        _core.take_rows(array, np.array(rows), out)


def test_fit_takes_arrays_that_are_not_dense():
    import fastconv as keras

    x = np.arange(240.0, dtype="float32").reshape(20, 12)[:, ::2]
    y = x.sum(1)

    def weights(x):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x / 100, y / 100, batch_size=8, epochs=2, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(weights(x), weights(np.ascontiguousarray(x)))
