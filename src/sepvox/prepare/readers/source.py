"""A volume in the user's files, opened lazily.

`open_source` finds the reader by the file's name, refuses what is no volume, and returns a `Source`: a Dask array in
(z, y, x) order with everything else that the file says. The file's own naming of its axes (NIfTI, OME-Zarr, Zarr
dimension names) goes before the configured order.
"""

import difflib
import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sepvox import storage
from sepvox.errors import AccessError, InputError
from sepvox.prepare.readers.hdf5 import open_hdf5
from sepvox.prepare.readers.nifti import open_nifti
from sepvox.prepare.readers.npy import open_npy, open_npz
from sepvox.prepare.readers.stored import STORED_XYZ, STORED_ZYX, Stored, Triple, lazy_array
from sepvox.prepare.readers.tiff import open_sections, open_tiff
from sepvox.prepare.readers.zarr_store import METADATA, is_zarr, open_zarr

Open = Callable[[Path, str | None, str], Stored]

_READERS: dict[str, Open] = {
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".hdf": open_hdf5,
    ".tif": open_tiff,
    ".tiff": open_tiff,
    ".btf": open_tiff,
    ".nii": open_nifti,
    ".nii.gz": open_nifti,
    ".npy": open_npy,
    ".npz": open_npz,
}
_SUPPORTED = f"{', '.join(_READERS)}, a glob of .tif sections, or a Zarr or OME-Zarr folder"
_TIFF = (".tif", ".tiff", ".btf")
_VOXEL_BYTES = 8


@dataclass(frozen=True)
class Source:
    """A volume of the user's.

    Attributes
    ----------
    array: Dask array (z, y, x), of the file's dtype in native byte order; blocks of at most 64 MiB.
    voxel_size: (z, y, x) in `unit`; None where the file does not say.
    unit: nanometer, micrometer or millimeter; None where the file does not say.
    offset: world position of voxel (0, 0, 0), (z, y, x) in `unit`; None where the file does not say.
    header: all that the file says about itself; JSON-serialisable.
    files: whose change means that the data changed; for a Zarr folder its metadata and the folder of its chunks.
    """

    array: Any
    voxel_size: Triple | None
    unit: str | None
    offset: Triple | None
    header: dict[str, Any]
    files: tuple[Path, ...]


def open_source(path: str, key: str | None, axes: Literal["zyx", "xyz"], what: str) -> Source:
    """Open the volume in `path`; nothing but metadata is read.

    Parameters
    ----------
    path: file, glob of TIFF sections, Zarr folder, or address of one.
    key: dataset inside the file, for HDF5, .npz and Zarr.
    axes: order of the file's axes, where it does not name them itself.
    what: configuration key of the path, for messages, such as ``volumes.train.image``.

    Raises
    ------
    InputError: a missing, unreadable or unknown file, a wrong key, or an array that is not three axes of real numbers.
    """
    stored = _open(path, key, what)
    name = f"{what}: {path}" + (f": {stored.header['key']!r}" if stored.header.get("key") else "")
    order = stored.order or (STORED_ZYX if axes == "zyx" else STORED_XYZ)
    _require_volume(stored, order, name)
    return Source(
        array=lazy_array(stored, order, name),
        voxel_size=_reordered(stored.voxel_size, order),
        unit=stored.unit,
        offset=_reordered(stored.offset, order),
        header=stored.header,
        files=stored.files,
    )


def _open(path: str, key: str | None, what: str) -> Stored:
    if storage.is_address(path):
        return _open_address(path, key, what)
    file = Path(path)
    try:
        if not file.exists() and glob.has_magic(path):
            return _open_glob(path, key, what)
        if not file.exists():
            raise _missing(file, what)
        if not os.access(file, os.R_OK):
            raise InputError(f"{what}: {path}: may not be read by this user; change its permissions")
        if file.is_dir():
            if is_zarr(file):
                return open_zarr(file, key, what)
            raise InputError(
                f"{what}: {path}: is a folder without Zarr metadata; expected a file, a Zarr folder, or a glob of sections such as {file / '*.tif'}"
            )
        if not file.is_file():
            raise InputError(f"{what}: {path}: is a pipe or a device; expected a file, from which any part can be read")
        return _reader(file, what)(file, key, what)
    except OSError as error:
        raise InputError(
            f"{what}: {path}: cannot be read ({error.strerror or error}); check its name and permissions"
        ) from error


