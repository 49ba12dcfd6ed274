"""The anatomy of one synthetic head: the tissue at every point of a grid, without any image of it.

The *frame* of a head is right, anterior, superior (x, y, z) in millimetres, with its origin in the middle of the field of
view; lengths here are those of a head in a field of view of 168 x 196 x 168 mm and are scaled to the grid at hand. The
*envelope* is the smooth hull of the cerebrum; *depth* is the distance below it, negative outside. A *sulcus* is a sheet of
CSF that cuts into the envelope; *cortex* is whatever lies near CSF, *white matter* what lies deeper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from sepvox.prepare.phantoms.noise import FloatArray, smooth_noise

FIELD_OF_VIEW = (168.0, 196.0, 168.0)
"""Extents along z, y, x of the field of view for which the lengths of this module hold, in millimetres."""

_LATTICE = 16
_DEEPEST_SULCUS = 22.0


class Tissue(IntEnum):
    """What a point of a head is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    DURA = 5
    EYE = 6
    CSF = 7
    GREY = 8
    WHITE = 9


@dataclass(frozen=True)
class Grid:
    """Points of a rectangular grid and where they lie in the head.

    Attributes
    ----------
    axes : triple of float64 arrays
        Coordinates along the grid's own z, y and x, in the unit of the frame; 0 is the middle of the field of view.
    rotation : float64 array (3, 3)
        Turns coordinates (x, y, z) of the grid into those of the frame.
    """

    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    rotation: NDArray[np.float64]

    @property
    def spacing(self) -> list[float]:
        """Distance of points along z, y, x."""
        return [float(axis[1] - axis[0]) for axis in self.axes]

    def in_frame(self) -> list[FloatArray]:
        """Coordinates x, y, z in the frame, each float32 (z, y, x)."""
        z, y, x = (axis.astype(np.float32) for axis in self.axes)
        turn = self.rotation.astype(np.float32)
        return [r[0] * x[None, None, :] + r[1] * y[None, :, None] + r[2] * z[:, None, None] for r in turn]

    def field(self, key: int, wavelength: float) -> FloatArray:
        """Smooth noise of mean 0 and variance about 1 at the points of the grid."""
        return smooth_noise(key, wavelength, self.axes)


def _outside_ellipsoid(points: list[FloatArray], centre: tuple[float, ...], radii: tuple[float, ...]) -> FloatArray:
    """Distance from an ellipsoid, negative inside; exact on its surface and first order near it."""
    scaled = [(p - np.float32(c)) / np.float32(r) for p, c, r in zip(points, centre, radii, strict=True)]
    level = np.sqrt(sum(s * s for s in scaled)) + np.float32(1e-6)
    slope = np.sqrt(sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, radii, strict=True))) + np.float32(1e-6)
    return np.asarray(level * (level - 1) / slope, np.float32)


def _outside_tube(points: list[FloatArray], path: list[tuple[float, float, float]], radius: float) -> FloatArray:
    """Distance from a tube of that radius around a chain of straight pieces, negative inside."""
    nearest = np.full(points[0].shape, np.inf, np.float32)
    for begin, end in pairwise(path):
        along = np.subtract(end, begin).astype(np.float32)
        offset = [p - np.float32(b) for p, b in zip(points, begin, strict=True)]
        at = np.clip(sum(o * a for o, a in zip(offset, along, strict=True)) / (along @ along), 0, 1)
        squared = sum((o - at * a) ** 2 for o, a in zip(offset, along, strict=True))
        nearest = np.minimum(nearest, squared)
    return np.asarray(np.sqrt(nearest) - np.float32(radius), np.float32)


