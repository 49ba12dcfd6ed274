"""Contacts of regions as arrays, and the merges of an agglomeration.

region   a set of fragments that have been merged; its *name* is the lowest of its fragments, a positive number.
contact  an edge between two regions: sum and number of the affinities of its faces, in steps of 1/255, which add up when
         regions merge, and its *first*: the lowest number of the fragments' contacts that it consists of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

WHOLE = 255


@dataclass(frozen=True)
class Graph:
    """Contacts of regions: no pair of names twice, none with itself.

    Attributes
    ----------
    edges : int64 (e, 2)
        Names.
    sums, counts, first : int64 (e,)
        Sum of the affinities, 0 to 255, number of faces, number of the first contact of fragments.
    """

    edges: Index
    sums: Index
    counts: Index
    first: Index

    def __len__(self) -> int:
        return len(self.edges)

    def __getitem__(self, which: NDArray[np.bool_] | Index | slice) -> Self:
        return type(self)(self.edges[which], self.sums[which], self.counts[which], self.first[which])

    @classmethod
    def joined(cls, parts: "Sequence[Graph]") -> Self:
        """One graph of parts that have no contact in common."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none.reshape(0, 2), none, none, none)
        return cls(
            np.concatenate([part.edges for part in parts]),
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.first for part in parts]),
        )

    def merged(self) -> Self:
        """Parallel contacts as one; those of a region with itself are left out."""
        edges = np.sort(self.edges, axis=1)
        kept = np.flatnonzero(edges[:, 0] != edges[:, 1])
        order = kept[np.lexsort((edges[kept, 1], edges[kept, 0]))]
        edges = edges[order]
        if not len(edges):
            return self[order]
        starts = np.flatnonzero(np.r_[True, (edges[1:] != edges[:-1]).any(axis=1)])
        return type(self)(
            edges[starts],
            np.add.reduceat(self.sums[order], starts),
            np.add.reduceat(self.counts[order], starts),
            np.minimum.reduceat(self.first[order], starts),
        )


@dataclass(frozen=True)
class Merges:
    """Merges of two regions each, in any order.

    Attributes
    ----------
    kept, gone : int64 (m,)
        Names of the two, the lower first; the region has the lower from then on. No name goes twice.
    sums, counts : int64 (m,)
        Of the contact.
    """

    kept: Index
    gone: Index
    sums: Index
    counts: Index

    @classmethod
    def joined(cls, parts: "Sequence[Merges]") -> Self:
        """All merges, by the name that goes."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none)
        gone = np.concatenate([part.gone for part in parts])
        order = np.argsort(gone)
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kept", "sums", "counts"))
        kept, sums, counts = (column[order] for column in columns)
        return cls(kept, gone[order], sums, counts)

    def renamed(self, names: Index, limit: float = -1.0) -> Index:
        """The region of each name after all merges whose mean, 0 to 1, is above a limit; means never rise from merge to merge."""
        above = self.sums / (self.counts * WHOLE) > limit
        order = np.argsort(self.gone[above])
        gone, kept = self.gone[above][order], self.kept[above][order]
        if not len(gone):
            return names
        # The regions of the names that go, by halving the way to them.
        while True:
            place = np.minimum(np.searchsorted(gone, kept), len(gone) - 1)
            further = gone[place] == kept
            if not further.any():
                break
            kept = np.where(further, kept[place], kept)
        place = np.minimum(np.searchsorted(gone, names), len(gone) - 1)
        return np.where(gone[place] == names, kept[place], names)
