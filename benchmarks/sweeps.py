"""Sweeps: the segmentations of one volume at several thresholds, and how far they are from others.

A sweep holds fragments and one table per threshold, which says of each fragment in which segment it is. Errors are in bits:
*split* is what one segmentation cuts that the other has whole, *merge* the reverse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sepvox.score.contingency import Contingency, contingency, relabel
from sepvox.score.metrics import variation_of_information

Ids = NDArray[np.uint64]


class Errors(NamedTuple):
    """Variation of information, bits."""

    split: float
    merge: float

    @property
    def sum(self) -> float:
        return self.split + self.merge


@dataclass(frozen=True)
class Sweep:
    """Segmentations of one volume.

    Attributes
    ----------
    fragments : uint64 (z, y, x)
        0 is background.
    ids, sizes : uint64 and int64 (f,)
        Fragments in rising order without 0, and their voxels.
    thresholds : t floats
        In the order of the tables.
    tables : uint64 (t, f)
        Segment of each fragment at each threshold, not 0.
    """

    fragments: Ids
    ids: Ids
    sizes: NDArray[np.int64]
    thresholds: tuple[float, ...]
    tables: Ids

    @classmethod
    def of_segmentations(cls, fragments: Ids, segmentations: Iterable[Ids], thresholds: Sequence[float]) -> "Sweep":
        """The sweep of segmentations that are made of the fragments; each is looked at before the next is asked for."""
        ids, places, sizes = np.unique(fragments, return_index=True, return_counts=True)
        kept = ids != 0
        rows = [segmentation.ravel()[places[kept]] for segmentation in segmentations]
        return cls(fragments, ids[kept], sizes[kept], tuple(thresholds), np.stack(rows))

    def to_truth(self, truth: NDArray[np.integer]) -> list[Errors]:
        """Errors at each threshold, over voxels whose truth is not 0; background counts as one segment."""
        counted = contingency(self.fragments, truth)
        return [Errors(*variation_of_information(relabel(counted, self.ids, row))) for row in self.tables]

    def to(self, other: "Sweep") -> list[Errors]:
        """Errors at each threshold against the other sweep's at the same, where both have the same fragments."""
        assert self.thresholds == other.thresholds
        assert np.array_equal(self.ids, other.ids)
        found = []
        for own, wanted in zip(self.tables, other.tables, strict=True):
            counted = Contingency(self.ids, wanted, self.sizes)
            found.append(Errors(*variation_of_information(relabel(counted, self.ids, own))))
        return found

    def nearest(self, segmentation: Ids) -> Errors:
        """Errors of any segmentation against that of the sweep which it is nearest to, over all voxels."""
        # One more, since truth 0 is not counted, and here no voxel is unknown.
        counted = contingency(self.fragments, segmentation + np.uint64(1))
        turned = (variation_of_information(relabel(counted, self.ids, row)) for row in self.tables)
        return min((Errors(merge, split) for split, merge in turned), key=lambda errors: errors.sum)


def errors(segmentation: Ids, truth: NDArray[np.integer]) -> Errors:
    """Errors of one segmentation, over voxels whose truth is not 0."""
    return Errors(*variation_of_information(contingency(segmentation, truth)))


def best(found: Sequence[Errors]) -> int:
    """Index of the least sum."""
    return min(range(len(found)), key=lambda index: found[index].sum)
