"""Scores against scikit-image, waterz, brute force and cases worked by hand."""

import itertools
from math import log2, sqrt

import numpy as np
import pytest
import skimage.metrics
import waterz
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.score.contingency import contingency
from sepvox.score.metrics import adapted_rand_error, cremi_score, per_object_errors, variation_of_information

Labels = NDArray[np.uint64]


def related_labels(seed: int, zeros: bool) -> tuple[Labels, Labels]:
    """A segmentation and a truth that agree in part, in lumps as real ones do."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 6, (3, 4, 5)), np.ones((4, 4, 4), int))
    noise = np.kron(rng.integers(0, 4, (6, 8, 10)), np.ones((2, 2, 2), int))
    segmentation = np.where(noise == 0, rng.integers(1, 5, truth.shape), truth + 1 + 7 * (noise == 1))
    if zeros:
        segmentation = np.where(noise == 2, 0, segmentation)
    return segmentation.astype(np.uint64), truth.astype(np.uint64)


def brute_force_arand(segmentation: Labels, truth: Labels) -> float:
    """1 - F over all pairs of voxels, one by one; voxels of segmentation 0 are given ids of their own."""
    known = truth > 0
    objects = truth[known].tolist()
    segments = [("alone", i) if s == 0 else s for i, s in enumerate(segmentation[known].tolist())]
    both = in_segment = in_object = 0
    for i, j in itertools.combinations(range(len(objects)), 2):
        one_segment, one_object = segments[i] == segments[j], objects[i] == objects[j]
        both += one_segment and one_object
        in_segment += one_segment
        in_object += one_object
    precision, recall = both / in_segment, both / in_object
    return 1 - 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_vi_equals_scikit_image_in_bits(seed: int, zeros: bool) -> None:
    segmentation, truth = related_labels(seed, zeros)
    split, merge = variation_of_information(contingency(segmentation, truth))
    known = truth > 0
    expected = skimage.metrics.variation_of_information(truth[known], segmentation[known])
    assert (split, merge) == pytest.approx(tuple(expected), abs=1e-6)
    assert abs(split - merge) > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_vi_equals_waterz(seed: int) -> None:
    segmentation, truth = related_labels(seed, zeros=False)
    split, merge = variation_of_information(contingency(segmentation, truth))
    reference = waterz.evaluate(segmentation, truth)
    assert split == pytest.approx(reference["voi_split"], abs=1e-6)
    assert merge == pytest.approx(reference["voi_merge"], abs=1e-6)


@pytest.mark.parametrize("zeros", [False, True])
def test_arand_equals_counting_all_pairs(zeros: bool) -> None:
    segmentation, truth = (labels[:6, :8, :10] for labels in related_labels(4, zeros))
    assert adapted_rand_error(contingency(segmentation, truth)) == pytest.approx(
        brute_force_arand(segmentation, truth), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
def test_arand_equals_scikit_image_where_nothing_is_background(seed: int) -> None:
    segmentation, truth = related_labels(seed, zeros=False)
    expected, _, _ = skimage.metrics.adapted_rand_error(truth.astype(np.int64), segmentation.astype(np.int64))
    assert adapted_rand_error(contingency(segmentation, truth)) == pytest.approx(expected, abs=1e-12)


def test_one_object_cut_in_halves_is_one_bit_of_split() -> None:
    table = contingency(np.array([[[1, 1, 2, 2]]], np.uint64), np.full((1, 1, 4), 5, np.uint64))
    assert variation_of_information(table) == (1.0, 0.0)
    # Pairs: 2 in segments and all of them in objects, 6 in objects: F = 2 * 2 / (2 + 6).
    assert adapted_rand_error(table) == pytest.approx(0.5)
    assert cremi_score(table) == pytest.approx(sqrt(0.5))


def test_two_objects_joined_are_merge() -> None:
    truth = np.array([[[5, 5, 5, 6]]], np.uint64)
    table = contingency(np.ones((1, 1, 4), np.uint64), truth)
    split, merge = variation_of_information(table)
    assert split == 0
    assert merge == pytest.approx(0.75 * log2(4 / 3) + 0.25 * log2(4))
    assert adapted_rand_error(table) == pytest.approx(1 - 2 * 3 / (3 + 6))


def test_background_is_one_segment_for_vi_and_singletons_for_arand() -> None:
    truth = np.full((1, 1, 4), 5, np.uint64)
    nothing = contingency(np.zeros((1, 1, 4), np.uint64), truth)
    assert variation_of_information(nothing) == (0.0, 0.0)
    assert adapted_rand_error(nothing) == 1.0
    half = contingency(np.array([[[0, 0, 3, 3]]], np.uint64), truth)
    assert variation_of_information(half) == (1.0, 0.0)
    assert adapted_rand_error(half) == pytest.approx(1 - 2 * 1 / (1 + 6))


def test_perfect_segmentation_scores_zero() -> None:
    _, truth = related_labels(0, zeros=False)
    table = contingency(truth * np.uint64(3), truth)
    assert variation_of_information(table) == (0.0, 0.0)
    assert adapted_rand_error(table) == 0.0
    assert cremi_score(table) == 0.0
    assert per_object_errors(table) == ((), ())
    single_voxels = np.arange(1, 5, dtype=np.uint64).reshape(1, 2, 2)
    assert adapted_rand_error(contingency(single_voxels, single_voxels)) == 0.0


def test_nothing_to_score_is_said() -> None:
    empty = contingency(np.ones((1, 2, 2), np.uint64), np.zeros((1, 2, 2), np.uint64))
    for score in (variation_of_information, adapted_rand_error, cremi_score):
        with pytest.raises(InputError, match="nothing to score"):
            score(empty)
    assert per_object_errors(empty) == ((), ())


def test_largest_errors_name_objects_and_their_parts() -> None:
    truth = np.repeat(np.array([5, 6, 7], np.uint64), [8, 4, 4]).reshape(1, 4, 4)
    segmentation = np.array([1, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4], np.uint64).reshape(1, 4, 4)
    (split,), (merge,) = per_object_errors(contingency(segmentation, truth), parts=2)
    assert (split.id, split.voxels, split.parts) == (5, 8, ((1, 5), (2, 2)))
    assert split.bits == pytest.approx((5 * log2(8 / 5) + 2 * log2(8 / 2) + log2(8)) / 16)
    assert (merge.id, merge.voxels, merge.parts) == (4, 8, ((6, 4), (7, 4)))
    assert merge.bits == pytest.approx(0.5)


@pytest.mark.parametrize("zeros", [False, True])
def test_shares_of_all_objects_add_up_to_vi(zeros: bool) -> None:
    table = contingency(*related_labels(7, zeros))
    splits, merges = per_object_errors(table, count=1000)
    split, merge = variation_of_information(table)
    assert sum(error.bits for error in splits) == pytest.approx(split)
    assert sum(error.bits for error in merges) == pytest.approx(merge)
    assert [error.bits for error in splits] == sorted((error.bits for error in splits), reverse=True)
    assert per_object_errors(table, count=2) == (splits[:2], merges[:2])
