"""What cells cost: the segmentation of a volume in cells, against that of the whole volume."""

import numpy as np
import pytest
from benchmarks.cuts import Pieces, fragments_of_cells, mean_backend, waterz_backend, waterz_itself, without_ties
from benchmarks.degraded import degraded, phantom
from benchmarks.segment.whole_volume import numbered, whole_fragments
from benchmarks.sweeps import Sweep, best, errors
from skimage.metrics import variation_of_information

from sepvox.segment.affinities import nearest_as_float
from sepvox.segment.settings import FragmentSettings
from sepvox.settings import NEAREST_OFFSETS

SHAPE = (48, 72, 96)
CELL = (32, 32, 32)
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(2, 19))
SEEDS = (0, 1)


@pytest.fixture(scope="module", params=SEEDS)
def volume(request):
    """Affinities and truth of a phantom, and fragments of cells."""
    truth = phantom(SHAPE, request.param)
    affinities = degraded(truth, NEAREST_OFFSETS, request.param)
    return affinities, truth, Pieces.of(fragments_of_cells(affinities, FragmentSettings(cell=CELL)))


@pytest.mark.parametrize("seed", SEEDS)
def test_default_cells_cost_no_more_than_two_hundredths_of_a_bit(seed):
    shape = (64, 192, 192)
    truth = phantom(shape, seed)
    affinities = degraded(truth, NEAREST_OFFSETS, seed)
    found = []
    for fragments in (
        whole_fragments(affinities, FragmentSettings()),
        fragments_of_cells(affinities, FragmentSettings()),
    ):
        swept = mean_backend(affinities, Pieces.of(fragments), THRESHOLDS)
        of_segments = swept.to_truth(truth)
        found.append((len(swept.ids), errors(fragments, truth).sum, of_segments[best(of_segments)].sum))
    (count, of_fragments, of_whole), (count_of_cells, _, of_cells) = found
    print(f"whole volume {of_whole:.4f} bits, cells {of_cells:.4f} bits")
    assert count < count_of_cells
    assert 0.3 < of_whole < of_fragments, "the affinities are neither perfect nor useless"
    assert of_cells <= of_whole + 0.02


@pytest.mark.parametrize("scoring", ["mean", "histogram-quantile50"])
def test_context_brings_the_waterz_backend_near_to_waterz_on_the_whole_volume(volume, scoring):
    affinities, _, pieces = volume
    whole = waterz_backend(affinities, pieces, SHAPE, 1, scoring, THRESHOLDS)
    deviations = []
    for context in (1, 8, 16, 96):
        found = waterz_backend(affinities, pieces, CELL, context, scoring, THRESHOLDS).to(whole)
        deviations.append(max(one.sum for one in found))
    print(f"{scoring}: {', '.join(f'{one:.4f}' for one in deviations)} bits")
    assert deviations[0] > deviations[2]
    assert deviations[-1] == 0, "the context covers the volume"


def test_mean_backend_is_waterz_on_the_whole_volume_of_a_phantom(volume):
    affinities, _, pieces = volume
    floats = without_ties(affinities, 0)
    for one in mean_backend(floats, pieces, THRESHOLDS).to(waterz_itself(floats, pieces, THRESHOLDS)):
        assert one == pytest.approx((0, 0), abs=1e-12)
    reference = waterz_itself(affinities, pieces, THRESHOLDS)
    own = max(one.sum for one in mean_backend(affinities, pieces, THRESHOLDS).to(reference))
    itself = max(one.sum for one in waterz_itself(affinities, pieces, THRESHOLDS, 0).to(reference))
    print(f"mean backend {own:.4f} bits, waterz with permuted ids {itself:.4f} bits")
    assert own <= max(itself, 0.03)


def test_errors_of_a_sweep_are_those_of_its_segmentations(volume):
    affinities, truth, pieces = volume
    found = mean_backend(affinities, pieces, THRESHOLDS)
    places = np.searchsorted(found.ids, found.fragments)
    segmentations = [row[places] for row in found.tables]
    other = segmentations[8]
    for one, segmentation in zip(found.to_truth(truth), segmentations, strict=True):
        # scikit-image returns H(second | first) and then H(first | second).
        assert one == pytest.approx(variation_of_information(truth, segmentation), abs=1e-9)
    again = Sweep.of_segmentations(found.fragments, segmentations, THRESHOLDS)
    np.testing.assert_array_equal(again.tables, found.tables)
    np.testing.assert_array_equal(again.sizes, found.sizes)
    for one, segmentation in zip(found.to(_constant(found, 8)), segmentations, strict=True):
        assert one == pytest.approx(variation_of_information(other, segmentation), abs=1e-9)
    assert found.nearest(other) == (0, 0)
    only = Sweep(found.fragments, found.ids, found.sizes, THRESHOLDS[:1], found.tables[8:9])
    assert only.nearest(segmentations[0]) == pytest.approx(variation_of_information(other, segmentations[0]), abs=1e-9)


def _constant(sweep: Sweep, row: int) -> Sweep:
    tables = np.repeat(sweep.tables[row : row + 1], len(sweep.tables), axis=0)
    return Sweep(sweep.fragments, sweep.ids, sweep.sizes, sweep.thresholds, tables)


def test_fragments_are_numbered_without_gaps_in_the_order_of_their_ids(volume):
    _, _, pieces = volume
    fragments = pieces.fragments.copy()
    fragments[:2] = 0
    fragments = np.where(np.isin(fragments, pieces.ids[pieces.ids <= 2 * 72 * 96]), np.uint64(0), fragments)
    ids = np.unique(fragments[fragments > 0])
    found = numbered(fragments)
    np.testing.assert_array_equal(found[fragments > 0], 1 + np.searchsorted(ids, fragments[fragments > 0]))
    assert not found[fragments == 0].any()


def test_floats_without_ties_round_down_to_what_was_stored(volume):
    affinities, _, _ = volume
    floats = without_ties(affinities, 0)
    np.testing.assert_array_equal(np.floor(floats * 256), affinities)
    assert np.abs(floats - nearest_as_float(affinities, SHAPE)).max() <= 1 / 255
