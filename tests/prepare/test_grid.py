"""The prepared grid: canonical axes, bit by bit where nothing is resampled, and the right place in the world where it is."""

import itertools
import json
import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from test_scans import FLIPPED, OBLIQUE, PLAIN, affine_of, rotation

from sepvox.blocks import Box
from sepvox.prepare.grid import (
    Grid,
    canonical_grid,
    foreground_box,
    interpolate,
    largest_class,
    sample_image,
    sample_labels,
)

SHAPE = (5, 6, 7)
ORIENTATIONS = [
    np.diag(signs) @ np.eye(3)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((-1.0, 1.0), repeat=3)
]


def numbered(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.arange(math.prod(shape), dtype=np.int16).reshape(shape)


@pytest.mark.parametrize("tilt", [0.0, 20.0])
def test_all_48_orientations_become_canonical_without_a_changed_voxel(tilt: float) -> None:
    for axes in ORIENTATIONS:
        affine = affine_of(rotation(3, tilt) @ axes, (0.8, 1.1, 2.5))
        image = nib.as_closest_canonical(nib.Nifti1Image(numbered(), affine))
        grid = canonical_grid(SHAPE, affine)
        sampled = sample_image(numbered(), grid)
        assert grid.exact
        assert sampled.dtype == np.int16
        np.testing.assert_array_equal(sampled, np.asarray(image.dataobj).transpose())
        np.testing.assert_array_equal(sampled, sample_labels(numbered(), grid, range(1000)))
        np.testing.assert_allclose(grid.affine[:, [2, 1, 0, 3]], image.affine, atol=1e-12)
        assert grid.spacing == pytest.approx(image.header.get_zooms()[::-1])


@given(
    orientation=st.integers(0, 47),
    spacing=st.none() | st.tuples(*[st.floats(0.3, 6)] * 3),
    begin=st.tuples(*[st.integers(0, 2)] * 3),
)
def test_grid_covers_its_crop_around_the_same_centre(
    orientation: int, spacing: tuple[float, float, float] | None, begin: tuple[int, int, int]
) -> None:
    affine = affine_of(rotation(3, 15) @ ORIENTATIONS[orientation], (0.8, 1.1, 2.5))
    whole = canonical_grid(SHAPE, affine)
    crop = Box(begin, whole.shape)
    grid = canonical_grid(SHAPE, affine, spacing, crop)
    centre = (np.asarray(crop.begin) + crop.end - 1) / 2
    middle = (np.asarray(grid.shape) - 1) / 2
    np.testing.assert_allclose(grid.affine @ [*middle, 1], whole.affine @ [*centre, 1], atol=1e-9)
    np.testing.assert_allclose(affine @ grid.to_native, grid.affine, atol=1e-9)
    for wanted, got, had, voxels, extent in zip(
        spacing or whole.spacing, grid.spacing, whole.spacing, grid.shape, crop.shape, strict=True
    ):
        assert got == pytest.approx(wanted, rel=0.011)
        assert (voxels - 1) * got < extent * had * 1.01
        assert voxels * got > extent * had * 0.99


def test_grid_survives_json_exactly() -> None:
    grid = canonical_grid(SHAPE, OBLIQUE, (1.1, 0.7, 0.9), Box((1, 1, 0), (5, 4, 3)))
    again = Grid.from_json(json.loads(json.dumps(grid.as_json())))
    assert (again.shape, again.spacing, again.axes) == (grid.shape, grid.spacing, grid.axes)
    np.testing.assert_array_equal(again.to_native, grid.to_native)
    np.testing.assert_array_equal(again.affine, grid.affine)


def test_crop_is_a_part_of_the_whole_and_none_else() -> None:
    whole = sample_image(numbered(), canonical_grid(SHAPE, FLIPPED))
    crop = Box((1, 2, 0), (6, 5, 4))
    np.testing.assert_array_equal(
        sample_image(numbered(), canonical_grid(SHAPE, FLIPPED, crop=crop)), whole[crop.slices]
    )
    for wrong in (Box((0, 0, 0), (8, 6, 5)), Box((1, 1, 1), (1, 2, 2))):
        with pytest.raises(ValueError, match="not a part"):
            canonical_grid(SHAPE, FLIPPED, crop=wrong)


def test_spacing_within_a_hundredth_keeps_the_voxels() -> None:
    grid = canonical_grid(SHAPE, affine_of(np.eye(3), (0.999, 1.001, 1)), (1, 1, 1))
    assert grid.exact
    assert grid.spacing == pytest.approx((1, 1.001, 0.999))


def wave(world: np.ndarray) -> np.ndarray:
    """A smooth image of the world, in millimetres."""
    x, y, z = world[:3]
    return np.sin(x / 9) + np.cos(y / 7) * np.sin(z / 8)


def positions(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    indices = np.indices(shape).reshape(3, -1)
    return affine @ np.vstack([indices, np.ones(indices.shape[1])])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.7, 0.6, 1.3)])
