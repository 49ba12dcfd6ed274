from itertools import product

import numpy as np
import pytest
import torch

from sepvox.errors import ConfigError
from sepvox.settings import NEAREST_OFFSETS
from sepvox.symmetries import (
    IDENTITY,
    Symmetry,
    apply,
    apply_to_affinities,
    apply_to_offset,
    inverse,
    mirrors,
    partners,
    symmetries,
    undo_on_affinities,
)
from sepvox.train.targets import LEE2017_OFFSETS, affinities, axis_offsets

LONG_OFFSETS = axis_offsets([(1, 1, 1), (3, 3, 3), (9, 9, 9)])
DIAGONAL_OFFSETS = tuple(product((-1, 0, 1), repeat=3))[:13]


def blobs(shape: tuple[int, int, int]) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.kron(rng.integers(1, 4, [-(-size // 2) for size in shape]), np.ones((2, 2, 2), int))[
        tuple(slice(size) for size in shape)
    ]


def test_there_are_48_16_and_8_different_symmetries_and_the_identity_is_first() -> None:
    marked = np.arange(27).reshape(3, 3, 3)
    for group, size in ((symmetries(False), 48), (symmetries(True), 16), (mirrors(), 8)):
        assert group[0] == IDENTITY
        assert len({apply(symmetry, marked).tobytes() for symmetry in group}) == size


def test_anisotropic_symmetries_keep_sections_whole() -> None:
    sections = np.broadcast_to(np.arange(4)[:, None, None], (4, 4, 4))
    for symmetry in symmetries(True):
        moved = apply(symmetry, sections)
        assert (moved == moved[:, :1, :1]).all()


def test_axes_are_permuted_first_and_mirrored_then() -> None:
    array = np.arange(6).reshape(1, 2, 3)
    assert apply(Symmetry((0, 2, 1), (False, True, False)), array).tolist() == [[[2, 5], [1, 4], [0, 3]]]


def test_a_permutation_must_be_one() -> None:
    with pytest.raises(ValueError, match="permutation"):
        Symmetry((0, 0, 1), (False, False, False))


@pytest.mark.parametrize("symmetry", symmetries(False))
def test_the_inverse_undoes_arrays_and_offsets(symmetry: Symmetry) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert np.array_equal(apply(inverse(symmetry), apply(symmetry, array)), array)
    assert apply_to_offset(inverse(symmetry), apply_to_offset(symmetry, (1, -2, 3))) == (1, -2, 3)


@pytest.mark.parametrize("symmetry", symmetries(False)[::5])
def test_offsets_move_like_the_voxels_they_join(symmetry: Symmetry) -> None:
    marked = np.zeros((5, 5, 5), int)
    marked[1, 2, 3], marked[2, 4, 0] = 1, 2
    moved = apply(symmetry, marked)
    assert apply_to_offset(symmetry, (1, 2, -3)) == tuple((np.argwhere(moved == 2) - np.argwhere(moved == 1))[0])


def test_partners_are_equally_large_and_empty_beyond_the_array() -> None:
    values = np.arange(5)[:, None, None]
    for step in range(-7, 8):
        here, there = partners((5, 1, 1), (step, 0, 0))
        assert (values[there] - values[here] == step).all()
        assert values[here].size == values[there].size == max(0, 5 - abs(step))


def test_mirroring_shifts_the_channel_by_one_voxel() -> None:
    row = np.array([[[1, 1, 2, 2, 2]]])
    exact, _ = affinities(row, NEAREST_OFFSETS)
    assert exact[2].tolist() == [[[0, 1, 0, 1, 1]]]
    turned, known = apply_to_affinities(Symmetry((0, 1, 2), (False, False, True)), exact, NEAREST_OFFSETS)
    assert turned[2].tolist() == [[[0, 1, 1, 0, 1]]]
    assert known[2] == (slice(0, 1), slice(0, 1), slice(1, 5))
    assert known[0] == (slice(0, 1), slice(0, 1), slice(0, 5))


CASES = [
    (False, (10, 11, 12), NEAREST_OFFSETS),
    (False, (10, 11, 12), LONG_OFFSETS),
    (False, (5, 6, 7), DIAGONAL_OFFSETS),
    (True, (6, 30, 29), LEE2017_OFFSETS),
]


@pytest.mark.parametrize(("anisotropic", "shape", "offsets"), CASES)
def test_affinities_of_turned_labels_are_turned_affinities(anisotropic, shape, offsets) -> None:
    labels = blobs(shape)
    exact, _ = affinities(labels, offsets)
    for symmetry in symmetries(anisotropic):
        expected, defined = affinities(apply(symmetry, labels), offsets)
        turned, known = apply_to_affinities(symmetry, exact, offsets)
        for channel, region in enumerate(known):
            assert defined[channel].sum() == defined[channel][region].sum()
        assert np.array_equal(turned[defined], expected[defined])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("anisotropic", "shape", "offsets"), CASES)
def test_mean_over_all_symmetries_of_exact_affinities_is_the_identity(anisotropic, shape, offsets, kind) -> None:
    labels = blobs(shape)
    exact, defined = affinities(labels, offsets)
    total, number = np.zeros(exact.shape), np.zeros(exact.shape)
    for symmetry in symmetries(anisotropic):
        predicted = affinities(apply(symmetry, labels), offsets)[0]
        if kind == "torch":
            undone, known = undo_on_affinities(symmetry, torch.from_numpy(predicted)[None], offsets)
            assert isinstance(undone, torch.Tensor)
            undone = undone[0].numpy()
        else:
            undone, known = undo_on_affinities(symmetry, predicted, offsets)
        for channel, region in enumerate(known):
            total[channel][region] += undone[channel][region]
            number[channel][region] += 1
    assert (number > 0).all()
    assert np.array_equal((total / number)[defined], exact[defined])


def test_a_naive_undo_without_the_shift_would_be_noticed() -> None:
    labels = blobs((8, 8, 8))
    exact, defined = affinities(labels, NEAREST_OFFSETS)
    mirror = Symmetry((0, 1, 2), (True, True, True))
    predicted = affinities(apply(mirror, labels), NEAREST_OFFSETS)[0]
    assert not np.array_equal(apply(inverse(mirror), predicted)[defined], exact[defined])


def test_offsets_that_a_symmetry_leads_out_of_are_refused() -> None:
    values = np.zeros((len(LEE2017_OFFSETS), 4, 4, 4), np.float32)
    with pytest.raises(ConfigError, match=r"offsets: .*only the symmetries that keep z"):
        apply_to_affinities(Symmetry((1, 0, 2), (False, False, False)), values, LEE2017_OFFSETS)


def test_channels_must_match_offsets() -> None:
    with pytest.raises(ValueError, match="4 channels, expected 3"):
        apply_to_affinities(IDENTITY, np.zeros((4, 2, 2, 2)), NEAREST_OFFSETS)
