"""Fragments of a cell."""

import numpy as np
import pytest
from bioimage_cpp.segmentation import label
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from sepvox.errors import ConfigError, InputError
from sepvox.segment.settings import FragmentSettings
from sepvox.segment.watershed import fragments_of_cell, openness, waterz_thresholds

Ids = NDArray[np.uint64]
SHAPE = (24, 40, 44)
WHOLE = (slice(0, 24), slice(0, 40), slice(0, 44))
METHODS = {
    "distance": FragmentSettings(seed_distance=2, minimum_size=0),
    "by section": FragmentSettings(seed_distance=2, by_section=True, minimum_size=0),
    "waterz": FragmentSettings(method="waterz", waterz_thresholds=(0.3, 0.9), minimum_size=0),
    "waterz by section": FragmentSettings(
        method="waterz", waterz_thresholds=(0.3, 0.9), by_section=True, minimum_size=0
    ),
    "minimum size": FragmentSettings(seed_distance=2, minimum_size=40),
    "background": FragmentSettings(seed_distance=2, background_threshold=0.3, minimum_size=0),
}


def neuron_affinities(seed: int = 0, noise: float = 1.5) -> NDArray[np.uint8]:
    """Noisy affinities with connected dark sheets, as a network gives them."""
    rng = np.random.default_rng(seed)
    sheets = np.abs(gaussian_filter(rng.standard_normal(SHAPE), 3))
    sheets = np.minimum(3 * sheets / sheets.std(), 3) - 1
    grain = gaussian_filter(rng.standard_normal((3, *SHAPE)), (0, 1, 1, 1))
    return np.rint(255 / (1 + np.exp(-2 * sheets - noise * grain / grain.std()))).astype(np.uint8)


def rooms() -> tuple[NDArray[np.uint8], Ids]:
    """Eight boxes apart by walls two voxels thick, with their exact affinities."""
    z, y, x = (i // (n // 2) for i, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    truth = 1 + 4 * z + 2 * y + x
    affinities = np.full((3, *SHAPE), 255, np.uint8)
    for axis in range(3):
        near_wall = np.isin(np.arange(SHAPE[axis]), [SHAPE[axis] // 2 - 1, SHAPE[axis] // 2])
        affinities[:, near_wall.reshape([-1 if a == axis else 1 for a in range(3)]) & np.ones(SHAPE, bool)] = 20
    return affinities, truth.astype(np.uint64)


def positions(ids: Ids, volume_shape: tuple[int, int, int]) -> NDArray[np.intp]:
    return np.stack(np.unravel_index((ids - np.uint64(1)).astype(np.int64), volume_shape), axis=1)


def test_rooms_are_found_whatever_is_stored_at_the_border_of_the_volume() -> None:
    affinities, truth = rooms()
    affinities[0, 0] = affinities[1, :, 0] = affinities[2, :, :, 0] = 0
    fragments = fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=10))
    assert len(np.unique(fragments)) == 8
    # The two voxels of a wall may go to either side.
    inside = affinities.min(axis=0) == 255
    assert len(np.unique(np.stack([fragments[inside], truth[inside]]), axis=1).T) == 8


@pytest.mark.parametrize("name", METHODS)
def test_every_fragment_is_connected_and_named_by_its_first_voxel(name: str) -> None:
    origin, volume_shape = (48, 80, 30), (100, 200, 300)
    core = (slice(4, 20), slice(8, 36), slice(0, 30))
    fragments = fragments_of_cell(neuron_affinities(), core, origin, volume_shape, METHODS[name])
    assert fragments.shape == (16, 28, 30)
    assert fragments.dtype == np.uint64
    ids = np.unique(fragments[fragments > 0])
    assert len(ids) > 10
    assert label(fragments, connectivity=1).max() == len(ids)
    for fragment, position in zip(ids, positions(ids, volume_shape) - origin, strict=True):
        assert position.tolist() == np.argwhere(fragments == fragment)[0].tolist()
    if METHODS[name].by_section:
        assert all(np.ptp(np.argwhere(fragments == fragment)[:, 0]) == 0 for fragment in ids)


@pytest.mark.parametrize("name", METHODS)
def test_same_input_gives_the_same_bytes_and_is_left_alone(name: str) -> None:
    affinities = neuron_affinities(1)
    kept = affinities.copy()
    first, second = (fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, METHODS[name]) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(affinities, kept)
    floats = affinities * np.float32(1 / 255)
    kept_floats = floats.copy()
    assert np.array_equal(first, fragments_of_cell(floats, WHOLE, (0, 0, 0), SHAPE, METHODS[name]))
    assert np.array_equal(floats, kept_floats)


@pytest.mark.parametrize("name", ["distance", "by section", "waterz", "waterz by section"])
def test_nothing_is_left_out_without_a_background_threshold(name: str) -> None:
    assert (fragments_of_cell(neuron_affinities(2), WHOLE, (0, 0, 0), SHAPE, METHODS[name]) > 0).all()


def test_background_threshold_and_mask_are_left_out_and_not_bridged() -> None:
    affinities = neuron_affinities(3)
    mask = np.ones(SHAPE, np.bool_)
    mask[:, 19:21] = False
    settings = METHODS["background"]
    fragments = fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, settings, mask)
    background = openness(affinities * np.float32(1 / 255), by_section=False) < 0.3
    assert background.any()
    assert not fragments[background | ~mask].any()
    assert not np.intersect1d(fragments[:, :19], fragments[:, 21:])[1:].size


