"""What holds for every operator: threads, layouts, argument forms, special values, the cache."""

import os
import threading
import warnings

import numpy as np
import pytest

import fastconv
from fastconv import functional as F
from fastconv.functional import _plans
from functional.cases import CASES, Case
from functional.tools import LAYOUTS, backward_arguments, lay_out

# Large enough that every operator splits its work.
LARGE = [
    Case("conv2d", {"input": (3, 64, 30, 31), "weight": (48, 64, 3, 3), "bias": (48,)}),
    Case("conv2d", {"input": (2, 3, 65, 64), "weight": (17, 3, 7, 7)}, {"stride": 2, "padding": 3}),
    Case("conv2d", {"input": (2, 96, 29, 28), "weight": (64, 96, 1, 1)}),
    Case("conv2d", {"input": (2, 96, 30, 30), "weight": (96, 1, 3, 3)}, {"groups": 96}),
    Case("conv_transpose2d", {"input": (2, 33, 15, 15), "weight": (33, 20, 3, 3)}, {"stride": 2}),
    Case("linear", {"input": (129, 300), "weight": (70, 300), "bias": (70,)}),
    Case("max_pool2d", {"input": (3, 40, 40, 41)}, {"kernel_size": 3, "stride": 2}),
    Case("avg_pool2d", {"input": (3, 40, 40, 41)}, {"kernel_size": 3, "stride": 2}),
    Case("lp_pool2d", {"input": (3, 40, 40, 41)}, {"norm_type": 2, "kernel_size": 2}),
    Case("adaptive_avg_pool2d", {"input": (3, 40, 40, 41)}, {"output_size": 1}),
    Case("adaptive_max_pool2d", {"input": (3, 40, 40, 41)}, {"output_size": 7}),
    Case("local_response_norm", {"input": (3, 40, 40, 41)}, {"size": 5}),
    Case("gelu", {"input": (200_003,)}),
    Case("softmax", {"input": (5, 300, 77)}, {"dim": 1}),
    Case("log_softmax", {"input": (5, 300, 77)}, {"dim": -1}),
    Case("pad", {"input": (3, 40, 40, 41)}, {"pad": (3, 4, 2, 1), "mode": "reflect"}),
]


def run_all(case, arrays, g=None):
    """The output and the gradients of a case."""
    forward, backward = getattr(F, case.name), getattr(F, f"{case.name}_backward")
    y = forward(**arrays, **case.arguments)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype) if g is None else g
    found = backward(g, **backward_arguments(backward, {**arrays, **case.arguments}))
    return [y, *(found if isinstance(found, tuple) else (found,))]


