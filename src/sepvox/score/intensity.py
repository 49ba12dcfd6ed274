"""The yardstick of a network: the same watershed and agglomeration on grey values alone, tuned on what it is scored on.

*Evidence* of a membrane is the darkness of the smoothed image, scaled to [0, 1]; the affinity of two voxels is 1 minus the
stronger evidence of both. What this chain reaches is as good as grey values allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sepvox.blocks import Box, triple
from sepvox.errors import InputError
from sepvox.score.contingency import contingency, relabel
from sepvox.score.metrics import variation_of_information
from sepvox.segment.lookup import lookup_tables
from sepvox.segment.merge_scores import merge_scores
from sepvox.segment.settings import FragmentSettings
from sepvox.segment.watershed import fragments_of_cell

SIGMAS = (0.5, 1.0)
QUANTILES = (0.1, 0.2, 0.35)
MERGE_THRESHOLDS = tuple(0.05 * step for step in range(1, 20))


@dataclass(frozen=True)
class IntensityResult:
    """The best score of the chain in bits, and the parameters that gave it.

    `sigma` is the smoothing in voxels, `quantile` the fraction of voxels taken for membrane when seeds are sought, and
    `merge_threshold` the mean evidence along a border below which two fragments merge.
    """

    voi_split: float
    voi_merge: float
    sigma: float
    quantile: float
    merge_threshold: float

    @property
    def voi_sum(self) -> float:
        """Split and merge together, in bits."""
        return self.voi_split + self.voi_merge


def intensity_affinities(image: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """Affinities (3, z, y, x) in [0, 1] from the darkness of an image (z, y, x) smoothed by `sigma` voxels.

    Darkness is 0 at the 99th percentile of grey values and above, and 1 at the 1st and below.
    """
    smooth = gaussian_filter(image.astype(np.float32), sigma)
    dark, bright = np.percentile(smooth, [1, 99])
    evidence = np.clip((bright - smooth) / max(bright - dark, 1e-6), 0, 1)
    found = [1 - np.maximum(evidence, np.roll(evidence, 1, axis)) for axis in range(3)]
    return np.stack(found).astype(np.float32)


def tune_intensity_chain(
    image: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    sigmas: Sequence[float] = SIGMAS,
    quantiles: Sequence[float] = QUANTILES,
    merge_thresholds: Sequence[float] = MERGE_THRESHOLDS,
) -> IntensityResult:
    """The least VI over all parameters, on the very volume.

    Parameters
    ----------
    image : (z, y, x)
        Grey values; membranes are dark.
    labels : integer (z, y, x)
        Truth; 0 is not scored.

    Raises
    ------
    InputError
        If the shapes differ or no voxel is labelled.
    """
    if image.shape != labels.shape:
        raise InputError(f"labels have shape {labels.shape}, expected that of the image, {image.shape}")
    if not labels.any():
        raise InputError("labels are 0 everywhere; there is nothing to score")
    shape = triple(image.shape)
    found = []
    for sigma in sigmas:
        affinities = intensity_affinities(image, sigma)
        for quantile in quantiles:
            boundary = float(np.quantile(affinities.mean(axis=0), quantile))
            settings = FragmentSettings(boundary_threshold=boundary, minimum_size=0)
            fragments = fragments_of_cell(affinities, Box.of(shape).slices, (0, 0, 0), shape, settings)
            ids, sizes = np.unique(fragments[fragments != 0], return_counts=True)
            edges, scores = merge_scores(affinities, fragments, ids, "mean")
            counted = contingency(fragments, labels.astype(np.uint64))
            tables = lookup_tables(ids, sizes, edges, scores, merge_thresholds)
            for threshold, table in zip(merge_thresholds, tables, strict=True):
                split, merge = variation_of_information(relabel(counted, ids, table))
                found.append(IntensityResult(split, merge, sigma, quantile, threshold))
    return min(found, key=lambda result: result.voi_sum)
