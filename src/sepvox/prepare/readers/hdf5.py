"""HDF5 files: one dataset of three axes, found by its key.

Every read opens the file, reads the box and closes it, so that no handle outlives a read and any thread may read: HDF5
itself takes one caller at a time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.header import as_json, geometry_of_attributes
from sepvox.prepare.readers.keys import choose_key
from sepvox.prepare.readers.stored import Box, Stored, first_line, is_failing


@dataclass(frozen=True)
class Dataset:
    """Box reader of one dataset of an HDF5 file."""

    path: Path
    key: str

    def read(self, box: Box) -> NDArray[Any]:
        with _open(self.path) as file:
            voxels: NDArray[Any] = file[self.key][box]
        return voxels


def open_hdf5(path: Path, key: str | None, what: str) -> Stored:
    """The dataset `key` of the HDF5 file `path`; its only dataset where no key is given.

    Raises
    ------
    InputError: not HDF5 or truncated, no such dataset, or one compressed by a filter that is not there.
    """
    try:
        file = _open(path)
    except OSError as error:
        if is_failing(error):
            raise
        raise InputError(
            f"{what}: {path}: cannot be opened as HDF5 ({first_line(error)}); the file is damaged, truncated or of another format"
        ) from error
    with file:
        found: dict[str, str] = {}

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                found[name] = f"{_times(item.shape)} {item.dtype}"

        # visititems follows no soft or external link, so a key given in full is looked up directly.
        if key is not None and isinstance(_linked(file, key), h5py.Dataset):
            name = key
        else:
            file.visititems(note)
            name = choose_key(key, found, str(path), what)
        dataset = file[name]
        if dataset.shape is None:
            raise InputError(f"{what}: {path}: {name!r} is empty; expected an array of three axes")
        _require_filters(dataset, f"{what}: {path}: {name!r}")
        attributes = {k: dataset.attrs[k] for k in dataset.attrs}
        geometry = geometry_of_attributes(attributes)
        return Stored(
            voxels=Dataset(path, name),
            shape=tuple(dataset.shape),
            dtype=dataset.dtype,
            chunks=tuple(dataset.chunks or (1, *dataset.shape[1:])),
            files=(path,),
            header={
                "format": "hdf5",
                "key": name,
                "attributes": as_json(attributes),
                "file_attributes": as_json({k: file.attrs[k] for k in file.attrs}),
            },
            voxel_size=geometry.voxel_size,
            unit=geometry.unit,
            offset=geometry.offset,
        )


def _open(path: Path) -> Any:
    # best-effort: many network file systems refuse the lock that HDF5 would take by default.
    return h5py.File(path, "r", locking="best-effort")


def _linked(file: Any, key: str) -> object:
    try:
        return file[key]
    except (KeyError, OSError):
        return None


def _require_filters(dataset: Any, name: str) -> None:
    creation = dataset.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        code, _, _, label = creation.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{name}: is compressed by HDF5 filter {code} ({np.bytes_(label).decode('ascii', 'replace')}), "
                "which this HDF5 library lacks; write the dataset again with gzip"
            )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
