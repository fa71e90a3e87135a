"""Layered drawing of a directed acyclic graph (Sugiyama, Tagawa & Toda 1981).

Vertices get a rank by their longest path from a source, edges that span several ranks get bends in
the ranks between, each rank is ordered by barycentres so that few edges cross, and places in a rank
are those nearest to the neighbours' that keep order and distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike

_ORDER_SWEEPS = 12
_PLACE_SWEEPS = 24
_STRAIGHT_SWEEPS = 60
_BEND_WIDTH = 0.0
_STRAIGHT = 4.0  # how much more the ends of a bend count than those of a box


class Layout(NamedTuple):
    """Places of boxes and edges; x grows to the right, ranks downwards.

    Attributes:
        x: centre of each vertex.
        rank: rank of each vertex, 0 for sources.
        bends: for each edge the x of its bends, one for each rank between its ends.
    """

    x: list[float]
    rank: list[int]
    bends: list[list[float]]


def layered_layout(
    widths: Sequence[float], edges: Sequence[tuple[int, int]], gap: float = 1.0
) -> Layout:
    """Return places for vertices of these widths.

    Args:
        widths: width of each vertex.
        edges: (from, to), where from < to.
        gap: smallest distance between neighbours of a rank.
    """
    count = len(widths)
    rank = _ranks(count, edges)
    sizes = list(widths)
    ranks = list(rank)
    links: list[tuple[int, int]] = []
    chains: list[list[int]] = []
    for tail, head in edges:
        chain = list(range(len(sizes), len(sizes) + rank[head] - rank[tail] - 1))
        sizes += [_BEND_WIDTH] * len(chain)
        ranks += range(rank[tail] + 1, rank[head])
        path = [tail, *chain, head]
        links += itertools.pairwise(path)
        chains.append(chain)
    above: list[list[int]] = [[] for _ in sizes]
    below: list[list[int]] = [[] for _ in sizes]
    for tail, head in links:
        above[head].append(tail)
        below[tail].append(head)
    rows = _ordered(ranks, above, below)
    x = _placed(rows, sizes, count, above, below, gap)
    x = _straightened(x, rows, sizes, above, below, gap)
    return Layout([float(v) for v in x[:count]], rank, [[float(x[v]) for v in c] for c in chains])


def _ranks(count: int, edges: Any) -> list[int]:
    rank = [0] * count
    for tail, head in sorted(edges, key=lambda edge: edge[1]):
        rank[head] = max(rank[head], rank[tail] + 1)
    # A source stands right above what it feeds, not at the top.
    sources = set(range(count)) - {head for _, head in edges}
    for source in sources:
        heads = [rank[head] for tail, head in edges if tail == source]
        if heads:
            rank[source] = min(heads) - 1
    return rank


def _ordered(ranks: Any, above: Any, below: Any) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for vertex, rank in enumerate(ranks):
        rows[rank].append(vertex)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_ORDER_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = above if down else below
        for row in rows if down else reversed(rows):
            where = _positions(rows)
            centre = {
                v: np.mean([where[n] for n in neighbours[v]]) if neighbours[v] else where[v]
                for v in row
            }
            row.sort(key=centre.__getitem__)
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _positions(rows: Any) -> dict[int, int]:
    return {vertex: place for row in rows for place, vertex in enumerate(row)}


def _crossings(rows: Any, below: Any) -> int:
    where = _positions(rows)
    total = 0
    for row in rows:
        ends = [where[head] for tail in row for head in sorted(below[tail], key=where.__getitem__)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _placed(rows: Any, sizes: Any, count: int, above: Any, below: Any, gap: float) -> NDArray[Any]:
    x = np.zeros(len(sizes))
    for row in rows:
        x[row] = _separated([0.0] * len(row), [1.0] * len(row), row, sizes, gap)
    for sweep in range(_PLACE_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted, weights = [], []
            for vertex in row:
                neighbours = above[vertex] if down else below[vertex]
                bend = vertex >= count
                # Boxes in a chain stay straight; where lines meet, the middle one leads.
                places = sorted(x[n] for n in neighbours)
                wanted.append(_median(places) if places else x[vertex])
                weights.append(_STRAIGHT if bend else 1.0 if places else 0.1)
            x[row] = _separated(wanted, weights, row, sizes, gap)
    return x


def _straightened(
    x: TensorLike, rows: Any, sizes: Any, above: Any, below: Any, gap: float
) -> NDArray[Any]:
    """The places with each chain, in which every vertex has one successor, on one line.

    A chain moves to the mean of what its ends are linked with, as far as its neighbours let it.
    """
    chain = list(range(len(sizes)))
    for vertex in (v for row in rows for v in row):
        if len(above[vertex]) == 1 and len(below[above[vertex][0]]) == 1:
            chain[vertex] = chain[above[vertex][0]]
    members: dict[int, list[int]] = {}
    for vertex, number in enumerate(chain):
        members.setdefault(number, []).append(vertex)
    left: dict[int, list[tuple[int, float]]] = {number: [] for number in members}
    right: dict[int, list[tuple[int, float]]] = {number: [] for number in members}
    for row in rows:
        for a, b in itertools.pairwise(row):
            distance = 0.5 * (sizes[a] + sizes[b]) + gap
            right[chain[a]].append((chain[b], distance))
            left[chain[b]].append((chain[a], distance))
    order = _from_left(left, right)
    if len(order) < len(members):
        return np.asarray(x)  # chains that cross cannot both be straight
    outside = {
        number: [chain[n] for v in inside for n in above[v] + below[v] if chain[n] != number]
        for number, inside in members.items()
    }
    place: dict[int, float] = {}
    for number in order:
        wanted = float(np.mean(x[members[number]]))
        place[number] = max([wanted, *(place[other] + d for other, d in left[number])])
    for sweep in range(_STRAIGHT_SWEEPS):
        for number in order if sweep % 2 else reversed(order):
            linked = [place[other] for other in outside[number]]
            if linked:
                low = max((place[other] + d for other, d in left[number]), default=-np.inf)
                high = min((place[other] - d for other, d in right[number]), default=np.inf)
                place[number] = min(max(float(np.mean(linked)), low), high)
    return np.array([place[number] for number in chain])


def _from_left(left: Any, right: Any) -> list[int]:
    """The chains, each after those on its left; incomplete where that is impossible."""
    waiting = {number: len(others) for number, others in left.items()}
    order = [number for number, count in waiting.items() if not count]
    for number in order:  # grows meanwhile
        for other, _ in right[number]:
            waiting[other] -= 1
            if not waiting[other]:
                order.append(other)
    return order


def _median(values: list[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else 0.5 * (values[middle - 1] + values[middle])


def _separated(wanted: Any, weights: Any, row: Any, sizes: Any, gap: float) -> NDArray[Any]:
    """The places nearest to the wanted ones (weighted squares) that keep order and distance.

    Less the distances from the left, it is isotonic regression: pool adjacent violators.
    """
    steps = [0.5 * (sizes[a] + sizes[b]) + gap for a, b in itertools.pairwise(row)]
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    blocks: list[list[float]] = []  # mean, weight, length
    for value, weight in zip(np.subtract(wanted, offsets), weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, mass, length = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * mass) / (last[1] + mass)
            last[1] += mass
            last[2] += length
    return np.asarray(np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks]) + offsets)
