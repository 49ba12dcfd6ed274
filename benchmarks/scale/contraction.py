"""Mean linkage on a part of a graph, as far as no other part can change it.

region      a set of fragments that have been merged; its *name* is the lowest of its fragments.
contact     an edge between two regions, with the sum and the number of the affinities of its faces, which add up when
            regions merge, and its *first*: the lowest number of the fragments' contacts that it consists of.
order       contacts are compared by mean affinity, as a fraction of whole numbers and not as a float; of equal means the
            one with the lower first is the higher. No two contacts are equal in this order.
greedy      the highest contact of the whole graph is merged next, while its mean is above a limit.
nearest     of a region: the other end of its highest contact. Two regions that are each other's nearest are *mutual*.

The order is reducible (Bruynooghe 1977): when C and D merge, their contact with A, whose mean is a weighted mean of two,
is not higher than the higher one of A-C and A-D. For if the means differ the new one lies strictly below the larger, and
if they are equal so is the new one, and its first is the lower of the two, which is that of the higher contact. If only
one of the two exists, it is the new one. So no contact of A ever rises above the highest that A has, whoever merges
elsewhere; two mutual regions stay mutual, at the same mean, until they merge. Pairs of mutual regions share no region and
sums do not depend on the order of addition, hence merging any mutual pair next leads to the same merges, with the same
means, as greedy does: it too merges a mutual pair, the highest (the argument of Murtagh 1983 for reciprocal neighbours).

In a part of the graph only regions of the part are merged. Contacts that leave it must be there in full; their far ends
stay as they are, *stuck*. As no contact of a region can rise, whatever becomes of those ends, two regions of the part that
are mutual here are mutual in the whole graph. A region whose nearest is stuck is stuck, too, until the next larger part.
A region of the part that is neither stuck nor has a contact above the limit is *final*: it will never merge, and none of
its contacts will ever count; they are left out.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.scale.graph import WHOLE, Graph, Index, Merges

# Products of a sum and a count stay below 2^62.
MULTIPLIED = 1 << 27


@dataclass(frozen=True)
class Contraction:
    """What became of a part: its merges, the contacts of stuck regions, and the names of final ones."""

    merges: Merges
    left: Graph
    final: Index


def contracted(graph: Graph, inside: NDArray[np.bool_] | None, limit: float) -> Contraction:
    """Merge the regions of a part of a graph.

    Parameters
    ----------
    graph : Graph
        Every contact of every region of the part.
    inside : bool (e, 2), optional
        Whether the ends of each contact belong to the part; all do by default, and the result is that of greedy.
    limit : float
        Regions merge while the mean affinity of their contact, 0 to 1, is above it.
    """
    names, ends = np.unique(graph.edges, return_inverse=True)
    ends = ends.reshape(-1, 2).astype(np.int64)
    stuck = np.zeros(len(names), np.bool_)
    if inside is not None:
        stuck[ends[~inside]] = True
    sums, counts, first, lowest = graph.sums.copy(), graph.counts.copy(), graph.first.copy(), np.arange(len(names))
    merges, region, alive = _merge(ends, sums, counts, first, stuck, lowest, limit)
    kept = alive & stuck[ends].all(axis=1)
    left = Graph(names[lowest[ends[kept]]], sums[kept], counts[kept], first[kept])
    whole = (region == np.arange(len(names))) & ~stuck
    return Contraction(
        Merges(names[merges[:, 0]], names[merges[:, 1]], merges[:, 2], merges[:, 3]),
        left,
        np.sort(names[lowest[whole]]),
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _merge(
    ends: Index, sums: Index, counts: Index, first: Index, stuck: NDArray[np.bool_], lowest: Index, limit: float
) -> tuple[Index, Index, NDArray[np.bool_]]:
    """Merge in falling order; all arrays become those of the contacts and regions that are left.

    A contact that comes up with one stuck end is the highest of the other end: that one is stuck from then on. Of one
    without stuck ends both have no higher contact, for that would have come up before: they are mutual.

    `chain` holds a linked list of half contacts per region, half 2 e + side belonging to `ends[e, side]`. The table finds
    the contact of two regions that are alive and not stuck; what it holds of others is not looked for any more.
    """
    nodes, edges = len(stuck), len(ends)
    begin, chain, degree = np.full(nodes, -1), np.full(2 * edges, -1), np.zeros(nodes, np.int64)
    for half in range(2 * edges):
        node = ends[half >> 1, half & 1]
        chain[half] = begin[node]
        begin[node] = half
        degree[node] += 1
    region, alive = np.arange(nodes), np.ones(edges, np.bool_)
    heap, place, size = np.arange(edges), np.arange(edges), edges
    for at in range(edges // 2 - 1, -1, -1):
        _sink(heap, place, size, at, sums, counts, first)
    keys, values = _table(heap[:size], ends, nodes)
    used = size
    merges = np.empty((nodes, 4), np.int64)
    total = 0
    while size and sums[heap[0]] / (counts[heap[0]] * WHOLE) > limit:
        edge = heap[0]
        size = _remove(heap, place, size, 0, sums, counts, first)
        a, b = ends[edge]
        if stuck[a] or stuck[b]:
            stuck[a] = stuck[b] = True
            continue
        alive[edge] = False
        low, high = min(lowest[a], lowest[b]), max(lowest[a], lowest[b])
        merges[total, 0], merges[total, 1], merges[total, 2], merges[total, 3] = low, high, sums[edge], counts[edge]
        total += 1
        # The region of fewer contacts goes into the other.
        go, stay = (a, b) if degree[a] < degree[b] else (b, a)
        region[go], lowest[stay] = stay, low
        degree[stay] -= 1
        half = begin[go]
        while half != -1:
            following, other = chain[half], half >> 1
            if alive[other]:
                far = ends[other, 1 - (half & 1)]
                slot = _slot(keys, _key(stay, far, nodes))
                if keys[slot] >= 0:
                    same = values[slot]
                    size = _remove(heap, place, size, place[other], sums, counts, first)
                    alive[other] = False
                    degree[far] -= 1
                    sums[same] += sums[other]
                    counts[same] += counts[other]
                    first[same] = min(first[same], first[other])
                    at = _rise(heap, place, place[same], sums, counts, first)
                    _sink(heap, place, size, at, sums, counts, first)
                else:
                    ends[other, half & 1] = stay
                    chain[half] = begin[stay]
                    begin[stay] = half
                    degree[stay] += 1
                    keys[slot], values[slot] = _key(stay, far, nodes), other
                    used += 1
                    if 2 * used > len(keys):
                        keys, values = _table(heap[:size], ends, nodes)
                        used = size
            half = following
    return merges[:total], region, alive


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _higher(a: int, b: int, sums: Index, counts: Index, first: Index) -> bool:
    """Whether contact a comes before contact b in the order."""
    sum_a, count_a, sum_b, count_b = sums[a], counts[a], sums[b], counts[b]
    if count_a < MULTIPLIED and count_b < MULTIPLIED:
        left, right = sum_a * count_b, sum_b * count_a
        return bool(left > right) if left != right else bool(first[a] < first[b])
    # Fractions as continued fractions: where their whole parts are equal the remainders are compared, upside down.
    straight = True
    while True:
        whole_a, whole_b = sum_a // count_a, sum_b // count_b
        if whole_a != whole_b:
            return bool(whole_a > whole_b) == straight
        sum_a, sum_b = sum_a - whole_a * count_a, sum_b - whole_b * count_b
        if sum_a == 0 and sum_b == 0:
            return bool(first[a] < first[b])
        if sum_a == 0 or sum_b == 0:
            return bool(sum_a > 0) == straight
        sum_a, count_a, sum_b, count_b = count_a, sum_a, count_b, sum_b
        straight = not straight


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rise(heap: Index, place: Index, at: int, sums: Index, counts: Index, first: Index) -> int:
    """Move a contact of the heap up to where it belongs; its place."""
    edge = heap[at]
    while at > 0:
        above = (at - 1) >> 1
        if not _higher(edge, heap[above], sums, counts, first):
            break
        heap[at] = heap[above]
        place[heap[at]] = at
        at = above
    heap[at] = edge
    place[edge] = at
    return at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sink(heap: Index, place: Index, size: int, at: int, sums: Index, counts: Index, first: Index) -> None:
    """Move a contact of the heap down to where it belongs."""
    edge = heap[at]
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _higher(heap[below + 1], heap[below], sums, counts, first):
            below += 1
        if not _higher(heap[below], edge, sums, counts, first):
            break
        heap[at] = heap[below]
        place[heap[at]] = at
        at = below
    heap[at] = edge
    place[edge] = at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _remove(heap: Index, place: Index, size: int, at: int, sums: Index, counts: Index, first: Index) -> int:
    """Take a contact out of the heap; the heap's new size."""
    size -= 1
    if at != size:
        heap[at] = heap[size]
        place[heap[at]] = at
        _sink(heap, place, size, _rise(heap, place, at, sums, counts, first), sums, counts, first)
    return size


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _key(a: int, b: int, nodes: int) -> int:
    return min(a, b) * nodes + max(a, b)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _slot(keys: Index, key: int) -> np.int64:
    """Where a pair stands, or is to stand, in an open-addressing table whose length is a power of two."""
    mask = len(keys) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64(mixed >> np.uint64(20)) & mask
    while keys[at] >= 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _table(members: Index, ends: Index, nodes: int) -> tuple[Index, Index]:
    """A table of contacts by their two ends, less than a quarter full."""
    length = 1 << 4
    while length < 4 * len(members) + 4:
        length *= 2
    keys, values = np.full(length, -1), np.empty(length, np.int64)
    for edge in members:
        slot = _slot(keys, _key(ends[edge, 0], ends[edge, 1], nodes))
        keys[slot], values[slot] = _key(ends[edge, 0], ends[edge, 1], nodes), edge
    return keys, values