def _open_address(address: str, key: str | None, what: str) -> Stored:
    """Also one that cannot be used is known within seconds."""
    node = storage.place(address)
    try:
        check_address(address, what)
        return open_zarr(node, key, what)
    except AccessError as error:
        raise InputError(f"{what}: {error}") from error


def check_address(address: str, what: str) -> None:
    """Refuse an address that cannot be reached, or at which there is no Zarr store.

    Raises
    ------
    InputError: names the address, what the server said, and how to mend it.
    """
    try:
        there = is_zarr(storage.place(address))
    except AccessError as error:
        raise InputError(f"{what}: {error}") from error
    if not there:
        raise InputError(
            f"{what}: {address}: there is no Zarr store (no {', '.join(METADATA)}); correct the address, which must be that of a Zarr or OME-Zarr store, for no other format is read from addresses"
        )


def _open_glob(pattern: str, key: str | None, what: str) -> Stored:
    # Path.glob takes no absolute pattern.
    paths = [Path(p) for p in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    if not paths:
        mend = _unset_variable(pattern) or "no file matches this glob; check the folder and the pattern"
        if "[" in pattern:
            mend += ", and write [[] for a [ that belongs to a name"
        raise InputError(f"{what}: {pattern}: {mend}")
    for path in paths:
        if path.suffix.lower() not in _TIFF:
            raise InputError(
                f"{what}: {path}: matches the glob {pattern} but is no TIFF section; narrow the glob to {' or '.join(_TIFF)} files"
            )
    return open_sections(pattern, paths, key, what)


def _reader(file: Path, what: str) -> Open:
    name = file.name.lower()
    for suffix in sorted(_READERS, key=len, reverse=True):
        if name.endswith(suffix):
            return _READERS[suffix]
    raise InputError(f"{what}: {file}: has the unknown extension {file.suffix!r}; expected {_SUPPORTED}")


def _missing(file: Path, what: str) -> InputError:
    unset = _unset_variable(str(file))
    if unset:
        return InputError(f"{what}: {file}: {unset}")
    if not file.parent.is_dir():
        return InputError(f"{what}: {file}: does not exist, nor does its folder {file.parent}; check the path")
    near = difflib.get_close_matches(file.name, (f.name for f in file.parent.iterdir()), n=1)
    guess = f"; did you mean {near[0]}?" if near else "; check the path"
    return InputError(f"{what}: {file}: does not exist in the folder {file.parent}{guess}")


def _unset_variable(path: str) -> str | None:
    for name in re.findall(r"\$\{?(\w+)\}?", path):
        if name not in os.environ:
            return f"the environment variable {name} is not set; set it to the folder of the data, e.g. export {name}=/path/to/data"
    return None


def _require_volume(stored: Stored, order: tuple[int, int, int], name: str) -> None:
    shape, dtype = stored.shape, stored.dtype
    if len(shape) != 3:
        kind = "2D image" if len(shape) == 2 else f"{len(shape)}D array"
        mend = "stack the sections into one volume" if len(shape) == 2 else "save one channel and time point alone"
        raise InputError(f"{name}: is a {kind} of shape {shape}; expected three axes: {mend}")
    for axis, stored_axis in zip("zyx", order, strict=True):
        if shape[stored_axis] == 0:
            raise InputError(
                f"{name}: has shape {shape}: axis {axis} is empty; expected at least one voxel along each axis"
            )
    if dtype.kind not in "buif" or dtype.itemsize > _VOXEL_BYTES:
        kind = {"c": "complex numbers", "V": "records or colours", "O": "Python objects"}.get(
            dtype.kind, "no numbers of at most 64 bits"
        )
        mend = "save their magnitude" if dtype.kind == "c" else "save one grey channel"
        raise InputError(f"{name}: has dtype {np.dtype(dtype)}, {kind}; expected integers, floats or booleans: {mend}")


def _reordered(value: Triple | None, order: tuple[int, int, int]) -> Triple | None:
    return None if value is None else (value[order[0]], value[order[1]], value[order[2]])
