"""What the head phantom promises: one head per seed and number, true headers, sound anatomy, and no way by brightness alone."""

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import binary_dilation, generate_binary_structure

from sepvox.errors import InputError
from sepvox.prepare.phantoms.head import head_phantom
from sepvox.prepare.phantoms.head_settings import HeadPhantomSettings
from sepvox.score.class_intensity import foreground, gaussian_mixture_labels

CONTRASTS = ("T1w", "T2w", "FLAIR")
COARSE = {"shape": (24, 28, 24), "voxel_size": (7.0, 7.0, 7.0)}


def voxels(image):
    return np.asarray(image.dataobj)


@pytest.fixture(scope="module")
def head():
    return head_phantom(HeadPhantomSettings(contrasts=CONTRASTS), 0)


@pytest.fixture(scope="module")
def coarse_heads():
    settings = HeadPhantomSettings(**COARSE)
    return [head_phantom(settings, subject) for subject in range(settings.subjects)]


def test_subject_is_the_same_however_many_subjects_and_contrasts_are_asked_for(coarse_heads):
    alone = coarse_heads[2]
    among = head_phantom(HeadPhantomSettings(**COARSE, subjects=40, contrasts=("FLAIR", "T1w")), 2)
    np.testing.assert_array_equal(voxels(alone.labels), voxels(among.labels))
    np.testing.assert_array_equal(voxels(alone.images["T1w"]), voxels(among.images["T1w"]))
    np.testing.assert_array_equal(alone.labels.affine, among.labels.affine)
    assert list(among.images) == ["FLAIR", "T1w"]


def test_subjects_and_seeds_differ_in_anatomy(coarse_heads):
    other_seed = head_phantom(HeadPhantomSettings(**COARSE, seed=1), 0)
    counts = {tuple(np.bincount(voxels(h.labels).ravel()).tolist()) for h in [*coarse_heads, other_seed]}
    assert len(counts) == len(coarse_heads) + 1


def test_truth_does_not_depend_on_noise_and_bias(coarse_heads):
    clean = head_phantom(HeadPhantomSettings(**COARSE, noise=0, bias=0), 0)
    np.testing.assert_array_equal(voxels(clean.labels), voxels(coarse_heads[0].labels))
    assert voxels(clean.images["T1w"]).min() == 0
    # The magnitude of noise alone is never 0 on average (Rayleigh).
    air = voxels(clean.images["T1w"]) == 0
    assert voxels(coarse_heads[0].images["T1w"])[air].mean() > 5


def test_head_is_the_same_on_a_finer_grid(head, coarse_heads):
    fine, coarse = (
        np.count_nonzero(voxels(h.labels)) * np.abs(np.linalg.det(h.labels.affine)) for h in (head, coarse_heads[0])
    )
    assert coarse == pytest.approx(fine, rel=0.04)


@pytest.mark.parametrize("name", [*CONTRASTS, "labels"])
def test_header_says_what_the_grid_is(head, name, tmp_path):
    image = head.labels if name == "labels" else head.images[name]
    nib.save(image, tmp_path / "head.nii.gz")
    read = nib.load(tmp_path / "head.nii.gz")
    assert read.get_data_dtype() == (np.uint8 if name == "labels" else np.int16)
    assert read.header.get_xyzt_units()[0] == "mm"
    assert read.dataobj.slope == 1
    assert read.dataobj.inter == 0
    assert read.shape == head.labels.shape
    for matrix, code in (read.get_sform(coded=True), read.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix, head.labels.affine, atol=1e-3)
    np.testing.assert_array_equal(voxels(read), voxels(image))


def test_orientations_vary_and_angles_stay_within_the_limit(coarse_heads):
    codes = {nib.aff2axcodes(h.labels.affine) for h in coarse_heads}
    assert len(codes) >= 8
    assert len({"".join(sorted(c)) for c in codes}) > 1
    angles = np.degrees([nib.affines.obliquity(h.labels.affine).max() for h in coarse_heads])
    assert 4 < angles.max() <= 12
    straight = head_phantom(HeadPhantomSettings(**COARSE, oblique=0), 0)
    assert nib.affines.obliquity(straight.labels.affine).max() < 1e-6


