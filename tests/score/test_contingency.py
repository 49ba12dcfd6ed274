"""Sparse contingency tables."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sepvox.errors import InputError, StoreError
from sepvox.score.contingency import Contingency, contingency, merge, near_border, relabel


def brute_force(fragments: NDArray[np.integer], truth: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    pairs: dict[tuple[int, int], int] = {}
    for f, t in zip(fragments.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if t:
            pairs[f, t] = pairs.get((f, t), 0) + 1
    return [(f, t, n) for (f, t), n in sorted(pairs.items())]


def rows(table: Contingency) -> list[tuple[int, int, int]]:
    return list(zip(table.fragment.tolist(), table.truth.tolist(), table.count.tolist(), strict=True))


@pytest.mark.parametrize(("kind", "other"), [(np.uint64, np.uint64), (np.uint32, np.uint64), (np.int64, np.uint8)])
def test_pairs_are_counted_sorted_and_unique(kind: type, other: type) -> None:
    rng = np.random.default_rng(0)
    fragments = rng.integers(0, 60, (9, 20, 21)).astype(kind)
    truth = rng.integers(0, 5, (9, 20, 21)).astype(other)
    table = contingency(fragments, truth)
    assert rows(table) == brute_force(fragments, truth)
    assert (table.fragment.dtype, table.truth.dtype, table.count.dtype) == (np.uint64, np.uint64, np.int64)


def test_table_grows_with_many_pairs_and_keeps_large_ids() -> None:
    fragments = np.arange(30_000, dtype=np.uint64).reshape(30, 100, 10) * np.uint64(2**32) + np.uint64(2**63)
    truth = np.repeat(np.arange(1, 15_001, dtype=np.uint64), 2).reshape(fragments.shape)
    table = contingency(fragments, truth)
    assert len(table.count) == 30_000
    assert (table.count == 1).all()
    assert np.array_equal(table.fragment, fragments.ravel())
    assert np.array_equal(table.truth, truth.ravel())


def test_unknown_truth_and_ignored_voxels_are_left_out() -> None:
    fragments = np.array([[[0, 1, 1, 2]]], np.uint64)
    truth = np.array([[[7, 7, 0, 7]]], np.uint64)
    assert rows(contingency(fragments, truth)) == [(0, 7, 1), (1, 7, 1), (2, 7, 1)]
    ignore = np.array([[[False, True, False, False]]])
    assert rows(contingency(fragments, truth, ignore)) == [(0, 7, 1), (2, 7, 1)]
    assert truth.tolist() == [[[7, 7, 0, 7]]]
    assert rows(contingency(fragments, np.zeros_like(truth))) == []


def test_views_that_are_not_contiguous_are_counted_alike() -> None:
    rng = np.random.default_rng(1)
    fragments, truth = rng.integers(0, 9, (2, 8, 12, 10)).astype(np.uint64)
    view = contingency(fragments[1:-1, ::2, 3:], truth[1:-1, ::2, 3:])
    assert rows(view) == brute_force(fragments[1:-1, ::2, 3:], truth[1:-1, ::2, 3:])


def test_blocks_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(2)
    fragments = rng.integers(0, 40, (12, 18, 20)).astype(np.uint64)
    truth = rng.integers(0, 9, (12, 18, 20)).astype(np.uint32)
    blocks = [
        contingency(fragments[z : z + 5, y : y + 7], truth[z : z + 5, y : y + 7])
        for z in range(0, 12, 5)
        for y in range(0, 18, 7)
    ]
    assert rows(merge(blocks)) == rows(contingency(fragments, truth))
    assert rows(merge([])) == []


def test_relabelled_table_is_the_table_of_the_relabelled_segmentation() -> None:
    rng = np.random.default_rng(3)
    ids = np.unique(rng.integers(1, 10_000, 50)).astype(np.uint64)
    segments = rng.integers(0, 6, len(ids)).astype(np.uint64)
    index = rng.integers(-1, len(ids), (6, 15, 15))
    fragments = np.where(index < 0, np.uint64(0), ids[index])
    segmentation = np.where(index < 0, np.uint64(0), segments[index])
    truth = rng.integers(0, 4, index.shape).astype(np.uint64)
    assert rows(relabel(contingency(fragments, truth), ids, segments)) == brute_force(segmentation, truth)


@pytest.mark.parametrize("missing", [4, 99])
def test_relabelling_with_a_foreign_lookup_table_is_refused(missing: int) -> None:
    table = contingency(np.array([[[1, missing]]], np.uint64), np.ones((1, 1, 2), np.uint64))
    with pytest.raises(StoreError, match=f"fragment {missing} "):
        relabel(table, np.array([1, 5], np.uint64), np.array([1, 1], np.uint64))


def test_other_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"ground truth: shape \(2, 2, 3\)"):
        contingency(np.zeros((2, 2, 2), np.uint64), np.zeros((2, 2, 3), np.uint64))
    with pytest.raises(InputError, match="ignored"):
        contingency(np.zeros((2, 2, 2), np.uint64), np.ones((2, 2, 2), np.uint64), np.zeros((2, 2, 1), np.bool_))


def test_near_border_is_measured_within_sections() -> None:
    truth = np.ones((3, 7, 12), np.uint64)
    truth[:, :, 6:] = 2
    truth[1] = 3
    assert not near_border(truth, 0).any()
    for voxels in (1, 2, 3):
        expected = np.zeros((3, 7, 12), np.bool_)
        expected[::2, :, 6 - voxels : 6 + voxels] = True
        assert np.array_equal(near_border(truth, voxels), expected)


def test_near_border_is_round_at_corners() -> None:
    truth = np.ones((1, 11, 11), np.uint64)
    truth[0, 5, 5] = 2
    near = near_border(truth, 3)[0]
    z, y = np.indices((11, 11))
    border = [(5, 5), (4, 5), (6, 5), (5, 4), (5, 6)]
    distance = np.min([np.hypot(z - a, y - b) for a, b in border], axis=0)
    assert np.array_equal(near, distance < 3)
