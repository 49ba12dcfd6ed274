"""Contacts: what is known of each pair of touching fragments, in numbers that add up over cells.

A *contact* is the set of voxel faces between two fragments. Each face belongs to the voxel that its affinity is stored at,
and so to one cell. Sums and counts are whole numbers, so that the region graph of a volume is the same for every cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from bioimage_cpp.graph.distributed import block_affinity_stats
from numpy.typing import NDArray

from sepvox.blocks import Box
from sepvox.segment.affinities import Affinities, nearest
from sepvox.settings import NEAREST_OFFSETS


@dataclass(frozen=True)
class Contacts:
    """Statistics of contacts, one row per pair of fragments.

    Attributes
    ----------
    edges : uint64 (e, 2)
        Pairs of fragments, the lower first, in rising order.
    sums : int64 or float64 (e,)
        Sum of the affinities of the faces: whole numbers, in steps of 1/255, for affinities of uint8.
    counts : int64 (e,)
        Faces.
    minima, maxima : same type as `sums` (e,)
        Lowest and highest affinity of a face.
    """

    edges: NDArray[np.uint64]
    sums: NDArray[Any]
    counts: NDArray[np.int64]
    minima: NDArray[Any]
    maxima: NDArray[Any]

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean affinities (e,), 0 to 1."""
        one = 255 if self.sums.dtype == np.int64 else 1
        means: NDArray[np.float64] = self.sums / (self.counts * one)
        return means

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The contacts among named arrays."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def contacts(affinities: Affinities, fragments: NDArray[np.uint64], own: Box) -> Contacts:
    """Gather the contacts whose faces belong to voxels of a box.

    Parameters
    ----------
    affinities : uint8 or float32 (c, z, y, x), c >= 3
        Affinities of each voxel to its neighbours at -1 along z, y and x, then any others, which are not used.
    fragments : uint64 (z, y, x)
        Fragment ids; 0 takes no part.
    own : Box
        Which voxels' faces to take, in voxels of the arrays, which reach one voxel farther at its lower sides unless the
        volume ends there.

    Raises
    ------
    InputError
        If shapes or types do not fit.
    """
    values = nearest(affinities, fragments.shape)
    whole = values.dtype == np.uint8
    edges, stats = block_affinity_stats(
        fragments, values.astype(np.float64), NEAREST_OFFSETS, own.begin, own.shape, number_of_threads=1
    )
    kept = edges[:, 0] > 0
    edges, (counts, means, _, minima, maxima) = edges[kept], stats[kept].T
    # The library keeps the running mean; times the count it is the sum, within far less than the half that rint forgives.
    sums = means * counts
    if whole:
        sums, minima, maxima = (np.rint(column).astype(np.int64) for column in (sums, minima, maxima))
    return Contacts(edges, sums, counts.astype(np.int64), minima, maxima)


def added(parts: Sequence[Contacts]) -> Contacts:
    """The contacts of one or more boxes together, each pair once, added two and two."""
    while True:
        parts = [_added(parts[first : first + 2]) for first in range(0, len(parts), 2)]
        if len(parts) == 1:
            return parts[0]


def _added(parts: Sequence[Contacts]) -> Contacts:
    edges = np.concatenate([part.edges for part in parts])
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges = edges[order]
    first = np.flatnonzero(np.r_[True, (edges[1:] != edges[:-1]).any(axis=1)][: len(edges)])

    def column(name: str, reduction: np.ufunc) -> NDArray[Any]:
        values = np.concatenate([getattr(part, name) for part in parts])[order]
        reduced: NDArray[Any] = reduction.reduceat(values, first) if len(first) else values
        return reduced

    return Contacts(
        edges[first],
        column("sums", np.add),
        column("counts", np.add),
        column("minima", np.minimum),
        column("maxima", np.maximum),
    )
