"""Symmetries of the voxel lattice, applied to images, labels and affinities.

A *symmetry* permutes the axes z, y, x and then mirrors some of them. A cube has 48; where z is anisotropic it must stay
z, which leaves 16. An *affinity* of channel k lives at a voxel and speaks of the pair (voxel, voxel + offsets[k]), so a
symmetry moves affinities in two ways: it permutes the channels, and where it turns offsets[k] into the negative of an
offset of the list, the pair is stored at its other end: the channel is shifted by its offset. The values that this
shift would take from outside the array are *unknown*.

All functions take NumPy arrays and torch tensors alike and return the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from sepvox.errors import ConfigError
from sepvox.settings import Offset

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Array = TypeVar("Array", bound="NDArray[Any] | torch.Tensor")
Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Symmetry:
    """A permutation of the axes, then mirrorings.

    Parameters
    ----------
    permutation
        Axis i of the result is axis ``permutation[i]`` of the input.
    flips
        Whether axis i of the result is mirrored.

    Raises
    ------
    ValueError
        If `permutation` is not one of (0, 1, 2).
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def __post_init__(self) -> None:
        if sorted(self.permutation) != [0, 1, 2]:
            raise ValueError(f"permutation is {self.permutation}, expected the numbers 0, 1, 2 in some order")


IDENTITY = Symmetry((0, 1, 2), (False, False, False))
_PERMUTATIONS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_FLIPS = tuple(product((False, True), (False, True), (False, True)))


def mirrors() -> tuple[Symmetry, ...]:
    """Return the 8 symmetries that permute no axes; the identity comes first."""
    return tuple(Symmetry((0, 1, 2), flips) for flips in _FLIPS)


def symmetries(anisotropic: bool) -> tuple[Symmetry, ...]:
    """Return all symmetries: 48, or the 16 that keep the z axis where `anisotropic`; the identity comes first."""
    return tuple(
        Symmetry(permutation, flips)
        for permutation in _PERMUTATIONS
        if permutation[0] == 0 or not anisotropic
        for flips in _FLIPS
    )


def inverse(symmetry: Symmetry) -> Symmetry:
    """Return the symmetry that undoes `symmetry`."""
    back = (symmetry.permutation.index(0), symmetry.permutation.index(1), symmetry.permutation.index(2))
    return Symmetry(back, (symmetry.flips[back[0]], symmetry.flips[back[1]], symmetry.flips[back[2]]))


def apply(symmetry: Symmetry, array: Array) -> Array:
    """Apply `symmetry` to the last three axes (z, y, x) of `array`; NumPy arrays give a view."""
    source: Any = array
    leading = source.ndim - 3
    axes = (*range(leading), *(leading + axis for axis in symmetry.permutation))
    turned: Any
    if isinstance(array, np.ndarray):
        steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in symmetry.flips)
        turned = source.transpose(axes)[(..., *steps)]
    else:
        turned = source.permute(axes).flip([leading + axis for axis in range(3) if symmetry.flips[axis]])
    return cast("Array", turned)


def apply_to_offset(symmetry: Symmetry, offset: Offset) -> Offset:
    """Return what `symmetry` makes of the vector `offset` (z, y, x)."""
    turned = [
        -offset[axis] if flip else offset[axis] for axis, flip in zip(symmetry.permutation, symmetry.flips, strict=True)
    ]
    return (turned[0], turned[1], turned[2])


def partners(shape: Sequence[int], offset: Offset) -> tuple[Region, Region]:
    """Return the voxels whose partner at `offset` lies inside an array of `shape` (z, y, x), and those partners.

    Both are slices of equal extent, empty where the offset is longer than the axis.
    """
    here, there = [], []
    for size, step in zip(shape, offset, strict=True):
        extent = max(0, size - abs(step))
        start = min(size, max(0, -step))
        here.append(slice(start, start + extent))
        there.append(slice(start + step, start + step + extent) if extent else slice(0, 0))
    return (here[0], here[1], here[2]), (there[0], there[1], there[2])


def apply_to_affinities(
    symmetry: Symmetry, affinities: Array, offsets: Sequence[Offset]
) -> tuple[Array, tuple[Region, ...]]:
    """Turn the affinities of a volume into those of the volume after `symmetry`.

    Parameters
    ----------
    symmetry
        The symmetry to apply.
    affinities
        Shape (..., c, z, y, x), any dtype; channel k belongs to the pair (voxel, voxel + offsets[k]).
    offsets
        The c offsets in (z, y, x); with each one the list must hold its image under `symmetry`, up to sign.

    Returns
    -------
    turned, known
        The affinities, of the same dtype and channel order, and for each channel the region (z, y, x) where they are
        known; 0 elsewhere. The unknown voxels of a channel are those whose partner lies outside the array.

    Raises
    ------
    ConfigError
        If the list of offsets is not closed under `symmetry`.
    ValueError
        If the number of channels is not the number of offsets.
    """
    if affinities.shape[-4] != len(offsets):
        raise ValueError(f"affinities have {affinities.shape[-4]} channels, expected {len(offsets)}, one per offset")
    channels = {tuple(offset): channel for channel, offset in enumerate(offsets)}
    moved: Any = apply(symmetry, affinities)
    turned: Any = np.zeros(moved.shape, moved.dtype) if isinstance(moved, np.ndarray) else moved.new_zeros(moved.shape)
    shape = moved.shape[-3:]
    known: list[Region] = []
    for channel, offset in enumerate(offsets):
        z, y, x = apply_to_offset(inverse(symmetry), offset)
        if (z, y, x) in channels:
            here, there = partners(shape, (0, 0, 0))
            source = channels[z, y, x]
        elif (-z, -y, -x) in channels:
            here, there = partners(shape, offset)
            source = channels[-z, -y, -x]
        else:
            raise ConfigError(
                f"offsets: {tuple(offset)} becomes {(z, y, x)} under a symmetry, which is not among the offsets; give "
                "every axis the same distances, or use only the symmetries that keep z, or only the mirrorings"
            )
        turned[(..., channel, *here)] = moved[(..., source, *there)]
        known.append(here)
    return cast("Array", turned), tuple(known)


def undo_on_affinities(
    symmetry: Symmetry, affinities: Array, offsets: Sequence[Offset]
) -> tuple[Array, tuple[Region, ...]]:
    """Turn the affinities of a volume after `symmetry` back into those of the volume itself.

    Parameters, results and errors are those of `apply_to_affinities`, of whose first result this is the inverse
    wherever the values are known.
    """
    return apply_to_affinities(inverse(symmetry), affinities, offsets)
