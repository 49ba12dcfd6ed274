"""A patch of MRI is a pure function of its generator, image and classes move together, and strengths stay in their limits."""

import numpy as np
import pytest
import torch

from sepvox.train.augment_mri import (
    ROTATION,
    SCALING,
    add_bias_field,
    augment_scan,
    change_gamma,
    deform,
    draw_deformation,
    lower_resolution,
)
from sepvox.train.class_settings import ClassAugmentSettings

NAMES = ("affine", "elastic", "bias_field", "gamma", "intensity", "noise", "blur", "low_resolution")
GEOMETRY = ("affine", "elastic")
STRAIGHT = (False, False, False)
PATCH = (16, 20, 18)
CUBES, SLICES = (1.0, 1.0, 1.0), (5.0, 1.0, 0.8)


def only(*names, mirror=STRAIGHT):
    return ClassAugmentSettings(mirror=mirror, **{name: float(name in names) for name in NAMES})


ALL = only(*NAMES, mirror=(True, True, True))


def changed(settings, seed=0, spacing=CUBES, channels=1, patch=PATCH):
    """A source of noise and blocks, and what becomes of its patch."""
    rng = np.random.default_rng([7, seed])
    deformation = draw_deformation(patch, settings, spacing, rng)
    made = np.random.default_rng(3)
    shape = deformation.source
    image = np.repeat(made.normal(size=(1, *shape)), channels, 0).astype(np.float32)
    classes = np.kron(made.integers(-1, 4, [-(-n // 5) for n in shape]), np.ones((5, 5, 5), np.int64))
    classes = np.ascontiguousarray(classes[tuple(map(slice, shape))])
    kept = image.copy(), classes.copy()
    result = augment_scan(image, classes, deformation, settings, rng, spacing, [-1.0] * channels)
    assert np.array_equal(image, kept[0])
    assert np.array_equal(classes, kept[1])
    return (image, classes), result


@pytest.mark.parametrize("spacing", [CUBES, SLICES])
@pytest.mark.parametrize("settings", [ALL, ClassAugmentSettings(), *(only(name) for name in NAMES)])
def test_equal_generators_give_equal_bytes_of_the_patch(settings, spacing):
    (image, classes), (again, classes_again) = (changed(settings, 1, spacing)[1] for _ in range(2))
    assert image.tobytes() == again.tobytes()
    assert classes.tobytes() == classes_again.tobytes()
    assert image.shape == (1, *PATCH)
    assert classes.shape == PATCH
    assert (image.dtype, classes.dtype) == (np.float32, np.int64)
    assert image.flags.c_contiguous
    assert classes.flags.c_contiguous
    assert np.isfinite(image).all()
    assert set(np.unique(classes)) <= {-1, 0, 1, 2, 3}


def test_bytes_depend_neither_on_threads_nor_on_global_random_state():
    threads = torch.get_num_threads()
    results = set()
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        np.random.seed(number)
        torch.manual_seed(number)
        before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
        results.add(changed(ALL, 2, patch=(33, 29, 31))[1][0].tobytes())
        assert (np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()) == before
    torch.set_num_threads(threads)
    assert len(results) == 1


def test_every_change_happens_alone_and_geometry_alone_moves_classes():
    for name in NAMES:
        (image, classes), (made, made_classes) = changed(only(name))
        margin = [(a - b) // 2 for a, b in zip(classes.shape, PATCH, strict=True)]
        centre = tuple(slice(m, m + n) for m, n in zip(margin, PATCH, strict=True))
        assert not np.array_equal(made, image[:, *centre]), name
        assert np.array_equal(made_classes, classes[centre]) == (name not in GEOMETRY), name


def test_without_changes_the_patch_is_the_source():
    (image, classes), (made, made_classes) = changed(only())
    assert np.array_equal(made, image)
    assert np.array_equal(made_classes, classes)


def test_mirrors_only_along_allowed_axes():
    settings = only(mirror=(False, True, True))
    seen = set()
    for seed in range(24):
        (image, classes), (made, made_classes) = changed(settings, seed)
        axes = [axes for axes in ((), (1,), (2,), (1, 2)) if np.array_equal(np.flip(classes, axes), made_classes)]
        assert len(axes) == 1
        assert np.array_equal(made[0], np.flip(image[0], axes[0]))
        seen.add(axes[0])
    assert seen == {(), (1,), (2,), (1, 2)}


@pytest.mark.parametrize("spacing", [CUBES, SLICES])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_image_and_classes_are_taken_from_the_same_place(axis, spacing):
    settings = only(*GEOMETRY, mirror=(True, True, True))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        deformation = draw_deformation(PATCH, settings, spacing, rng)
        index = np.indices(deformation.source)[axis]
        image, classes = augment_scan(index[None].astype(np.float32), index, deformation, settings, rng, spacing, [0.0])
        # Of an image of indices, interpolation gives the place itself, and the nearest voxel its whole number.
        assert np.abs(image[0] - classes).max() <= 0.5 + 1e-4
        assert np.abs(image[0] - classes).max() > 0.3


def test_source_is_at_most_twice_as_long_as_patch_and_displacement():
    for seed in range(40):
        deformation = draw_deformation((32, 32, 32), only(*GEOMETRY), CUBES, np.random.default_rng(seed))
        assert (np.asarray(deformation.source) <= 2 * (32 + 2 * np.asarray(deformation.reach)) + 2).all()
    assert draw_deformation(PATCH, only(), CUBES, np.random.default_rng(0)).source == PATCH


@pytest.mark.parametrize("spacing", [CUBES, SLICES, (1.0, 2.5, 1.0)])
def test_nothing_is_taken_from_beyond_the_source(spacing):
    for seed in range(12):
        deformation = draw_deformation(PATCH, only(*GEOMETRY), spacing, np.random.default_rng(seed))
        positions = deformation.positions()
        last = np.asarray(deformation.source).reshape(3, 1, 1, 1) - 1
        assert positions.min() > -1e-3
        assert (positions < last + 1e-3).all()


@pytest.mark.parametrize("spacing", [CUBES, SLICES])
def test_elastic_deformations_fold_nowhere_and_are_visible(spacing):
    patch = (24, 48, 48)
    largest = 0.0
    for seed in range(10):
        deformation = draw_deformation(patch, only("elastic"), spacing, np.random.default_rng(seed))
        positions = deformation.positions().astype(np.float64)
        z, y, x = (np.stack(np.gradient(of_axis)) for of_axis in positions)
        assert (z * np.cross(y, x, axis=0)).sum(0).min() > 0.2
        moved = positions - np.indices(patch)
        largest = max(largest, float(np.ptp(moved[2])))
    assert largest > 2


def test_rotation_scaling_and_shear_are_in_millimetres():
    edges = np.array((2.0, 1.0, 0.9))
    for seed in range(20):
        matrix = draw_deformation(PATCH, only("affine"), tuple(edges), np.random.default_rng(seed)).matrix
        sizes = np.linalg.svd(matrix * edges[:, None] / edges, compute_uv=False)
        assert 0.85 / SCALING[1] < sizes.min()
        assert sizes.max() < 1.15 / SCALING[0]
    assert ROTATION <= 15


def test_thick_slices_are_not_rotated_out_of_their_plane():
    for seed in range(10):
        matrix = draw_deformation(PATCH, only("affine"), SLICES, np.random.default_rng(seed)).matrix
        assert not matrix[0, 1:].any()
        assert not matrix[1:, 0].any()
        assert matrix[1, 2]


def test_unknown_voxels_stay_unknown():
    deformation = draw_deformation(PATCH, only(*GEOMETRY), CUBES, np.random.default_rng(0))
    classes = np.full(deformation.source, 2, np.int64)
    classes[: deformation.source[0] // 2] = -1
    _, made = deform(classes[None].astype(np.float32), classes, deformation)
    assert set(np.unique(made)) == {-1, 2}


def test_channels_change_each_by_itself_but_lie_on_each_other():
    for name in ("bias_field", "gamma", "intensity", "noise", "blur"):
        _, (made, _) = changed(only(name), channels=2)
        assert not np.array_equal(made[0], made[1]), name
    for name in ("affine", "elastic", "low_resolution"):
        _, (made, _) = changed(only(name), channels=2)
        assert np.array_equal(made[0], made[1]), name


def test_a_bias_field_multiplies_smoothly_and_leaves_no_signal_alone():
    field = add_bias_field(np.ones(PATCH, np.float32), np.random.default_rng(0))
    assert 0.3 < field.min() < field.max() < 3
    assert max(np.abs(step).max() for step in np.gradient(np.log(field))) < 0.5
    settings = only("bias_field")
    deformation = draw_deformation(PATCH, settings, CUBES, np.random.default_rng(0))
    silent = np.full((1, *PATCH), -1.5, np.float32)
    classes = np.zeros(PATCH, np.int64)
    made, _ = augment_scan(silent, classes, deformation, settings, np.random.default_rng(0), CUBES, [-1.5])
    assert np.allclose(made, -1.5)


def test_gamma_keeps_order_mean_and_deviation():
    image = np.random.default_rng(0).normal(2, 3, PATCH).astype(np.float32)
    made = change_gamma(image, np.random.default_rng(1))
    order = np.argsort(image, axis=None)
    assert (np.diff(made.ravel()[order]) >= 0).all()
    assert made.mean() == pytest.approx(image.mean(), abs=1e-3)
    assert made.std() == pytest.approx(image.std(), rel=1e-3)
    assert not np.allclose(made, image, atol=0.05)


def test_lower_resolution_takes_detail_and_keeps_what_is_flat_or_coarse():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, *PATCH)).astype(np.float32)
    assert lower_resolution(noise, CUBES, np.random.default_rng(0)).std() < 0.7
    assert np.allclose(
        lower_resolution(np.full((1, *PATCH), 3, np.float32), CUBES, np.random.default_rng(0)), 3, atol=1e-5
    )
    ramp = np.indices((40, 40, 40))[1:2].astype(np.float32)
    made = lower_resolution(ramp, CUBES, np.random.default_rng(1))
    inner = (slice(None), *[slice(10, -10)] * 3)
    assert np.abs(made[inner] - ramp[inner]).max() < 0.1


def test_thick_slices_do_not_become_thicker():
    columns = np.random.default_rng(0).normal(size=(1, PATCH[0], 1, 1)) * np.ones((1, *PATCH))
    made = lower_resolution(columns.astype(np.float32), SLICES, np.random.default_rng(0))
    assert np.allclose(made, columns, atol=1e-5)


def test_a_source_of_another_shape_is_refused():
    deformation = draw_deformation(PATCH, only(), CUBES, np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected the source's"):
        augment_scan(
            np.zeros((1, 4, 4, 4), np.float32),
            np.zeros((4, 4, 4), np.int64),
            deformation,
            only(),
            np.random.default_rng(0),
            CUBES,
            [0.0],
        )
