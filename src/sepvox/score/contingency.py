"""Sparse contingency tables: how many voxels each pair of a segment and a ground-truth object has in common.

A *contingency* lists the pairs (fragment, truth) that occur, with their voxel counts. Tables of blocks add up to the
table of the volume, and a table of fragments becomes the table of any segmentation made of those fragments by mapping
its ids, so that a sweep over thresholds needs no voxel a second time. Voxels whose ground truth is 0 are unknown and
never counted; id 0 among the fragments is background and is counted as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from sepvox.errors import InputError, StoreError

Ids = NDArray[np.uint64]
Counts = NDArray[np.int64]

SMALLEST_TABLE = 1 << 12


@dataclass(frozen=True, eq=False)
class Contingency:
    """Voxel counts of the pairs (fragment, truth) that occur.

    Attributes
    ----------
    fragment, truth : uint64 (k,)
        The two ids of each pair. Pairs are unique and sorted by fragment, then by truth; truth is never 0.
    count : int64 (k,)
        Voxels of each pair, at least 1.
    """

    fragment: Ids
    truth: Ids
    count: Counts

    def __post_init__(self) -> None:
        if not self.fragment.shape == self.truth.shape == self.count.shape or self.fragment.ndim != 1:
            raise ValueError(f"columns differ: {self.fragment.shape}, {self.truth.shape}, {self.count.shape}")


def contingency(
    fragments: NDArray[np.integer], truth: NDArray[np.integer], ignore: NDArray[np.bool_] | None = None
) -> Contingency:
    """Count the pairs of ids of two label arrays.

    Parameters
    ----------
    fragments, truth : integer (z, y, x)
        Labels of the same voxels; negative ids are not checked for. Voxels with truth 0 are left out.
    ignore : bool (z, y, x), optional
        Voxels to leave out, where True.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    for name, other in (("ground truth", truth), ("ignored voxels", ignore)):
        if other is not None and other.shape != fragments.shape:
            raise InputError(
                f"{name}: shape {other.shape} where the segmentation has {fragments.shape}; give both the same region"
            )
    if ignore is not None:
        truth = np.where(ignore, truth.dtype.type(0), truth)
    return _sorted_unique(*_count_pairs(_in_line(fragments), _in_line(truth)))


def merge(tables: Sequence[Contingency]) -> Contingency:
    """Add up the tables of disjoint sets of voxels; no table at all gives an empty one."""
    if not tables:
        return Contingency(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))
    return _sorted_unique(
        np.concatenate([table.fragment for table in tables]),
        np.concatenate([table.truth for table in tables]),
        np.concatenate([table.count for table in tables]),
    )


def relabel(table: Contingency, ids: Ids, segments: Ids) -> Contingency:
    """Turn a table of fragments into the table of a segmentation.

    Parameters
    ----------
    table : Contingency
        Of fragments.
    ids : uint64 (f,)
        All fragment ids, rising.
    segments : uint64 (f,)
        The segment of each fragment: one row of a lookup table. Fragment 0 stays 0.

    Raises
    ------
    StoreError
        If a fragment of the table is not among `ids`.
    """
    known = table.fragment != 0
    wanted = table.fragment[known]
    place = np.searchsorted(ids, wanted)
    found = np.zeros(len(wanted), np.bool_)
    inside = place < len(ids)
    found[inside] = ids[place[inside]] == wanted[inside]
    if not found.all():
        raise StoreError(
            f"lookup table: fragment {wanted[~found][0]} is not in it; it belongs to other fragments: "
            "run region-graph and agglomerate again"
        )
    mapped = np.zeros_like(table.fragment)
    mapped[known] = segments[place]
    return _sorted_unique(mapped, table.truth, table.count)


