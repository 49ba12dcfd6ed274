"""Lookup tables: which segment each fragment belongs to, at every threshold.

A *segment* is a connected component of the region graph over the edges whose merge score is below the threshold, or a
region of mean linkage. Its id is the lowest id among its fragments, so that ids depend neither on the order of the edges
nor on the threshold's place in a list. Row t of a lookup table holds the segment of every fragment at threshold t; 0 is background.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sepvox.errors import StoreError
from sepvox.segment.contacts import Contacts
from sepvox.segment.mean_linkage import mean_linkage

Ids = NDArray[np.uint64]
Index = NDArray[np.int64]


def lookup_tables(
    fragment_ids: Ids,
    sizes: NDArray[np.integer],
    edges: Ids,
    scores: NDArray[np.float32],
    thresholds: Sequence[float],
    minimum_size: int = 0,
) -> Ids:
    """Connect fragments at several thresholds.

    Parameters
    ----------
    fragment_ids : uint64 (f,)
        All fragments of the volume, in rising order, without 0.
    sizes : integer (f,)
        Voxels of each fragment.
    edges : uint64 (e, 2)
        Pairs of touching fragments, in any order.
    scores : float32 (e,)
        Merge scores; fragments join while score < threshold, both taken as float32 like waterz does.
    thresholds : sequence of t floats
        In any order.
    minimum_size : int
        Segments of fewer voxels become 0.

    Returns
    -------
    uint64 (t, f)
        Segment of each fragment at each threshold.

    Raises
    ------
    StoreError
        If an edge names a fragment that is not in `fragment_ids`.
    """
    ends = _places(fragment_ids, edges.ravel(), "region graph").reshape(-1, 2)
    order = np.argsort(scores, kind="stable")
    ends, scores = ends[order], scores[order]
    lowest = np.empty((len(thresholds), len(fragment_ids)), np.int64)
    parent = np.arange(len(fragment_ids))
    joined = 0
    for row in np.argsort(np.asarray(thresholds, np.float32), kind="stable"):
        below = int(np.searchsorted(scores, np.float32(thresholds[row]), side="left"))
        _unite(parent, ends[joined:below])
        joined = below
        lowest[row] = parent
    return _table(fragment_ids, sizes, lowest, minimum_size)


def mean_lookup_tables(
    fragment_ids: Ids,
    sizes: NDArray[np.integer],
    contacts: Contacts,
    thresholds: Sequence[float],
    minimum_size: int = 0,
) -> Ids:
    """Merge fragments by mean linkage at several thresholds.

    Parameters
    ----------
    contacts : Contacts
        Of the whole volume.
    fragment_ids, sizes, thresholds, minimum_size
        See `lookup_tables`.

    Returns
    -------
    uint64 (t, f)
        Segment of each fragment at each threshold.

    Raises
    ------
    StoreError
        If a contact names a fragment that is not in `fragment_ids`.
    """
    ends = _places(fragment_ids, contacts.edges.ravel(), "region graph").reshape(-1, 2)
    numbered = replace(contacts, edges=ends.astype(np.uint64))
    return _table(fragment_ids, sizes, mean_linkage(len(fragment_ids), numbered, thresholds), minimum_size)


def apply_lookup(fragments: Ids, ids: Ids, segments: Ids) -> Ids:
    """Replace fragment ids by segment ids.

    Parameters
    ----------
    fragments : uint64, any shape
        Fragment ids; 0 stays 0.
    ids : uint64 (f,)
        All fragments of the volume, in rising order, without 0.
    segments : uint64 (f,)
        Segment of each: one row of a lookup table.

    Returns
    -------
    uint64, shape of `fragments`

    Raises
    ------
    StoreError
        If a fragment is not in `ids`.
    """
    mapped, unknown = _map_runs(np.ascontiguousarray(fragments).ravel(), ids, segments)
    if unknown:
        raise _unknown(int(unknown), "fragments")
    segmentation: Ids = mapped.reshape(fragments.shape)
    return segmentation


def _table(fragment_ids: Ids, sizes: NDArray[np.integer], lowest: Index, minimum_size: int) -> Ids:
    """Ids by threshold and fragment, from the place (t, f) of the lowest fragment of each fragment's segment, in its memory."""
    table: Ids = lowest.view(np.uint64)
    for row, places in zip(table, lowest, strict=True):
        ids = fragment_ids[places]
        if minimum_size > 1:
            voxels = np.bincount(places, weights=sizes, minlength=len(places))
            ids[voxels[places] < minimum_size] = 0
        row[...] = ids
    return table


def _unknown(fragment: int, where: str) -> StoreError:
    return StoreError(
        f"{where}: fragment {fragment} is not in the list of the volume's fragments, so they are from different runs: "
        "run region-graph and agglomerate again"
    )


def _places(ids: Ids, wanted: Ids, where: str) -> Index:
    places = np.searchsorted(ids, wanted)
    known = places < len(ids)
    known[known] = ids[places[known]] == wanted[known]
    if not known.all():
        raise _unknown(int(wanted[~known][0]), where)
    return places


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _unite(parent: Index, ends: Index) -> None:
    """Unite the sets of each pair; afterwards every node's parent is the lowest node of its set."""
    for i in range(len(ends)):
        a, b = ends[i]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        parent[max(a, b)] = min(a, b)
    for node in range(len(parent)):
        # Parents are never higher than their children and so are final when a child is reached.
        parent[node] = parent[parent[node]]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _map_runs(fragments: Ids, ids: Ids, segments: Ids) -> tuple[Ids, np.uint64]:
    """Mapped array, and the first id that is not in `ids`, or 0."""
    mapped = np.empty_like(fragments)
    last, segment = np.uint64(0), np.uint64(0)
    for i in range(len(fragments)):
        fragment = fragments[i]
        # Fragments come in runs along x, so that one search serves many voxels.
        if fragment != last:
            last, segment = fragment, np.uint64(0)
            if fragment != 0:
                place = np.searchsorted(ids, fragment)
                if place == len(ids) or ids[place] != fragment:
                    return mapped, fragment
                segment = segments[place]
        mapped[i] = segment
    return mapped, np.uint64(0)
