"""Scans: one file of one subject, as it is stored.

A *scan* is a volume of MRI with its place in the world, read whole: a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz) or a
FreeSurfer volume (.mgh, .mgz). Its *native axes* are i, j, k, in the order of the file. Its *affine* maps native indices
to world millimetres (right, anterior, superior), chosen as nibabel does: the sform where it has a code, else the qform,
else what the voxel sizes alone say; where the file's unit is the metre or the micrometre it is scaled.
"""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.volumeutils import array_from_file
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.header import as_json
from sepvox.prepare.readers.stored import Triple, first_line

SAME_GRID = 0.1
"""How far the corners of two scans of one grid may lie apart, as a part of the reference's shortest voxel edge.

Tools store affines in float32, voxel sizes with few decimals, or rotations as quaternions: corners of one grid then
differ by hundredths of a voxel. A tenth of a voxel is below what a label map on that grid can express.
"""

_COMPRESSED = (".nii.gz", ".mgz")
_NIFTI = (".nii", ".nii.gz")
_SUFFIXES = (*_NIFTI, ".mgh", ".mgz")
_CLASSES = (nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage)
# Deflate codes at best 258 bytes in two bits.
_DEFLATE_RATIO = 1032
# Edges of voxels in millimetres; beyond these a header is damaged.
_SMALLEST, _LARGEST = 1e-6, 1e5


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Attributes
    ----------
    path : Path
        The file, for messages.
    data : array (i, j, k)
        Native byte order. Integers where the file holds integers without scaling, else float32.
    affine : float64 (4, 4)
        From native indices (i, j, k, 1) to world millimetres.
    header : dict
        All that the file says about itself, JSON-serialisable; enough to write a result in its space without the file.
    """

    path: Path
    data: NDArray[Any]
    affine: NDArray[np.float64]
    header: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.data.shape
        return i, j, k

    @property
    def spacing(self) -> Triple:
        """Edges of a voxel along i, j, k in millimetres."""
        return spacing_of(self.affine)


def spacing_of(affine: NDArray[np.float64]) -> Triple:
    """Lengths of the columns of an affine (4, 4): the edges of a voxel in millimetres."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return i, j, k


def read_scan(path: Path, what: str) -> Scan:
    """Read an image.

    A file of more than three axes is taken as its one volume; the header remembers the further axes.

    Parameters
    ----------
    path : Path
        A .nii, .nii.gz, .mgh or .mgz file.
    what : str
        Where the path was given, for messages: a configuration key, a row of a table, an argument.

    Raises
    ------
    InputError
        If the file is missing, of another format, truncated or damaged, holds a 2-D image or several volumes, an affine
        that is no map of the world, voxels that are not finite, or one value only.
    """
    scan = read_stored(path, what)
    data = scan.data
    if data.dtype.kind == "f":
        with np.errstate(over="ignore"):
            data = data.astype(np.float32, copy=False)
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        if bad:
            first = tuple(int(n) for n in np.unravel_index(int(np.isfinite(data).argmin()), data.shape))
            raise InputError(
                f"{what}: {path}: {bad} of {data.size} voxels are NaN, infinite or beyond float32, the first at {first} (i, j, k); "
                "expected finite intensities: replace them, or write the image again"
            )
    lowest, highest = data.min(), data.max()
    if lowest == highest:
        raise InputError(
            f"{what}: {path}: every voxel is {lowest:g}; expected an image with a foreground: write it again from its source"
        )
    return replace(scan, data=data)


def check_same_grid(scan: Scan, reference: Scan, what: str) -> None:
    """Refuse a scan whose voxels are not those of `reference`.

    Shapes must be equal, and the eight corners must lie within `SAME_GRID` of the reference's shortest voxel edge of
    each other.

    Raises
    ------
    InputError
        With both shapes, or both affines, row by row.
    """
    mend = "resample it onto that grid first"
    if scan.shape != reference.shape:
        raise InputError(
            f"{what}: {scan.path}: has {_times(scan.shape)} voxels, but {reference.path} has {_times(reference.shape)}; "
            f"expected the same grid: {mend}"
        )
    corners = np.ones((4, 8))
    corners[:3] = np.indices((2, 2, 2)).reshape(3, 8) * (np.asarray(scan.shape)[:, None] - 1)
    apart = float(np.linalg.norm((scan.affine - reference.affine)[:3] @ corners, axis=0).max())
    allowed = SAME_GRID * min(reference.spacing)
    if apart > allowed:
        raise InputError(
            f"{what}: {scan.path}: its affine {_rows(scan.affine)} differs from {_rows(reference.affine)} of {reference.path}: "
            f"corners are {apart:.3g} mm apart, at most {allowed:.2g} mm are taken as the same grid; {mend}"
        )


