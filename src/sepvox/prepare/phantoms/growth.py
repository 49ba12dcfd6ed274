"""Growth of neurites over a graph of nodes: walks, thickening, and what is left over.

*Nodes* fill a torus of `size` cells per axis and are numbered (z * size + y) * size + x. `neighbour` (nodes, 26) holds the number
of the node that an edge leads to, or -1, and `vector` (nodes, 26, 3) the way to it; *slot* i and slot 25 - i are opposite
directions. A node is *free* until it belongs to a neurite. A neurite grows along edges only, so it stays connected.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sepvox.prepare.phantoms.noise import uniform

LARGEST = 220
SMALLEST = 5


@njit(cache=True)  # type: ignore[untyped-decorator]
def _claim(
    n: int,
    slot: int,
    neighbour: NDArray[np.int64],
    vector: NDArray[np.float64],
    neurite: NDArray[np.int64],
    copy: NDArray[np.int64],
    toward: NDArray[np.float64],
    size: int,
) -> int:
    """Give the neighbour in `slot` to the neurite of node n and return its number."""
    m = neighbour[n, slot]
    i = slot if slot < 13 else slot + 1
    cell = (n // (size * size) + i // 9 - 1, n // size % size + i // 3 % 3 - 1, n % size + i % 3 - 1)
    neurite[m] = neurite[n]
    for axis in range(3):
        copy[m, axis] = copy[n, axis] + cell[axis] // size
        toward[m, axis] = -vector[n, slot, axis]
    return int(m)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _walk(
    key: int,
    root: int,
    steps: int,
    branching: float,
    neighbour: NDArray[np.int64],
    vector: NDArray[np.float64],
    neurite: NDArray[np.int64],
    copy: NDArray[np.int64],
    toward: NDArray[np.float64],
    parent: NDArray[np.int64],
    members: NDArray[np.int64],
    waiting: NDArray[np.int64],
    heading: NDArray[np.float64],
    size: int,
) -> int:
    """Walk both ways from a root over free nodes, keeping direction, with branches; return the number of members."""
    members[0] = root
    total = 1
    depth = 2
    for axis in range(3):
        heading[0, axis] = uniform(key, root, axis, 3) - 0.5
        heading[1, axis] = -heading[0, axis]
    for side in range(2):
        waiting[side, 0] = root
        waiting[side, 1] = steps
    while depth > 0:
        depth -= 1
        n, left = waiting[depth, 0], waiting[depth, 1]
        h0, h1, h2 = heading[depth, 0], heading[depth, 1], heading[depth, 2]
        while left > 0:
            left -= 1
            norm = np.sqrt(h0 * h0 + h1 * h1 + h2 * h2) + 1e-12
            h0, h1, h2 = h0 / norm, h1 / norm, h2 / norm
            best = -1
            score = 0.25
            for slot in range(26):
                m = neighbour[n, slot]
                if m >= 0 and neurite[m] < 0:
                    v0, v1, v2 = vector[n, slot, 0], vector[n, slot, 1], vector[n, slot, 2]
                    along = (v0 * h0 + v1 * h1 + v2 * h2) / np.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
                    along += 0.5 * (uniform(key, root, m, 5) - 0.5)
                    if along > score:
                        best, score = slot, along
            if best < 0:
                break
            h0 = 0.6 * h0 + 0.4 * vector[n, best, 0]
            h1 = 0.6 * h1 + 0.4 * vector[n, best, 1]
            h2 = 0.6 * h2 + 0.4 * vector[n, best, 2]
            m = _claim(n, best, neighbour, vector, neurite, copy, toward, size)
            parent[m] = n
            members[total] = m
            total += 1
            n = m
            if uniform(key, root, m, 6) < branching and left > 2:
                waiting[depth, 0] = m
                waiting[depth, 1] = int(left * 0.7)
                heading[depth, 0] = 0.4 * h0 + 2 * uniform(key, m, 0, 7) - 1
                heading[depth, 1] = 0.4 * h1 + 2 * uniform(key, m, 1, 7) - 1
                heading[depth, 2] = 0.4 * h2 + 2 * uniform(key, m, 2, 7) - 1
                depth += 1
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _thicken(
    radius: float,
    total: int,
    neighbour: NDArray[np.int64],
    vector: NDArray[np.float64],
    neurite: NDArray[np.int64],
    copy: NDArray[np.int64],
    toward: NDArray[np.float64],
    members: NDArray[np.int64],
    reach: NDArray[np.float64],
    size: int,
) -> int:
    """Add the free nodes within a radius of the members, from neighbour to neighbour; return the number of members."""
    for i in range(total):
        for axis in range(3):
            reach[i, axis] = 0.0
    i = 0
    while i < total and total < LARGEST:
        n = members[i]
        for slot in range(26):
            m = neighbour[n, slot]
            if m >= 0 and neurite[m] < 0 and total < LARGEST:
                away = 0.0
                for axis in range(3):
                    reach[total, axis] = reach[i, axis] + vector[n, slot, axis]
                    away += reach[total, axis] ** 2
                if away < radius * radius:
                    members[total] = _claim(n, slot, neighbour, vector, neurite, copy, toward, size)
                    total += 1
        i += 1
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _adopt(
    key: int,
    neighbour: NDArray[np.int64],
    vector: NDArray[np.float64],
    neurite: NDArray[np.int64],
    copy: NDArray[np.int64],
    toward: NDArray[np.float64],
    size: int,
) -> None:
    """Give every free node to the neurite of a random neighbour, until none is free."""
    left = True
    while left:
        left = False
        for n in range(neurite.size):
            if neurite[n] >= 0:
                continue
            left = True
            best = -1
            lowest = 2.0
            for slot in range(26):
                m = neighbour[n, slot]
                if m >= 0 and neurite[m] >= 0 and uniform(key, n, m, 8) < lowest:
                    best, lowest = slot, uniform(key, n, m, 8)
            if best >= 0:
                _claim(neighbour[n, best], 25 - best, neighbour, vector, neurite, copy, toward, size)


@njit(cache=True)  # type: ignore[untyped-decorator]
def grow(
    key: int, size: int, neighbour: NDArray[np.int64], vector: NDArray[np.float64], classes: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Lay out neurites class by class: share of nodes to reach, radius, length and branching of each class."""
    nodes = size**3
    neurite = np.full(nodes, -1, np.int64)
    parent = np.full(nodes, -1, np.int64)
    copy = np.zeros((nodes, 3), np.int64)
    toward = np.zeros((nodes, 3))
    calibre = np.zeros(nodes)
    members = np.empty(nodes, np.int64)
    reach = np.empty((nodes, 3))
    waiting = np.empty((nodes, 2), np.int64)
    heading = np.empty((nodes, 3))
    count, claimed, draw = 0, 0, 0
    for c in range(classes.shape[0]):
        failures = 0
        while claimed < classes[c, 0] * nodes and failures < 40:
            draw += 1
            root = int(uniform(key, draw, 0, 1) * nodes)
            if neurite[root] >= 0:
                failures += 1
                continue
            failures = 0
            neurite[root] = count
            calibre[count] = classes[c, 1] * (0.7 + 0.6 * uniform(key, draw, 0, 2))
            steps = int(classes[c, 2] * (0.4 + 1.2 * uniform(key, draw, 0, 4)))
            total = _walk(
                key,
                root,
                steps,
                classes[c, 3],
                neighbour,
                vector,
                neurite,
                copy,
                toward,
                parent,
                members,
                waiting,
                heading,
                size,
            )
            total = _thicken(calibre[count], total, neighbour, vector, neurite, copy, toward, members, reach, size)
            if total < SMALLEST:
                # Too short for a neurite: its nodes are free again, and are given to a neighbour at the end.
                for i in range(total):
                    neurite[members[i]] = -1
                    parent[members[i]] = -1
                    for axis in range(3):
                        copy[members[i], axis] = 0
                        toward[members[i], axis] = 0.0
                failures += 1
            else:
                claimed += total
                count += 1
    _adopt(key, neighbour, vector, neurite, copy, toward, size)
    return neurite, copy, calibre[:count].copy(), toward, parent


@njit(cache=True)  # type: ignore[untyped-decorator]
def place_mitochondria(
    key: int, neurite: NDArray[np.int64], parent: NDArray[np.int64], calibre: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Mark runs of one to four edges along the walks of neurites as mitochondria."""
    mark = np.full(neurite.size, -1, np.int64)
    for n in range(neurite.size):
        thick = calibre[neurite[n]] > 0
        if parent[n] < 0 or uniform(key, n, 0, 9) > (0.14 if thick else 0.03):
            continue
        m = n
        for _ in range(1 + int(4 * uniform(key, n, 0, 10))):
            if parent[m] < 0 or mark[m] >= 0:
                break
            mark[m] = n
            m = parent[m]
    return mark
