"""What every reader hands over, and how it becomes a lazy array.

A *box* is a triple of slices with start and stop and without step. A *box reader* returns the voxels of a box of a file,
in the *stored order* of the file's axes; it holds no open file, so that it can be used from any thread or process. A
reader module returns a `Stored`: the box reader with what the file says about itself, nothing but metadata having been
read. `lazy_array` turns it into a Dask array in (z, y, x) order, of blocks of at most `BLOCK_BYTES`.
"""

import errno
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from sepvox.errors import AccessError, InputError

Box = tuple[slice, slice, slice]
Triple = tuple[float, float, float]

BLOCK_BYTES = 64 * 2**20
# A disk or a connection fails, which says nothing about the file.
_FAILING = (
    "EIO ESTALE ETIMEDOUT ENOTCONN ECONNRESET ECONNABORTED EPIPE EHOSTUNREACH ENETUNREACH EREMOTEIO EMFILE ENFILE"
)
FAILING = frozenset(getattr(errno, name) for name in _FAILING.split() if hasattr(errno, name))
STORED_ZYX = (0, 1, 2)
STORED_XYZ = (2, 1, 0)


class BoxReader(Protocol):
    """Voxels of a file, box by box; frozen, picklable, without open handles."""

    def read(self, box: Box) -> NDArray[Any]:
        """Voxels of `box`, in stored order and in any byte order.

        It may raise anything: whoever calls it says which file and which voxels it was.
        """


@dataclass(frozen=True)
class Stored:
    """A volume as a file stores it. Shape, chunks and geometry follow the file's own order of axes.

    Attributes
    ----------
    voxels: the box reader.
    shape: as stored; not yet known to be of three axes.
    dtype: of what `voxels` returns.
    chunks: extent of what is cheapest to read at once, as stored.
    files: whose change means that the data changed.
    header: all that the file says about itself; JSON-serialisable.
    order: for z, y, x the stored axis, where the file itself says it; else None.
    voxel_size, offset: in `unit`, as stored.
    """

    voxels: BoxReader
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    files: tuple[Path, ...]
    header: dict[str, Any]
    order: tuple[int, int, int] | None = None
    voxel_size: Triple | None = None
    unit: str | None = None
    offset: Triple | None = None


@dataclass(frozen=True)
class OrderedVoxels:
    """A box reader as Dask wants an array: indexable, in (z, y, x) order and native byte order.

    Any failure of a read becomes an `InputError` that names the file and the voxels, but for an `AccessError`, which is
    no fault of the data.
    """

    voxels: BoxReader
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    order: tuple[int, int, int]
    name: str

    @property
    def ndim(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Index each axis by itself with an integer, a slice or a list of integers; only the bounding box is read."""
        wanted = [
            range(extent)[i] if isinstance(i, slice) else np.atleast_1d(i).tolist()
            for i, extent in zip(index, self.shape, strict=True)
        ]
        begin = [min(positions, default=0) for positions in wanted]
        end = [max(positions, default=-1) + 1 for positions in wanted]
        part = self._read(begin, end)
        for axis, positions in enumerate(wanted):
            if list(positions) != list(range(begin[axis], end[axis])):
                part = part.take([p - begin[axis] for p in positions], axis)
        return part[tuple(0 if np.ndim(i) == 0 and not isinstance(i, slice) else slice(None) for i in index)]

    def _read(self, begin: list[int], end: list[int]) -> NDArray[Any]:
        shape = tuple(max(0, e - b) for b, e in zip(begin, end, strict=True))
        if 0 in shape:
            return np.empty(shape, self.dtype)
        spans = [slice(b, e) for b, e in zip(begin, end, strict=True)]
        stored = dict(zip(self.order, spans, strict=True))
        try:
            block = self.voxels.read((stored[0], stored[1], stored[2]))
        except (AccessError, InputError, MemoryError):
            raise
        except Exception as error:
            if is_failing(error):
                raise
            # The format libraries and their codecs raise whatever they like on damaged bytes.
            where = ", ".join(f"{a} {b}:{e}" for a, b, e in zip("zyx", begin, end, strict=True))
            raise InputError(
                f"{self.name}: cannot read the voxels {where} ({first_line(error)}): "
                "the file is damaged or was truncated; copy it again from its source"
            ) from error
        return block.transpose(self.order).astype(self.dtype, copy=False)


def is_failing(error: BaseException) -> bool:
    """Whether a disk, a connection or the system is why a file could not be read, and not the file."""
    return isinstance(error, OSError) and error.errno in FAILING


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .:") if lines else type(error).__name__


def block_shape(shape: Iterable[int], chunks: Iterable[int], itemsize: int, limit: int) -> tuple[int, ...]:
    """Shape of the blocks in which a volume is read.

    Whole chunks, as many as fit in `limit` bytes, the shortest side grown first. A chunk that is larger than the limit
    is cut along z, then y, then x.

    Parameters
    ----------
    shape, chunks: of the volume and of one chunk of its file, (z, y, x).
    itemsize: bytes of a voxel.
    limit: bytes of a block at most.
    """
    extents = tuple(shape)
    block = [max(1, min(c, s)) for c, s in zip(chunks, extents, strict=True)]
    for axis in range(len(block)):
        others = math.prod(block) // block[axis] * itemsize
        block[axis] = min(block[axis], max(1, limit // others))
    while True:
        grown = None
        for axis in sorted(range(len(block)), key=lambda a: block[a]):
            wider = min(2 * block[axis], extents[axis])
            if wider > block[axis] and math.prod(block) // block[axis] * wider * itemsize <= limit:
                grown = axis, wider
                break
        if grown is None:
            return tuple(block)
        block[grown[0]] = grown[1]


def lazy_array(stored: Stored, order: tuple[int, int, int], name: str) -> Any:
    """The volume as a Dask array (z, y, x) in native byte order; nothing is read.

    Parameters
    ----------
    stored: a volume of three axes.
    order: for z, y, x the stored axis.
    name: configuration key and file, for messages.
    """
    dtype = stored.dtype.newbyteorder("=")
    shape = (stored.shape[order[0]], stored.shape[order[1]], stored.shape[order[2]])
    voxels = OrderedVoxels(stored.voxels, shape, dtype, order, name)
    blocks = block_shape(shape, (stored.chunks[axis] for axis in order), dtype.itemsize, BLOCK_BYTES)
    # fancy: Dask fuses x[box] into the read of a block only for arrays that may be indexed by lists too; otherwise it
    # reads whole blocks. name=False: the array's identity is this opening of the file, never only its path, whose content may change.
    return da.from_array(voxels, chunks=blocks, name=False, asarray=True, fancy=True, meta=np.empty((0, 0, 0), dtype))
