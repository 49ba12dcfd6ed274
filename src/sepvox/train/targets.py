"""Affinity targets from labels.

The *affinity* of channel k is stored at a voxel and is 1 if the voxel and its *partner*, voxel + offsets[k], belong to
the same object. A target is *known* where the partner lies inside the array and neither end is unlabelled. Label 0 is
*unlabelled*; `BOUNDARY` marks voxels known to belong to no object, whose affinities are all 0.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sepvox.errors import InputError
from sepvox.settings import Offset
from sepvox.symmetries import partners

BOUNDARY: Final = -1


def axis_offsets(distances: Sequence[tuple[int, int, int]]) -> tuple[Offset, ...]:
    """Return the offsets that go back along one axis each: for every (dz, dy, dx), in turn, -dz, -dy and -dx."""
    return tuple(offset for dz, dy, dx in distances for offset in ((-dz, 0, 0), (0, -dy, 0), (0, 0, -dx)))


# Nearest and long-range affinities of Lee et al. 2017 ("Superhuman accuracy on the SNEMI3D connectomics challenge"):
# their distances in the plane are 3, 9, 27, and in z, where sections are thick, 2, 3, 4.
LEE2017_OFFSETS: Final = axis_offsets([(1, 1, 1), (2, 3, 3), (3, 9, 9), (4, 27, 27)])
# The same idea for isotropic voxels: what Lee et al. use in the plane, along every axis.
ISOTROPIC_OFFSETS: Final = axis_offsets([(1, 1, 1), (3, 3, 3), (9, 9, 9), (27, 27, 27)])


def affinities(
    labels: NDArray[np.integer[Any]], offsets: Sequence[Offset]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Compute affinity targets and where they are known.

    Parameters
    ----------
    labels
        Object ids, shape (z, y, x), any integer dtype; 0 is unlabelled, `BOUNDARY` belongs to no object.
    offsets
        What is added to a voxel, in (z, y, x), to reach its partner; one channel each.

    Returns
    -------
    targets, mask
        uint8 and bool, shape (c, z, y, x). A target is 1 where both ends carry the same object id, else 0; the mask is
        False where the partner lies outside or either end is unlabelled.
    """
    targets = np.zeros((len(offsets), *labels.shape), np.uint8)
    mask = np.zeros(targets.shape, np.bool_)
    labelled = labels != 0
    inside = labels > 0
    for channel, offset in enumerate(offsets):
        here, there = partners(labels.shape, offset)
        np.logical_and(labels[here] == labels[there], inside[here], out=targets[channel][here].view(np.bool_))
        np.logical_and(labelled[here], labelled[there], out=mask[channel][here])
    return targets, mask


def erode(labels: NDArray[np.integer[Any]], voxels: int) -> NDArray[np.int64]:
    """Mark the voxels close to where two objects touch as `BOUNDARY`, section by section.

    Parameters
    ----------
    labels
        Object ids, shape (z, y, x), any integer dtype, below 2**63; 0 is unlabelled and stays so.
    voxels
        How many voxels each object loses where another object touches it, counted in steps along y and x.

    Returns
    -------
    labels
        int64, same shape. The rims towards unlabelled voxels are kept: nothing is known about them.

    Raises
    ------
    InputError
        If an id does not fit int64.
    """
    if labels.dtype == np.uint64 and labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise InputError(f"labels hold the id {int(labels.max())}, expected ids below 2**63; renumber the labels")
    eroded = labels.astype(np.int64)
    if voxels == 0:
        return eroded
    rim = np.zeros(labels.shape, np.bool_)
    for offset in ((0, -1, 0), (0, 0, -1)):
        here, there = partners(labels.shape, offset)
        touching = (eroded[here] > 0) & (eroded[there] > 0) & (eroded[here] != eroded[there])
        rim[here] |= touching
        rim[there] |= touching
    if voxels > 1:
        in_section = ndimage.generate_binary_structure(3, 1)
        in_section[[0, 2]] = False
        rim = ndimage.binary_dilation(rim, in_section, iterations=voxels - 1, mask=eroded > 0)
    eroded[rim] = BOUNDARY
    return eroded
