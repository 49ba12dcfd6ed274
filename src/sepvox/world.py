"""World units: voxel_size is the edge of a voxel and offset the position of the first voxel's centre, z y x."""

from collections.abc import Sequence
from dataclasses import dataclass

World = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Voxel size and offset in `unit`, z y x."""

    voxel_size: World = (1.0, 1.0, 1.0)
    offset: World = (0.0, 0.0, 0.0)
    unit: str | None = None

    def moved(self, voxels: Sequence[int]) -> "Geometry":
        """The geometry of the same grid seen from another first voxel."""
        z, y, x = (o + v * s for o, v, s in zip(self.offset, voxels, self.voxel_size, strict=True))
        return Geometry(self.voxel_size, (z, y, x), self.unit)

    def coarser(self, factors: Sequence[int]) -> "Geometry":
        """The geometry after joining `factors` voxels per axis; centres move by half a voxel."""
        z, y, x = (s * f for s, f in zip(self.voxel_size, factors, strict=True))
        oz, oy, ox = (o + (f - 1) * s / 2 for o, f, s in zip(self.offset, factors, self.voxel_size, strict=True))
        return Geometry((z, y, x), (oz, oy, ox), self.unit)

    @property
    def anisotropic(self) -> bool:
        """Whether z is coarser than y and x by more than half."""
        return self.voxel_size[0] > 1.5 * max(self.voxel_size[1:])
