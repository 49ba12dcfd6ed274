"""Segmentation without a network: grey values, watershed, agglomeration.

*Evidence* of a membrane is the darkness of the smoothed image, scaled to [0, 1]. Voxels whose evidence is below a threshold
are *inside*; maxima of their distance to the rest seed a watershed on the evidence, which yields *fragments*; waterz merges
the fragments whose shared border is, on average, brighter than a threshold. This chain is the yardstick of a network: with
its parameters tuned on the very volume that it is scored on, it is as good as grey values alone allow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import waterz
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from skimage.segmentation import watershed

from sepvox.errors import InputError

SCORING = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
SIGMAS = (0.5, 1.0)
QUANTILES = (0.1, 0.2, 0.35)
MERGE_THRESHOLDS = (0.0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)

_SEED_SMOOTHING = 1.0
_SEED_RADIUS = 2


@dataclass(frozen=True)
class IntensityParameters:
    """Parameters of the chain.

    Attributes
    ----------
    sigma : float
        Standard deviation of the smoothing, in voxels.
    quantile : float
        Fraction of the voxels, the darkest ones, that are taken for membrane when seeds are sought.
    merge_threshold : float
        Fragments merge while the mean evidence along their border is below it; 0 merges nothing.
    """

    sigma: float
    quantile: float
    merge_threshold: float


@dataclass(frozen=True)
class IntensityResult:
    """The best score of the chain, in bits, and the parameters that gave it."""

    voi_split: float
    voi_merge: float
    parameters: IntensityParameters

    @property
    def voi_sum(self) -> float:
        """Split and merge together, in bits."""
        return self.voi_split + self.voi_merge


def membrane_evidence(image: NDArray[np.generic], sigma: float) -> NDArray[np.float32]:
    """Darkness of the smoothed image: 0 at its 99th percentile and above, 1 at its 1st and below.

    Parameters
    ----------
    image : array (z, y, x)
        Grey values; membranes are dark.
    sigma : float
        Standard deviation of the smoothing, in voxels.

    Returns
    -------
    float32 array (z, y, x)
    """
    smooth = gaussian_filter(image.astype(np.float32), sigma)
    dark, bright = np.percentile(smooth, [1, 99])
    return np.asarray(np.clip((bright - smooth) / max(bright - dark, 1e-6), 0, 1), np.float32)


def watershed_fragments(evidence: NDArray[np.float32], quantile: float) -> NDArray[np.uint64]:
    """Watershed of the evidence, flooded from maxima of the distance to dark voxels.

    Parameters
    ----------
    evidence : float32 array (z, y, x)
        Evidence of a membrane.
    quantile : float
        Fraction of voxels, those of strongest evidence, that are taken for membrane.

    Returns
    -------
    uint64 array (z, y, x)
        Fragments from 1; every voxel belongs to one.
    """
    inside = evidence < np.quantile(evidence, 1 - quantile)
    if not inside.any():
        return np.ones(evidence.shape, np.uint64)
    distance = gaussian_filter(distance_transform_edt(inside).astype(np.float32), _SEED_SMOOTHING)
    peaks = (maximum_filter(distance, 2 * _SEED_RADIUS + 1) == distance) & inside
    seeds, _ = label(peaks, np.ones((3, 3, 3)))
    return watershed(evidence, seeds).astype(np.uint64)  # type: ignore[no-any-return]


def agglomerate_by_intensity(
    evidence: NDArray[np.float32], fragments: NDArray[np.uint64], thresholds: Sequence[float]
) -> Iterator[NDArray[np.uint64]]:
    """Merge fragments by the mean evidence along their borders; yield one lookup table per threshold, ascending.

    Parameters
    ----------
    evidence : float32 array (z, y, x)
        Evidence of a membrane.
    fragments : uint64 array (z, y, x)
        Fragments from 1.
    thresholds : sequence of float
        Two regions merge while the mean evidence between them is below the threshold.

    Yields
    ------
    uint64 array (largest fragment + 1,)
        Segment of every fragment.
    """
    affinities = np.empty((3, *evidence.shape), np.float32)
    for axis in range(3):
        before = np.roll(evidence, 1, axis)
        affinities[axis] = 1 - np.maximum(evidence, before)
    names, first = np.unique(fragments, return_index=True)
    for segmentation in waterz.agglomerate(
        affinities, sorted(thresholds), fragments=fragments.copy(), scoring_function=SCORING
    ):
        table = np.zeros(int(names[-1]) + 1, np.uint64)
        table[names] = segmentation.ravel()[first]
        yield table


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _split_and_merge(
    segments: NDArray[np.int64], truth: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[float, float]:
    """VI split H(segments | truth) and merge H(truth | segments) in bits (Meila 2007) from a sparse contingency."""
    pairs, position = np.unique(segments * (truth.max() + 1) + truth, return_inverse=True)
    both = _entropy(np.bincount(position, counts, minlength=pairs.size))
    return both - _entropy(np.bincount(truth, counts)), both - _entropy(np.bincount(segments, counts))


def tune_intensity_chain(
    image: NDArray[np.generic],
    labels: NDArray[np.unsignedinteger],
    *,
    sigmas: Sequence[float] = SIGMAS,
    quantiles: Sequence[float] = QUANTILES,
    merge_thresholds: Sequence[float] = MERGE_THRESHOLDS,
) -> IntensityResult:
    """Run the chain with every combination of parameters and keep the lowest VI against the truth of the same volume.

    Parameters
    ----------
    image : array (z, y, x)
        Grey values; membranes are dark.
    labels : unsigned integer array (z, y, x)
        Truth; voxels of label 0 are not scored.
    sigmas, quantiles, merge_thresholds : sequences of float
        The grid, see `IntensityParameters`.

    Returns
    -------
    IntensityResult
        The combination of lowest VI split + merge.

    Raises
    ------
    InputError
        If the shapes differ or no voxel has a label.
    """
    if image.shape != labels.shape:
        raise InputError(f"labels have shape {labels.shape}, the image {image.shape}: give labels of the image's shape")
    scored = labels.ravel() != 0
    if not scored.any():
        raise InputError(
            "labels are 0 everywhere, expected at least one object: give labels that name the image's objects"
        )
    truth = np.unique(labels.ravel()[scored], return_inverse=True)[1]
    best: IntensityResult | None = None
    for sigma in sigmas:
        evidence = membrane_evidence(image, sigma)
        for quantile in quantiles:
            fragments = watershed_fragments(evidence, quantile)
            width = int(truth.max()) + 1
            pairs, counts = np.unique(fragments.ravel()[scored].astype(np.int64) * width + truth, return_counts=True)
            tables = agglomerate_by_intensity(evidence, fragments, merge_thresholds)
            for threshold, table in zip(sorted(merge_thresholds), tables, strict=True):
                split, merge = _split_and_merge(table[pairs // width].astype(np.int64), pairs % width, counts)
                if best is None or split + merge < best.voi_sum:
                    best = IntensityResult(split, merge, IntensityParameters(sigma, quantile, threshold))
    if best is None:
        raise InputError("the grid of the intensity chain is empty: give at least one value per parameter")
    return best
