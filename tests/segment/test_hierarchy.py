"""Agglomeration part by part makes the merges of the greedy agglomeration of the whole graph, ties included."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from benchmarks.scale.contraction import contracted
from benchmarks.scale.graph import Graph, Merges
from benchmarks.scale.graphs import digest, generated
from benchmarks.scale.hierarchy import Parts, hierarchical
from numpy.typing import NDArray

from sepvox.blocks import Box, Lattice
from sepvox.segment.contacts import Contacts
from sepvox.segment.mean_linkage import mean_linkage

SHAPE = (3, 4, 5)
NODES = 60
ONE_PART = Lattice(SHAPE, SHAPE)


def random_graph(seed: int, ties: bool) -> Graph:
    """Contacts between random nodes of a lattice, near and far; with ties few means occur, and often."""
    rng = np.random.default_rng(seed)
    ends = np.unique(np.sort(rng.integers(1, NODES + 1, (260, 2)), axis=1), axis=0)
    ends = ends[ends[:, 0] < ends[:, 1]]
    counts = rng.integers(1, 4, len(ends)) if ties else rng.integers(1, 10**6, len(ends))
    means = rng.choice([40, 120, 160, 200, 255], len(ends)) if ties else rng.random(len(ends)) * 255
    return Graph(ends, (means * counts).astype(np.int64), counts, rng.permutation(len(ends)))


def greedy(graph: Graph, limit: float) -> set[tuple[int, int, int, int]]:
    """The definition: the highest contact of the whole graph is merged next."""
    columns = zip(graph.sums.tolist(), graph.counts.tolist(), graph.first.tolist(), strict=True)
    contacts = {tuple(ends): values for ends, values in zip(graph.edges.tolist(), columns, strict=True)}
    found = set()
    while contacts:
        (low, high), (total, count, _) = max(
            contacts.items(), key=lambda item: (Fraction(item[1][0], item[1][1]), -item[1][2])
        )
        if total / (count * 255) <= limit:
            break
        found.add((low, high, total, count))
        merged: dict[tuple[int, int], tuple[int, int, int]] = {}
        for ends, values in contacts.items():
            a, b = sorted(low if end == high else end for end in ends)
            if a != b:
                before = merged.get((a, b), (0, 0, len(graph) + 1))
                merged[a, b] = (before[0] + values[0], before[1] + values[1], min(before[2], values[2]))
        contacts = merged
    return found


def as_set(merges: Merges) -> set[tuple[int, int, int, int]]:
    columns = (merges.kept, merges.gone, merges.sums, merges.counts)
    return set(zip(*(column.tolist() for column in columns), strict=True))


def by_parts(graph: Graph, size: tuple[int, int, int], limit: float) -> Merges:
    boxes = Lattice(SHAPE, size)
    contacts = dict(Parts(boxes).split(graph))
    return hierarchical(lambda number: contacts.get(number, Graph.joined([])), boxes, limit)[0]


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_one_part_is_greedy(seed: int, ties: bool) -> None:
    graph = random_graph(seed, ties)
    for limit in (-1.0, 0.5, 0.7):
        expected = greedy(graph, limit)
        assert as_set(contracted(graph, None, limit).merges) == expected
        assert len(expected) > 5


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 2, 2), (3, 1, 4), (1, 4, 3)])
def test_parts_of_any_size_make_the_merges_of_the_whole(size: tuple[int, int, int], ties: bool) -> None:
    for seed in range(8):
        graph = random_graph(seed, ties)
        for limit in (-1.0, 0.4, 0.6):
            assert as_set(by_parts(graph, size, limit)) == as_set(contracted(graph, None, limit).merges), (seed, limit)


@pytest.mark.parametrize("ties", [True, False])
def test_a_part_makes_no_merge_that_the_whole_graph_does_not_make(ties: bool) -> None:
    """Whatever the part and whatever lies around it."""
    rng, merges = np.random.default_rng(0), 0
    for seed in range(30):
        graph = random_graph(seed, ties)
        part = np.flatnonzero(rng.random(NODES + 1) < 0.7)
        inside = np.isin(graph.edges, part)
        known = graph[inside.any(axis=1)]
        found = as_set(contracted(known, inside[inside.any(axis=1)], 0.3).merges)
        assert found <= greedy(graph, 0.3)
        merges += len(found)
    assert merges > 150


def test_what_is_left_of_a_part_are_contacts_of_regions_that_may_still_merge() -> None:
    graph = Graph(
        np.array([[1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]),
        np.array([250, 200, 240, 100, 20]),
        np.ones(5, np.int64),
        np.arange(5),
    )
    inside = graph.edges <= 5
    # 1-2 and 3-4 are mutual; 6 is outside, and the contact with it is below the limit.
    found = contracted(graph, inside, 0.5)
    assert as_set(found.merges) == {(1, 2, 250, 1), (3, 4, 240, 1), (1, 3, 200, 1)}
    assert found.final.tolist() == [1, 5]
    assert len(found.left) == 0
    # With a higher contact to 6, 5 waits for it, and 4 may join them.
    graph.sums[[3, 4]] = 245, 251
    found = contracted(graph, inside, 0.5)
    assert as_set(found.merges) == {(1, 2, 250, 1)}
    assert found.final.tolist() == []
    assert found.left.edges.tolist() == [[1, 3], [3, 4], [4, 5], [5, 6]]


def test_means_are_compared_as_fractions() -> None:
    """Two means that are equal as floats; that of the later contact is higher by 1 / count."""
    count = 30_000_000_000_000_000
    edges, counts = np.array([[1, 2], [2, 3], [3, 4]]), np.array([count, count, 1])
    sums = np.array([100 * count, 100 * count + 1, 20])
    assert sums[0] / counts[0] == sums[1] / counts[1]
    graph = Graph(edges, sums, counts, np.arange(3))
    assert as_set(contracted(graph, None, 0.3).merges) == greedy(graph, 0.3)
    assert (2, 3, 100 * count + 1, count) in greedy(graph, 0.3)


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_segments_are_those_of_the_mean_backend_at_every_threshold(seed: int) -> None:
    graph = random_graph(seed, ties=False)
    thresholds = (0.2, 0.4, 0.5, 0.6, 0.8)
    nothing = np.zeros(len(graph), np.int64)
    contacts = Contacts((graph.edges - 1).astype(np.uint64), graph.sums, graph.counts, nothing, nothing)
    names = np.arange(1, NODES + 1)
    merges = by_parts(graph, (2, 2, 2), 1 - max(thresholds))
    regions = set()
    for row, threshold in zip(mean_linkage(NODES, contacts, thresholds), thresholds, strict=True):
        np.testing.assert_array_equal(merges.renamed(names, 1 - threshold), row + 1)
        regions.add(len(np.unique(row)))
    assert len(regions) == len(thresholds)


def objects_of(box: Box) -> NDArray[np.int64]:
    """Bars along x, three nodes wide and up to seven long."""
    z, y, x = np.ix_(*(np.arange(begin, end) for begin, end in zip(box.begin, box.end, strict=True)))
    return (z // 3) * 10000 + (y // 3) * 100 + (x + z // 3) // 7


def test_a_generated_graph_is_the_same_for_every_cut_and_so_are_its_merges() -> None:
    shape = (10, 11, 12)
    whole = generated(objects_of, Lattice(shape, shape), 0, 0)
    names = np.arange(1, 10 * 11 * 12 + 1).reshape(shape)
    # Every inner node has 14 neighbours.
    degree = np.bincount(whole.edges.ravel(), minlength=names.size + 1)
    assert (degree[names[1:-1, 1:-1, 1:-1]] == 14).all()
    digests = set()
    for size in (shape, (4, 4, 4), (3, 5, 12)):
        boxes = Lattice(shape, size)
        make = partial(generated, objects_of, boxes, 0)
        parts = Graph.joined([make(number) for number in range(len(boxes))])
        edges, at = np.unique(parts.edges, axis=0, return_index=True)
        order = np.lexsort((whole.edges[:, 1], whole.edges[:, 0]))
        np.testing.assert_array_equal(edges, whole.edges[order])
        np.testing.assert_array_equal(parts.sums[at], whole.sums[order])
        merges, levels = hierarchical(make, boxes, 0.5)
        digests.add(digest(merges))
        assert levels[0].given == len(whole)
        assert levels[-1].left == 0
    assert len(digests) == 1
