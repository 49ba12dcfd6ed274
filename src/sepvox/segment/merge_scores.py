"""Merge scores: for each pair of touching fragments, the threshold from which waterz has them in one segment.

waterz agglomerates a *region graph*, whose nodes are fragments and whose edges are contacts, always merging the edge of
the lowest score next; an edge's score is 1 - affinity, summarised over its contact by a *scoring* function. One run over
all thresholds leaves a *merge history*, and from it every edge of the initial graph gets its *merge score*: the lowest
score s such that its two fragments are in one segment for every threshold above s. Edges and merge scores hold the
segmentations of all thresholds: the connected components over edges with a merge score below the threshold.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import waterz
from numba import njit
from numpy.typing import NDArray

from sepvox.errors import ConfigError, InputError
from sepvox.segment.affinities import Affinities, nearest_as_float
from sepvox.segment.settings import SCORINGS

Ids = NDArray[np.uint64]
Scores = NDArray[np.float32]

HISTOGRAM_BINS = 256
# waterz merges while score < threshold and scores reach 1; the first run, below all scores, only makes the graph.
BEFORE_ALL_MERGES, AFTER_ALL_MERGES = -1.0, 2.0


def waterz_function(scoring: str) -> str:
    """Name a scoring function the way waterz does: as a C++ type that its binary package holds compiled.

    Parameters
    ----------
    scoring : str
        One of `sepvox.segment.settings.SCORINGS`. A histogram quantile takes all affinities of a contact, and with
        ``-initmax`` only the largest.

    Raises
    ------
    ConfigError
        For any other name: waterz would compile it on the user's machine.
    """
    if scoring not in SCORINGS:
        raise ConfigError(
            f"segment.agglomerate.scoring: {scoring!r} is not precompiled in waterz; choose one of {', '.join(SCORINGS)}"
        )
    if scoring == "mean":
        return "OneMinus<MeanAffinity<RegionGraphType,ScoreValue>>"
    if quantile := re.fullmatch(r"histogram-quantile(\d+)(-initmax)?", scoring):
        only_largest = "true" if quantile[2] else "false"
        return (
            f"OneMinus<HistogramQuantileAffinity<RegionGraphType,{quantile[1]},ScoreValue,"
            f"{HISTOGRAM_BINS},{only_largest}>>"
        )
    sizes = "MaxSize<RegionGraphType>", "MinSize<RegionGraphType>"
    return f"Divide<Subtract<{','.join(sizes)}>,Add<{','.join(sizes)}>>"


def merge_scores(
    affinities: Affinities,
    fragments: Ids,
    owned: Ids | None,
    scoring: str,
) -> tuple[Ids, Scores]:
    """Score every contact of fragments by one agglomeration of the given box.

    Parameters
    ----------
    affinities : uint8 or float32 (c, z, y, x), c >= 3
        Affinities of each voxel to its neighbours at -1 along z, y and x, then any others, which are not used; uint8
        stands for 0 to 1 in steps of 1/255.
    fragments : uint64 (z, y, x)
        Fragment ids of the same box; 0 takes no part. Left unchanged.
    owned : uint64 (n,), optional
        Fragments that belong to the cell in the middle of the box; None for all. Edges whose lower id is not among
        them are left out, so that each edge of the volume is kept by one cell. Both sides of such an edge must lie in
        the box: it takes at least one voxel of context.
    scoring : str
        One of `sepvox.segment.settings.SCORINGS`. Thresholded merge scores equal waterz's own segmentation of the box
        for mean and histogram quantiles, whose scores never fall while regions grow. For relative-size, whose scores
        do, the running maximum over the merges stands in for the moment of merging.

    Returns
    -------
    edges : uint64 (k, 2)
        Pairs of fragment ids, the lower first, in rising order.
    scores : float32 (k,)
        Merge scores. Fragments that never meet in one segment have infinity; that is only possible for affinities
        that are not numbers, since all fragments of a connected region are one segment in the end.

    Raises
    ------
    ConfigError
        If the scoring function is not known.
    InputError
        If shapes or types do not fit.
    """
    function = waterz_function(scoring)
    nearest = nearest_as_float(affinities, fragments.shape)
    if fragments.dtype != np.uint64:
        raise InputError(f"fragments: type {fragments.dtype} where uint64 was expected; run fragments again")
    dense, ids = _dense(fragments)
    if len(ids) < 3:
        return np.empty((0, 2), np.uint64), np.empty(0, np.float32)

    with silent_stdout():
        runs = waterz.agglomerate(
            nearest,
            [BEFORE_ALL_MERGES, AFTER_ALL_MERGES],
            fragments=dense,
            scoring_function=function,
            return_merge_history=True,
            return_region_graph=True,
        )
        _, _, graph = next(runs)
        _, history, _ = next(runs)
        del runs

    edges = np.array([(edge["u"], edge["v"]) for edge in graph], np.int64).reshape(-1, 2)
    edges.sort(axis=1)
    edges = edges[edges[:, 0] > 0]
    if owned is not None:
        edges = edges[np.isin(ids, owned)[edges[:, 0]]]
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    merged = np.array([(merge["a"], merge["b"]) for merge in history], np.int64).reshape(-1, 2)
    reached = np.maximum.accumulate(np.array([merge["score"] for merge in history], np.float32))
    return ids[edges], _first_connected(edges, merged, reached, len(ids))


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Discard what is written to standard output, by C++ code too, which does not know Python's ``sys.stdout``.

    It redirects the file descriptor of the process: not for use beside other threads that print.
    """
    c_library = ctypes.CDLL(None)
    sys.stdout.flush()
    c_library.fflush(None)
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        c_library.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _dense(fragments: Ids) -> tuple[Ids, Ids]:
    """Number fragments 1, 2, … in the order of their ids, since waterz's memory follows the largest id.

    Returns the new array and the ids by number, where 0 is 0.
    """
    flat = fragments.ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    ids, numbers = np.unique(flat[starts], return_inverse=True)
    if ids[0] != 0:
        ids, numbers = np.r_[np.uint64(0), ids], numbers + 1
    lengths = np.diff(np.r_[starts, len(flat)])
    return np.repeat(numbers.astype(np.uint64), lengths).reshape(fragments.shape), ids


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_connected(edges: NDArray[np.int64], merged: NDArray[np.int64], reached: Scores, nodes: int) -> Scores:
    """When the two ends of each edge first are in one set, if sets are united in the order of `merged`.

    Union by rank without path compression leaves trees of logarithmic depth whose links carry rising times towards
    the root, so that the path between two nodes holds the time at which they met.
    """
    never = len(merged)
    parent = np.arange(nodes)
    rank = np.zeros(nodes, np.int8)
    linked_at = np.full(nodes, never)
    for time in range(never):
        a, b = merged[time]
        while parent[a] != a:
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        if a == b:
            continue
        if rank[a] < rank[b]:
            a, b = b, a
        parent[b] = a
        linked_at[b] = time
        if rank[a] == rank[b]:
            rank[a] += 1

    scores = np.empty(len(edges), np.float32)
    for i in range(len(edges)):
        a, b = edges[i]
        time = -1
        while a != b and time < never:
            if linked_at[a] > linked_at[b]:
                a, b = b, a
            time = linked_at[a]
            a = parent[a]
        scores[i] = np.inf if time == never else reached[time]
    return scores