def read_stored(path: Path, what: str) -> Scan:
    """The scan with its values as stored, or in float64 where the file scales them."""
    name = f"{what}: {path}"
    image = _load(path, name)
    shape = tuple(int(n) for n in image.shape)
    extents = _spatial(shape, name)
    proxy = image.dataobj
    dtype = np.dtype(proxy.dtype)
    if dtype.kind not in "iuf":
        raise InputError(
            f"{name}: holds voxels of type {dtype}; expected one real number per voxel: convert colours or complex values to grey"
        )
    affine = _affine(image, name)
    if isinstance(image, nib.Nifti1Image) and proxy.offset < image.header.single_vox_offset:
        raise InputError(
            f"{name}: its voxels begin at byte {int(proxy.offset)}, inside the header; correct vox_offset, or write the file again from its source"
        )
    data = _voxels(path, int(proxy.offset), extents, dtype, name)
    slope, inter = float(proxy.slope), float(proxy.inter)
    if (slope, inter) != (1.0, 0.0):
        # In float64: slope and intercept may cancel, which float32 would round visibly.
        data = data.astype(np.float64) * slope + inter
    return Scan(path, data.astype(data.dtype.newbyteorder("="), copy=False), affine, _header(image, shape))


def _load(path: Path, name: str) -> Any:
    if not path.exists():
        raise InputError(f"{name}: does not exist; check the path")
    if not path.is_file() or not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{name}: is no file that scans are read from; expected {', '.join(_SUFFIXES)}")
    try:
        image = nib.load(path) if path.name.lower().endswith(_NIFTI) else _load_mgh(path)
    except Exception as error:
        # nibabel's errors have no common type but Exception.
        raise InputError(
            f"{name}: cannot be opened as NIfTI or MGH ({first_line(error)}); the file is truncated, damaged or of another format"
        ) from error
    if type(image) not in _CLASSES:
        raise InputError(f"{name}: is a {type(image).__name__}, which holds no volume; expected NIfTI or MGH")
    return image


def _load_mgh(path: Path) -> Any:
    # nibabel's own way in leaves an .mgh file open.
    with _opened(path) as stream:
        return nib.MGHImage.from_stream(stream)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, (gzip.open if path.name.lower().endswith(_COMPRESSED) else open)(path, "rb"))


def _spatial(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if 0 in shape:
        raise InputError(f"{name}: has shape {_times(shape)}: it holds no voxels; write it again from its source")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise InputError(
            f"{name}: has shape {_times(shape)}, a 2-D image; expected a volume of three axes: stack the sections first"
        )
    if any(n != 1 for n in shape[3:]):
        raise InputError(
            f"{name}: has shape {_times(shape)}, several volumes; expected one: save one volume of the series as its own file"
        )
    return shape[0], shape[1], shape[2]


def _affine(image: Any, name: str) -> NDArray[np.float64]:
    affine = np.asarray(image.affine, dtype=np.float64).copy()
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    # Of unit columns, the determinant is the volume they span: 1 without shear, 0 where they lie in a plane.
    if not (np.isfinite(affine).all() and lengths.all() and abs(np.linalg.det(axes / lengths)) > 1e-3):
        raise InputError(
            f"{name}: its affine {_rows(affine)} is singular: it maps voxels to no volume of the world; "
            "correct the header's sform, qform or voxel sizes"
        )
    if isinstance(image, nib.Nifti1Image):
        # An unknown unit is taken for the millimetre, which nearly all tools mean by it.
        affine[:3] *= {1: 1e3, 3: 1e-3}.get(int(image.header["xyzt_units"]) % 8, 1.0)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < _SMALLEST or lengths.max() > _LARGEST:
        raise InputError(
            f"{name}: its voxels are {' x '.join(f'{v:.3g}' for v in lengths)} mm; expected {_SMALLEST:g} to {_LARGEST:g}: correct the header's sform, qform, voxel sizes or units"
        )
    return affine


def _voxels(path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    size, needed = path.stat().st_size, offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    # Before anything is allocated: a damaged header may ask for terabytes.
    if size * (_DEFLATE_RATIO if path.name.lower().endswith(_COMPRESSED) else 1) < needed:
        raise InputError(
            f"{name}: is truncated: {size} bytes, its header needs {needed}; copy it again from its source"
        )
    try:
        with _opened(path) as stream:
            data: NDArray[Any] = array_from_file(shape, dtype, cast(Any, stream), offset, mmap=False)
            # gzip's checksum stands at the end of the stream: only who reads it through learns of damage.
            while stream.read(2**20):
                pass
    except Exception as error:
        raise InputError(
            f"{name}: is truncated or damaged ({first_line(error)}); copy it again from its source"
        ) from error
    return data


def _header(image: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    header = image.header
    fields = {name: header[name].tolist() for name in header}
    return {
        "class": type(image).__name__,
        "shape": list(shape),
        "affine": as_json(image.affine),
        "endianness": header.endianness,
        "binary": as_json(header.binaryblock),
        "extensions": [
            {"code": int(e.get_code()), "content": as_json(e.content)} for e in getattr(header, "extensions", ())
        ],
        "fields": as_json({k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in fields.items()}),
    }


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _rows(affine: NDArray[np.float64]) -> str:
    """The first three rows of an affine on one line."""
    return "[" + "; ".join(" ".join(f"{v:.6g}" for v in row) for row in affine[:3]) + "]"