def same(a, b):
    """Bit for bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.fixture
def threads():
    before = fastconv.get_num_threads()
    yield fastconv.set_num_threads
    fastconv.set_num_threads(before)


def _batch_norm(x):
    mean, var = np.zeros(x.shape[1], x.dtype), np.ones(x.shape[1], x.dtype)
    y = F.batch_norm(x, mean, var, training=True)
    return [y, mean, var, *F.batch_norm_backward(x[::-1], x, None, None, None, True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", LARGE, ids=lambda c: c.id)
def test_same_bits_on_any_number_of_threads(case, dtype, threads):
    arrays = case.make(dtype)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(run_all(case, arrays))
    assert same(results[0], results[1])
    assert same(results[0], results[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_same_bits_on_any_number_of_threads(dtype, threads):
    x = np.random.default_rng(0).standard_normal((7, 33, 40, 41)).astype(dtype)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(_batch_norm(x))
    assert same(results[0], results[1])
    assert same(results[0], results[2])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_same_bits_in_any_layout(case):
    arrays = case.make(np.float32)
    expected = run_all(case, arrays)
    g = np.random.default_rng(1).standard_normal(expected[0].shape).astype(np.float32)
    for layout in LAYOUTS:
        moved = {k: lay_out(a, layout) for k, a in arrays.items()}
        assert same(run_all(case, moved, lay_out(g, layout)), expected), layout


@pytest.mark.parametrize("case", [LARGE[0], LARGE[5], LARGE[6], LARGE[12]], ids=lambda c: c.id)
def test_eight_python_threads(case):
    inputs = [case.make(np.float32, seed) for seed in range(8)]
    expected = [run_all(case, arrays) for arrays in inputs]
    failures = []
    start = threading.Barrier(8)

    def work(i):
        try:
            start.wait()
            for _ in range(5):
                if not same(run_all(case, inputs[i]), expected[i]):
                    failures.append(i)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_eight_threads_build_plans():
    _plans.plans.clear()
    failures = []

    def work(i):
        try:
            for n in range(1, 60):
                x = np.full((n + i % 2, 3), -1.0, np.float32)
                assert not F.relu(x).any()
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_plan_cache_is_bounded():
    for n in range(1, _plans.MAX_PLANS + 50):
        F.relu(np.ones(n, np.float32))
        assert len(_plans.plans) <= _plans.MAX_PLANS
    F.relu(np.ones(1, np.float32))
    assert len(_plans.plans) <= _plans.MAX_PLANS


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_memory_stays_flat_over_a_thousand_shapes():
    w = np.ones((8, 4, 3, 3), np.float32)

    def resident(shapes):
        for height, width in shapes:
            F.conv2d(np.ones((1, 4, height, width), np.float32), w, padding=1)
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    shapes = [(h, w) for h in range(20, 60) for w in range(30, 60)]
    before = resident(shapes[-300:])
    assert resident(shapes) - before < 16 * 2**20


def test_forms_of_arguments():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 7, 7)), rng.standard_normal((3, 2, 3, 3))
    plain = F.conv2d(x, w, stride=2, padding=1)
    for stride in ((2, 2), [2, 2], (2,), np.int64(2), (np.int32(2), 2)):
        for padding in ((1, 1), [1], ((1, 1), (1, 1)), [[1, 1], [1, 1]], np.uint8(1)):
            np.testing.assert_array_equal(F.conv2d(x, w, stride=stride, padding=padding), plain)
    np.testing.assert_array_equal(
        F.conv2d(x, w, padding="valid"), F.conv2d(x, w, padding=((0, 0), (0, 0)))
    )
    padded = np.pad(x, ((0, 0), (0, 0), (2, 0), (1, 3)))
    np.testing.assert_allclose(
        F.conv2d(x, w, padding=((2, 0), (1, 3))), F.conv2d(padded, w), rtol=0, atol=1e-13
    )
    line, taps = x[:, :, 0], w[:, :, 0]
    np.testing.assert_array_equal(
        F.conv1d(line, taps, padding=((1, 1),)), F.conv1d(line, taps, padding=1)
    )
    assert F.conv2d(x.view(np.memmap), w).shape == (1, 3, 5, 5)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_results_are_new_arrays(case):
    arrays = case.make(np.float32)
    before = {k: a.copy() for k, a in arrays.items()}
    first = run_all(case, arrays)
    for result in first:
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert not any(np.shares_memory(result, a) for a in arrays.values())
    kept = [a.copy() for a in first]
    run_all(case, case.make(np.float32, seed=5))
    assert same(first, kept)
    for k, a in arrays.items():
        np.testing.assert_array_equal(a, before[k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_passes_through_pooling_and_relu(dtype):
    x = np.zeros((1, 9, 6, 6), dtype)
    x[0, :, 2, 3] = np.nan
    x[0, :, 5, 5] = np.inf
    for y in (
        F.max_pool2d(x, 2),
        F.max_pool2d(x, 2, return_indices=True)[0],
        F.adaptive_max_pool2d(x, 3),
        F.avg_pool2d(x, 2),
        F.adaptive_avg_pool2d(x, 3),
    ):
        assert np.isnan(y[0, :, 1, 1]).all()
        assert np.isinf(y[0, :, 2, 2]).all()
        assert np.isfinite(y[0, :, :, 0]).all()
    index = F.max_pool2d(x, 2, return_indices=True)[1]
    assert (index[0, :, 1, 1] == 2 * 6 + 3).all()
    y = F.relu(x)
    assert np.isnan(y[0, :, 2, 3]).all()
    assert np.isinf(y[0, :, 5, 5]).all()
    grad = F.max_pool2d_backward(np.ones((1, 9, 3, 3), dtype), x, 2)
    assert (grad[0, :, 2, 3] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_pass_through_convolution(dtype):
    x, w = np.ones((1, 8, 8, 8), dtype), np.ones((16, 8, 3, 3), dtype)
    x[0, 0, 0, 0], x[0, 1, 7, 7] = np.nan, np.inf
    y = F.conv2d(x, w)
    assert np.isnan(y[0, :, 0, 0]).all()
    assert np.isinf(y[0, :, -1, -1]).all()
    assert (y[0, :, 3, 3] == 72).all()


def test_running_statistics_are_updated_in_views():
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    table = np.zeros((3, 2), np.float32)
    F.batch_norm(x, table[:, 0], table[:, 1], training=True, momentum=1.0)
    np.testing.assert_allclose(table[:, 0], x.mean((0, 2)), atol=1e-6)
    np.testing.assert_allclose(table[:, 1], x.var((0, 2), ddof=1), rtol=1e-5)


def test_small_variance_is_tracked_exactly():
    x = (1 + 1e-5 * np.random.default_rng(0).standard_normal((64, 3))).astype(np.float32)
    mean, var = np.zeros(3, np.float32), np.zeros(3, np.float32)
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(var, x.astype(float).var(0, ddof=1), rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_warn_nobody(dtype):
    rows = np.array([[np.nan, 1, 2], [np.inf, 0, 1], [-np.inf, 0, 1], [3e38, -3e38, 0]], dtype)
    mean, var = np.full(3, np.inf, dtype), np.full(3, np.inf, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for target in (np.array([0, 0, 0, 1]), np.ones_like(rows)):
            for smoothing in (0.0, 0.5):
                for reduction in ("mean", "none"):
                    rest = (target, rows[3], -100, reduction, smoothing)
                    F.cross_entropy(rows, *rest)
                    g = np.ones(4, dtype) if reduction == "none" else 1e30
                    F.cross_entropy_backward(g, rows, *rest)
        F.softplus(rows, 3.0, 1.0)
        F.softplus_backward(rows, rows, 3.0, 1.0)
        F.batch_norm(rows, mean, var, training=True, momentum=1.0)
        F.dropout(rows, 1.0, True, 0)
        F.dropout(rows, 0.5, True, 0)
        F.pad(rows, (1, 1), "constant", np.inf)


def test_dropout_rate_and_seeds():
    x = np.ones(100_000, np.float32)
    y = F.dropout(x, 0.3, True, 1)
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert abs(y.mean() - 1) < 0.02
    assert (F.dropout(x, 0.3, True, 2) != y).any()
    assert (F.dropout(x, 0.3) != F.dropout(x, 0.3)).any()


def test_zero_batch_gradients():
    w = np.ones((5, 3, 3, 3), np.float32)
    x, g = np.zeros((0, 3, 6, 6), np.float32), np.zeros((0, 5, 4, 4), np.float32)
    grads = F.conv2d_backward(g, x, w)
    assert [a.shape for a in grads] == [x.shape, w.shape, (5,)]
    assert not any(a.any() for a in grads)
