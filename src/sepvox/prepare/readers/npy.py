"""NumPy files: .npy with one array, .npz with several under keys.

The array's header is read by NumPy, its voxels as raw bytes, so that one code serves plain files and compressed members
of .npz, and memory is that of the box. Arrays in Fortran order are read with their axes reversed and turned back.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.bytes_box import read_box
from sepvox.prepare.readers.keys import choose_key, refuse_key
from sepvox.prepare.readers.stored import Box, Stored, first_line


@dataclass(frozen=True)
class Layout:
    """Where and how the voxels lie in their stream."""

    begin: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class NumpyVoxels:
    """Box reader of a .npy file, or of one member of an .npz file."""

    path: Path
    member: str | None
    layout: Layout

    def read(self, box: Box) -> NDArray[Any]:
        layout = self.layout
        with _stream(self.path, self.member) as stream:
            if layout.fortran:
                reverse = read_box(stream, layout.begin, layout.shape[::-1], layout.dtype, (box[2], box[1], box[0]))
                return reverse.transpose()
            return read_box(stream, layout.begin, layout.shape, layout.dtype, box)


def open_npy(path: Path, key: str | None, what: str) -> Stored:
    """The array of a .npy file.

    Raises
    ------
    InputError: not a .npy file, or shorter than its header says.
    """
    refuse_key(key, "a .npy file", str(path), what)
    layout = _layout(path, None, f"{what}: {path}")
    if not layout.dtype.hasobject:
        size, needed = path.stat().st_size, layout.begin + _voxel_bytes(layout)
        if size < needed:
            raise InputError(
                f"{what}: {path}: is truncated: {size} bytes, its header needs {needed}; copy it again from its source"
            )
    return _stored(path, None, layout)


def open_npz(path: Path, key: str | None, what: str) -> Stored:
    """The array `key` of an .npz file; its only array where no key is given.

    Raises
    ------
    InputError: not an .npz file or truncated, or no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"{what}: {path}: cannot be opened as .npz ({first_line(error)}); the file is damaged, truncated or of another format"
        ) from error
    layouts = {m.removesuffix(".npy"): _layout(path, m, f"{what}: {path}: {m}") for m in members}
    described = {name: f"{'x'.join(map(str, layout.shape))} {layout.dtype}" for name, layout in layouts.items()}
    name = choose_key(key, described, str(path), what)
    return _stored(path, f"{name}.npy", layouts[name])


def _stored(path: Path, member: str | None, layout: Layout) -> Stored:
    ones = (1,) * len(layout.shape)
    header = {"format": "npz" if member else "npy", "fortran_order": layout.fortran, "dtype": layout.dtype.str}
    return Stored(
        voxels=NumpyVoxels(path, member, layout),
        shape=layout.shape,
        dtype=layout.dtype,
        chunks=(*layout.shape[:-1], *ones[-1:]) if layout.fortran else (*ones[:1], *layout.shape[1:]),
        files=(path,),
        header=header | ({"key": member.removesuffix(".npy")} if member else {}),
    )


def _layout(path: Path, member: str | None, name: str) -> Layout:
    try:
        with _stream(path, member) as stream:
            version = np.lib.format.read_magic(stream)
            # Version 3 differs from 2 only in the encoding of field names, which no volume has.
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            return Layout(stream.tell(), shape, fortran, dtype)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{name}: cannot be opened as a NumPy array ({first_line(error)}); the file is damaged or of another format"
        ) from error


def _voxel_bytes(layout: Layout) -> int:
    return int(np.prod(layout.shape, dtype=np.int64)) * layout.dtype.itemsize


@contextmanager
def _stream(path: Path, member: str | None) -> Iterator[BinaryIO]:
    if member is None:
        with path.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield cast(BinaryIO, stream)
