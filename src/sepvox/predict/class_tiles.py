"""Class probabilities of any box of a volume, from overlapping tiles averaged with Gaussian weights.

A *tile* is what one forward pass predicts; the *margin* is what a network of valid padding takes off each side of its
input, and 0 for same padding. The tiles lie on a lattice that follows from the volume's shape alone, and only those that
meet a box are visited, in one order: a box is the same bit by bit, whatever box it was asked for in.

`forward` takes float32 (image, modality, z, y, x), `IMAGES` tiles as they are or mirrored, and returns their float32
probabilities (image, class, z, y, x).
"""

from collections.abc import Callable, Sequence
from itertools import combinations, product
from math import prod
from typing import Final

import numpy as np
from monai.data.utils import compute_importance_map
from numpy.typing import NDArray

from sepvox.blocks import Box, Triple, triple

Volume = NDArray[np.float32]
Forward = Callable[[Volume], Volume]
Mirror = tuple[int, ...]

SIGMA: Final = 0.125
"""Standard deviation of the weights in parts of the tile, as in nnU-Net's sliding window (Isensee et al. 2021)."""

IMAGES: Final = 2
"""Images per forward pass; PyTorch's convolutions of a single small one are slow on a CPU."""


def predict_box(
    read: Callable[[Box], Volume],
    box: Box,
    shape: Triple,
    tile: Triple,
    overlap: float,
    forward: Forward,
    mirrors: Sequence[Mirror] = ((),),
    margin: Triple = (0, 0, 0),
) -> Volume:
    """Predict the probabilities (class, z, y, x) of a box.

    Memory is that of the box and of the tiles that reach over it, whatever the volume's shape.

    Parameters
    ----------
    read : Box -> float32 (modality, z, y, x)
        The image; asked once, also for voxels beyond it, which the caller fills.
    box : Box
        Inside the volume.
    shape : three ints
        Of the volume.
    tile : three ints
        Output of a forward pass, for each of its images.
    overlap : float
        Least fraction of a tile that its neighbour covers too.
    mirrors : sequence of tuples of axes
        Flips of z y x (0, 1, 2) over which each tile is averaged; the empty one is the tile as it is.
    margin : three ints
        Voxels that `forward` takes off each side.
    """
    starts = starts_of(box, shape, tile, overlap)
    outer = Box(
        triple([axis[0] for axis in starts]), triple([axis[-1] + t for axis, t in zip(starts, tile, strict=True)])
    ).grow(margin)
    image = read(outer)
    weights = compute_importance_map(tile, mode="gaussian", sigma_scale=SIGMA).numpy().astype(np.float32)
    total = np.zeros((0, *box.shape), np.float32)
    norm = np.zeros(box.shape, np.float32)
    views = [
        (Box(triple(begin), triple([b + t for b, t in zip(begin, tile, strict=True)])), tuple(a + 1 for a in mirror))
        for begin in product(*starts)
        for mirror in mirrors
    ]
    for first in range(0, len(views), IMAGES):
        pair = views[first : first + IMAGES]
        cuts = [np.flip(image[:, *covered.grow(margin).inside(outer).slices], axes) for covered, axes in pair]
        # The last pass is filled up: passes of other sizes round otherwise.
        predicted = forward(np.stack(cuts + cuts[-1:] * (IMAGES - len(cuts))))
        if predicted.shape[2:] != tile:
            raise ValueError(f"a forward pass gave {predicted.shape[2:]} voxels for a tile of {tile}")
        if not len(total):
            total = np.zeros((predicted.shape[1], *box.shape), np.float32)
        for (covered, axes), found in zip(pair, predicted, strict=False):
            inner = covered.clip(box)
            where, source = inner.inside(box).slices, inner.inside(covered).slices
            total[:, *where] += np.flip(found, axes)[:, *source] * weights[source]
            norm[where] += weights[source]
    total /= norm
    return total


def passes_of(box: Box, shape: Triple, tile: Triple, overlap: float, mirrors: Sequence[Mirror] = ((),)) -> int:
    """How often `predict_box` calls `forward`."""
    return -(-prod(map(len, starts_of(box, shape, tile, overlap))) * len(mirrors) // IMAGES)


def starts_of(box: Box, shape: Triple, tile: Triple, overlap: float) -> list[list[int]]:
    """For z, y and x the first voxels of the tiles of a volume that meet a box."""
    return [
        [start for start in tile_starts(n, t, overlap) if start < end and start + t > begin]
        for n, t, begin, end in zip(shape, tile, box.begin, box.end, strict=True)
    ]


def tile_starts(extent: int, tile: int, overlap: float) -> list[int]:
    """First voxels of the tiles along an axis of `extent` voxels: evenly spread from the first voxel to the last.

    A tile larger than the axis lies with its centre over the axis's centre and begins before it.

    >>> tile_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> tile_starts(11, 4, 0.5)
    [0, 2, 4, 5, 7]
    >>> tile_starts(3, 6, 0.5)
    [-1]
    """
    if extent <= tile:
        return [-((tile - extent) // 2)]
    steps = -(-(extent - tile) // max(1, int(tile * (1 - overlap))))
    return [(number * (extent - tile) + steps // 2) // steps for number in range(steps + 1)]


def mirrors_along(axes: Sequence[bool]) -> tuple[Mirror, ...]:
    """All flips along the axes z y x that are true, the identity first.

    >>> mirrors_along((True, False, True))
    ((), (0,), (2,), (0, 2))
    """
    able = [axis for axis, mirrored in enumerate(axes) if mirrored]
    return tuple(flip for count in range(len(able) + 1) for flip in combinations(able, count))
