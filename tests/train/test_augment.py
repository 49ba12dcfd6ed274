import time

import numpy as np
import pytest
import torch

from sepvox.train.augment import (
    ELASTIC_REACH,
    add_noise,
    augment,
    blur,
    change_intensity,
    deform,
    source_shape,
)
from sepvox.train.augment_em import MISALIGNMENT_REACH, MOST_BLANK, blank_sections, misalign
from sepvox.train.settings import AugmentSettings

NAMES = ("elastic", "intensity", "noise", "blur", "missing_sections", "misaligned_sections")
GEOMETRY = ("elastic", "misaligned_sections")
ALL = AugmentSettings(symmetries=True, **dict.fromkeys(NAMES, 1.0))
PATCH = (24, 32, 32)


def only(*names: str, symmetries: bool = False) -> AugmentSettings:
    return AugmentSettings(symmetries=symmetries, **{name: float(name in names) for name in NAMES})


def source(settings: AugmentSettings, anisotropic: bool, patch=PATCH) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    shape = source_shape(patch, settings, anisotropic)
    cells = rng.integers(0, 9, [-(-size // 6) for size in shape]) * 5
    labels = np.kron(cells, np.ones((6, 6, 6), int))[tuple(slice(size) for size in shape)]
    return rng.random(shape, dtype=np.float32), labels.astype(np.uint64)


@pytest.mark.parametrize("anisotropic", [True, False])
@pytest.mark.parametrize("settings", [ALL, AugmentSettings(), *(only(name) for name in NAMES)])
def test_equal_generators_give_equal_bytes_and_the_source_is_not_changed(settings, anisotropic) -> None:
    image, labels = source(settings, anisotropic)
    kept = image.copy(), labels.copy()
    results = [augment(image, labels, settings, np.random.default_rng([4, 2]), anisotropic) for _ in range(2)]
    for made in zip(*results, strict=True):
        assert made[0].tobytes() == made[1].tobytes()
    assert np.array_equal(image, kept[0])
    assert np.array_equal(labels, kept[1])


def test_global_random_state_is_neither_used_nor_moved() -> None:
    image, labels = source(ALL, False)
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
        results.append(augment(image, labels, ALL, np.random.default_rng(0), False)[0].tobytes())
        assert (np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()) == before
    assert results[0] == results[1]


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    image, labels = source(ALL, False, (37, 41, 43))
    threads = torch.get_num_threads()
    results = set()
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.add(augment(image, labels, ALL, np.random.default_rng(0), False)[0].tobytes())
    torch.set_num_threads(threads)
    assert len(results) == 1


@pytest.mark.parametrize("anisotropic", [True, False])
def test_every_change_happens_and_the_default_differs_from_patch_to_patch(anisotropic) -> None:
    for name in NAMES:
        image, labels = source(only(name), anisotropic)
        changed, _ = augment(image, labels, only(name), np.random.default_rng(1), anisotropic)
        margin = [(a - b) // 2 for a, b in zip(image.shape, changed.shape, strict=True)]
        centre = image[tuple(slice(m, m + size) for m, size in zip(margin, changed.shape, strict=True))]
        assert not np.array_equal(changed, centre), name
    image, labels = source(AugmentSettings(), anisotropic)
    rng = np.random.default_rng(0)
    made = {augment(image, labels, AugmentSettings(), rng, anisotropic)[0].tobytes() for _ in range(6)}
    assert len(made) == 6


@pytest.mark.parametrize("anisotropic", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_patch_keeps_shape_range_dtype_and_ids(seed, anisotropic) -> None:
    image, labels = source(ALL, anisotropic)
    made_image, made_labels = augment(image, labels, ALL, np.random.default_rng(seed), anisotropic)
    assert made_image.shape == made_labels.shape == PATCH
    assert made_image.dtype == np.float32
    assert made_labels.dtype == labels.dtype
    assert made_image.min() >= 0
    assert made_image.max() <= 1
    assert set(np.unique(made_labels)) <= set(np.unique(labels))
    assert made_image.flags.c_contiguous
    assert made_labels.flags.c_contiguous


def test_without_any_change_the_centre_comes_back() -> None:
    never = AugmentSettings(symmetries=False, **dict.fromkeys(NAMES, 1e-12))
    image, labels = source(never, False)
    made_image, made_labels = augment(image, labels, never, np.random.default_rng(0), False)
    z, y, x = (slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(image.shape, PATCH, strict=True))
    assert np.array_equal(made_image, image[z, y, x])
    assert np.array_equal(made_labels, labels[z, y, x])


def test_source_grows_only_for_what_displaces_voxels() -> None:
    assert source_shape(PATCH, only("intensity", "noise", "blur", "missing_sections"), False) == PATCH
    assert source_shape((8, 8, 8), only("elastic"), True) == (8, 8 + 2 * ELASTIC_REACH, 8 + 2 * ELASTIC_REACH)
    assert source_shape((8, 8, 8), only("elastic"), False) == (8 + 2 * ELASTIC_REACH,) * 3
    reach = 2 * (ELASTIC_REACH + MISALIGNMENT_REACH)
    assert source_shape((8, 8, 8), ALL, True) == (8, 8 + reach, 8 + reach)


@pytest.mark.parametrize("anisotropic", [True, False])
def test_image_and_labels_move_together_under_symmetries_and_misalignment(anisotropic) -> None:
    settings = only("misaligned_sections", symmetries=True)
    _, labels = source(settings, anisotropic)
    seen = set()
    for seed in range(60):
        image = (labels / 100).astype(np.float32)
        made_image, made_labels = augment(image, labels, settings, np.random.default_rng(seed), anisotropic)
        assert np.array_equal(made_image, (made_labels / 100).astype(np.float32))
        seen.add(made_labels.tobytes())
    assert len(seen) > 20


@pytest.mark.parametrize("reach", [(5, 5, 5), (0, 5, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_image_and_labels_move_together_under_deformation(reach, seed) -> None:
    _, labels = source(only("elastic"), reach[0] == 0)
    image = (labels == 10).astype(np.float32)
    made_image, made_labels = deform(image, labels, reach, np.random.default_rng(seed))
    inside = made_labels == 10
    # Interpolation is between the eight voxels around a point, and the nearest voxel is one of them.
    assert inside[made_image == 1].all()
    assert not inside[made_image == 0].any()
    assert (np.abs(made_image - inside) <= 0.5).mean() > 0.97


@pytest.mark.parametrize("seed", range(6))
def test_deformation_stays_within_reach_and_never_folds(seed) -> None:
    axes = np.meshgrid(*(np.arange(50, dtype=np.float32),) * 3, indexing="ij")
    unused = np.zeros((50, 50, 50), int)
    places = [deform(axis, unused, (5, 5, 5), np.random.default_rng(seed))[0] for axis in axes]
    for place, axis in zip(places, axes, strict=True):
        assert np.abs(place - axis[5:-5, 5:-5, 5:-5]).max() <= 5 + 1e-3
    jacobian = np.moveaxis(np.array([np.gradient(place) for place in places]), (0, 1), (-2, -1))
    assert np.linalg.det(jacobian).min() > 0.2


def test_anisotropic_deformation_and_blur_stay_in_the_section() -> None:
    sections = np.broadcast_to(np.linspace(0, 1, 20, dtype=np.float32)[:, None, None], (20, 42, 42))
    made, _ = deform(sections, sections.astype(int), (0, 5, 5), np.random.default_rng(0))
    np.testing.assert_allclose(made, sections[:, 5:-5, 5:-5], atol=1e-6)
    sharp = np.zeros((9, 15, 15), np.float32)
    sharp[4, 7, 7] = 1
    assert (blur(sharp, np.random.default_rng(0), True)[[0, 1, 2, 3, 5, 6, 7, 8]] == 0).all()
    assert (blur(sharp, np.random.default_rng(0), False)[[3, 5], 7, 7] > 0).all()


def test_misalignment_is_a_slip_of_one_section_or_a_translation_of_the_rest() -> None:
    size = 12 + 2 * MISALIGNMENT_REACH
    image = np.random.default_rng(0).random((10, size, size), dtype=np.float32)
    labels = np.arange(image.size).reshape(image.shape)
    slips = translations = 0
    for seed in range(60):
        made, ids = misalign(image, labels, np.random.default_rng(seed))
        assert np.array_equal(made, image.ravel()[ids])
        step = (ids - labels[:, MISALIGNMENT_REACH:-MISALIGNMENT_REACH, MISALIGNMENT_REACH:-MISALIGNMENT_REACH])[
            :, 0, 0
        ]
        moved = np.flatnonzero(step)
        if moved.size:
            assert len(set(step[moved])) == 1
            assert moved.size == 1 or np.array_equal(moved, np.arange(moved[0], 10))
            slips += moved.size == 1
            translations += moved.size > 1
    assert slips > 10
    assert translations > 10


def test_blank_sections_are_few_neighbouring_and_of_one_grey_while_labels_stay() -> None:
    image, labels = source(only("missing_sections"), False)
    for seed in range(20):
        made = blank_sections(image, np.random.default_rng(seed))
        blank = np.flatnonzero((made != image).any(axis=(1, 2)))
        assert 1 <= blank.size <= MOST_BLANK
        assert np.ptp(blank) < MOST_BLANK
        assert np.unique(made[blank]).size == 1
        kept = augment(image, labels, only("missing_sections"), np.random.default_rng(seed), False)[1]
        assert np.array_equal(kept, labels)


def test_grey_values_change_without_moving_anything() -> None:
    image = np.random.default_rng(0).uniform(0.3, 0.7, (8, 16, 16)).astype(np.float32)
    order = np.argsort(image.ravel())
    for seed in range(10):
        assert (np.diff(change_intensity(image, np.random.default_rng(seed)).ravel()[order]) >= 0).all()
        assert abs(float((add_noise(image, np.random.default_rng(seed)) - image).mean())) < 0.02
        assert blur(image, np.random.default_rng(seed), False).std() < image.std()


def test_symmetries_that_change_the_patch_are_not_drawn() -> None:
    settings = only(symmetries=True)
    image, labels = source(settings, False, (8, 12, 10))
    turned = set()
    for seed in range(60):
        made, _ = augment(image, labels, settings, np.random.default_rng(seed), False)
        assert made.shape == (8, 12, 10)
        turned.add(made.tobytes())
    assert len(turned) == 8


def test_shapes_that_cannot_work_are_refused() -> None:
    image, labels = source(ALL, False)
    with pytest.raises(ValueError, match="expected the same"):
        augment(image, labels[1:], ALL, np.random.default_rng(0), False)
    with pytest.raises(ValueError, match="expected at least"):
        augment(image[:10], labels[:10], ALL, np.random.default_rng(0), False)


def test_mean_cost_of_a_64_cubed_patch_is_at_most_60_ms() -> None:
    settings = AugmentSettings()
    image, labels = source(settings, False, (64, 64, 64))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    means = []
    for _ in range(3):
        rng = np.random.default_rng(0)
        start = time.process_time()
        for _ in range(20):
            augment(image, labels, settings, rng, False)
        means.append((time.process_time() - start) / 20)
    torch.set_num_threads(threads)
    assert min(means) <= 0.06
