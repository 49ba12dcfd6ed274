"""waterz on a whole volume: `python -m benchmarks.segment.whole_volume STORE distance|own THRESHOLD…`.

distance   fragments of sepvox's default method, the volume being one cell.
own        waterz's own watershed, with the thresholds that sepvox takes from the affinities.

Scores are mean affinities, `OneMinus<MeanAffinity>`. The working folder gets the segmentation at the last threshold, as
segmentation.zarr, and for more than one threshold the sweep, as sweep.npz.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import waterz
from numpy.typing import NDArray

from benchmarks.sweeps import Ids, Sweep
from sepvox import ome_zarr
from sepvox.blocks import Box, Triple
from sepvox.prepare.settings import PrepareSettings
from sepvox.segment.affinities import Affinities, nearest_as_float
from sepvox.segment.lookup import apply_lookup
from sepvox.segment.merge_scores import BEFORE_ALL_MERGES, silent_stdout, waterz_function
from sepvox.segment.settings import FragmentSettings
from sepvox.segment.watershed import fragments_of_cell, waterz_thresholds

SEGMENTATION, SWEEP = "segmentation.zarr", "sweep.npz"


def whole_fragments(affinities: Affinities, settings: FragmentSettings) -> Ids:
    """Fragments of a volume that is one cell, uint64 (z, y, x)."""
    shape: Triple = affinities.shape[1:]
    return fragments_of_cell(affinities, Box.of(shape).slices, (0, 0, 0), shape, settings)


def numbered(fragments: Ids) -> Ids:
    """Fragments numbered 1, 2, …, since waterz's memory follows the largest id.

    Each id has to be 1 + the index of the fragment's first voxel, as `whole_fragments` gives it.
    """
    flat = fragments.ravel()
    numbers = np.cumsum(np.r_[False, flat == np.arange(1, len(flat) + 1, dtype=np.uint64)])
    return numbers.astype(np.uint64)[fragments]


def segmentations(
    nearest: NDArray[np.float32],
    thresholds: Sequence[float],
    fragments: Ids | None,
    limits: tuple[float, float] = (0.0001, 0.9999),
) -> Iterator[Ids]:
    """waterz's segmentations at rising thresholds, each in the same array; `limits` are those of its watershed."""
    return waterz.agglomerate(  # type: ignore[no-any-return]
        nearest,
        thresholds,
        fragments=fragments,
        aff_threshold_low=limits[0],
        aff_threshold_high=limits[1],
        scoring_function=waterz_function("mean"),
    )


def sweep(
    nearest: NDArray[np.float32],
    thresholds: Sequence[float],
    fragments: Ids | None,
    limits: tuple[float, float] = (0.0001, 0.9999),
) -> Sweep:
    """All of `segmentations` as a sweep; given fragments are left as they are."""
    with silent_stdout():
        own = None if fragments is None else fragments.copy()
        runs = segmentations(nearest, [BEFORE_ALL_MERGES, *thresholds], own, limits)
        found = next(runs).copy()
        return Sweep.of_segmentations(found, runs, thresholds)


def main() -> None:
    """Read, segment, write."""
    store, watershed, *given = sys.argv[1:]
    thresholds = sorted(float(threshold) for threshold in given)
    array = ome_zarr.open_level(Path(store))
    stored = ome_zarr.read(array, Box.of(array.shape[1:]), channels=3)
    fragments, limits = None, (0.0, 1.0)
    if watershed == "distance":
        fragments = numbered(whole_fragments(stored, FragmentSettings()))
    else:
        limits = waterz_thresholds(np.bincount(stored.ravel(), minlength=256))
    nearest = nearest_as_float(stored, stored.shape[1:])
    del stored
    if len(thresholds) == 1:
        with silent_stdout():
            segmentation = next(segmentations(nearest, thresholds, fragments, limits))
    else:
        found = sweep(nearest, thresholds, fragments, limits)
        np.savez(SWEEP, fragments=found.fragments, ids=found.ids, sizes=found.sizes, tables=found.tables)
        segmentation = apply_lookup(found.fragments, found.ids, found.tables[-1])
    chunk, shard = PrepareSettings().chunk, PrepareSettings().shard
    written = ome_zarr.create_array(Path(SEGMENTATION), segmentation.shape, "uint64", "zyx", chunk, shard)
    written[...] = segmentation


if __name__ == "__main__":
    main()