def _from_sulci(
    rng: np.random.Generator,
    grid: Grid,
    points: list[FloatArray],
    near: NDArray[np.bool_],
    radii: tuple[float, float, float],
) -> FloatArray:
    """Distance, to first order, from sheets about perpendicular to the envelope; infinite where it is not near.

    The sheets are the zeros of noise that is constant, nearly, along the radii of the envelope.
    """
    wavelength = rng.uniform(16.5, 19.5)
    local = [p[near] for p in points]
    radius = np.sqrt(sum((p / np.float32(r)) ** 2 for p, r in zip(local, radii, strict=True))) + np.float32(1e-3)
    outward = (0.7 + 0.3 * radius) / radius
    lattice = rng.normal(size=(_LATTICE,) * 3).astype(np.float32)
    at = np.stack([p * outward / np.float32(wavelength) + _LATTICE / 2 for p in local])
    noise = np.zeros(near.shape, np.float32)
    noise[near] = map_coordinates(lattice, at, order=3, mode="grid-wrap", prefilter=False)
    slope = np.sqrt(sum(g * g for g in np.gradient(noise, *grid.spacing)))
    # Where the noise is flat a sheet would swell into a lake.
    steep = np.maximum(slope, np.float32(0.5) * slope[near].mean())
    return np.where(near, np.abs(noise) / steep, np.float32(np.inf))


def draw_tissue(rng: np.random.Generator, grid: Grid) -> NDArray[np.uint8]:
    """Draw the anatomy of one subject.

    Parameters
    ----------
    rng : numpy Generator
        The subject: its state decides size, shape, folding and ventricles.
    grid : Grid
        Where tissue is wanted; the spacing of its axes is uniform.

    Returns
    -------
    uint8 array (z, y, x)
        A `Tissue` at every point.
    """
    keys = iter(rng.integers(1 << 40, size=16).tolist())
    size = rng.uniform(0.94, 1.04)
    radii = (58 * size * rng.uniform(0.96, 1.04), 73 * size * rng.uniform(0.96, 1.04), 51 * size)
    csf, bone, scalp = rng.uniform(6.6, 8.2), rng.uniform(5.5, 7.5), rng.uniform(5.0, 7.5)
    cortex, sulcus = rng.uniform(6.4, 7.4), rng.uniform(2.6, 3.4)
    ventricle = rng.uniform(4.5, 8.5)

    warped = [p + np.float32(2.8) * grid.field(next(keys), 62.0) for p in grid.in_frame()]
    x, y, z = warped[0], warped[1], warped[2] - np.float32(9)
    points = [x * (1 + 0.0015 * y), y, z * np.where(z < 0, 1.12, 1.0).astype(np.float32)]
    mirrored = [np.abs(x), y, z]

    cerebellum = _outside_ellipsoid([x, y, z], (0, -41 * size, -44 * size), (41 * size, 25 * size, 19 * size))
    stem = _outside_tube([x, y, z], [(0, -8, -30), (0, -16, -48), (0, -22, -110)], 10.0 * size)
    cerebrum = _outside_ellipsoid(points, (0, 0, 0), radii)
    brain = np.minimum(np.minimum(cerebrum, cerebellum), stem)
    skull = np.minimum(np.minimum(cerebrum, cerebellum - 1), stem + 1) - np.float32(csf) - grid.field(next(keys), 40.0)

    tissue = _draw_outside(grid, keys, [x, y, z], skull, (bone, scalp))
    tissue[skull < 0] = Tissue.DURA
    tissue[skull < -1.6] = Tissue.CSF

    inside = brain < 0
    local = [p[inside] for p in points]
    local_mirrored = [p[inside] for p in mirrored]
    depth = -cerebrum[inside]
    folds = _from_sulci(rng, grid, points, np.abs(cerebrum + _DEEPEST_SULCUS / 2) < _DEEPEST_SULCUS / 2 + 4, radii)[
        inside
    ]
    taper = 1 - depth / np.float32(_DEEPEST_SULCUS)
    width = np.float32(sulcus) * np.maximum(taper, 0) * (1 + 0.3 * grid.field(next(keys), 30.0)[inside])
    callosum = _outside_ellipsoid(local, (0, -4, 2), (radii[0], radii[1] * 0.62, radii[2] * 0.42))
    fissure = (np.abs(local[0]) < 1.9) & (callosum > 0)
    sylvian = (np.abs(local[2] + 9 - 0.25 * local[1]) < 2.0) & (local_mirrored[0] > 33 * size)
    sylvian &= (local[1] > -28) & (local[1] < 40)
    of_cerebrum = depth > 0
    fluid = of_cerebrum & ((folds < width) | fissure | sylvian)
    # The tentorium: a sheet of CSF between cerebrum and cerebellum, which keep each its own cortex.
    fluid |= (np.abs(cerebrum[inside] - cerebellum[inside]) < 3.0) & (stem[inside] > 0) & of_cerebrum
    solid = inside.copy()
    solid[inside] = ~fluid
    from_fluid = distance_transform_edt(solid, sampling=grid.spacing)[inside].astype(np.float32)

    ribbon = np.float32(cortex) * (1 + 0.1 * grid.field(next(keys), 25.0)[inside])
    ribbon *= np.where(of_cerebrum, 1.0, 1.15).astype(np.float32)
    matter = np.where(from_fluid < ribbon, Tissue.GREY, Tissue.WHITE).astype(np.uint8)
    matter[(stem[inside] < 0) & (cerebellum[inside] > -4)] = Tissue.WHITE
    for centre, extent in (((13, -12, 0), (9, 13, 8.5)), ((25, 6, -1), (7.5, 17, 11))):
        matter[_outside_ellipsoid(local_mirrored, centre, extent) < 0] = Tissue.GREY
    matter[fluid] = Tissue.CSF
    horns = [(9.0, 32.0, 4.0), (11.0, 8.0, 14.0), (14.0, -20.0, 14.0), (25.0, -42.0, 4.0), (33.0, -20.0, -14.0)]
    lateral = _outside_tube(local_mirrored, horns, ventricle) + grid.field(next(keys), 35.0)[inside]
    third = _outside_ellipsoid(local, (0, -4, -5), (0.5 * ventricle, 15, 9))
    fourth = _outside_ellipsoid(local, (0, -24, -44), (7, 5, 8))
    matter[np.minimum(np.minimum(lateral, third), fourth) < 0] = Tissue.CSF
    tissue[inside] = matter
    return tissue


