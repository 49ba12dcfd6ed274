"""What is no volume is refused with one line that names the key, the file and the mend; damage is never read silently."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import test_readers_formats as formats
import tifffile
import zarr
from test_readers_formats import WHAT, Write, volume

from sepvox.errors import InputError
from sepvox.prepare.readers.npy import NumpyVoxels
from sepvox.prepare.readers.source import open_source

_UNASSIGNED_COMPRESSION = 60123


def refusal(path: Path | str, key: str | None = None, what: str = WHAT) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(InputError) as caught:
        open_source(str(path), key, "zyx", what)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_file_names_key_folder_and_the_near_name(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", volume())
    assert refusal(tmp_path / "imgae.npy").startswith(f"{WHAT}: {tmp_path}/imgae.npy: does not exist")
    assert "did you mean image.npy?" in refusal(tmp_path / "imgae.npy")
    assert f"nor does its folder {tmp_path}/no" in refusal(tmp_path / "no" / "image.npy")


@pytest.mark.parametrize(
    "path", ["$SEPVOX_UNSET_FOLDER/a.h5", "${SEPVOX_UNSET_FOLDER}/a.h5", "${SEPVOX_UNSET_FOLDER}/*.tif"]
)
def test_unset_environment_variable_is_named(path: str) -> None:
    assert "environment variable SEPVOX_UNSET_FOLDER is not set" in refusal(path)


def test_unknown_extension_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(b"")
    message = refusal(tmp_path / "a.mrc")
    assert "'.mrc'" in message
    assert all(suffix in message for suffix in (".h5", ".tif", ".nii.gz", ".npy", ".npz", "Zarr"))


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.nii", "a.nii.gz", "a.npy", "a.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"not a volume at all", b"II*\0", b"\x93NUMPY\x01\x00"], ids=["empty", "text", "tiff", "npy"]
)
def test_file_of_another_format_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    assert f"{WHAT}: {tmp_path}/{name}: " in message
    assert "cannot be opened as" in message or "truncated" in message


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    assert "is a pipe or a device" in refusal(tmp_path / "a.npy")


def test_bit_flipped_in_a_nii_gz_is_no_voxel(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (20, 24, 28), dtype=np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    # What cannot be compressed is stored as it is, so that decompression alone finds nothing wrong.
    content[len(content) // 2] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    source = open_source(str(tmp_path / "a.nii.gz"), None, "zyx", WHAT)
    with pytest.raises(InputError, match="CRC"):
        source.array.compute(scheduler="synchronous")


def test_folder_without_zarr_is_refused(tmp_path: Path) -> None:
    assert "folder without Zarr metadata" in refusal(tmp_path)


@pytest.mark.parametrize("write", [formats.hdf5_chunked, formats.npz, formats.zarr3_group])
def test_wrong_or_missing_key_lists_the_keys(tmp_path: Path, write: Write) -> None:
    path, key = write(tmp_path, volume())
    for wrong in (None, "volumes/rwa"):
        message = refusal(path, wrong)
        assert f"{key} (11x40x50 uint16)" in message
        assert "other (40x50 uint16)" in message
        assert "volumes.a.key" in message
    assert "volumes.a.labels_key" in refusal(path, None, "volumes.a.labels")


def test_keys_of_ome_zarr_images_are_listed(tmp_path: Path) -> None:
    formats.ome05_xyz(tmp_path, volume())
    zarr.create_array(tmp_path / "a.zarr" / "other", data=volume()[0])
    assert "image (OME-Zarr image), other (40x50 uint16)" in refusal(tmp_path / "a.zarr")


def test_the_only_image_of_a_zarr_group_needs_no_key(tmp_path: Path) -> None:
    formats.ome05_xyz(tmp_path, volume())
    source = open_source(str(tmp_path / "a.zarr"), None, "zyx", WHAT)
    np.testing.assert_array_equal(source.array.compute(), volume())
    formats.zarr3_group(tmp_path, volume())
    source = open_source(str(tmp_path / "a.zarr"), "volumes", "zyx", WHAT)
    assert source.header["key"] == "volumes/raw"


def test_key_outside_the_zarr_folder_is_refused(tmp_path: Path) -> None:
    formats.zarr3_group(tmp_path, volume())
    zarr.create_array(tmp_path / "b.zarr", data=volume())
    assert "there is no '../b.zarr'" in refusal(tmp_path / "a.zarr", "../b.zarr")


@pytest.mark.parametrize("write", [formats.tiff_raw, formats.tiff_sections, formats.nifti, formats.npy, formats.zarr2])
def test_key_for_a_file_without_keys_is_refused(tmp_path: Path, write: Write) -> None:
    path, _ = write(tmp_path, volume())
    assert "volumes.a.key is 'raw'; remove it" in refusal(path, "raw")


@pytest.mark.parametrize("write", [w for w in formats.WRITERS if w not in (formats.tiff_sections, formats.nifti_gz)])
def test_2d_image_is_refused_with_its_shape(tmp_path: Path, write: Write) -> None:
    if write in (
        formats.hdf5_chunked,
        formats.zarr2,
        formats.zarr3_group,
        formats.ome04,
        formats.ome05_xyz,
        formats.tiff_interleaved,
    ):
        path = tmp_path / "flat.zarr"
        zarr.create_array(path, data=volume()[0])
        key = None
    else:
        name, key = write(tmp_path, volume()[0])
        path = Path(name)
    message = refusal(path, key)
    assert "is a 2D image of shape (" in message
    assert "40" in message
    assert "50" in message
    assert "expected three axes" in message


def test_4d_arrays_are_refused_with_their_shape(tmp_path: Path) -> None:
    a = volume("u1", (3, 4, 5, 6))
    np.save(tmp_path / "a.npy", a)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["raw"] = a
    nib.save(nib.Nifti1Image(a.T, np.eye(4)), tmp_path / "a.nii")
    zarr.create_array(tmp_path / "a.zarr", data=a)
    tifffile.imwrite(tmp_path / "a.tif", a, imagej=True, metadata={"axes": "ZCYX"})
    for name in ("a.npy", "a.h5", "a.zarr", "a.tif"):
        assert "shape (3, 4, 5, 6)" in refusal(tmp_path / name)
    assert "shape (6, 5, 4, 3)" in refusal(tmp_path / "a.nii")


def test_ome_zarr_with_channels_is_refused_naming_the_axis(tmp_path: Path) -> None:
    formats.ome04(tmp_path, volume())
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    group.create_array("0", data=np.zeros((1, 2, 4, 5, 6), "u1"), overwrite=True)
    message = refusal(tmp_path / "a.zarr")
    assert "shape (1, 2, 4, 5, 6)" in message
    assert "axis c is 2" in message


def test_ome_zarr_metadata_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    formats.ome05_xyz(tmp_path, volume())
    group = zarr.open_group(tmp_path / "a.zarr" / "image", mode="a")
    ome = dict(group.attrs["ome"])  # type: ignore[arg-type]
    group.attrs["ome"] = {**ome, "multiscales": [{"axes": ome["multiscales"][0]["axes"], "datasets": [{}]}]}
    assert "metadata of 'image' cannot be understood (KeyError: 'path')" in refusal(tmp_path / "a.zarr", "image")


@pytest.mark.parametrize(
    ("dtype", "mend"), [("c8", "complex"), ("O", "Python objects"), ("M8[s]", "numbers"), ("U3", "numbers")]
)
def test_dtypes_that_are_no_real_numbers_are_refused(tmp_path: Path, dtype: str, mend: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), dtype), allow_pickle=True)
    assert mend in refusal(tmp_path / "a.npy")


def test_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 40, 50, 3), "u1"), photometric="rgb")
    assert "shape (5, 40, 50, 3)" in refusal(tmp_path / "a.tif")
    record = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(record, np.eye(4)), tmp_path / "a.nii")
    assert "records or colours" in refusal(tmp_path / "a.nii")


def test_empty_axis_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 0, 4)))
    assert "axis y is empty" in refusal(tmp_path / "a.npy")


def test_glob_without_match_and_with_other_files(tmp_path: Path) -> None:
    assert "no file matches this glob" in refusal(tmp_path / "*.tif")
    assert "write [[] for a [" in refusal(tmp_path / "run [1]/*.tif")
    (tmp_path / "a.png").write_bytes(b"")
    assert "a.png: matches the glob" in refusal(tmp_path / "*")


@pytest.mark.parametrize("odd", [0, 4], ids=["first", "middle"])
@pytest.mark.parametrize("change", [lambda a: a[:, :-1], lambda a: a.astype("f4")], ids=["shape", "dtype"])
def test_deviating_section_is_the_one_that_is_named(tmp_path: Path, odd: int, change: Callable[[Any], Any]) -> None:
    for z, plane in enumerate(volume()):
        tifffile.imwrite(tmp_path / f"s{z}.tif", change(plane) if z == odd else plane)
    message = refusal(tmp_path / "s*.tif")
    assert f"{tmp_path}/s{odd}.tif: is 40x" in message
    assert "but 10 of the 11 sections" in message


def test_3d_file_among_sections_is_named(tmp_path: Path) -> None:
    formats.tiff_sections(tmp_path, volume())
    formats.tiff_raw(tmp_path, volume())
    assert f"{tmp_path}/a.tif: has shape (11, 40, 50)" in refusal(tmp_path / "*.tif")


def test_pages_that_differ_are_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for z, plane in enumerate(volume()):
            writer.write(plane[: 30 if z >= 4 else None], metadata=None, contiguous=False)
    assert "page 4 is 7x30x50 uint16, but page 0 belongs to an image of 4x40x50 uint16" in refusal(tmp_path / "a.tif")


def test_compression_without_decoder_names_the_package(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume(), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(_UNASSIGNED_COMPRESSION)
    assert "install the Python package imagecodecs" in refusal(tmp_path / "a.tif")


TRUNCATED = tuple(
    write
    for write in formats.WRITERS
    if write not in (formats.tiff_sections, formats.zarr2, formats.zarr3_group, formats.ome04, formats.ome05_xyz)
)


@pytest.mark.parametrize("write", TRUNCATED, ids=lambda w: w.__name__)
def test_truncated_file_is_refused_or_has_lost_nothing(tmp_path: Path, write: Write) -> None:
    a = volume(shape=(5, 12, 14))
    if write is formats.hdf5_chunked:
        a = volume(shape=(5, 16, 16))
    if write is formats.tiff_tiles:
        a = volume(shape=(5, 20, 40))
    name, key = write(tmp_path, a)
    path, whole = Path(name), Path(name).read_bytes()
    np.testing.assert_array_equal(open_source(name, key, "zyx", WHAT).array.compute(), a)
    refused: list[str] = []
    for size in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:size])
        try:
            voxels = open_source(name, key, "zyx", WHAT).array.compute(scheduler="synchronous")
        except InputError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(voxels, a)
    assert len(refused) >= 50
    assert all(str(path) in message and "\n" not in message for message in refused)


@pytest.mark.parametrize("write", [w for w in TRUNCATED if w.__name__.startswith("tiff")], ids=lambda w: w.__name__)
def test_truncated_tiff_is_refused_at_opening(tmp_path: Path, write: Write) -> None:
    path, _ = write(tmp_path, volume())
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])
    assert "the file is truncated" in refusal(path)


def test_tiff_damaged_after_opening_names_file_and_page(tmp_path: Path) -> None:
    for write in (formats.tiff_raw, formats.tiff_strips):
        path, _ = write(tmp_path, volume())
        source = open_source(path, None, "zyx", WHAT)
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.series[0].dataoffset or tiff.pages[6].dataoffsets[0]
        with Path(path).open("r+b") as file:
            if write is formats.tiff_raw:
                file.truncate(offset + 6 * 40 * 50 * 2 + 10)
            else:
                file.seek(offset)
                file.write(b"\xff" * 20)
        np.testing.assert_array_equal(source.array[:6].compute(), volume()[:6])
        with pytest.raises(InputError, match=f"{path}: page 6 cannot be read"):
            source.array.compute()


def test_damaged_chunk_names_store_and_voxels(tmp_path: Path) -> None:
    path, key = formats.zarr2(tmp_path, volume())
    source = open_source(path, key, "zyx", WHAT)
    (tmp_path / "a.zarr" / "1.0.0").write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match=rf"{WHAT}: {path}: cannot read the voxels z 4:8, y 0:3, x 2:7 \("):
        source.array[4:8, :3, 2:7].compute()


def test_unreadable_zarr_metadata_is_refused(tmp_path: Path) -> None:
    path, key = formats.zarr3_group(tmp_path, volume())
    (tmp_path / "a.zarr" / "volumes" / "raw" / "zarr.json").write_text("{}")
    assert "cannot be opened as Zarr" in refusal(path, key)


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key = formats.npy(tmp_path, volume())
    source = open_source(path, key, "zyx", WHAT)

    def failing(*_: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(NumpyVoxels, "read", failing)
    with pytest.raises(OSError, match="Input/output error"):
        source.array.compute()


def test_file_removed_after_opening_is_an_input_error(tmp_path: Path) -> None:
    for write in (formats.npy, formats.hdf5_chunked, formats.tiff_raw, formats.nifti_gz):
        path, key = write(tmp_path, volume())
        source = open_source(path, key, "zyx", WHAT)
        shutil.move(path, tmp_path / "elsewhere")
        with pytest.raises(InputError, match="cannot read the voxels"):
            source.array.compute()
