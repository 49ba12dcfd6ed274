"""The wiring of a phantom: which points of space belong to which neurite.

A *node* is a point jittered about the centre of a cubic lattice cell; space is measured in cells here. A *neurite* is a set
of nodes connected by edges of the Gabriel graph (Gabriel and Sokal 1969): two nodes whose diametral ball is empty always
share a face of the Voronoi diagram, so a neurite's territory is connected. The wiring is laid out once on a torus of
`SIZE` cells per axis; a volume repeats the torus as often as it needs, and a neurite that leaves the torus through
one face goes on in the next copy. Copies share the wiring only: shape, grey values and organelles differ from copy to copy.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sepvox.prepare.phantoms.growth import grow, place_mitochondria
from sepvox.prepare.phantoms.noise import uniform

SIZE = 40
JITTER = 0.36
_MARGIN = 1.05


@dataclass(frozen=True)
class Skeleton:
    """The wiring on the torus; nodes are numbered (z * SIZE + y) * SIZE + x.

    Attributes
    ----------
    points : float64 (nodes, 3)
        Position of a node inside its cell, in [0, 1), z y x.
    neurite : int64 (nodes,)
        Number of the node's neurite, from 0.
    copy : int64 (nodes, 3)
        How many copies of the torus the node lies away from its neurite's root, z y x.
    calibre : float64 (neurites,)
        Radius a neurite was thickened to, in cells; 0 for a chain of single nodes.
    toward : float64 (nodes, 3)
        Vector to the next node along the neurite, in cells; 0 at a root.
    mitochondrion : int64 (nodes,)
        Number of the mitochondrion that lies on the edge to the next node, or -1.
    """

    points: NDArray[np.float64]
    neurite: NDArray[np.int64]
    copy: NDArray[np.int64]
    calibre: NDArray[np.float64]
    toward: NDArray[np.float64]
    mitochondrion: NDArray[np.int64]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _scatter(key: int, size: int) -> NDArray[np.float64]:
    points = np.empty((size**3, 3))
    for n in range(size**3):
        for axis in range(3):
            points[n, axis] = 0.5 + JITTER * (2 * uniform(key, n, axis, 0) - 1)
    return points


@njit(cache=True)  # type: ignore[untyped-decorator]
def _cell(size: int, z: int, y: int, x: int) -> int:
    return ((z % size) * size + y % size) * size + x % size


@njit(cache=True)  # type: ignore[untyped-decorator]
def _edges(points: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Gabriel edges among the 26 neighbouring cells: the neighbour's number (or -1) and the vector to it."""
    neighbour = np.full((size**3, 26), -1, np.int64)
    vector = np.zeros((size**3, 26, 3))
    near = np.empty((27, 3))
    for z in range(size):
        for y in range(size):
            for x in range(size):
                n = _cell(size, z, y, x)
                for i in range(27):
                    dz, dy, dx = i // 9 - 1, i // 3 % 3 - 1, i % 3 - 1
                    m = _cell(size, z + dz, y + dy, x + dx)
                    near[i, 0] = points[m, 0] + dz - points[n, 0]
                    near[i, 1] = points[m, 1] + dy - points[n, 1]
                    near[i, 2] = points[m, 2] + dx - points[n, 2]
                for i in range(27):
                    if i == 13:
                        continue
                    length = near[i, 0] ** 2 + near[i, 1] ** 2 + near[i, 2] ** 2
                    empty = True
                    for j in range(27):
                        if j not in (i, 13):
                            away = (
                                (near[j, 0] - near[i, 0] / 2) ** 2
                                + (near[j, 1] - near[i, 1] / 2) ** 2
                                + (near[j, 2] - near[i, 2] / 2) ** 2
                            )
                            if away < _MARGIN * length / 4:
                                empty = False
                                break
                    if empty:
                        slot = i if i < 13 else i - 1
                        dz, dy, dx = i // 9 - 1, i // 3 % 3 - 1, i % 3 - 1
                        neighbour[n, slot] = _cell(size, z + dz, y + dy, x + dx)
                        for axis in range(3):
                            vector[n, slot, axis] = near[i, axis]
    # Each end looked for intruders among its own neighbours only; an edge must stand from both ends.
    for n in range(size**3):
        for slot in range(26):
            if neighbour[n, slot] >= 0 and neighbour[neighbour[n, slot], 25 - slot] < 0:
                neighbour[n, slot] = -1
    return neighbour, vector


@lru_cache(maxsize=8)
def lay_out_neurites(seed: int) -> Skeleton:
    """Lay out the neurites of one phantom on the torus; the same seed gives the same wiring.

    Parameters
    ----------
    seed : int
        Seed of the phantom.

    Returns
    -------
    Skeleton
        Every node belongs to a neurite, and every neurite is connected by Gabriel edges.
    """
    points = _scatter(seed, SIZE)
    neighbour, vector = _edges(points, SIZE)
    classes = np.array([[0.34, 2.5, 8, 0.01], [0.56, 1.4, 20, 0.04], [0.72, 0.85, 24, 0.06], [1.0, 0.0, 26, 0.08]])
    neurite, copy, calibre, toward, parent = grow(seed, SIZE, neighbour, vector, classes)
    return Skeleton(points, neurite, copy, calibre, toward, place_mitochondria(seed, neurite, parent, calibre))
