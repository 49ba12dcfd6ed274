"""The mean backend: the region graph of any cut, and the segmentation that waterz makes of the whole volume."""

import numpy as np
import pytest
import waterz
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import variation_of_information

from sepvox.blocks import Box, Lattice
from sepvox.errors import InputError, StoreError
from sepvox.segment.affinities import nearest_as_float
from sepvox.segment.contacts import Contacts, added, contacts
from sepvox.segment.lookup import apply_lookup, mean_lookup_tables
from sepvox.segment.merge_scores import silent_stdout, waterz_function
from sepvox.segment.settings import FragmentSettings
from sepvox.segment.watershed import fragments_of_cell

Ids = NDArray[np.uint64]
SHAPE = (32, 60, 64)
WHOLE = Box.of(SHAPE)
THRESHOLDS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65)


def neuron_affinities(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    sheets = np.abs(gaussian_filter(rng.standard_normal(SHAPE), 3))
    sheets = np.minimum(3 * sheets / sheets.std(), 3) - 1
    grain = gaussian_filter(rng.standard_normal((3, *SHAPE)), (0, 1, 1, 1))
    return (1 / (1 + np.exp(-2 * sheets - 1.5 * grain / grain.std()))).astype(np.float32)


def stored(affinities: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(affinities * 255).astype(np.uint8)


def fragments_of(affinities: NDArray[np.uint8]) -> Ids:
    return fragments_of_cell(affinities, WHOLE.slices, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=2))


def contacts_of_cells(affinities: NDArray[np.uint8], fragments: Ids, cell: tuple[int, int, int]) -> Contacts:
    parts = []
    for box in Lattice(SHAPE, cell):
        outer = box.grow((1, 1, 1)).clip(WHOLE)
        parts.append(contacts(affinities[:, *outer.slices], fragments[outer.slices], box.inside(outer)))
    return added(parts)


def waterz_segmentations(affinities: NDArray[np.float32], fragments: Ids) -> list[Ids]:
    _, dense = np.unique(np.append(0, fragments), return_inverse=True)
    dense = dense[1:].reshape(fragments.shape).astype(np.uint64)
    with silent_stdout():
        runs = waterz.agglomerate(affinities, THRESHOLDS, fragments=dense, scoring_function=waterz_function("mean"))
        return [segmentation.copy() for segmentation in runs]


def own_segmentations(affinities: NDArray[np.uint8] | NDArray[np.float32], fragments: Ids) -> list[Ids]:
    ids, sizes = np.unique(fragments[fragments > 0], return_counts=True)
    table = mean_lookup_tables(ids, sizes, contacts(affinities, fragments, WHOLE), THRESHOLDS)
    return [apply_lookup(fragments, ids, row) for row in table]


@pytest.mark.parametrize("cell", [(8, 12, 8), (32, 9, 17), (5, 60, 64)])
def test_region_graph_is_the_same_number_for_number_for_every_cut(cell):
    affinities = stored(neuron_affinities(0))
    fragments = fragments_of(affinities)
    # Some background, which takes no part.
    fragments[:, :3] = 0
    whole = contacts(affinities, fragments, WHOLE).as_arrays()
    cut = contacts_of_cells(affinities, fragments, cell).as_arrays()
    assert len(whole["edges"]) > 100
    assert whole["edges"].min() > 0
    for name, column in whole.items():
        np.testing.assert_array_equal(cut[name], column, err_msg=name)
        assert cut[name].dtype == column.dtype


def test_statistics_are_those_of_the_faces():
    affinities = stored(neuron_affinities(1))
    fragments = fragments_of(affinities)
    values: dict[tuple[int, int], list[int]] = {}
    for channel in range(3):
        here = fragments[tuple(slice(1, None) if axis == channel else slice(None) for axis in range(3))]
        before = fragments[tuple(slice(None, -1) if axis == channel else slice(None) for axis in range(3))]
        affinity = affinities[channel][tuple(slice(1, None) if axis == channel else slice(None) for axis in range(3))]
        touching = here != before
        for a, b, value in zip(here[touching], before[touching], affinity[touching], strict=True):
            values.setdefault((min(a, b), max(a, b)), []).append(int(value))
    found = contacts(affinities, fragments, WHOLE)
    assert [tuple(edge) for edge in found.edges.tolist()] == sorted(values)
    expected = [values[edge] for edge in sorted(values)]
    np.testing.assert_array_equal(found.sums, [sum(v) for v in expected])
    np.testing.assert_array_equal(found.counts, [len(v) for v in expected])
    np.testing.assert_array_equal(found.minima, [min(v) for v in expected])
    np.testing.assert_array_equal(found.maxima, [max(v) for v in expected])
    np.testing.assert_allclose(found.means, [np.mean(v) / 255 for v in expected])


@pytest.mark.parametrize("seed", range(3))
def test_segmentation_of_float_affinities_is_that_of_waterz_on_the_whole_volume(seed):
    affinities = neuron_affinities(seed)
    fragments = fragments_of(stored(affinities))
    regions = set()
    for own, reference in zip(
        own_segmentations(affinities, fragments), waterz_segmentations(affinities, fragments), strict=True
    ):
        assert variation_of_information(reference, own) == pytest.approx((0, 0), abs=1e-12)
        regions.add(len(np.unique(own)))
    assert len(regions) > len(THRESHOLDS) // 2


def test_on_stored_affinities_it_differs_from_waterz_no_more_than_waterz_from_itself_or_by_three_hundredths_of_a_bit():
    rng = np.random.default_rng(0)
    own_differs, waterz_differs = [], []
    for seed in range(3):
        affinities = stored(neuron_affinities(seed))
        fragments = fragments_of(affinities)
        reference = waterz_segmentations(nearest_as_float(affinities, SHAPE), fragments)
        ids, places = np.unique(fragments, return_inverse=True)
        permuted = (rng.permutation(len(ids)) + 1).astype(np.uint64)[places].reshape(SHAPE)
        again = waterz_segmentations(nearest_as_float(affinities, SHAPE), permuted)
        own = own_segmentations(affinities, fragments)
        own_differs += [sum(variation_of_information(a, b)) for a, b in zip(reference, own, strict=True)]
        waterz_differs += [sum(variation_of_information(a, b)) for a, b in zip(reference, again, strict=True)]
    print(f"mean backend {max(own_differs):.4f} bits, waterz with permuted ids {max(waterz_differs):.4f} bits")
    assert max(own_differs) <= max(max(waterz_differs), 0.03)


def test_every_threshold_stands_for_itself():
    affinities = stored(neuron_affinities(2))
    fragments = fragments_of(affinities)
    ids, sizes = np.unique(fragments, return_counts=True)
    found = contacts(affinities, fragments, WHOLE)
    together = mean_lookup_tables(ids, sizes, found, THRESHOLDS[::-1], 200)
    for row, threshold in zip(together, THRESHOLDS[::-1], strict=True):
        np.testing.assert_array_equal(row, mean_lookup_tables(ids, sizes, found, [threshold], 200)[0])
        segments = np.unique(row)
        assert np.isin(segments[segments > 0], ids).all()
        assert all(sizes[row == segment].sum() >= 200 for segment in segments[segments > 0])
    assert (together == 0).any()


def test_volumes_without_contacts_have_tables_too():
    fragments = np.zeros((4, 4, 4), np.uint64)
    fragments[1:3, 1:3, 1:3] = 7
    found = added([contacts(np.zeros((3, 4, 4, 4), np.uint8), fragments, Box.of((4, 4, 4)))])
    assert len(found.edges) == 0
    assert mean_lookup_tables(np.array([7], np.uint64), np.array([8]), found, [0.5]).tolist() == [[7]]


def test_wrong_arrays_are_refused():
    affinities = stored(neuron_affinities(0))
    fragments = fragments_of(affinities)
    with pytest.raises(InputError, match="affinities: shape"):
        contacts(affinities[:2], fragments, WHOLE)
    with pytest.raises(InputError, match="affinities: type int16"):
        contacts(affinities.astype(np.int16), fragments, WHOLE)
    found = contacts(affinities, fragments, WHOLE)
    with pytest.raises(StoreError, match="not in the list"):
        mean_lookup_tables(np.array([1], np.uint64), np.array([1]), found, [0.5])
