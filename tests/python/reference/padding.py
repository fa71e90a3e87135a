"""Padding, as a table of where each output element comes from."""

import numpy as np


def pad_indices(size, before, after, mode):
    """The source index of every output position of an axis, -1 for the constant."""
    out = []
    for i in range(-before, size + after):
        if 0 <= i < size:
            out.append(i)
        elif mode == "constant":
            out.append(-1)
        elif mode == "reflect":
            out.append(-i if i < 0 else 2 * (size - 1) - i)
        elif mode == "replicate":
            out.append(0 if i < 0 else size - 1)
        else:
            out.append(i % size)
    return np.array(out, dtype=np.int64)


def _tables(shape, pads, mode):
    pairs = [(0, 0)] * len(shape)
    for i in range(len(pads) // 2):
        pairs[-1 - i] = pads[2 * i : 2 * i + 2]
    return [pad_indices(n, *p, mode) for n, p in zip(shape, pairs, strict=True)]


def _mask(tables):
    """Where an output element is a copy of an input element."""
    ndim = len(tables)
    mask = np.ones([len(t) for t in tables], bool)
    for axis, table in enumerate(tables):
        mask &= (table >= 0).reshape([-1 if a == axis else 1 for a in range(ndim)])
    return mask


def pad(x, pads, mode, value):
    """`pads` in PyTorch's order: last axis first."""
    x = np.float64(x)
    tables = _tables(x.shape, pads, mode)
    return np.where(_mask(tables), x[np.ix_(*tables)], value)


def pad_backward(g, shape, pads, mode):
    """Adds every output gradient at its source."""
    tables = _tables(shape, pads, mode)
    dx = np.zeros(shape)
    np.add.at(dx, np.ix_(*tables), np.where(_mask(tables), g, 0))
    return dx
