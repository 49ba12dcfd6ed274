"""Every format gives back the voxels and the metadata that were written, and reads only the box that is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sepvox.prepare.readers import stored
from sepvox.prepare.readers.source import Source, open_source
from sepvox.prepare.readers.stored import BLOCK_BYTES, block_shape

SHAPE = (11, 40, 50)
WHAT = "volumes.a.image"
Write = Callable[[Path, NDArray[Any]], tuple[str, str | None]]


def volume(dtype: str = "u2", shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    """Voxels that all differ as far as the dtype allows."""
    return np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(dtype)


def hdf5_chunked(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    with h5py.File(path / "a.h5", "w") as f:
        f.create_dataset("volumes/raw", data=a, chunks=(4, 16, 16), compression="gzip")
        f["other"] = a[0]
    return str(path / "a.h5"), "volumes/raw"


def hdf5_contiguous(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    with h5py.File(path / "a.hdf5", "w") as f:
        f.create_dataset("raw", data=a.astype(a.dtype.newbyteorder(">")))
    return str(path / "a.hdf5"), None


def tiff_raw(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    tifffile.imwrite(path / "a.tif", a, photometric="minisblack")
    return str(path / "a.tif"), None


def tiff_big_endian(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    tifffile.imwrite(path / "a.tif", a, byteorder=">", bigtiff=True, photometric="minisblack")
    return str(path / "a.tif"), None


def tiff_strips(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    tifffile.imwrite(
        path / "a.tif", a, compression="zlib", rowsperstrip=7, predictor=a.dtype.kind != "f", photometric="minisblack"
    )
    return str(path / "a.tif"), None


def tiff_tiles(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    tifffile.imwrite(path / "a.tiff", a, compression="zlib", tile=(16, 32), metadata=None, photometric="minisblack")
    return str(path / "a.tiff"), None


def tiff_interleaved(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    with tifffile.TiffWriter(path / "a.tif") as writer:
        for plane in a:
            writer.write(plane, metadata=None, contiguous=False, rowsperstrip=9, photometric="minisblack")
    return str(path / "a.tif"), None


def tiff_imagej(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    tifffile.imwrite(path / "a.tif", a, imagej=True)
    return str(path / "a.tif"), None


def tiff_sections(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    for z, plane in enumerate(a):
        tifffile.imwrite(path / f"s{z}.tif", plane, compression="zlib" if z % 2 else None, photometric="minisblack")
    return str(path / "s*.tif"), None


def nifti(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    nib.save(nib.Nifti1Image(a.T, np.eye(4)), path / "a.nii")
    return str(path / "a.nii"), None


def nifti_gz(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    nib.save(nib.Nifti2Image(a.T[..., None], np.eye(4)), path / "a.nii.gz")
    return str(path / "a.nii.gz"), None


def npy(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    np.save(path / "a.npy", a)
    return str(path / "a.npy"), None


def npy_fortran(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    np.save(path / "a.npy", np.asfortranarray(a))
    return str(path / "a.npy"), None


def npz(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    np.savez_compressed(path / "a.npz", raw=a, other=a[0])
    return str(path / "a.npz"), "raw"


def zarr2(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    zarr.create_array(path / "a.zarr", data=a, chunks=(4, 16, 16), zarr_format=2)
    return str(path / "a.zarr"), None


def zarr3_group(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("volumes/raw", data=a, chunks=(4, 16, 16), shards=(8, 32, 32))
    group.create_array("other", data=a[0])
    return str(path / "a.zarr"), "volumes/raw"


def ome04(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=a[None, None], chunks=(1, 1, 4, 16, 16))
    group.create_array("1", data=a[None, None, ::2, ::2, ::2])
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": "t", "type": "time", "unit": "second"},
                {"name": "c", "type": "channel"},
                *({"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"),
            ],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 40, 4, 4]}]},
                {
                    "path": "1",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 1, 80, 8, 8]},
                        {"type": "translation", "translation": [0, 0, 20, 2, 2]},
                    ],
                },
            ],
            "coordinateTransformations": [{"type": "translation", "translation": [0, 0, 400, 40, 80]}],
        }
    ]
    return str(path / "a.zarr"), None


def ome05_xyz(path: Path, a: NDArray[Any]) -> tuple[str, str | None]:
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("image/s0", data=a.T, chunks=(16, 16, 4))
    group["image"].attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": n, "type": "space", "unit": "angstrom"} for n in "xyz"],
                "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [40, 50, 400]}]}],
            }
        ],
    }
    return str(path / "a.zarr"), "image"


WRITERS: tuple[Write, ...] = (
    hdf5_chunked,
    hdf5_contiguous,
    tiff_raw,
    tiff_big_endian,
    tiff_strips,
    tiff_tiles,
    tiff_interleaved,
    tiff_imagej,
    tiff_sections,
    nifti,
    nifti_gz,
    npy,
    npy_fortran,
    npz,
    zarr2,
    zarr3_group,
    ome04,
    ome05_xyz,
)
every_format = pytest.mark.parametrize("write", WRITERS, ids=lambda w: w.__name__)


def opened(path: Path, write: Write, a: NDArray[Any]) -> Source:
    file, key = write(path, a)
    return open_source(file, key, "zyx", WHAT)


def read(source: Source, *box: slice | int) -> NDArray[Any]:
    part: NDArray[Any] = source.array[box].compute(scheduler="synchronous") if box else source.array.compute()
    return part


@every_format
def test_voxels_come_back_as_written(tmp_path: Path, write: Write) -> None:
    a = volume()
    source = opened(tmp_path, write, a)
    assert source.array.shape == SHAPE
    assert source.array.dtype == np.dtype("=u2")
    b = read(source)
    assert b.dtype == np.dtype("=u2")
    assert b.dtype.isnative
    np.testing.assert_array_equal(b, a)


@every_format
@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
def test_dtype_is_kept(tmp_path: Path, write: Write, dtype: str) -> None:
    # ImageJ files hold no 32-bit integers.
    a = volume("u2" if write is tiff_imagej and dtype == "i4" else dtype)
    b = read(opened(tmp_path, write, a))
    assert b.dtype == a.dtype
    np.testing.assert_array_equal(b, a)


@every_format
def test_axes_xyz_reverse_files_that_do_not_name_their_axes(tmp_path: Path, write: Write) -> None:
    a = volume()
    named = write in (nifti, nifti_gz, ome04, ome05_xyz)
    file, key = write(tmp_path, a)
    source = open_source(file, key, "xyz", WHAT)
    np.testing.assert_array_equal(read(source), a if named else a.T)
    np.testing.assert_array_equal(
        read(source, slice(3, 9), slice(2, 7), slice(1, 4)), (a if named else a.T)[3:9, 2:7, 1:4]
    )


@every_format
def test_header_is_json_and_files_exist(tmp_path: Path, write: Write) -> None:
    source = opened(tmp_path, write, volume())
    assert json.loads(json.dumps(source.header, allow_nan=False)) == source.header
    assert source.files
    assert all(file.exists() for file in source.files)


@every_format
def test_no_handle_stays_open(tmp_path: Path, write: Write) -> None:
    source = opened(tmp_path, write, volume())
    read(source)
    links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert not [link for link in links if link.startswith(str(tmp_path))]


@every_format
def test_threads_and_processes_read_the_same(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK_BYTES", 4096)
    a = volume()
    source = opened(tmp_path, write, a)
    assert source.array.npartitions > 4
    with dask.config.set(num_workers=8):
        np.testing.assert_array_equal(source.array.compute(scheduler="threads"), a)
    np.testing.assert_array_equal(cloudpickle.loads(cloudpickle.dumps(source.array)).compute(), a)


@every_format
def test_random_boxes_equal_numpy_slices(tmp_path: Path, write: Write) -> None:
    a = volume()
    source = opened(tmp_path, write, a)
    span = st.tuples(st.integers(0, 49), st.integers(0, 49), st.sampled_from([1, 1, 1, 2, 3]))

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.tuples(span, span, span))
    def check(spans: tuple[tuple[int, int, int], ...]) -> None:
        box = tuple(slice(b % n, b % n + length + 1, step) for (b, length, step), n in zip(spans, SHAPE, strict=True))
        np.testing.assert_array_equal(read(source, *box), a[box])

    check()
    np.testing.assert_array_equal(read(source, 3), a[3])
    np.testing.assert_array_equal(read(source, slice(None), 7, slice(9, None)), a[:, 7, 9:])
    np.testing.assert_array_equal(read(source, slice(5, 5)), a[5:5])
    np.testing.assert_array_equal(source.array[3:9, [7, 2, 30], 8].compute(), a[3:9, [7, 2, 30], 8])
    np.testing.assert_array_equal(
        read(source, slice(None, None, -1), slice(30, 4, -2), slice(0, 5)), a[::-1, 30:4:-2, :5]
    )


@every_format
def test_a_box_reads_no_voxels_but_its_own(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one place through which all readers go is asked for the box, opening asks for nothing."""
    asked: list[tuple[list[int], list[int]]] = []
    original = stored.OrderedVoxels._read

    def counting(self: Any, begin: list[int], end: list[int]) -> NDArray[Any]:
        asked.append((begin, end))
        return original(self, begin, end)

    monkeypatch.setattr(stored.OrderedVoxels, "_read", counting)
    source = opened(tmp_path, write, volume())
    assert asked == []
    read(source, slice(2, 5), slice(10, 20), slice(30, 33))
    assert asked == [([2, 10, 30], [5, 20, 33])]


