"""Where a network looks: strides, receptive field and halo, by interval arithmetic alone.

An *admissible* input is one that every pooling divides. The *halo* is what must be read around an output on each side. For
a network of same padding it is the smallest multiple of the total stride with which a tile, whose output begins and ends
at multiples of the total stride, gives the same values as one pass over the whole volume. For a network of valid padding it
is the margin that the network itself takes off each side; there, outputs must begin at multiples of the total stride too.

Half the receptive field is not enough to tell the halo: pooling rounds outward, so the field of an output voxel depends on
its position within the total stride and is not centred on it.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from sepvox.nets.architecture import Architecture, Triple, architecture
from sepvox.nets.settings import NetworkSettings


@dataclass(frozen=True)
class Geometry:
    """What tiling needs to know of a network; triples are z y x, in voxels.

    Attributes
    ----------
    padding : {"same", "valid"}
        Padding of the network's convolutions.
    total_stride : (int, int, int)
        Product of the poolings: the network commutes with shifts by multiples of it only.
    receptive_field : (int, int, int)
        Largest number of input voxels that influence one output voxel.
    halo : (int, int, int)
        Context to each side of an output.
    offset : (int, int, int)
        Admissible input extents are `offset + k * total_stride`; 0 for same padding.
    exact_ok : bool
        Whether tiles can equal the whole.
    reason : str
        Why not; empty where they can.
    """

    padding: Literal["same", "valid"]
    total_stride: Triple
    receptive_field: Triple
    halo: Triple
    offset: Triple
    exact_ok: bool
    reason: str

    def admissible(self, shape: Triple) -> Triple:
        """Smallest admissible input shape that is at least `shape` along each axis and yields an output."""
        least = [max(extent, self._margin(axis) * 2 + 1) for axis, extent in enumerate(shape)]
        z, y, x = (
            offset + max(0, -(-(extent - offset) // stride)) * stride
            for extent, offset, stride in zip(least, self.offset, self.total_stride, strict=True)
        )
        return z, y, x

    def output_shape(self, shape: Triple) -> Triple:
        """Shape of the network's output for an admissible input shape.

        Raises
        ------
        ValueError
            If the network does not take inputs of this shape.
        """
        if self.admissible(shape) != shape:
            raise ValueError(f"input shape {shape} is not admissible; the next one is {self.admissible(shape)}")
        z, y, x = (extent - 2 * self._margin(axis) for axis, extent in enumerate(shape))
        return z, y, x

    def _margin(self, axis: int) -> int:
        return self.halo[axis] if self.padding == "valid" else 0


def geometry(settings: NetworkSettings) -> Geometry:
    """Compute the geometry of the network that `settings` describe, without building it."""
    return geometry_of(architecture(settings))


def geometry_of(net: Architecture) -> Geometry:
    """Compute the geometry of an architecture."""
    axes = [_axis(tuple(factors[axis] for factors in net.pooling), net.reach, net.padding) for axis in range(3)]
    field, halo, offset = ((axes[0][i], axes[1][i], axes[2][i]) for i in range(3))
    z, y, x = (prod(factors[axis] for factors in net.pooling) for axis in range(3))
    depends = net.norm in ("group", "instance")
    return Geometry(
        padding=net.padding,
        total_stride=(z, y, x),
        receptive_field=field,
        halo=halo,
        offset=offset,
        exact_ok=not depends,
        reason=f"{net.norm} normalisation uses the mean and variance of the tile, so tiles depend on how the volume is cut"
        if depends
        else "",
    )


def _axis(factors: tuple[int, ...], reach: int, padding: Literal["same", "valid"]) -> tuple[int, int, int]:
    """Receptive field, halo and input offset along one axis with these poolings."""
    stride = prod(factors)
    taken = reach if padding == "valid" else 0
    margins = _margins(factors, taken)
    seen = [_interval(position, factors, reach, taken, margins) for position in range(stride)]
    field = max(high - low + 1 for low, high in seen)
    if padding == "valid":
        return field, margins[0], _least(factors, taken) % stride
    beyond = max(max(-low, high - (stride - 1)) for low, high in seen)
    return field, -(-beyond // stride) * stride, 0


def _margins(factors: tuple[int, ...], taken: int) -> list[int]:
    """Voxels that the network takes off each side between entering and leaving a level, for every level."""
    margins = [taken]
    for factor in reversed(factors):
        margins.insert(0, taken + factor * margins[0] + taken)
    return margins


def _least(factors: tuple[int, ...], taken: int) -> int:
    """Input extent for which nothing remains at the lowest level; others follow in steps of the total stride."""
    extent = 2 * taken
    for factor in reversed(factors):
        extent = extent * factor + 2 * taken
    return extent


def _interval(position: int, factors: tuple[int, ...], reach: int, taken: int, margins: list[int]) -> tuple[int, int]:
    """First and last input voxel that influence the output voxel at `position`, both counted from the first voxel.

    Follows the longest path backwards. Convolutions that take `taken` voxels off each side shift positions by as much; so
    do skip connections, cropped by what the levels below took off. The skip path always sees less than the path below it,
    but for the rounding of poolings, so both are joined.
    """
    depth = len(factors)
    low = high = position
    skips = []
    for level, factor in enumerate(factors):
        low, high = low + taken - reach, high + taken + reach
        crop = factor * margins[level + 1]
        skips.append((low + crop, high + crop))
        low, high = low // factor, high // factor
    low, high = low + taken - reach, high + taken + reach
    for level in reversed(range(depth)):
        factor, skip = factors[level], skips[level]
        low, high = min(low * factor, skip[0]), max(high * factor + factor - 1, skip[1])
        low, high = low + taken - reach, high + taken + reach
    return low, high
