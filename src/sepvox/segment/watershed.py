"""Fragments: an oversegmentation of one cell by watershed, from the affinities of the cell and its halo.

The *openness* of a voxel is the mean affinity of its six faces, each face once: low on membranes, high inside of
neurites. *Seeds* are the maxima of the distance to the nearest voxel of low openness; a watershed grows them, the most
open voxels first, over the box of cell and halo. The cell is cut out, and what the cut has disconnected is split into
6-connected components. A fragment's id is 1 + the index, in the C order of the whole volume, of its first voxel: it
depends on where the fragment is and not on the block that computed it.
"""

import numpy as np
import waterz
from bioimage_cpp.distance import distance_transform
from bioimage_cpp.segmentation import label, watershed
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sepvox.errors import ConfigError, InputError
from sepvox.segment.affinities import Affinities, nearest_as_float
from sepvox.segment.merge_scores import BEFORE_ALL_MERGES, silent_stdout, waterz_function
from sepvox.segment.settings import FragmentSettings

Floats = NDArray[np.float32]
Ids = NDArray[np.uint64]
Triple = tuple[int, int, int]
Box = tuple[slice, slice, slice]

LOW_QUANTILE, HIGH_QUANTILE = 0.4, 0.7


def fragments_of_cell(
    affinities: Affinities,
    core: Box,
    origin: Triple,
    volume_shape: Triple,
    settings: FragmentSettings,
    mask: NDArray[np.bool_] | None = None,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    distribution: tuple[float, float] | None = None,
) -> Ids:
    """Compute the fragments of one cell.

    Parameters
    ----------
    affinities : uint8 or float32 (c, z, y, x), c >= 3
        Affinities of the cell and its halo, the nearest three first; uint8 stands for 0 to 1 in steps of 1/255. Faces
        that leave the box are not used.
    core : three slices
        The cell inside the box.
    origin : (z, y, x)
        Voxel of the volume at which the cell begins.
    volume_shape : (z, y, x)
        Voxels of the whole volume.
    settings : FragmentSettings
        Distances count voxels of the finest axis; `by_section` uses the faces within sections only.
    mask : bool (z, y, x), optional
        Where to segment at all, for the box.
    voxel_size : (z, y, x)
        In any one unit.
    distribution : (low, high), optional
        waterz's thresholds for the whole volume, from `waterz_thresholds`; used by method ``waterz`` where the settings
        give none.

    Returns
    -------
    uint64 (z, y, x) of the cell
        Every fragment is 6-connected. 0 where the mask is False, where openness is below `background_threshold`, and
        where no seed reaches.

    Raises
    ------
    InputError
        If shapes or types do not fit.
    ConfigError
        If waterz's thresholds are missing or not rising.
    """
    box_shape = affinities.shape[1:]
    if mask is not None and mask.shape != box_shape:
        raise InputError(f"mask: shape {mask.shape} where the affinities have {box_shape}; give both the same region")
    nearest = nearest_as_float(affinities, box_shape)
    open_to = openness(nearest, settings.by_section)
    inside = open_to >= settings.background_threshold
    if mask is not None:
        inside &= mask
    if settings.method == "waterz":
        markers = _waterz_regions(nearest, settings, distribution)
    else:
        markers = _seeds(open_to, settings, voxel_size)
    grown = _grow(1 - open_to, markers, inside, settings.by_section)

    labels = label(np.ascontiguousarray(grown[core]), connectivity=1)
    if settings.minimum_size > 1:
        within = tuple(np.ascontiguousarray(channel[core]) for channel in nearest)
        cut = _cut_by_the_cell(labels, origin, volume_shape, settings.by_section)
        labels = _merge_small(labels, within, settings.minimum_size, settings.by_section, cut)
    fragments: Ids = _positions(labels, origin, volume_shape)[labels]
    return fragments


