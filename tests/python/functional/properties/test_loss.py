"""Cross-entropy against the reference, forward and backward."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from fastconv import functional as F
from functional.tools import Arrays, check, dtypes, lay_out, seeds


@st.composite
def _cases(draw):
    classes = draw(st.sampled_from((1, 2, 3, 10, 17)))
    lead = draw(st.sampled_from(((), (0,), (1,), (3,))))
    rest = draw(st.lists(st.integers(1, 4), max_size=2)) if lead else []
    shape = (*lead, classes, *rest)
    ignore = draw(st.sampled_from((-100, -1, 0)))
    return (
        draw(seeds),
        draw(dtypes),
        shape,
        draw(st.booleans()),
        draw(st.booleans()),
        ignore,
        draw(st.sampled_from(("none", "mean", "sum"))),
        draw(st.sampled_from((0.0, 0.1, 1.0))),
    )


@given(_cases(), st.sampled_from((np.int64, np.int32, np.uint8, np.int8)))
def test_cross_entropy(case, index_dtype):
    seed, dtype, shape, probabilities, weighted, ignore, reduction, smoothing = case
    make = Arrays(seed, dtype)
    axis = 0 if len(shape) == 1 else 1
    classes = shape[axis]
    x = make(*shape)
    x = np.asarray(x * dtype(3))
    if probabilities:
        ignore = -100
        target = abs(make(*shape))
    else:
        labels = make.rng.integers(0, classes, shape[:axis] + shape[axis + 1 :])
        if np.iinfo(index_dtype).min <= ignore:
            labels = np.where(make.rng.random(labels.shape) < 0.2, ignore, labels)
        target = lay_out(np.asarray(labels, index_dtype), "reversed")
    weight = abs(make(classes)) + dtype(0.1) if weighted else None
    arguments = (target, weight, ignore, reduction, smoothing)
    loss = np.asarray(F.cross_entropy(x, *arguments))
    expected = np.asarray(ref.cross_entropy(x, *arguments))
    heaviest = 1 if weight is None else weight.max()
    mass = (np.abs(target).sum(axis).max(initial=0) + 1) if probabilities else 1
    each = heaviest * mass * (1 + 2 * abs(x).max(initial=0) + np.log(classes))
    count = x.size // classes
    # A mean's weights sum to 0.1 at least, so it stays below 10 times the largest loss.
    size = each * {"none": 1, "mean": 10, "sum": max(count, 1)}[reduction]
    assert loss.dtype == dtype
    assert loss.shape == expected.shape
    if np.isnan(expected).any():
        assert np.isnan(loss).all()
    else:
        check(loss, expected, size, classes + count)

    g = make(*expected.shape) if reduction == "none" else float(make.rng.standard_normal())
    found = F.cross_entropy_backward(g, x, *arguments)
    wanted = ref.cross_entropy_backward(g, x, *arguments)
    if np.isnan(wanted).any():
        assert np.isnan(found).all()
        return
    size = np.abs(g).max(initial=0) * 10 * each
    check(found, wanted, size, classes + count)
