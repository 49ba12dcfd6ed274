"""Results in the space of the scan: from the prepared grid back to native voxels, slab by slab, and into a NIfTI file.

A *slab* is a run of planes along the last native axis, k, which NIfTI stores last: slabs written one after the other are
the file. A *class* is a channel of the network's output; class 0 is background. Native voxels whose centre lies in no
prepared voxel are background.
"""

import base64
import gzip
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension
from numpy.typing import DTypeLike, NDArray

from sepvox import markers
from sepvox.blocks import Box, triple
from sepvox.errors import ConfigError
from sepvox.prepare.grid import Grid, interpolate, largest_class

SLAB = 16
"""Planes of a slab, unless told otherwise."""

_NIFTI1_EXTENT = 32767
# Positions come out of sums of floats.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class _Reach:
    """The part of a slab that lies on the prepared grid.

    Attributes
    ----------
    box: prepared voxels needed to interpolate there.
    positions: for z, y and x the prepared indices of the native planes, from the begin of `box`.
    planes: for z, y and x these planes, counted from the begin of the slab.
    """

    box: Box
    positions: list[NDArray[np.float64]]
    planes: tuple[slice, ...]


def native_labels(
    grid: Grid,
    native_shape: tuple[int, int, int],
    probabilities: Callable[[Box], NDArray[Any]],
    k_begin: int,
    k_end: int,
) -> NDArray[np.uint8]:
    """The classes of a native slab, from class probabilities on the prepared grid.

    On an exact grid a voxel's class is the largest at that voxel. Otherwise each class is interpolated linearly by
    itself and the largest wins (Isensee et al. 2021); of equals the first.

    Parameters
    ----------
    grid : Grid
        Of the probabilities.
    native_shape : three ints
        Of the scan, i j k.
    probabilities : Box -> array (c, z, y, x)
        At most 256 classes; asked once, for the prepared voxels that the slab needs, and not at all where it needs none.
    k_begin, k_end : int
        The planes of the slab.

    Returns
    -------
    uint8 (i, j, k_end - k_begin)
    """
    if grid.exact:

        def decided(box: Box) -> NDArray[np.uint8]:
            best: NDArray[np.intp] = probabilities(box).argmax(axis=0)
            return best.astype(np.uint8)

        return native_labels_from_map(grid, native_shape, decided, k_begin, k_end)
    slab = np.zeros((*native_shape[:2], k_end - k_begin), np.uint8)
    reach = _reach(grid, native_shape, k_begin, k_end)
    if reach is not None:
        channels = probabilities(reach.box)
        winner = largest_class(interpolate(channel, reach.positions) for channel in channels)
        slab.transpose(grid.native_order)[reach.planes] = winner
    return slab


def native_labels_from_map(
    grid: Grid,
    native_shape: tuple[int, int, int],
    labels: Callable[[Box], NDArray[Any]],
    k_begin: int,
    k_end: int,
    dtype: DTypeLike = np.uint8,
) -> NDArray[Any]:
    """The labels of a native slab, from a label map on the prepared grid: those of the nearest prepared voxel.

    Parameters
    ----------
    grid, native_shape, k_begin, k_end : see `native_labels`.
    labels : Box -> array (z, y, x)
        Of a dtype that `dtype` holds.
    dtype : of the result.

    Returns
    -------
    array (i, j, k_end - k_begin)
    """
    slab = np.zeros((*native_shape[:2], k_end - k_begin), dtype)
    reach = _reach(grid, native_shape, k_begin, k_end)
    if reach is not None:
        nearest = np.ix_(*(np.floor(at + 0.5).astype(np.intp) for at in reach.positions))
        np.copyto(slab.transpose(grid.native_order)[reach.planes], labels(reach.box)[nearest], casting="safe")
    return slab


