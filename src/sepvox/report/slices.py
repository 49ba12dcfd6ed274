"""Planes through a volume, as pictures show them.

plane    voxels one layer thick; its *normal* is the axis that it is perpendicular to (0, 1, 2 for z, y, x).
window   the part of a plane that is read: about its centre, at most `WINDOW` of the smallest voxels along an axis.

Only windows are ever read, so that a picture costs the same for any size of volume. A plane is drawn with its physical
proportions, and lies on its side where it would be much taller than wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.blocks import Box, Triple, triple
from sepvox.world import Geometry

Array = NDArray[Any]

WINDOW = 384
TALLEST = 1.3
UNITS = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm"}


@dataclass(frozen=True)
class Plane:
    """One layer of voxels.

    Attributes
    ----------
    normal : int
        Axis that the plane is perpendicular to.
    box : Box
        Its voxels, one layer along the normal.
    geometry : Geometry
        Of the volume.
    """

    normal: int
    box: Box
    geometry: Geometry

    @property
    def axes(self) -> tuple[int, int]:
        """The axes that run down and to the right."""
        down, right = (axis for axis in range(3) if axis != self.normal)
        return (right, down) if self._extent(down) > TALLEST * self._extent(right) else (down, right)

    @property
    def size(self) -> tuple[float, float]:
        """Height and width in world units."""
        down, right = self.axes
        return self._extent(down), self._extent(right)

    def _extent(self, axis: int) -> float:
        return self.box.shape[axis] * self.geometry.voxel_size[axis]

    def flat(self, voxels: Array) -> Array:
        """The voxels of `box`, (c,) z y x, as rows and columns, channels last."""
        down, right = self.axes
        order = [self.normal, down, right]
        leading = voxels.ndim - 3
        ordered = np.moveaxis(voxels, [leading + axis for axis in order], [-3, -2, -1])[..., 0, :, :]
        return np.moveaxis(ordered, 0, -1) if leading else ordered

    def name(self) -> str:
        """Which plane it is and where its axes point."""
        down, right = self.axes
        return f"{'zyx'[self.normal]} = {self.box.begin[self.normal]}\n{'zyx'[down]} ↓  {'zyx'[right]} →"


def window(shape: Sequence[int], geometry: Geometry, centre: Sequence[int], side: float) -> Box:
    """The box of about `side` world units per axis around a voxel, moved to lie inside `shape` and clipped to it."""
    begin, end = [], []
    for n, s, c in zip(shape, geometry.voxel_size, centre, strict=True):
        count = min(n, max(1, round(side / s)))
        first = min(max(0, c - count // 2), n - count)
        begin.append(first)
        end.append(first + count)
    return Box(triple(begin), triple(end))


def plane_at(shape: Sequence[int], geometry: Geometry, normal: int, centre: Sequence[int], side: float) -> Plane:
    """The plane through the voxel `centre`, about `side` world units wide."""
    box = window(shape, geometry, centre, side)
    begin, end = list(box.begin), list(box.end)
    begin[normal], end[normal] = centre[normal], centre[normal] + 1
    return Plane(normal, Box(triple(begin), triple(end)), geometry)


def central_planes(shape: Triple, geometry: Geometry) -> tuple[Plane, Plane, Plane]:
    """The planes perpendicular to z, y and x through the centre of a volume."""
    centre = [n // 2 for n in shape]
    side = WINDOW * min(geometry.voxel_size)
    z, y, x = (plane_at(shape, geometry, normal, centre, side) for normal in range(3))
    return z, y, x


def sampled(picture: Array, rows: float, columns: float) -> Array:
    """A picture brought to about `rows` x `columns` pixels, each taking the value of the pixel that its centre lies in."""
    at = [
        ((np.arange(count) + 0.5) * n / count).astype(np.intp)
        for n, count in zip(picture.shape, (max(1, round(rows)), max(1, round(columns))), strict=False)
    ]
    return np.asarray(picture[np.ix_(*at)])


def scale_bar(width: float, geometry: Geometry) -> tuple[float, str]:
    """A round length of at most a third of `width` world units, and how it is written."""
    magnitude = 10.0 ** np.floor(np.log10(width / 3))
    length = max(step * magnitude for step in (1, 2, 5) if step * magnitude <= width / 3)
    unit = UNITS.get(geometry.unit or "", geometry.unit or "voxels")
    return float(length), f"{length:g} {unit}"
