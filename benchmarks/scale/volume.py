"""A volume of any size from one tile of the EM phantom, with its truth, an image, and affinities spoilt by noise.

tile       a cube of phantom with its labels, which are split into 6-connected components, and its field.
field      0 at membranes, 1 inside of objects: 1 - the voxels beside another object, blurred.
mirrored   tile (i, j, k) of the volume is the tile, flipped along every axis on which its number is odd; the voxels at
           a face stand on both sides of it, so that labels and field agree there, and objects go on beyond it.

An object that touches one of the two faces along an axis is joined with its mirror image behind that face, and one that
touches both runs through the whole volume. Along each axis this groups the tiles independently of the others, hence the
number of an object is that of its component and of its three groups, a function of position alone. What is *not*
mirrored is the noise of affinities and image, a function of the seed and of the position in the volume: no two tiles
break into the same fragments.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from bioimage_cpp.segmentation import label
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sepvox.blocks import Box, Triple
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.phantoms.noise import normal, smooth_noise
from sepvox.prepare.settings import EMPhantomSettings

# No multiple of any cell, so that the cells of a volume are cut differently out of its tiles.
EDGE = 160
BLUR = 0.7
WAVELENGTH = 9.0
# Log-odds of an affinity: STEEPNESS per unit of the field, 0 where it is MIDDLE; GRAIN is the noise of single voxels.
STEEPNESS, MIDDLE, GRAIN = 8.0, 0.5, 0.4
# More tiles along an axis than any volume has.
GROUPS = 1 << 16


@dataclass(frozen=True)
class Tile:
    """What a volume is made of.

    Attributes
    ----------
    labels : int64 (n, n, n)
        Connected components, 1, 2, …
    field : float32 (n, n, n)
        0 to 1.
    touches : bool (components + 1, 3, 2)
        Whether a component touches the lower and the upper face along z, y and x.
    """

    labels: NDArray[np.int64]
    field: NDArray[np.float32]
    touches: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: NDArray[Any]) -> Self:
        """The tile of a cube of labels without 0."""
        components = label(np.ascontiguousarray(labels).astype(np.uint64), connectivity=1).astype(np.int64)
        border = np.zeros(labels.shape, np.bool_)
        for axis in range(3):
            here, beside = np.moveaxis(components, axis, 0), np.moveaxis(border, axis, 0)
            differs = here[1:] != here[:-1]
            beside[1:] |= differs
            beside[:-1] |= differs
        # Reflection is what the filter assumes beyond the faces, and what the volume has there.
        field = gaussian_filter((~border).astype(np.float32), BLUR, mode="reflect")
        touches = np.zeros((int(components.max()) + 1, 3, 2), np.bool_)
        for axis in range(3):
            for side in (0, -1):
                touches[components.take(side, axis=axis), axis, side] = True
        return cls(components, field, touches)

    @classmethod
    def of_phantom(cls, edge: int = EDGE, seed: int = 0) -> Self:
        return cls.of(em_phantom(EMPhantomSettings(shape=(edge,) * 3, seed=seed), (0, 0, 0), (edge,) * 3)[1])


def labels_at(tile: Tile, at: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.uint64]:
    """Objects at the voxels of a grid of positions, none of them negative: uint64 (z, y, x)."""
    edge = len(tile.labels)
    return _labels(  # type: ignore[no-any-return]
        tile.labels, tile.touches, tuple(axis // edge for axis in at), tuple(_mirrored(axis, edge) for axis in at)
    )


def labels(tile: Tile, box: Box) -> NDArray[np.uint64]:
    """Objects of a box, from 1: uint64 (z, y, x)."""
    z, y, x = (np.arange(begin, end) for begin, end in zip(box.begin, box.end, strict=True))
    return labels_at(tile, (z, y, x))


def image(tile: Tile, box: Box, seed: int) -> NDArray[np.uint8]:
    """Grey values of a box, membranes dark: uint8 (z, y, x)."""
    return _image(_field(tile, box), box.begin, seed * 100 + 50)  # type: ignore[no-any-return]


def affinities(tile: Tile, box: Box, strength: float, seed: int) -> NDArray[np.uint8]:
    """The three nearest affinities of a box, spoilt by smooth noise and grain: uint8 (3, z, y, x), 255 is 1.

    The noise is added to the log-odds of the affinity: where it is high membranes have holes, where it is low there are
    membranes that do not exist. `strength` is its standard deviation.
    """
    z, y, x = (np.arange(begin, end, dtype=np.float64) for begin, end in zip(box.begin, box.end, strict=True))
    smooth = smooth_noise(seed * 100 + 51, WAVELENGTH, (z, y, x))
    grown = Box(_before(box.begin), box.end)
    return _affinities(_field(tile, grown), smooth, box.begin, strength, seed * 100 + 52)  # type: ignore[no-any-return]


def _before(begin: Triple) -> Triple:
    return begin[0] - 1, begin[1] - 1, begin[2] - 1


def _mirrored(positions: NDArray[np.int64], edge: int) -> NDArray[np.int64]:
    inside = positions % edge
    return np.where(positions // edge % 2 == 1, edge - 1 - inside, inside)


def _field(tile: Tile, box: Box) -> NDArray[np.float32]:
    edge = len(tile.labels)
    # Before the first voxel there is nothing; what stands there is read, and no affinity across it is ever used.
    at = (np.maximum(np.arange(begin, end), 0) for begin, end in zip(box.begin, box.end, strict=True))
    return tile.field[np.ix_(*(_mirrored(axis, edge) for axis in at))]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _labels(components: NDArray[np.int64], touches: NDArray[np.bool_], tiles: Any, inside: Any) -> NDArray[np.uint64]:
    found = np.empty((len(inside[0]), len(inside[1]), len(inside[2])), np.uint64)
    count = len(touches) - 1
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            for k in range(found.shape[2]):
                component = components[inside[0][i], inside[1][j], inside[2][k]]
                place = 0
                for axis in range(3):
                    tile = tiles[0][i] if axis == 0 else (tiles[1][j] if axis == 1 else tiles[2][k])
                    lower, upper = touches[component, axis, 0], touches[component, axis, 1]
                    group = tile
                    # The upper face of the tile stands between numbers 0 and 1, 2 and 3, …, the lower between 1 and 2, …
                    if lower and upper:
                        group = 0
                    elif upper:
                        group = tile // 2
                    elif lower:
                        group = (tile + 1) // 2
                    place = place * GROUPS + group
                found[i, j, k] = np.uint64(component + count * place)
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _image(field: NDArray[np.float32], begin: Triple, key: int) -> NDArray[np.uint8]:
    found = np.empty(field.shape, np.uint8)
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            for k in range(field.shape[2]):
                noise = normal(key, begin[0] + i, begin[1] + j, begin[2] + k)
                found[i, j, k] = np.uint8(min(max(60.0 + 120.0 * field[i, j, k] + 8.0 * noise, 1.0), 255.0))
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _affinities(
    field: NDArray[np.float32], smooth: NDArray[np.float32], begin: Triple, strength: float, key: int
) -> NDArray[np.uint8]:
    """`field` reaches one voxel farther than `smooth` at the lower sides."""
    found = np.empty((3, smooth.shape[0], smooth.shape[1], smooth.shape[2]), np.uint8)
    for i in range(smooth.shape[0]):
        for j in range(smooth.shape[1]):
            for k in range(smooth.shape[2]):
                here = field[i + 1, j + 1, k + 1]
                for axis in range(3):
                    if axis == 0:
                        other = field[i, j + 1, k + 1]
                    elif axis == 1:
                        other = field[i + 1, j, k + 1]
                    else:
                        other = field[i + 1, j + 1, k]
                    odds = STEEPNESS * (0.5 * (here + other) - MIDDLE) + strength * smooth[i, j, k]
                    odds += GRAIN * normal(key + axis, begin[0] + i, begin[1] + j, begin[2] + k)
                    found[axis, i, j, k] = np.uint8(255.0 / (1.0 + np.exp(-odds)) + 0.5)
    return found