def near_border(truth: NDArray[np.integer], voxels: int) -> NDArray[np.bool_]:
    """Mark the voxels nearer than `voxels` to a border of the ground truth, within each z section.

    A border lies between two voxels that share an edge in the section and whose labels differ, label 0 included; the
    two voxels themselves are at distance 0 and others at the Euclidean distance to the nearest of them. So 0 marks
    nothing, and 1 marks the two voxels at each border, as CREMI does in its own units.

    Parameters
    ----------
    truth : integer (z, y, x)
        Ground truth.
    voxels : int
        Distance in voxels of the section.

    Returns
    -------
    bool (z, y, x)
    """
    at_border = np.zeros(truth.shape, np.bool_)
    if voxels <= 0:
        return at_border
    for axis in (1, 2):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        differs = truth[low] != truth[high]
        at_border[low] |= differs
        at_border[high] |= differs
    if voxels == 1:
        return at_border
    near = np.zeros_like(at_border)
    for section, marked in zip(near, at_border, strict=True):
        if marked.any():
            section[...] = distance_transform_edt(~marked) < voxels
    return near


def _in_line(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Flat view with the labels' own integer type: widening copies cost more than the counting."""
    flat = np.ascontiguousarray(labels).ravel()
    return flat.astype(np.uint8) if flat.dtype == np.bool_ else flat


def _sorted_unique(fragment: Ids, truth: Ids, count: Counts) -> Contingency:
    if not len(fragment):
        return Contingency(fragment, truth, count)
    order = np.lexsort((truth, fragment))
    fragment, truth, count = fragment[order], truth[order], count[order]
    first = np.flatnonzero(np.r_[True, (fragment[1:] != fragment[:-1]) | (truth[1:] != truth[:-1])])
    return Contingency(fragment[first], truth[first], np.add.reduceat(count, first))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _slot(fragment: np.uint64, truth: np.uint64, fragments: Ids, truths: Ids) -> np.int64:
    """Where a pair stands, or is to stand, in an open-addressing table whose length is a power of two."""
    mask = np.uint64(len(fragments) - 1)
    mixed = fragment * np.uint64(0x9E3779B97F4A7C15) ^ truth * np.uint64(0xC2B2AE3D27D4EB4F)
    place = (mixed ^ (mixed >> np.uint64(29))) & mask
    while truths[place] != 0 and (fragments[place] != fragment or truths[place] != truth):
        place = (place + np.uint64(1)) & mask
    return np.int64(place)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_pairs(fragment: NDArray[np.integer], truth: NDArray[np.integer]) -> tuple[Ids, Ids, Counts]:
    """Unsorted unique pairs with counts; truth 0 marks a free slot, since it is never counted."""
    fragments = np.zeros(SMALLEST_TABLE, np.uint64)
    truths = np.zeros(SMALLEST_TABLE, np.uint64)
    counts = np.zeros(SMALLEST_TABLE, np.int64)
    used = 0
    start = 0
    while start < len(fragment):
        f, t = np.uint64(fragment[start]), np.uint64(truth[start])
        end = start + 1
        # Labels come in runs along x, so that one look-up serves many voxels.
        while end < len(fragment) and fragment[end] == fragment[start] and truth[end] == truth[start]:
            end += 1
        if t != 0:
            place = _slot(f, t, fragments, truths)
            if truths[place] == 0:
                fragments[place] = f
                truths[place] = t
                used += 1
            counts[place] += end - start
            if 2 * used > len(counts):
                taken = np.flatnonzero(truths)
                old_fragments, old_truths, old_counts = fragments[taken], truths[taken], counts[taken]
                fragments = np.zeros(4 * len(counts), np.uint64)
                truths = np.zeros(4 * len(counts), np.uint64)
                counts = np.zeros(4 * len(counts), np.int64)
                for i in range(used):
                    place = _slot(old_fragments[i], old_truths[i], fragments, truths)
                    fragments[place] = old_fragments[i]
                    truths[place] = old_truths[i]
                    counts[place] = old_counts[i]
        start = end
    taken = np.flatnonzero(truths)
    return fragments[taken], truths[taken], counts[taken]
