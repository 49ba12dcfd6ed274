import time

import numpy as np
import pytest

from sepvox.errors import InputError
from sepvox.settings import NEAREST_OFFSETS
from sepvox.train.targets import BOUNDARY, ISOTROPIC_OFFSETS, LEE2017_OFFSETS, affinities, erode


def direct(labels: np.ndarray, offsets) -> tuple[np.ndarray, np.ndarray]:
    targets = np.zeros((len(offsets), *labels.shape), np.uint8)
    mask = np.zeros(targets.shape, bool)
    for channel, offset in enumerate(offsets):
        for voxel in np.ndindex(labels.shape):
            partner = tuple(np.add(voxel, offset))
            if all(0 <= position < size for position, size in zip(partner, labels.shape, strict=True)):
                ends = int(labels[voxel]), int(labels[partner])
                mask[(channel, *voxel)] = 0 not in ends
                targets[(channel, *voxel)] = ends[0] == ends[1] and ends[0] > 0
    return targets, mask


def test_affinity_is_stored_at_the_voxel_and_looks_back() -> None:
    targets, mask = affinities(np.array([[[5, 5, 0, 7, 7, 8]]]), NEAREST_OFFSETS)
    assert targets[2].tolist() == [[[0, 1, 0, 0, 1, 0]]]
    assert mask[2].tolist() == [[[False, True, False, False, True, True]]]
    assert not mask[:2].any()


def test_boundary_voxels_are_known_and_unlike_everything() -> None:
    targets, mask = affinities(np.array([[[3, BOUNDARY, BOUNDARY, 3, 0]]]), ((0, 0, -1),))
    assert targets[0].tolist() == [[[0, 0, 0, 0, 0]]]
    assert mask[0].tolist() == [[[False, True, True, True, False]]]


def test_targets_and_masks_follow_the_definition_for_any_offset() -> None:
    labels = np.random.default_rng(0).integers(-1, 3, (4, 5, 6))
    offsets = (*NEAREST_OFFSETS, (2, 0, 0), (0, -1, 2), (1, 1, -1), (-9, 0, 0))
    for made, expected in zip(affinities(labels, offsets), direct(labels, offsets), strict=True):
        assert made.dtype == expected.dtype
        assert np.array_equal(made, expected)


def test_unsigned_ids_of_any_size_are_compared_exactly() -> None:
    labels = np.array([[[2**63 + 1, 2**63 + 1, 2**63]]], np.uint64)
    assert affinities(labels, ((0, 0, -1),))[0].tolist() == [[[[0, 1, 0]]]]


def test_long_range_lists_start_with_the_nearest_and_hold_the_published_distances() -> None:
    assert LEE2017_OFFSETS[:3] == ISOTROPIC_OFFSETS[:3] == NEAREST_OFFSETS
    assert [offset[0] for offset in LEE2017_OFFSETS[::3]] == [-1, -2, -3, -4]
    assert [offset[2] for offset in LEE2017_OFFSETS[2::3]] == [-1, -3, -9, -27]
    assert [offset[0] for offset in ISOTROPIC_OFFSETS[::3]] == [-1, -3, -9, -27]


def test_erosion_takes_the_given_width_from_both_objects_in_each_section() -> None:
    labels = np.zeros((2, 3, 10), np.uint64)
    labels[0, :, :5], labels[0, :, 5:] = 1, 2
    labels[1, :, :] = 3
    eroded = erode(labels, 2)
    assert eroded[0, 1].tolist() == [1, 1, 1, -1, -1, -1, -1, 2, 2, 2]
    assert (eroded[1] == 3).all()
    assert np.array_equal(erode(labels, 0), labels)


def test_erosion_leaves_unlabelled_voxels_and_the_rims_towards_them() -> None:
    labels = np.array([[[1, 1, 0, 2, 2, 3, 0]]])
    assert erode(labels, 1)[0, 0].tolist() == [1, 1, 0, 2, BOUNDARY, BOUNDARY, 0]
    assert erode(labels, 9)[0, 0].tolist() == [1, 1, 0, BOUNDARY, BOUNDARY, BOUNDARY, 0]


def test_erosion_makes_known_zero_affinities_between_touching_objects() -> None:
    labels = np.random.default_rng(1).integers(1, 3, (3, 6, 6))
    before, after = affinities(labels, NEAREST_OFFSETS), affinities(erode(labels, 1), NEAREST_OFFSETS)
    assert np.array_equal(before[1], after[1])
    assert (after[0] <= before[0]).all()
    assert after[0].sum() < before[0].sum()


def test_erosion_refuses_ids_it_cannot_mark_beside() -> None:
    with pytest.raises(InputError, match=r"expected ids below 2\*\*63"):
        erode(np.full((1, 1, 1), 2**63, np.uint64), 1)


def test_twelve_channels_of_64_cubed_take_at_most_20_ms() -> None:
    labels = np.kron(np.random.default_rng(2).integers(0, 50, (8, 8, 8)), np.ones((8, 8, 8), np.uint64)).astype(
        np.uint64
    )
    durations = []
    for _ in range(10):
        start = time.process_time()
        affinities(labels, ISOTROPIC_OFFSETS)
        durations.append(time.process_time() - start)
    assert min(durations) <= 0.02
