"""Checks of what the user's volumes contain, each refusing with one line that says what, where and how to mend it.

The checks of a *block* run while a volume is copied, for each block once; `origin` is the position of the block's first
voxel in the volume, so that messages name the voxel as the user would look it up. Positions are (z, y, x).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError

Region = Sequence[tuple[int, int]]
Position = tuple[int, int, int]


def check_image_block(block: NDArray[Any], origin: Position, name: str) -> None:
    """Refuse voxels that are NaN or infinite, also those that are infinite as float32, which networks take.

    Parameters
    ----------
    block: (z, y, x), any real dtype.
    origin: position of the block's first voxel in the volume.
    name: configuration key and file, for the message.

    Raises
    ------
    InputError: says how many there are in the block and where the first one is.
    """
    if block.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        finite = np.isfinite(block.astype(np.float32, copy=False))
    if finite.all():
        return
    nan = int(np.isnan(block).sum())
    infinite = int(block.size - finite.sum()) - nan
    found = " and ".join(f"{n} {kind}" for n, kind in ((nan, "NaN"), (infinite, "infinite")) if n)
    raise InputError(
        f"{name}: {found} of {block.size} voxels in the block at {_at(origin)}, the first at {_at(_first(~finite, origin))}; "
        "replace them, e.g. by the median of the image, and save the file again"
    )


def check_mask_block(block: NDArray[Any], origin: Position, name: str) -> None:
    """Refuse a mask with NaN, which would count as inside, for it is not 0.

    Parameters
    ----------
    block: (z, y, x), any real dtype.
    origin: position of the block's first voxel in the volume.
    name: configuration key and file, for the message.

    Raises
    ------
    InputError: says how many there are in the block and where the first one is.
    """
    if block.dtype.kind != "f":
        return
    nan = np.isnan(block)
    if nan.any():
        raise InputError(
            f"{name}: {int(nan.sum())} NaN of {block.size} voxels in the block at {_at(origin)}, the first at {_at(_first(nan, origin))}; "
            "a mask is 0 where nothing is to be segmented: set NaN to 0, and save the file again"
        )


def check_labels_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse labels that are no integers (or booleans)."""
    if dtype.kind not in "iub":
        raise InputError(
            f"{name}: labels are {dtype}; expected integers: if every value is whole, save them as uint32 or uint64, and if not, this is no label volume"
        )


def check_labels_block(block: NDArray[Any], origin: Position, name: str) -> None:
    """Refuse labels that are no integers, or negative.

    Parameters
    ----------
    block: (z, y, x).
    origin: position of the block's first voxel in the volume.
    name: configuration key and file, for the message.

    Raises
    ------
    InputError: names the dtype, or says how many labels of the block are negative and where the first one is.
    """
    check_labels_dtype(block.dtype, name)
    if block.dtype == np.uint64 and block.size and int(block.max()) >= 2**63:
        where = tuple(i + o for i, o in zip(_first(block >= 2**63, (0, 0, 0)), origin, strict=True))
        raise InputError(
            f"{name}: the label at {_at(where)} is {block.max()}, expected less than 2**63; some files mark ignored voxels "
            "so: set them to 0, which is not learned and not scored"
        )
    if block.dtype.kind != "i":
        return
    negative = block < 0
    if negative.any():
        first = _first(negative, (0, 0, 0))
        there = tuple(i + o for i, o in zip(first, origin, strict=True))
        raise InputError(
            f"{name}: {int(negative.sum())} of {block.size} labels in the block at {_at(origin)} are negative, the first, {block[first]}, "
            f"at {_at(there)}; labels are 0 for background or unknown and positive for objects: set negative ones to 0 or number them anew"
        )


def check_region(shape: Sequence[int], region: Region | None, name: str) -> None:
    """Refuse a region that reaches beyond a volume of `shape`; `name` is the volume's configuration key and file."""
    for axis, extent, span in zip("zyx", shape, region or (), strict=False):
        if span[1] > extent:
            raise InputError(
                f"{name}: region: axis {axis} is [{span[0]}, {span[1]}), but the volume has {extent} voxels along {axis}; end it at {extent} at most"
            )


def check_same_shape(
    image_shape: Sequence[int], labels_shape: Sequence[int], region: Region | None, names: tuple[str, str]
) -> None:
    """Refuse labels, or a mask, that have neither the image's shape nor the region's.

    Parameters
    ----------
    image_shape, labels_shape: (z, y, x).
    region: [begin, end) per axis, where one is configured.
    names: configuration keys and files of image and labels, for the message.

    Raises
    ------
    InputError: gives both shapes and names the axes that differ from the image's.
    """
    image, labels = tuple(image_shape), tuple(labels_shape)
    inside = None if region is None else tuple(end - begin for begin, end in region)
    if labels in (image, inside):
        return
    expected = f"{_times(image)} of {names[0]}"
    if inside is not None:
        expected += f", or the region's {_times(inside)}"
    differing = ", ".join(axis for axis, a, b in zip("zyx", image, labels, strict=False) if a != b)
    mend = (
        "its axes look reversed: check `axes`"
        if labels == image[::-1]
        else "check that both files show the same volume, then crop or pad this one (0: unlabelled, or outside the mask)"
    )
    raise InputError(
        f"{names[1]}: has shape {_times(labels)} (z y x), expected {expected}: axis {differing} differs; {mend}"
    )


def _first(wrong: NDArray[np.bool_], origin: Position) -> Position:
    z, y, x = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return (int(z) + origin[0], int(y) + origin[1], int(x) + origin[2])


def _at(position: Sequence[int]) -> str:
    return "z {} y {} x {}".format(*position)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