@pytest.mark.parametrize("orientation", [0, 11, 30, 47])
def test_resampled_image_shows_the_world_where_the_grid_says(
    spacing: tuple[float, float, float], orientation: int
) -> None:
    shape = (24, 22, 20)
    affine = affine_of(rotation(4, 25) @ ORIENTATIONS[orientation], (1.2, 0.9, 1.4))
    image = wave(positions(affine, shape)).reshape(shape).astype(np.float32)
    grid = canonical_grid(shape, affine, spacing)
    sampled = sample_image(image, grid)
    assert sampled.dtype == np.float32
    assert sampled.shape == grid.shape
    inner = (slice(4, -4),) * 3
    truth = wave(positions(grid.affine, grid.shape)).reshape(grid.shape)
    np.testing.assert_allclose(sampled[inner], truth[inner], atol=0.02)


def test_finer_image_agrees_with_splines_at_the_native_positions() -> None:
    image = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    grid = canonical_grid(image.shape, FLIPPED, (0.9, 0.8, 0.7))
    native = positions(grid.to_native, grid.shape)[:3]
    expected = ndimage.map_coordinates(image, native, order=3, mode="reflect").reshape(grid.shape)
    np.testing.assert_allclose(sample_image(image, grid), expected.clip(image.min(), image.max()), atol=1e-5)


def test_coarser_image_has_no_alias_of_what_it_cannot_show() -> None:
    stripes = np.zeros((48, 12, 12), np.float32)
    stripes[::2] = 1
    coarse = sample_image(stripes, canonical_grid(stripes.shape, PLAIN, (1, 1, 4.3)))
    assert np.ptp(coarse[:, :, 2:-2]) < 0.02
    assert coarse.mean() == pytest.approx(0.5, abs=0.05)


def test_resampled_image_stays_in_its_range() -> None:
    block = np.zeros((16, 16, 16), np.uint16)
    block[4:12, 4:12, 4:12] = 1000
    sampled = sample_image(block, canonical_grid(block.shape, PLAIN, (0.7, 0.7, 0.7)))
    assert sampled.min() >= 0
    assert sampled.max() <= 1000


def test_labels_are_interpolated_class_by_class() -> None:
    labels = ndimage.zoom(np.random.default_rng(0).choice([0, 3, 9], (3, 3, 3)), 4, order=0).astype(np.uint16)
    grid = canonical_grid(labels.shape, OBLIQUE, (1.3, 0.7, 1.0))
    native = positions(grid.to_native, grid.shape)[:3]
    shares = [
        ndimage.map_coordinates((labels == v).astype(np.float64), native, order=1, mode="nearest") for v in (0, 3, 9)
    ]
    sampled = sample_labels(labels, grid, (3, 9))
    assert sampled.dtype == np.uint16
    ranked = np.sort(shares, axis=0)
    clear = (ranked[-1] - ranked[-2] > 1e-5).reshape(grid.shape)
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(
        sampled[clear], np.array([0, 3, 9])[np.argmax(shares, axis=0)].reshape(grid.shape)[clear]
    )


def test_interpolation_is_linear_and_repeats_the_faces() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    at = [np.linspace(-0.5, n - 0.5, m) for n, m in zip(values.shape, (9, 3, 7), strict=True)]
    expected = ndimage.map_coordinates(values, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(interpolate(values, at), expected, atol=1e-6)
    np.testing.assert_array_equal(interpolate(values, [np.arange(n, dtype=np.float64) for n in values.shape]), values)


def test_of_equal_classes_the_first_wins() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (5, 4, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(largest_class(scores), scores.argmax(axis=0))


def test_foreground_is_what_any_modality_shows() -> None:
    first, second = np.zeros((2, 20, 20, 20), np.float32)
    first[5:9, 6, 7] = 1
    second[8:12, 6:10, 3] = -1
    assert foreground_box([first]) == Box((5, 6, 7), (9, 7, 8))
    assert foreground_box([first, second]) == Box((5, 6, 3), (12, 10, 8))
    assert foreground_box([first * 0]) == Box.of((20, 20, 20))