@pytest.mark.parametrize(
    "write", [hdf5_chunked, hdf5_contiguous, tiff_raw, tiff_strips, tiff_tiles, npy, nifti, zarr2, zarr3_group]
)
def test_a_small_box_reads_few_bytes_of_the_disk(tmp_path: Path, write: Write) -> None:
    a = np.random.default_rng(0).integers(0, 255, (40, 160, 160), np.uint8)
    source = opened(tmp_path, write, a)
    read(source, 0, 0, 0)
    before = _bytes_read()
    np.testing.assert_array_equal(read(source, slice(30, 33), slice(100, 110), slice(9, 12)), a[30:33, 100:110, 9:12])
    assert _bytes_read() - before < a.nbytes / 8


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_blocks_are_bounded_and_follow_the_chunks() -> None:
    for shape, chunks, itemsize in (
        ((5000, 9000, 9000), (64, 64, 64), 1),
        ((5000, 9000, 9000), (1, 9000, 9000), 2),
        ((700, 40000, 50000), (1, 40000, 50000), 1),
        ((180, 250, 250), (60, 125, 125), 4),
        ((2000, 2000, 2000), (2000, 2000, 2000), 8),
        ((10**6, 1, 1), (1, 1, 1), 1),
    ):
        block = block_shape(shape, chunks, itemsize, BLOCK_BYTES)
        assert np.prod(block, dtype=np.int64) * itemsize <= BLOCK_BYTES
        if np.prod(chunks, dtype=np.int64) * itemsize <= BLOCK_BYTES:
            assert np.prod(block, dtype=np.int64) * itemsize > BLOCK_BYTES / 2 or block == shape
            assert all(b % c == 0 or b == s for b, c, s in zip(block, chunks, shape, strict=True))


def test_a_chunk_beyond_the_limit_is_cut_along_z_then_y() -> None:
    assert block_shape((10, 100, 100), (10, 100, 100), 1, 20_000) == (2, 100, 100)
    assert block_shape((10, 100, 100), (10, 100, 100), 1, 250) == (1, 2, 100)