def waterz_thresholds(histogram: NDArray[np.integer]) -> tuple[float, float]:
    """Take the two thresholds of waterz's watershed from a volume's affinities.

    Faces below the low threshold never connect, faces from the high one always do. They are the quantiles 0.4 and 0.7
    of the affinities: of saturated predictions the upper half would else make one fragment, and of hesitant ones every
    few voxels their own.

    Parameters
    ----------
    histogram : integer (256,)
        How often each uint8 value occurs among the three nearest affinities of the whole volume.

    Returns
    -------
    low, high : float
        Between 0 and 1, low < high.

    Raises
    ------
    InputError
        If there are not 256 counts, or none of them is positive.
    """
    if histogram.shape != (256,) or histogram.sum() <= 0:
        raise InputError(
            f"histogram of affinities: {histogram.shape}, sum {histogram.sum()}; expected 256 counts, not empty"
        )
    cumulative = np.cumsum(histogram) / histogram.sum()
    low, high = (int(np.searchsorted(cumulative, quantile)) for quantile in (LOW_QUANTILE, HIGH_QUANTILE))
    if low >= high:
        low, high = (low, low + 1) if low < 255 else (254, 255)
    return low / 255, high / 255


def openness(nearest: Floats, by_section: bool) -> Floats:
    """Mean affinity of the faces of each voxel that lie inside the box.

    Parameters
    ----------
    nearest : float32 (3, z, y, x)
        Affinities to the neighbours at -1 along z, y and x.
    by_section : bool
        Leave out the faces between sections.

    Returns
    -------
    float32 (z, y, x)
        0 to 1; a voxel without faces (a box of one voxel) has 0.
    """
    total = np.zeros(nearest.shape[1:], np.float32)
    faces = np.zeros(nearest.shape[1:], np.float32)
    for axis in (1, 2) if by_section else (0, 1, 2):
        low, high = _beside(axis)
        face = nearest[axis][high]
        for side in (low, high):
            total[side] += face
            faces[side] += 1
    return np.divide(total, faces, out=total, where=faces > 0)


