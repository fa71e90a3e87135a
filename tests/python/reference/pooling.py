"""Pooling: a list of windows for each axis, then one loop over output pixels."""

import math

import numpy as np


def _count(size, k, s, before, after, d, ceil_mode):
    span = size + before + after - d * (k - 1) - 1
    count = (math.ceil(span / s) if ceil_mode else math.floor(span / s)) + 1
    if ceil_mode and (count - 1) * s >= size + before:
        count -= 1
    return count


def pool_windows(size, k, s, pads, d, ceil_mode):
    """For each output position of an axis: the input indices, and the window's padded length."""
    before, after = pads
    windows = []
    for o in range(_count(size, k, s, before, after, d, ceil_mode)):
        start = o * s - before
        inside = [start + d * i for i in range(k) if 0 <= start + d * i < size]
        windows.append((inside, min(start + k, size + after) - start))
    return windows


def adaptive_windows(size, out):
    """For each output position of an axis the range of input indices it covers."""
    windows = []
    for o in range(out):
        inside = list(range(o * size // out, -(-(o + 1) * size // out)))
        windows.append((inside, len(inside)))
    return windows


def max_pool(x, rows, cols):
    """Maxima and their h * W + w; the first NaN, or else the first maximum, wins."""
    n, c, _, width = x.shape
    y = np.zeros((n, c, len(rows), len(cols)), x.dtype)
    index = np.zeros(y.shape, np.int64)
    for i, (hs, _) in enumerate(rows):
        for j, (ws, _) in enumerate(cols):
            places = np.array([h * width + w for h in hs for w in ws])
            values = x.reshape(n, c, x.shape[2] * width)[:, :, places]
            best = values.argmax(-1)  # NumPy's argmax also takes the first NaN
            y[:, :, i, j] = np.take_along_axis(values, best[..., None], -1)[..., 0]
            index[:, :, i, j] = places[best]
    return y, index


def max_pool_backward(g, shape, index):
    """Adds each gradient at its maximum."""
    planes = shape[0] * shape[1]
    dx = np.zeros((planes, shape[2] * shape[3]))
    if g.size:
        rows = np.arange(planes)[:, None]
        np.add.at(dx, (rows, index.reshape(planes, -1)), g.reshape(planes, -1))
    return dx.reshape(shape)


def _window(row, col):
    return (slice(None), slice(None), *np.ix_(row[0], col[0]))


def _divisor(row, col, count_include_pad, divisor_override):
    if divisor_override is not None:
        return divisor_override
    return row[1] * col[1] if count_include_pad else len(row[0]) * len(col[0])


def avg_pool(x, rows, cols, count_include_pad=True, divisor_override=None):
    """Sums over windows, divided."""
    x = np.float64(x)
    y = np.zeros((*x.shape[:2], len(rows), len(cols)))
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            total = x[_window(row, col)].sum((2, 3))
            y[:, :, i, j] = total / _divisor(row, col, count_include_pad, divisor_override)
    return y


def avg_pool_backward(g, shape, rows, cols, count_include_pad=True, divisor_override=None):
    """Spreads each gradient over its window."""
    dx = np.zeros(shape)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            share = g[:, :, i, j] / _divisor(row, col, count_include_pad, divisor_override)
            dx[_window(row, col)] += share[:, :, None, None]
    return dx


def _lp_sums(x, rows, cols, p, kernel):
    """Sums of powers; a window cut by the edge counts as much as a whole one (as in PyTorch)."""
    area = kernel[0] * kernel[1]
    with np.errstate(invalid="ignore"):
        return avg_pool(np.float64(x) ** p, rows, cols) * area


def lp_pool(x, rows, cols, p, kernel):
    """Roots of the sums of powers."""
    with np.errstate(invalid="ignore"):
        return _lp_sums(x, rows, cols, p, kernel) ** (1 / p)


def lp_pool_backward(g, x, rows, cols, p, kernel):
    """d (sum ** (1/p)) = sum ** (1/p - 1) * x ** (p - 1) for each x, 0 for a sum of 0."""
    x = np.float64(x)
    sums = _lp_sums(x, rows, cols, p, kernel)
    area = kernel[0] * kernel[1]
    dx = np.zeros(x.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        outer = np.where(sums == 0, 0, g * sums ** (1 / p - 1))
        for i, row in enumerate(rows):
            for j, col in enumerate(cols):
                place = _window(row, col)
                scale = area / (row[1] * col[1])
                power = x[place] ** (p - 1)
                dx[place] += scale * outer[:, :, i, j, None, None] * power
    return dx