def _draw_outside(
    grid: Grid, keys: Iterator[int], points: list[FloatArray], skull: FloatArray, thickness: tuple[float, float]
) -> NDArray[np.uint8]:
    """Skull, scalp, face and neck; `skull` is the distance outside the inner surface of the skull."""
    bone, scalp = thickness
    mirrored = [np.abs(points[0]), *points[1:]]
    bone_here = np.float32(bone) * (1 + 0.15 * grid.field(next(keys), 45.0))
    scalp_here = np.float32(scalp) * (1 + 0.2 * grid.field(next(keys), 50.0))
    face = _outside_ellipsoid(points, (0, 34, -62), (50, 52, 56))
    neck = _outside_tube(points, [(0, -26, -40), (0, -30, -130)], 48.0)
    flesh = np.minimum(face, neck) + 2 * grid.field(next(keys), 30.0)
    skin = np.minimum(skull - bone_here - scalp_here, flesh)
    texture = grid.field(next(keys), 16.0)

    tissue = np.full(skull.shape, Tissue.AIR, np.uint8)
    tissue[skin < 0] = Tissue.FAT
    deep = skin < -np.float32(0.75 * scalp)
    temporal = (mirrored[0] > 45) & (points[2] < 12) & (skin < -2.5)
    tissue[(deep & (texture < 0.9)) | temporal] = Tissue.MUSCLE
    jaw = deep & (np.abs(texture + 0.9) < 0.25) & (flesh < -8)
    tissue[jaw] = Tissue.BONE
    airway = _outside_tube(points, [(0, 60, -52), (0, 22, -58), (0, 16, -120)], 7.0)
    sinus = _outside_ellipsoid(mirrored, (20, 56, -56), (9, 12, 10))
    tissue[(np.minimum(airway, sinus) + 2 * texture < 0) & (skin < -4)] = Tissue.AIR
    orbit = _outside_ellipsoid(mirrored, (29, 68, -28), (15, 17, 14))
    tissue[(orbit < 0) & (skin < 0)] = Tissue.FAT
    tissue[(orbit < -3.5) & (skin < 0)] = Tissue.EYE
    tissue[skull < bone_here] = Tissue.BONE
    diploe = np.abs(skull - 0.5 * bone_here) < 0.5 * bone_here - np.float32(1.8) + 0.3 * texture
    tissue[diploe] = Tissue.MARROW
    return tissue