def test_voxel_size_follows_the_axes_of_the_upright_head():
    settings = HeadPhantomSettings(shape=(20, 40, 40), voxel_size=(8.0, 5.0, 4.0), oblique=5)
    for subject in range(3):
        upright = nib.as_closest_canonical(head_phantom(settings, subject).labels)
        np.testing.assert_allclose(upright.header.get_zooms(), (4.0, 5.0, 8.0), rtol=1e-4)


def test_head_stands_upright_in_the_world(coarse_heads):
    for phantom in coarse_heads:
        image = voxels(nib.as_closest_canonical(phantom.images["T1w"]))
        truth = voxels(nib.as_closest_canonical(phantom.labels))
        inside = foreground(image)
        assert inside[:, :, 0].sum() > inside[:, :, -1].sum()
        heights = [np.argwhere(mask)[:, 2].mean() for mask in (truth > 0, inside)]
        assert heights[0] > heights[1]


def test_cortex_lies_between_fluid_and_white_matter(head):
    truth = voxels(head.labels)
    share = np.bincount(truth.ravel()) / np.count_nonzero(truth)
    assert (share[1:] > 0.12).all()
    around = generate_binary_structure(3, 1)
    outside = binary_dilation(truth == 0, around)
    assert (outside & (truth == 3)).sum() < 0.01 * (truth == 3).sum()
    assert (outside & (truth == 2)).sum() < 0.05 * (truth == 2).sum()
    # Ventricles: fluid that white matter touches on both sides.
    assert (binary_dilation(truth == 3, around) & (truth == 1)).sum() > 50


def test_contrasts_order_the_tissues_as_scanners_do():
    clean = head_phantom(HeadPhantomSettings(**COARSE, contrasts=CONTRASTS, noise=0, bias=0), 0)
    truth = voxels(clean.labels)
    darkest_first = {
        name: tuple(np.argsort([voxels(image)[truth == c].mean() for c in (1, 2, 3)]) + 1)
        for name, image in clean.images.items()
    }
    assert darkest_first == {"T1w": (1, 2, 3), "T2w": (3, 2, 1), "FLAIR": (1, 3, 2)}


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_best_classification_by_brightness_stays_below_0_7(head, contrast):
    result = gaussian_mixture_labels(voxels(head.images[contrast]), voxels(head.labels))
    assert 0.4 < result.mean_dice <= 0.70


def test_yardstick_finds_what_brightness_does_show():
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 24, 24), np.uint8)
    truth[4:20, 4:20, 4:12], truth[4:20, 4:20, 12:16], truth[4:20, 4:20, 16:20] = 1, 2, 3
    levels = np.array([[5, 100, 200, 300], [5, 300, 100, 200]])[:, truth]
    image = levels + rng.normal(0, 6, levels.shape)
    single = gaussian_mixture_labels(image[0], truth, components=(4,), sigmas=(0.0,))
    assert single.mean_dice > 0.97
    np.testing.assert_allclose(
        single.dice, [2 * ((single.labels == c) & (truth == c)).sum() / ((single.labels == c).sum() + (truth == c).sum()) for c in (1, 2, 3)]
    )  # fmt: skip
    assert gaussian_mixture_labels(image, truth, components=(4,), sigmas=(0.0,)).mean_dice > 0.97


def test_yardstick_refuses_what_it_cannot_score():
    with pytest.raises(InputError, match="truth has shape"):
        gaussian_mixture_labels(np.zeros((4, 4, 4)), np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(InputError, match="without a gap"):
        gaussian_mixture_labels(np.zeros((4, 4, 4)), np.full((4, 4, 4), 2, np.uint8))


def test_subject_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="expected 0 to 11"):
        head_phantom(HeadPhantomSettings(), 12)


@pytest.mark.parametrize("wrong", [{"contrasts": ("T1w", "T1w")}, {"contrasts": ()}, {"oblique": 45}, {"noise": -1}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        HeadPhantomSettings(**wrong)
