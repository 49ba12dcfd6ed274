"""NIfTI files, .nii and .nii.gz: read by their header, turned from (x, y, z) as stored to (z, y, x).

NIfTI stores x fastest, so a volume is raw voxels in (z, y, x) order already. The *scaling* `scl_slope`, `scl_inter` is
applied where it is not the identity; the voxels are then floats. The header is kept byte by byte, with its extensions,
so that a result can be written back into the subject's own space. In a .nii.gz a box is reached by decompressing all
that lies before it: read such files in the order and the size of their blocks.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.bytes_box import read_box
from sepvox.prepare.readers.header import Geometry, as_json, known_unit, scaled, triple
from sepvox.prepare.readers.keys import refuse_key
from sepvox.prepare.readers.stored import STORED_ZYX, Box, Stored, Triple, first_line

_PIECE = 2**20


@dataclass(frozen=True)
class NiftiVoxels:
    """Box reader of a NIfTI file, in (z, y, x) order; `slope` None means that the voxels are taken as stored."""

    path: Path
    begin: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    slope: float | None
    inter: float
    dtype: np.dtype[Any]

    def read(self, box: Box) -> NDArray[Any]:
        opener = gzip.open if self.path.name.lower().endswith(".gz") else open
        with opener(self.path, "rb") as stream:
            raw = read_box(cast(BinaryIO, stream), self.begin, self.shape, self.stored, box)
            # The checksum of a .gz stands behind the last voxel, and is compared by whoever reads on to there.
            while box[0].stop == self.shape[0] and stream.read(_PIECE):
                pass
        if self.slope is None:
            return raw
        # In float64: slope and intercept may cancel, which float32 would round visibly.
        values: NDArray[Any] = raw * np.float64(self.slope) + self.inter
        return values.astype(self.dtype)


def open_nifti(path: Path, key: str | None, what: str) -> Stored:
    """The volume of a NIfTI file; further axes must be of length 1.

    Raises
    ------
    InputError: not NIfTI, truncated, or with more than one volume.
    """
    refuse_key(key, "a NIfTI file", str(path), what)
    try:
        image = nib.load(path)
        header, proxy = image.header, image.dataobj
    except Exception as error:
        # nibabel's errors have no common type but Exception.
        raise InputError(
            f"{what}: {path}: cannot be opened as NIfTI ({first_line(error)}); the file is damaged or of another format"
        ) from error
    shape = tuple(int(n) for n in image.shape)
    if any(n != 1 for n in shape[3:]):
        raise InputError(
            f"{what}: {path}: has shape {shape} (x, y, z, …); expected one volume of three axes: save one volume of the series as its own file"
        )
    shape = shape[:3]
    stored = header.get_data_dtype()
    size, needed = path.stat().st_size, int(proxy.offset) + int(np.prod(shape, dtype=np.int64)) * stored.itemsize
    if not path.name.lower().endswith(".gz") and size < needed:
        raise InputError(
            f"{what}: {path}: is truncated: {size} bytes, its header needs {needed}; copy it again from its source"
        )
    slope, inter = float(proxy.slope), float(proxy.inter)
    identity = (slope, inter) == (1.0, 0.0)
    # float32 holds every integer of 16 bits exactly; wider types need float64.
    exact = (
        np.dtype(np.float32) if stored.itemsize <= 2 or stored.newbyteorder("=") == np.float32 else np.dtype(np.float64)
    )
    geometry = _geometry(header, image.affine)
    return Stored(
        voxels=NiftiVoxels(path, int(proxy.offset), shape[::-1], stored, None if identity else slope, inter, exact),
        shape=shape[::-1],
        dtype=stored if identity else exact,
        chunks=(1, *shape[1::-1]),
        files=(path,),
        header=_header(image),
        order=STORED_ZYX,
        voxel_size=geometry.voxel_size,
        unit=geometry.unit,
        offset=geometry.offset,
    )


def _geometry(header: Any, affine: NDArray[Any]) -> Geometry:
    size = triple(header.get_zooms()[:3][::-1], positive=True)
    if size is None:
        return Geometry()
    unit, factor = known_unit(header.get_xyzt_units()[0])
    # A rotated or mirrored affine has no offset in the sense of a translation along the array's axes.
    aligned = np.allclose(affine[:3, :3], np.diag(size[::-1]), rtol=1e-5, atol=0)
    offset: Triple | None = triple(affine[:3, 3][::-1]) if aligned else None
    return scaled(size, unit, offset, factor)


def _header(image: Any) -> dict[str, Any]:
    header = image.header
    fields = {name: header[name].tolist() for name in header}
    return {
        "format": "nifti",
        "class": type(image).__name__,
        "binary": as_json(header.binaryblock),
        "endianness": header.endianness,
        "fields": as_json({k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in fields.items()}),
        "extensions": [{"code": int(e.get_code()), "content": as_json(e.content)} for e in header.extensions],
        "affine": as_json(image.affine),
    }