def write_native(
    path: Path,
    header: Mapping[str, Any],
    values_of: Callable[[int, int], NDArray[Any]],
    dtype: DTypeLike,
    slab: int = SLAB,
) -> None:
    """Write a label map in the space of a scan, one slab at a time, by rename.

    Shape, affine, qform, sform and their codes, voxel sizes, units, time and slice information, and extensions are those
    of the scan; NIfTI-2 stays NIfTI-2, and MGH becomes NIfTI-1. What describes the scan's intensities does not describe
    labels and is set anew: no scaling, no display range, intent "label" (1002, by which viewers choose a colour table)
    without name and parameters, no auxiliary file, description "sepvox". The file is little-endian, and the same labels
    make the same bytes.

    Parameters
    ----------
    path : Path
        .nii or .nii.gz.
    header : mapping
        `Scan.header`.
    values_of : (k_begin, k_end) -> integer array (i, j, k_end - k_begin)
        Asked once for every slab, in order.
    dtype : uint8, uint16 or int32
        See `sepvox.prepare.labels.label_dtype`.
    slab : int
        Planes of a slab.

    Raises
    ------
    ConfigError
        If `path` has another suffix.
    """
    compressed = path.name.lower().endswith(".nii.gz")
    if not compressed and not path.name.lower().endswith(".nii"):
        raise ConfigError(f"{path}: label maps are written as .nii or .nii.gz; choose one of these suffixes")
    stored = np.dtype(dtype).newbyteorder("<")
    written = _label_header(header, stored)
    i, j, k = header["shape"][:3]
    with (
        markers.replacing(path) as temporary,
        temporary.open("wb") as file,
        # Neither the temporary name nor the time goes into the file.
        gzip.GzipFile("", "wb", 6, file, mtime=0) if compressed else nullcontext(file) as stream,
    ):
        written.write_to(stream)
        for begin in range(0, k, slab):
            end = min(begin + slab, k)
            stream.write(_bytes(values_of(begin, end), stored, (i, j, end - begin)))


def _bytes(values: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """A slab as NIfTI stores it, i fastest."""
    if values.shape != shape:
        raise ValueError(f"a slab has shape {values.shape} instead of {shape}")
    limits = np.iinfo(dtype)
    if not np.can_cast(values.dtype, dtype) and not (limits.min <= values.min() and values.max() <= limits.max):
        raise ValueError(f"labels from {values.min()} to {values.max()} do not fit {dtype}")
    return values.astype(dtype, copy=False).tobytes("F")


def _label_header(source: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    """The header of a label map in the space of the scan with the header `source`."""
    shape = tuple(source["shape"])
    if source["class"] == "MGHImage":
        header = (nib.Nifti1Header if max(shape) <= _NIFTI1_EXTENT else nib.Nifti2Header)(endianness="<")
        header.set_data_shape(shape)
        affine = np.asarray(source["affine"])
        # The qform of a sheared affine is the nearest rotation; the sform is the affine itself.
        header.set_qform(affine, code="scanner")
        header.set_sform(affine, code="scanner")
        header.set_xyzt_units("mm")
    else:
        kind = nib.Nifti2Header if source["class"] == "Nifti2Image" else nib.Nifti1Header
        binary = base64.b64decode(source["binary"]["base64"])
        header = kind(binary, endianness=source["endianness"], check=False).as_byteswapped("<")
        header.extensions = kind.exts_klass(
            Nifti1Extension(e["code"], base64.b64decode(e["content"]["base64"])) for e in source["extensions"]
        )
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("label")
    for field in ("cal_min", "cal_max", "glmin", "glmax"):
        if field in header:
            header[field] = 0
    header["descrip"] = b"sepvox"
    header["aux_file"] = b""
    header["magic"] = header.single_magic
    # Zero lets nibabel place the voxels right after the extensions.
    header["vox_offset"] = 0
    return header


def _reach(grid: Grid, native_shape: tuple[int, int, int], k_begin: int, k_end: int) -> _Reach | None:
    begin, end, positions, planes = [], [], [], []
    for axis, extent in zip(grid.axes, grid.shape, strict=True):
        first, stop = (k_begin, k_end) if axis.native == 2 else (0, native_shape[axis.native])
        at = (np.arange(first, stop) - axis.start) / axis.step
        within = np.flatnonzero((at >= -0.5 - _ROUNDING) & (at <= extent - 0.5 + _ROUNDING))
        if not within.size:
            return None
        plane = slice(int(within[0]), int(within[-1]) + 1)
        at = np.clip(at[plane], 0, extent - 1)
        planes.append(plane)
        begin.append(int(at.min()))
        end.append(int(np.ceil(at.max())) + 1)
        positions.append(at - begin[-1])
    return _Reach(Box(triple(begin), triple(end)), positions, tuple(planes))
