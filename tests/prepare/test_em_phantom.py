"""What the EM phantom promises: the same bytes however it is cut, whole objects, dark membranes, documented faults."""

import numpy as np
import pytest
from scipy.ndimage import find_objects, label

from sepvox.errors import InputError
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.settings import EMPhantomSettings

SIDE = 128


@pytest.fixture(scope="module")
def volume():
    settings = EMPhantomSettings(shape=(SIDE,) * 3, seed=2)
    return em_phantom(settings, (0, 0, 0), settings.shape)


@pytest.mark.parametrize(
    "changed",
    [{}, {"misalignment": 1.5, "missing_sections": 0.2, "anisotropy": 2.5, "blur": (0.0, 1.3, 0.4)}],
    ids=["default", "faulty anisotropic sections"],
)
def test_phantom_has_the_same_bytes_however_it_is_cut(changed):
    settings = EMPhantomSettings(shape=(40, 500, 70), seed=7, **changed)
    begin, end = (2, 360, 3), (37, 430, 66)
    image, labels = em_phantom(settings, begin, end)
    rng = np.random.default_rng(0)
    for _ in range(12):
        corners = np.sort(
            [[rng.choice(np.arange(b, e + 1), 2, replace=False)] for b, e in zip(begin, end, strict=True)]
        )
        b, e = corners[:, 0].T.tolist()
        part = tuple(slice(i - o, j - o) for i, j, o in zip(b, e, begin, strict=True))
        small_image, small_labels = em_phantom(settings, tuple(b), tuple(e))
        np.testing.assert_array_equal(small_image, image[part])
        np.testing.assert_array_equal(small_labels, labels[part])


def test_box_does_not_depend_on_the_shape_of_the_volume():
    small, large = (EMPhantomSettings(shape=(n,) * 3) for n in (24, 20000))
    for a, b in zip(em_phantom(small, (0, 0, 0), (24,) * 3), em_phantom(large, (0, 0, 0), (24,) * 3), strict=True):
        np.testing.assert_array_equal(a, b)
    image, labels = em_phantom(large, (19980,) * 3, (20000,) * 3)
    assert image.std() > 5
    assert labels.min() > 0


def test_seeds_give_different_volumes():
    first, second = (em_phantom(EMPhantomSettings(shape=(32,) * 3, seed=s), (0, 0, 0), (32,) * 3) for s in (1, 2))
    assert (first[0] != second[0]).mean() > 0.9
    assert not np.isin(first[1], second[1]).all()


def test_default_volume_has_many_objects_and_none_that_dominates(volume):
    image, labels = volume
    assert image.dtype == np.uint8
    assert labels.dtype == np.uint32
    assert image.min() > 0
    assert labels.min() > 0
    sizes = np.unique(labels, return_counts=True)[1]
    assert 60 <= sizes.size <= 200
    assert sizes.max() <= 0.1 * labels.size


def test_objects_are_long(volume):
    _, labels = volume
    compact = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    spans = [max(s.stop - s.start for s in part) for part in find_objects(compact + 1)]
    assert np.median(spans) > 35
    assert sum(span > 0.9 * SIDE for span in spans) >= 3


def test_object_inside_the_box_is_one_piece(volume):
    _, labels = volume
    compact = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + 1
    for number, part in enumerate(find_objects(compact), 1):
        pieces, count = label(compact[part] == number, np.ones((3, 3, 3)))
        inside = 0
        for where in find_objects(pieces):
            low = [p.start + w.start for p, w in zip(part, where, strict=True)]
            high = [p.start + w.stop for p, w in zip(part, where, strict=True)]
            inside += min(low) > 0 and max(high) < SIDE
        assert inside == 0 or count == 1


def test_membranes_are_dark_beside_the_cytoplasm(volume):
    image, labels = volume
    border = np.zeros(labels.shape, bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
    assert image[~border].mean() - image[border].mean() > 15


def test_missing_section_is_blank_in_the_image_and_whole_in_the_labels():
    shape = (40, 24, 24)
    broken = EMPhantomSettings(shape=shape, missing_sections=0.25)
    image, labels = em_phantom(broken, (0, 0, 0), shape)
    blank = (image == 0).all(axis=(1, 2))
    assert 3 <= blank.sum() <= 20
    assert (image[~blank] > 0).all()
    np.testing.assert_array_equal(labels, em_phantom(EMPhantomSettings(shape=shape), (0, 0, 0), shape)[1])


def test_misaligned_section_is_shifted_as_a_whole_with_its_labels():
    shape = (20, 64, 64)
    clean = {"shape": shape, "noise": 0.0}
    straight = em_phantom(EMPhantomSettings(**clean), (0, 0, 0), shape)
    shifted = em_phantom(EMPhantomSettings(**clean, misalignment=2.0), (0, 0, 0), shape)
    moved = set()
    for z in range(shape[0]):
        inner = [a[z, 8:-8, 8:-8] for a in shifted]
        found = [
            (dy, dx)
            for dy in range(-6, 7)
            for dx in range(-6, 7)
            if all((a[z, 8 + dy : 56 + dy, 8 + dx : 56 + dx] == b).all() for a, b in zip(straight, inner, strict=True))
        ]
        assert len(found) == 1
        moved.add(found[0])
    assert len(moved) > 5


def test_phantom_without_organelles_is_brighter():
    shape = (48, 48, 48)
    full, empty = (em_phantom(EMPhantomSettings(shape=shape, organelles=o), (0, 0, 0), shape) for o in (1.0, 0.0))
    np.testing.assert_array_equal(full[1], empty[1])
    assert empty[0].mean() > full[0].mean()


@pytest.mark.parametrize(("begin", "end"), [((0, 0, 0), (9, 8, 8)), ((3, 0, 0), (3, 8, 8)), ((-1, 0, 0), (4, 8, 8))])
def test_box_outside_the_volume_is_refused(begin, end):
    with pytest.raises(InputError, match="axis z"):
        em_phantom(EMPhantomSettings(shape=(8, 8, 8)), begin, end)