def _beside(axis: int) -> tuple[Box, Box]:
    """All voxels that have a neighbour at +1, and those neighbours."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _seeds(open_to: Floats, settings: FragmentSettings, voxel_size: tuple[float, float, float]) -> Ids:
    scale = tuple(size / min(voxel_size[1:] if settings.by_section else voxel_size) for size in voxel_size)
    reach = max(settings.seed_distance, 1)
    radius = [int(reach / s) for s in scale]
    sigma = [settings.seed_smoothing / s for s in scale]
    if not settings.by_section:
        distance = distance_transform(open_to >= settings.boundary_threshold, sampling=scale, number_of_threads=1)
        whole: Ids = label(_maxima(distance, sigma, radius))
        return whole
    seeds = np.zeros(open_to.shape, np.uint64)
    for z, section in enumerate(open_to):
        distance = distance_transform(section >= settings.boundary_threshold, sampling=scale[1:], number_of_threads=1)
        found = label(_maxima(distance, sigma[1:], radius[1:]))
        # The section's number in the upper half keeps ids of different sections apart.
        seeds[z] = np.where(found, found + (np.uint64(z + 1) << np.uint64(32)), np.uint64(0))
    return seeds


def _maxima(distance: Floats, sigma: list[float], radius: list[int]) -> NDArray[np.bool_]:
    smooth = gaussian_filter(distance, sigma) if any(sigma) else distance
    highest: NDArray[np.bool_] = maximum_filter(smooth, [2 * r + 1 for r in radius]) == smooth
    return highest & (distance > 0)


def _grow(height: Floats, markers: Ids, inside: NDArray[np.bool_], by_section: bool) -> Ids:
    grown: Ids
    if by_section:
        grown = np.stack([watershed(h, m, mask=i) for h, m, i in zip(height, markers, inside, strict=True)])
    else:
        grown = watershed(height, markers, mask=inside)
    return grown


def _waterz_regions(nearest: Floats, settings: FragmentSettings, distribution: tuple[float, float] | None) -> Ids:
    thresholds = settings.waterz_thresholds or distribution
    if thresholds is None or not thresholds[0] < thresholds[1]:
        raise ConfigError(
            f"segment.fragments.waterz_thresholds: {thresholds} where a low and a higher threshold were expected"
        )
    if settings.by_section:
        nearest = np.stack([np.zeros_like(nearest[0]), nearest[1], nearest[2]])
    with silent_stdout():
        runs = waterz.agglomerate(
            nearest,
            [BEFORE_ALL_MERGES],
            aff_threshold_low=thresholds[0],
            aff_threshold_high=thresholds[1],
            scoring_function=waterz_function("mean"),
        )
        regions: Ids = next(runs)
        del runs
    return regions


def _cut_by_the_cell(labels: Ids, origin: Triple, volume_shape: Triple, by_section: bool) -> Ids:
    """Components that go on beyond the cell, whose size is therefore not known."""
    found = [np.empty(0, np.uint64)]
    for axis in (1, 2) if by_section else (0, 1, 2):
        if origin[axis] > 0:
            found.append(np.unique(labels.take(0, axis=axis)))
        if origin[axis] + labels.shape[axis] < volume_shape[axis]:
            found.append(np.unique(labels.take(-1, axis=axis)))
    return np.unique(np.concatenate(found))


def _merge_small(
    labels: Ids, affinities: tuple[Floats, ...], minimum_size: int, by_section: bool, whole: Ids | None = None
) -> Ids:
    """Merge components below the minimum size, round by round, into the neighbour of the highest mean affinity.

    Components are 1, 2, … in the order of their first voxels, and merged ones take the lowest of their numbers. Those
    in `whole` count as large enough whatever their size.
    """
    sizes = np.bincount(labels.ravel().astype(np.int64))
    if whole is not None:
        large = whole.astype(np.int64)
        sizes[large] = np.maximum(sizes[large], minimum_size)
    ends, total, faces = _contacts(labels, affinities, sizes < minimum_size, by_section)
    root = np.arange(len(sizes))
    while len(ends):
        both = np.concatenate([ends, ends[:, ::-1]])
        mean = np.tile(total / faces, 2)
        both, mean = both[sizes[both[:, 0]] < minimum_size], mean[sizes[both[:, 0]] < minimum_size]
        order = np.lexsort((both[:, 1], -mean, both[:, 0]))
        both = both[order]
        if not len(both):
            break
        chosen = both[np.r_[True, both[1:, 0] != both[:-1, 0]]]
        graph = coo_array((np.ones(len(chosen)), (chosen[:, 0], chosen[:, 1])), shape=(len(root), len(root)))
        _, group = connected_components(graph, directed=False)
        lowest = np.full(len(root), len(root))
        np.minimum.at(lowest, group, np.arange(len(root)))
        joined = lowest[group]
        root = joined[root]
        sizes = np.bincount(joined, weights=sizes, minlength=len(root)).astype(np.int64)
        ends, total, faces = _sum_by_pair(joined[ends], total, faces)
    merged: Ids = root.astype(np.uint64)[labels]
    return merged


def _contacts(
    labels: Ids, affinities: tuple[Floats, ...], small: NDArray[np.bool_], by_section: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Pairs of touching components of which one is small, with the sum and number of the affinities between them."""
    pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0, np.float64)]
    for axis in (1, 2) if by_section else (0, 1, 2):
        low, high = _beside(axis)
        a, b = labels[low], labels[high]
        contact = (a != b) & (a != 0) & (b != 0) & (small[a] | small[b])
        pairs.append(np.stack([a[contact], b[contact]], axis=1).astype(np.int64))
        values.append(affinities[axis][high][contact].astype(np.float64))
    total = np.concatenate(values)
    return _sum_by_pair(np.concatenate(pairs), total, np.ones(len(total), np.int64))


def _sum_by_pair(
    ends: NDArray[np.int64], total: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    apart = ends[:, 0] != ends[:, 1]
    pairs, at = np.unique(np.sort(ends[apart], axis=1), axis=0, return_inverse=True)
    summed = [np.bincount(at, weights=part[apart], minlength=len(pairs)) for part in (total, faces)]
    return pairs, summed[0].astype(np.float64), summed[1].astype(np.int64)


def _positions(labels: Ids, origin: Triple, volume_shape: Triple) -> Ids:
    """Ids from positions, by label; labels number the components in the order of their first voxels."""
    flat = labels.ravel()
    highest = np.maximum.accumulate(flat)
    first = np.flatnonzero(np.r_[flat[0] > 0, highest[1:] > highest[:-1]])
    voxel = np.stack(np.unravel_index(first, labels.shape), axis=1) + np.array(origin)
    ids = np.zeros(int(highest[-1]) + 1, np.uint64)
    ids[flat[first]] = np.ravel_multi_index(tuple(voxel.T), volume_shape).astype(np.uint64) + np.uint64(1)
    return ids
