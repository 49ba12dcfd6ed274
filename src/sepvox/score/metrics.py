"""Scores of a segmentation against ground truth, from their contingency.

*Split error* is what is lost by cutting an object into several segments, *merge error* what is lost by joining several
objects in one segment. Both are conditional entropies in bits; their sum is the variation of information (VI). All
scores are over the voxels whose ground truth is not 0.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.score.contingency import Contingency

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectError:
    """One object's share of the split error, or one segment's share of the merge error.

    Attributes
    ----------
    id : int
        The ground-truth object that was cut, or the segment that joins several objects.
    voxels : int
        Its scored voxels.
    bits : float
        Its share of VI split or of VI merge; the shares of all add up to it.
    parts : tuple of (int, int)
        The segments in it, or the objects that it covers, each as (id, voxels in common), largest first.
    """

    id: int
    voxels: int
    bits: float
    parts: tuple[tuple[int, int], ...]


def variation_of_information(table: Contingency) -> tuple[float, float]:
    """Split and merge error in bits.

    Split is H(segmentation | truth), merge is H(truth | segmentation) (Meilă 2007, J. Multivariate Anal. 98:873,
    sec. 3, with the names of Nunez-Iglesias et al. 2013, PLoS ONE 8:e71715). Segmentation 0 counts as one segment.

    Raises
    ------
    InputError
        If no voxel has ground truth.
    """
    _require_voxels(table)
    return float(_shares(table, table.truth)[2].sum()), float(_shares(table, table.fragment)[2].sum())


def adapted_rand_error(table: Contingency) -> float:
    """Adapted Rand error, between 0 and 1.

    One minus the F-score of precision and recall over pairs of different voxels that are in one segment and in one
    object (Arganda-Carreras et al. 2015, Front. Neuroanat. 9:142, eq. 3). As in SNEMI3D, every voxel of segmentation 0
    is a segment of its own, which makes no pair. Where neither side has a pair the two agree and the error is 0.

    Raises
    ------
    InputError
        If no voxel has ground truth.
    """
    _require_voxels(table)
    in_objects = _pairs(_totals(table.truth, table.count)[1])
    labelled = table.fragment != 0
    in_segments = _pairs(_totals(table.fragment[labelled], table.count[labelled])[1])
    in_both = _pairs(table.count[labelled])
    if in_objects + in_segments == 0:
        return 0.0
    return 1.0 - 2.0 * in_both / (in_objects + in_segments)


def cremi_score(table: Contingency) -> float:
    """Geometric mean of VI (split + merge, bits) and adapted Rand error, as in the CREMI challenge."""
    return sqrt(sum(variation_of_information(table)) * adapted_rand_error(table))


def per_object_errors(
    table: Contingency, count: int = 10, parts: int = 3
) -> tuple[tuple[ObjectError, ...], tuple[ObjectError, ...]]:
    """List the largest split errors and the largest merge errors.

    Parameters
    ----------
    table : Contingency
        Of a segmentation.
    count : int
        Errors of each kind to list at most; those of no bits are left out.
    parts : int
        Parts of each to list at most.

    Returns
    -------
    splits, merges : tuples of ObjectError
        Ordered by falling bits, then by id.
    """
    return (
        _largest(table, table.truth, table.fragment, count, parts),
        _largest(table, table.fragment, table.truth, count, parts),
    )


def _require_voxels(table: Contingency) -> None:
    if not len(table.count):
        raise InputError("ground truth: it is 0 at every scored voxel, so there is nothing to score; check its region")


def _totals(ids: NDArray[np.uint64], counts: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Unique ids and the sum of the counts of each, as integers since floats would round above 2**53."""
    if not len(ids):
        return ids, counts
    order = np.argsort(ids, kind="stable")
    ids, counts = ids[order], counts[order]
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return ids[first], np.add.reduceat(counts, first)


def _pairs(sizes: NDArray[np.int64]) -> float:
    exact = sizes.astype(np.float64)
    return float((exact * (exact - 1.0)).sum())


def _shares(table: Contingency, given: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64], Floats]:
    """Ids, voxels and share of the entropy of the other side given this one, for every id of `given`."""
    ids, sizes = _totals(given, table.count)
    at = np.searchsorted(ids, given)
    count = table.count.astype(np.float64)
    bits = np.bincount(at, weights=count * np.log2(sizes[at] / count), minlength=len(ids)) / count.sum()
    return ids, sizes, bits


def _largest(
    table: Contingency, given: NDArray[np.uint64], other: NDArray[np.uint64], count: int, parts: int
) -> tuple[ObjectError, ...]:
    if not len(table.count):
        return ()
    ids, sizes, bits = _shares(table, given)
    chosen = [i for i in np.lexsort((ids, -bits))[:count] if bits[i] > 0]
    errors = []
    for i in chosen:
        of_it = np.flatnonzero(given == ids[i])
        largest = of_it[np.lexsort((other[of_it], -table.count[of_it]))[:parts]]
        listed = tuple((int(other[p]), int(table.count[p])) for p in largest)
        errors.append(ObjectError(int(ids[i]), int(sizes[i]), float(bits[i]), listed))
    return tuple(errors)
