"""Paints tissue: for every voxel the neurite it belongs to and its grey value before imaging.

A *field* is smooth noise given at every voxel. A *territory* is where a neurite's nodes outweigh all others' in a softened
Voronoi diagram of warped space; a *membrane* is a band along the border of two territories. What lies inside a neurite is
an *organelle*: mitochondria follow its nodes, vesicles crowd in patches, microtubules run along it, cisternae are sheets
with the grey value of a membrane. Lengths are in voxels of the y and x axes, grey values in [0, 255].
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sepvox.prepare.phantoms.noise import FloatArray, uniform
from sepvox.prepare.phantoms.skeleton import SIZE, Skeleton

MEMBRANE_GREY = 76.0
MITOCHONDRION_GREY = 98.0

_SOFTNESS = 0.15
_SLENDER = 0.1
_REACH = 7.0
_FIRST_COPY = 4


@dataclass(frozen=True)
class Fields:
    """The fields that shape a box, each float32 (z, y, x) of variance about 1 unless said otherwise.

    Attributes
    ----------
    warp : tuple of three
        Displacement along z, y and x, in cells of the skeleton.
    thickness : float32 array
        Thickness of membranes.
    contrast : float32 array
        Low where membranes are faint.
    crowd : float32 array
        High where vesicles crowd and cisternae lie.
    sheet : float32 array
        Zero on the sheets that are cisternae.
    texture : float32 array
        Fine texture of cytoplasm and mitochondria.
    """

    warp: tuple[FloatArray, FloatArray, FloatArray]
    thickness: FloatArray
    contrast: FloatArray
    crowd: FloatArray
    sheet: FloatArray
    texture: FloatArray


@njit(cache=True)  # type: ignore[untyped-decorator]
def _interleaved(a: int, b: int, c: int) -> int:
    """Number a triple so that near triples have small numbers and none is taken twice (Morton 1966)."""
    code = 0
    for bit in range(10):
        code |= ((a >> bit) & 1) << (3 * bit)
        code |= ((b >> bit) & 1) << (3 * bit + 1)
        code |= ((c >> bit) & 1) << (3 * bit + 2)
    return code


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ramp(value: float) -> float:
    """One minus a clipped line: 1 up to -0.5, 0 from 0.5."""
    return min(1.0, max(0.0, 0.5 - value))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _paint(
    seed: int,
    spacing: float,
    membrane: float,
    organelles: float,
    at_z: NDArray[np.float64],
    at_y: NDArray[np.float64],
    at_x: NDArray[np.float64],
    points: NDArray[np.float64],
    neurite: NDArray[np.int64],
    copy: NDArray[np.int64],
    calibre: NDArray[np.float64],
    toward: NDArray[np.float64],
    mitochondrion: NDArray[np.int64],
    warp_z: FloatArray,
    warp_y: FloatArray,
    warp_x: FloatArray,
    thickness: FloatArray,
    contrast: FloatArray,
    crowd: FloatArray,
    sheet: FloatArray,
    texture: FloatArray,
) -> tuple[FloatArray, NDArray[np.uint32]]:
    shape = warp_z.shape
    grey = np.empty(shape, np.float32)
    labels = np.empty(shape, np.uint32)
    at = np.empty((3, 27))
    node = np.empty(27, np.int64)
    name = np.empty(27, np.int64)
    apart = np.empty(27)
    slender = np.empty(27)
    of = np.empty(27, np.int64)
    mass = np.empty((27, 4))
    cell = np.full(3, -(1 << 60), np.int64)
    tile = np.full(3, -(1 << 60), np.int64)
    tile_code = 0
    p = np.empty(3)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                p[0] = at_z[i] / spacing + warp_z[i, j, k]
                p[1] = at_y[j] / spacing + warp_y[i, j, k]
                p[2] = at_x[k] / spacing + warp_x[i, j, k]
                c0, c1, c2 = int(np.floor(p[0])), int(np.floor(p[1])), int(np.floor(p[2]))
                if c0 != cell[0] or c1 != cell[1] or c2 != cell[2]:
                    cell[0], cell[1], cell[2] = c0, c1, c2
                    for s in range(27):
                        dz, dy, dx = s // 9 - 1, s // 3 % 3 - 1, s % 3 - 1
                        n = (((c0 + dz) % SIZE) * SIZE + (c1 + dy) % SIZE) * SIZE + (c2 + dx) % SIZE
                        node[s] = n
                        at[0, s], at[1, s], at[2, s] = points[n, 0] + dz, points[n, 1] + dy, points[n, 2] + dx
                        t0 = (c0 + dz) // SIZE - copy[n, 0]
                        t1 = (c1 + dy) // SIZE - copy[n, 1]
                        t2 = (c2 + dx) // SIZE - copy[n, 2]
                        if t0 != tile[0] or t1 != tile[1] or t2 != tile[2]:
                            tile[0], tile[1], tile[2] = t0, t1, t2
                            tile_code = _interleaved(t0 + _FIRST_COPY, t1 + _FIRST_COPY, t2 + _FIRST_COPY)
                        slender[s] = 0.0 if calibre[neurite[n]] > 0.0 else _SLENDER * uniform(seed, neurite[n], 0, 14)
                        name[s] = 1 + neurite[n] + calibre.size * tile_code
                q0, q1, q2 = p[0] - c0, p[1] - c1, p[2] - c2
                for s in range(27):
                    apart[s] = (at[0, s] - q0) ** 2 + (at[1, s] - q1) ** 2 + (at[2, s] - q2) ** 2 + slender[s]
                nearest = 0
                for s in range(1, 27):
                    if apart[s] < apart[nearest]:
                        nearest = s
                limit = apart[nearest] + _REACH * _SOFTNESS
                groups = 0
                for s in range(27):
                    if apart[s] > limit:
                        continue
                    weight = np.exp((apart[nearest] - apart[s]) / _SOFTNESS)
                    g = 0
                    while g < groups and name[of[g]] != name[s]:
                        g += 1
                    if g == groups:
                        groups += 1
                        of[g] = s
                        for axis in range(4):
                            mass[g, axis] = 0.0
                    mass[g, 0] += weight
                    for axis in range(3):
                        mass[g, axis + 1] += weight * at[axis, s]
                # The two heaviest neurites; their centres of mass give the distance to the border between them.
                best, other = 0, -1
                for g in range(1, groups):
                    if mass[g, 0] > mass[best, 0]:
                        best, other = g, best
                    elif other < 0 or mass[g, 0] > mass[other, 0]:
                        other = g
                first = of[best]
                border = spacing
                if other >= 0:
                    between = 1e-6
                    for axis in range(1, 4):
                        between += (mass[best, axis] / mass[best, 0] - mass[other, axis] / mass[other, 0]) ** 2
                    ratio = np.log(mass[best, 0] / mass[other, 0])
                    border = min(border, spacing * _SOFTNESS * ratio / (2 * np.sqrt(between)))
                label = name[first]
                labels[i, j, k] = label
                girth = calibre[neurite[node[first]]]
                thick = girth > 0.0
                lot = uniform(seed, label, 0, 11)
                value = 124.0 + 82.0 * lot + 7.0 * texture[i, j, k]
                core = min(max((border - 0.6 * membrane) / 2.0, 0.0), 1.0)
                if core > 0.0 and organelles > 0.0:
                    kind = uniform(seed, label, 1, 11)
                    if crowd[i, j, k] > 0.3 and kind < 0.4 * organelles:
                        v0, v1, v2 = int(at_z[i] // 7.0), int(at_y[j] // 7.0), int(at_x[k] // 7.0)
                        if uniform(seed + 1, v0, v1, v2) < 0.75:
                            d0 = at_z[i] - 7.0 * v0 - 2.6 - 1.8 * uniform(seed + 2, v0, v1, v2)
                            d1 = at_y[j] - 7.0 * v1 - 2.6 - 1.8 * uniform(seed + 3, v0, v1, v2)
                            d2 = at_x[k] - 7.0 * v2 - 2.6 - 1.8 * uniform(seed + 4, v0, v1, v2)
                            ball = _ramp(np.sqrt(d0 * d0 + d1 * d1 + d2 * d2) - 2.2)
                            value -= core * ball * 0.8 * (value - MEMBRANE_GREY)
                    if thick and crowd[i, j, k] < 0.9 and kind > 0.25:
                        wall = _ramp(abs(sheet[i, j, k]) * 5.0 - 0.9)
                        gate = min(max(0.9 - crowd[i, j, k], 0.0) * 2.0, 1.0) * min(organelles, 1.0)
                        value -= core * gate * wall * (value - MEMBRANE_GREY) * 0.9
                    if kind > 0.5:
                        n = node[nearest]
                        t0, t1, t2 = toward[n, 0], toward[n, 1], toward[n, 2]
                        norm = np.sqrt(t0 * t0 + t1 * t1 + t2 * t2)
                        if norm > 0.0:
                            r0, r1, r2 = q0 - at[0, nearest], q1 - at[1, nearest], q2 - at[2, nearest]
                            along = (r0 * t0 + r1 * t1 + r2 * t2) / (norm * norm)
                            r0, r1, r2 = (
                                (r0 - along * t0) * spacing,
                                (r1 - along * t1) * spacing,
                                (r2 - along * t2) * spacing,
                            )
                            u, v = r1 + 0.5 * r0, r2 - 0.5 * r0
                            e, f = u - 5.0 * np.floor(u / 5.0 + 0.5), v - 5.0 * np.floor(v / 5.0 + 0.5)
                            value -= core * 24.0 * _ramp(np.sqrt(e * e + f * f) - 0.9)
                    inside = 1e9
                    for s in range(27):
                        mark = mitochondrion[node[s]]
                        if mark < 0 or name[s] != label or uniform(seed, label, mark, 12) > 0.8 * organelles:
                            continue
                        t0, t1, t2 = toward[node[s], 0], toward[node[s], 1], toward[node[s], 2]
                        r0, r1, r2 = q0 - at[0, s], q1 - at[1, s], q2 - at[2, s]
                        along = (r0 * t0 + r1 * t1 + r2 * t2) / (t0 * t0 + t1 * t1 + t2 * t2 + 1e-9)
                        along = min(max(along, 0.0), 1.0)
                        r0, r1, r2 = r0 - along * t0, r1 - along * t1, r2 - along * t2
                        radius = spacing * (0.5 + (0.1 + 0.45 * girth) * uniform(seed, label, mark, 13))
                        inside = min(inside, spacing * np.sqrt(r0 * r0 + r1 * r1 + r2 * r2) - radius)
                    inside = max(inside, 0.5 * membrane + 3.0 - border)
                    if inside < 1.0:
                        rim = _ramp(abs(inside + 1.0) - 0.6)
                        matrix = MITOCHONDRION_GREY + 5.0 * texture[i, j, k] - 14.0 * rim
                        body = _ramp(inside)
                        value += body * (matrix - value)
                width = membrane * min(max(1.0 + 0.35 * thickness[i, j, k], 0.45), 2.2)
                strength = min(max(1.0 + 0.15 * contrast[i, j, k], 0.7), 1.1)
                value -= _ramp(border - 0.5 * width) * strength * (value - MEMBRANE_GREY)
                grey[i, j, k] = value
    return grey, labels


def largest_label(skeleton: Skeleton, reach: float) -> int:
    """Bound of the labels of all voxels whose coordinates, in skeleton cells, are below `reach`."""
    far = int(reach) // SIZE + 2 * _FIRST_COPY
    return int(skeleton.calibre.size * (_interleaved(far, far, far) + 1))


def paint_tissue(
    skeleton: Skeleton,
    fields: Fields,
    positions: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    *,
    seed: int,
    spacing: float,
    membrane_width: float,
    organelles: float,
) -> tuple[FloatArray, NDArray[np.uint32]]:
    """Paint the voxels at the given positions.

    Parameters
    ----------
    skeleton : Skeleton
        The wiring.
    fields : Fields
        Fields at the same voxels.
    positions : triple of float64 arrays
        Coordinates of the voxels along z, y and x.
    seed : int
        Seed of grey values and organelles.
    spacing : float
        Edge of a skeleton cell.
    membrane_width : float
        Mean thickness of membranes.
    organelles : float
        Density of organelles; 0 leaves them out.

    Returns
    -------
    grey : float32 array (z, y, x)
        Grey values before blur and noise.
    labels : uint32 array (z, y, x)
        Neurite of every voxel, from 1.
    """
    s = skeleton
    return _paint(  # type: ignore[no-any-return]
        seed, spacing, membrane_width, organelles, *positions,
        s.points, s.neurite, s.copy, s.calibre, s.toward, s.mitochondrion,
        *fields.warp, fields.thickness, fields.contrast, fields.crowd, fields.sheet, fields.texture,
    )  # fmt: skip
