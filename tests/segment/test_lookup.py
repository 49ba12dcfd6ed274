"""Lookup tables from fragments to segments."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sepvox.errors import StoreError
from sepvox.segment.lookup import apply_lookup, lookup_tables

Ids = NDArray[np.uint64]
THRESHOLDS = (0.05, 0.2, 0.5, 0.8)


def random_graph(seed: int) -> tuple[Ids, NDArray[np.int64], Ids, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    ids = np.unique(rng.integers(1, 2**62, 400)).astype(np.uint64)
    ends = np.unique(np.sort(rng.integers(0, len(ids), (600, 2)), axis=1), axis=0)
    ends = ends[ends[:, 0] < ends[:, 1]]
    # Coarse scores: many are equal, and some are equal to thresholds.
    scores = (rng.integers(0, 20, len(ends)) / 20).astype(np.float32)
    return ids, rng.integers(1, 50, len(ids)), ids[ends], scores


def components(ids: Ids, edges: Ids) -> Ids:
    at = np.searchsorted(ids, edges)
    graph = coo_array((np.ones(len(at)), (at[:, 0], at[:, 1])), shape=(len(ids), len(ids)))
    count, group = connected_components(graph, directed=False)
    lowest = np.array([ids[group == g].min() for g in range(count)])
    return lowest[group]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_connected_components_below_each_threshold(seed: int) -> None:
    ids, sizes, edges, scores = random_graph(seed)
    table = lookup_tables(ids, sizes, edges, scores, THRESHOLDS)
    assert table.dtype == np.uint64
    for row, threshold in zip(table, THRESHOLDS, strict=True):
        assert np.array_equal(row, components(ids, edges[scores < np.float32(threshold)]))
    assert len({len(np.unique(row)) for row in table}) == len(THRESHOLDS)


def test_order_of_edges_and_thresholds_does_not_matter() -> None:
    ids, sizes, edges, scores = random_graph(3)
    table = lookup_tables(ids, sizes, edges, scores, THRESHOLDS, 60)
    order = np.random.default_rng(0).permutation(len(edges))
    assert np.array_equal(lookup_tables(ids, sizes, edges[order], scores[order], THRESHOLDS, 60), table)
    assert np.array_equal(lookup_tables(ids, sizes, edges[:, ::-1], scores, THRESHOLDS[::-1], 60), table[::-1])


def test_edges_at_the_threshold_stay_cut() -> None:
    ids = np.array([3, 5], np.uint64)
    edges, scores = np.array([[3, 5]], np.uint64), np.array([0.7], np.float32)
    table = lookup_tables(ids, np.ones(2, np.int64), edges, scores, (0.7, 0.71))
    assert table.tolist() == [[3, 5], [3, 3]]


def test_small_segments_become_background_at_their_own_threshold() -> None:
    ids = np.array([2, 4, 7, 9], np.uint64)
    sizes = np.array([3, 3, 1, 9])
    edges, scores = np.array([[4, 7], [2, 4]], np.uint64), np.array([0.2, 0.6], np.float32)
    table = lookup_tables(ids, sizes, edges, scores, (0.1, 0.5, 0.9), minimum_size=4)
    assert table.tolist() == [[0, 0, 0, 9], [0, 4, 4, 9], [2, 2, 2, 9]]


def test_graph_without_edges_or_fragments() -> None:
    none, no_edges, no_scores = np.empty(0, np.uint64), np.empty((0, 2), np.uint64), np.empty(0, np.float32)
    ids = np.array([1, 8], np.uint64)
    assert lookup_tables(ids, np.ones(2, int), no_edges, no_scores, (0.5,)).tolist() == [[1, 8]]
    assert lookup_tables(none, np.empty(0, int), no_edges, no_scores, (0.5,)).shape == (1, 0)
    assert apply_lookup(np.zeros((2, 2, 2), np.uint64), none, none).tolist() == np.zeros((2, 2, 2)).tolist()


def test_infinite_score_never_merges() -> None:
    ids, edges = np.array([1, 2], np.uint64), np.array([[1, 2]], np.uint64)
    assert lookup_tables(ids, np.ones(2, int), edges, np.array([np.inf], np.float32), (0.999,)).tolist() == [[1, 2]]


def test_applied_table_replaces_every_voxel() -> None:
    rng = np.random.default_rng(5)
    ids = np.unique(rng.integers(1, 2**63, 100, dtype=np.uint64))
    segments = rng.integers(0, 9, len(ids)).astype(np.uint64)
    index = np.repeat(rng.integers(-1, len(ids), (5, 6, 10)), 3, axis=2)
    fragments = np.where(index < 0, np.uint64(0), ids[index])
    kept = fragments.copy()
    segmentation = apply_lookup(fragments, ids, segments)
    assert np.array_equal(segmentation, np.where(index < 0, np.uint64(0), segments[index]))
    assert segmentation.dtype == np.uint64
    assert np.array_equal(fragments, kept)
    assert np.array_equal(apply_lookup(fragments[:, ::2], ids, segments), segmentation[:, ::2])


@pytest.mark.parametrize("foreign", [1, 6, 2**63])
def test_foreign_fragment_is_refused(foreign: int) -> None:
    ids = np.array([5, 8], np.uint64)
    fragments = np.array([[[5, 8, foreign]]], np.uint64)
    with pytest.raises(StoreError, match=f"fragment {foreign} is not"):
        apply_lookup(fragments, ids, ids)
    edges = np.array([[5, foreign]], np.uint64)
    with pytest.raises(StoreError, match=f"region graph: fragment {foreign} is not"):
        lookup_tables(ids, np.ones(2, int), edges, np.zeros(1, np.float32), (0.5,))