def test_openness_uses_each_face_inside_of_the_box_once() -> None:
    affinities = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)
    for by_section in (False, True):
        mean = openness(affinities, by_section)
        for voxel in [(0, 0, 0), (2, 3, 4), (3, 4, 5), (0, 2, 5)]:
            faces = []
            for axis in (1, 2) if by_section else (0, 1, 2):
                after = tuple(v + (a == axis) for a, v in enumerate(voxel))
                faces += [affinities[(axis, *voxel)]] * (voxel[axis] > 0)
                faces += [affinities[(axis, *after)] for _ in range(after[axis] < mean.shape[axis])]
            assert mean[voxel] == pytest.approx(np.mean(faces), abs=1e-6)


def test_seeds_keep_their_distance() -> None:
    counts = [
        len(
            np.unique(
                fragments_of_cell(neuron_affinities(4), WHOLE, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=d))
            )
        )
        for d in (1, 3, 6)
    ]
    assert counts[0] > counts[1] > counts[2] > 1


def test_distances_follow_the_voxel_size() -> None:
    """Sections ten times as thick as wide are far apart: seeds no longer suppress each other across them."""
    affinities = neuron_affinities(5)
    settings = FragmentSettings(seed_distance=4)
    sizes = [(1.0, 1.0, 1.0), (40.0, 4.0, 4.0), (10.0, 1.0, 1.0)]
    even, thick, same = (
        fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, settings, voxel_size=size) for size in sizes
    )
    assert len(np.unique(thick)) > len(np.unique(even))
    assert np.array_equal(thick, same)


def test_small_fragments_join_the_neighbour_of_highest_affinity() -> None:
    affinities = neuron_affinities(6)
    plain = fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=1, minimum_size=0))
    merged = fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=1, minimum_size=50))
    assert np.unique(plain, return_counts=True)[1].min() < 50
    assert np.unique(merged, return_counts=True)[1].min() >= 50
    pairs = np.unique(np.stack([plain.ravel(), merged.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(plain)), "fragments are only joined, never cut"
    assert len(np.unique(merged)) > 10

    wall = np.full((3, 1, 1, 60), 255, np.uint8)
    wall[2, 0, 0, 28], wall[2, 0, 0, 32] = 100, 120
    settings = FragmentSettings(method="waterz", waterz_thresholds=(0.05, 0.9), minimum_size=10)
    row = fragments_of_cell(wall, (slice(0, 1), slice(0, 1), slice(0, 60)), (0, 0, 0), (1, 1, 60), settings)
    assert np.unique(row).tolist() == [1, 29]


def test_a_fragment_that_goes_on_beyond_the_cell_is_not_taken_for_a_small_one() -> None:
    """Two rooms along x, apart by a wall; the second reaches only a few voxels into the cell."""
    affinities = np.full((3, 8, 12, 64), 255, np.uint8)
    affinities[:, :, :, 30:32] = 0
    core = (slice(0, 8), slice(0, 12), slice(0, 38))
    settings = FragmentSettings(minimum_size=1000)
    cut = fragments_of_cell(affinities, core, (0, 0, 0), (8, 12, 64), settings)
    assert cut[0, 0, 37] != cut[0, 0, 0]
    alone = fragments_of_cell(affinities[..., :38], core, (0, 0, 0), (8, 12, 38), settings)
    assert alone[0, 0, 37] == alone[0, 0, 0], "where the volume ends it is small"


def test_a_box_that_is_all_membrane_stays_empty() -> None:
    nothing = np.zeros((3, *SHAPE), np.uint8)
    for settings in (METHODS["distance"], METHODS["by section"], METHODS["waterz"]):
        assert not fragments_of_cell(nothing, WHOLE, (0, 0, 0), SHAPE, settings).any()
    everything = np.full((3, *SHAPE), 255, np.uint8)
    assert (fragments_of_cell(everything, WHOLE, (0, 0, 0), SHAPE, METHODS["distance"]) == 1).all()


def test_waterz_thresholds_are_quantiles_and_always_rise() -> None:
    low, high = waterz_thresholds(np.ones(256, np.int64))
    assert (low, high) == pytest.approx((0.4, 0.7), abs=0.005)
    for value in (0, 128, 255):
        low, high = waterz_thresholds(np.bincount([value], minlength=256))
        assert 0 <= low < high <= 1
    with pytest.raises(InputError, match="histogram"):
        waterz_thresholds(np.zeros(256, np.int64))
    with pytest.raises(InputError, match="histogram"):
        waterz_thresholds(np.ones(10, np.int64))


def test_waterz_takes_the_volumes_thresholds_unless_the_settings_have_some() -> None:
    affinities = neuron_affinities(7)
    free = FragmentSettings(method="waterz")
    given = FragmentSettings(method="waterz", waterz_thresholds=(0.2, 0.8))
    expected = fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, given)
    assert np.array_equal(
        fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, free, distribution=(0.2, 0.8)), expected
    )
    assert np.array_equal(
        fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, given, distribution=(0.5, 0.99)), expected
    )
    with pytest.raises(ConfigError, match="waterz_thresholds"):
        fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, free)
    with pytest.raises(ValidationError, match="the first must be below the second"):
        FragmentSettings(method="waterz", waterz_thresholds=(0.8, 0.2))


def test_wrong_arrays_are_refused() -> None:
    affinities = neuron_affinities()
    with pytest.raises(InputError, match="mask: shape"):
        fragments_of_cell(affinities, WHOLE, (0, 0, 0), SHAPE, METHODS["distance"], np.ones((1, 2, 3), np.bool_))
    for wrong in (affinities[:2], affinities[0], affinities.astype(np.int16)):
        with pytest.raises(InputError, match="affinities: "):
            fragments_of_cell(wrong, WHOLE, (0, 0, 0), SHAPE, METHODS["distance"])
