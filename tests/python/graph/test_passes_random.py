"""Random graphs: a plan gives what its nodes give one by one (random_graphs.py)."""

import pytest

from fastconv._runtime import core

from . import random_graphs

EACH = 10


@pytest.mark.parametrize("first", range(0, 200, EACH))
def test_random_graphs(first):
    for seed in range(first, first + EACH):
        random_graphs.check(seed)


def test_random_graphs_of_one_store():
    store = core.PackStore()
    for seed in range(1000, 1040):
        random_graphs.check(seed, nodes=8, store=store)
    assert store.bytes == 0


def test_gradients_of_random_graphs():
    assert sum(random_graphs.check_gradients(seed) for seed in range(2000, 2150)) > 50
