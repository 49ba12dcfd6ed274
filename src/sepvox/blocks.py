"""Halo, tile, cell, shard and region arithmetic; nothing else in sepvox computes with boxes.

box      [begin, end) in voxels of one array, z y x.
shard    the unit of writing of a Zarr array: two processes must never write one shard.
cell     a box of a fixed lattice on which a method works; part of the method, so that results do not depend on blocks.
block    a whole number of shards and cells: the unit of resuming.
slice    a run of consecutive blocks: the work of one job.
tile     what a network is applied to at once.
halo     voxels read around a box.

A lattice is anchored at the array's first voxel; the boxes at its far faces are clipped to the array.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import ConfigError

Triple = tuple[int, int, int]


def triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x


@dataclass(frozen=True)
class Box:
    """Voxels with begin <= index < end, z y x; begin may be negative where a halo leaves the array."""

    begin: Triple
    end: Triple

    def __post_init__(self) -> None:
        if any(b > e for b, e in zip(self.begin, self.end, strict=True)):
            raise ValueError(f"box ends before it begins: {self.begin} to {self.end}")

    @classmethod
    def of(cls, shape: Sequence[int]) -> "Box":
        """The box of a whole array."""
        return cls((0, 0, 0), triple(shape))

    @property
    def shape(self) -> Triple:
        return triple([e - b for b, e in zip(self.begin, self.end, strict=True)])

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(b, e) for b, e in zip(self.begin, self.end, strict=True))
        return z, y, x

    def grow(self, halo: Sequence[int]) -> "Box":
        """Extended by `halo` on both sides of each axis."""
        return Box(
            triple([b - h for b, h in zip(self.begin, halo, strict=True)]),
            triple([e + h for e, h in zip(self.end, halo, strict=True)]),
        )

    def clip(self, other: "Box") -> "Box":
        """The part inside `other`, which may be empty."""
        begin = [min(max(b, o), p) for b, o, p in zip(self.begin, other.begin, other.end, strict=True)]
        end = [max(min(e, p), b) for e, p, b in zip(self.end, other.end, begin, strict=True)]
        return Box(triple(begin), triple(end))

    def shift(self, by: Sequence[int]) -> "Box":
        return Box(
            triple([b + s for b, s in zip(self.begin, by, strict=True)]),
            triple([e + s for e, s in zip(self.end, by, strict=True)]),
        )

    def inside(self, outer: "Box") -> "Box":
        """This box in the coordinates of `outer`, which contains it."""
        return self.shift([-b for b in outer.begin])

    def contains(self, other: "Box") -> bool:
        return all(
            b <= ob and oe <= e for b, e, ob, oe in zip(self.begin, self.end, other.begin, other.end, strict=True)
        )


@dataclass(frozen=True)
class Lattice:
    """Boxes of one size that cover an array of `shape`, in C order of their position."""

    shape: Triple
    size: Triple

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"a lattice needs boxes of at least one voxel, got {self.size}")

    @property
    def counts(self) -> Triple:
        return triple([-(-n // s) for n, s in zip(self.shape, self.size, strict=True)])

    def __len__(self) -> int:
        return math.prod(self.counts)

    def box(self, index: int) -> Box:
        """The box number `index` in C order."""
        if not 0 <= index < len(self):
            raise IndexError(f"lattice of {len(self)} boxes has no box {index}")
        _, ny, nx = self.counts
        position = (index // (ny * nx), index // nx % ny, index % nx)
        begin = triple([p * s for p, s in zip(position, self.size, strict=True)])
        return Box(begin, triple([b + s for b, s in zip(begin, self.size, strict=True)])).clip(Box.of(self.shape))

    def __iter__(self) -> Iterator[Box]:
        return (self.box(index) for index in range(len(self)))

    def within(self, box: Box) -> Iterator[Box]:
        """The boxes of this lattice that lie in `box`, which must be a whole number of them."""
        for axis, begin, end, size, total in zip("zyx", box.begin, box.end, self.size, self.shape, strict=True):
            if begin % size or (end % size and end != total):
                raise ValueError(f"axis {axis}: [{begin}, {end}) is not a whole number of boxes of {size}")
        starts = (range(b, e, s) for b, e, s in zip(box.begin, box.end, self.size, strict=True))
        for start in itertools.product(*starts):
            yield Box(triple(start), triple([b + s for b, s in zip(start, self.size, strict=True)])).clip(box)


@dataclass(frozen=True)
class Part:
    """Slice `index` of `count` (from 0) of a job's list of blocks."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read "3/16": the fourth of sixteen.

        Raises
        ------
        ConfigError
            If the text has another form or the index is not below the count.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ConfigError(f"--part {text}: expected INDEX/COUNT with INDEX from 0 to COUNT - 1, such as 0/4")
        return cls(int(found[1]), int(found[2]))

    def of(self, total: int) -> range:
        """The block numbers of this slice; the slices of one count are disjoint and cover `total`."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)


# Units that a block of the smallest size may be wide: cells and shards that meet more rarely are refused.
MOST_UNITS = 4


def fitting_block(
    key: str, wanted: Sequence[int] | None, units: Sequence[Sequence[int]], shape: Sequence[int]
) -> Triple:
    """A block that is a whole number of every unit (shards, cells), as small as possible, or as wanted.

    Parameters
    ----------
    key : str
        Configuration key for messages.
    wanted : three ints or None
        The configured block; None takes the least common multiple of the units.
    units : list of three ints
        Units of which the block must be a multiple; an axis on which a unit covers the whole array is free.
    shape : three ints
        Shape of the array.

    Raises
    ------
    ConfigError
        If `wanted` is not a multiple of a unit, or units meet so rarely that the block would be many of them wide.
    """
    block = []
    for axis in range(3):
        inside = [int(unit[axis]) for unit in units if unit[axis] < shape[axis]]
        least = math.lcm(*inside, 1)
        if inside and least > MOST_UNITS * max(inside):
            raise ConfigError(
                f"{key}: along axis {'zyx'[axis]} cells and shards of {' and '.join(map(str, inside))} voxels meet only every {least}; choose one that is a multiple of the other"
            )
        covering = [int(unit[axis]) for unit in units if unit[axis] >= shape[axis]]
        if wanted is None:
            block.append(max(least, *covering) if covering else least)
        elif wanted[axis] >= shape[axis] or (wanted[axis] % least == 0 and not covering):
            block.append(int(wanted[axis]))
        else:
            raise ConfigError(
                f"{key}: axis {'zyx'[axis]} is {wanted[axis]}; it must be a multiple of {math.lcm(least, *covering)}, the cells and shards that it is made of"
            )
    return triple(block)


def reflected(begin: int, end: int, size: int) -> NDArray[np.intp]:
    """Indices in [0, size) of positions begin..end of an axis mirrored at its ends without repeating the end voxel.

    Any distance is allowed; an axis of one voxel repeats it.

    >>> reflected(-2, 5, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    positions = np.arange(begin, end)
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    folded = positions % period
    return np.where(folded < size, folded, period - folded)
