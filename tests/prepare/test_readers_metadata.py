"""Voxel size, unit, offset and header are what each format's own convention says."""

import base64
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from test_readers_formats import SHAPE, WHAT, ome04, ome05_xyz, volume

from sepvox.prepare.readers.header import as_json, known_unit
from sepvox.prepare.readers.source import open_source


def test_hdf5_resolution_is_in_nanometers_in_the_order_of_the_axes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.attrs["source"] = "a microscope"
        f["raw"] = volume()
        f["raw"].attrs["resolution"] = [40.0, 4.0, 5.0]
        f["raw"].attrs["offset"] = [400.0, 0.0, 8.0]
    source = open_source(str(tmp_path / "a.h5"), "raw", "zyx", WHAT)
    assert (source.voxel_size, source.unit, source.offset) == ((40, 4, 5), "nanometer", (400, 0, 8))
    assert source.header["attributes"] == {"resolution": [40, 4, 5], "offset": [400, 0, 8]}
    assert source.header["file_attributes"] == {"source": "a microscope"}
    turned = open_source(str(tmp_path / "a.h5"), "raw", "xyz", WHAT)
    assert (turned.voxel_size, turned.offset) == ((5, 4, 40), (8, 0, 400))


def test_hdf5_element_size_is_in_micrometers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["raw"] = volume()
        f["raw"].attrs["element_size_um"] = [0.2, 0.1, 0.1]
    source = open_source(str(tmp_path / "a.h5"), None, "zyx", WHAT)
    assert (source.voxel_size, source.unit, source.offset) == ((0.2, 0.1, 0.1), "micrometer", None)


@pytest.mark.parametrize("value", [[1.0, 2.0], [0.0, 1.0, 1.0], [1.0, float("nan"), 1.0], "fine"])
def test_attributes_that_are_no_voxel_size_are_kept_but_not_used(tmp_path: Path, value: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["raw"] = volume()
        f["raw"].attrs["resolution"] = value
    source = open_source(str(tmp_path / "a.h5"), "raw", "zyx", WHAT)
    assert (source.voxel_size, source.unit) == (None, None)
    assert "resolution" in source.header["attributes"]


@pytest.mark.parametrize(("spacing", "z"), [({"spacing": 40.0}, 40.0), ({}, 1.0)])
def test_imagej_spacing_and_resolution(tmp_path: Path, spacing: dict[str, float], z: float) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", volume(), imagej=True, resolution=(1 / 4, 1 / 5), metadata={"unit": "nm", **spacing}
    )
    source = open_source(str(tmp_path / "a.tif"), None, "zyx", WHAT)
    assert source.voxel_size == pytest.approx((z, 5, 4))
    assert source.unit == "nanometer"
    assert source.header["imagej"]["unit"] == "nm"


def test_ome_tiff_physical_sizes(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeZ": 0.04, "PhysicalSizeY": 0.004, "PhysicalSizeX": 0.005}
    tifffile.imwrite(tmp_path / "a.ome.tif", volume(), metadata={"axes": "ZYX", **sizes})
    source = open_source(str(tmp_path / "a.ome.tif"), None, "zyx", WHAT)
    assert (source.voxel_size, source.unit) == (pytest.approx((0.04, 0.004, 0.005)), "micrometer")
    assert "PhysicalSizeZ" in source.header["ome"]
    np.testing.assert_array_equal(source.array.compute(), volume())


def test_plain_tiff_has_no_voxel_size_but_its_tags(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume(), description="a microscope", metadata=None, photometric="minisblack")
    source = open_source(str(tmp_path / "a.tif"), None, "zyx", WHAT)
    assert (source.voxel_size, source.unit, source.offset) == (None, None, None)
    assert source.header["tags"]["ImageDescription"] == "a microscope"


def test_sections_are_in_natural_order_and_all_count_as_files(tmp_path: Path) -> None:
    for z in range(12):
        tifffile.imwrite(tmp_path / f"s{z}.tif", np.full((4, 5), z, np.uint8))
    source = open_source(str(tmp_path / "s*.tif"), None, "zyx", WHAT)
    assert source.array[:, 0, 0].compute().tolist() == list(range(12))
    assert source.files == tuple(tmp_path / f"s{z}.tif" for z in range(12))


def test_nifti_header_affine_zooms_and_unit(tmp_path: Path) -> None:
    affine = np.diag([0.7, 0.8, 3.0, 1.0])
    affine[:3, 3] = [1, 2, 3]
    image = nib.Nifti1Image(volume("i2").T, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scanner"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    nib.save(image, tmp_path / "a.nii.gz")
    source = open_source(str(tmp_path / "a.nii.gz"), None, "zyx", WHAT)
    assert source.voxel_size == pytest.approx((3.0, 0.8, 0.7))
    assert (source.unit, source.offset) == ("millimeter", (3, 2, 1))
    header = nib.load(tmp_path / "a.nii.gz").header
    assert base64.b64decode(source.header["binary"]["base64"]) == header.binaryblock
    assert nib.Nifti1Header(base64.b64decode(source.header["binary"]["base64"]), source.header["endianness"]) == header
    np.testing.assert_allclose(source.header["affine"], affine, rtol=1e-6)
    assert source.header["fields"]["descrip"] == "a scanner"
    assert source.header["fields"]["scl_slope"] is None
    assert base64.b64decode(source.header["extensions"][0]["content"]["base64"]).rstrip(b"\0") == b"kept"


def test_mirrored_nifti_has_voxel_size_but_no_offset(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(volume().T, np.diag([-2.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii")
    source = open_source(str(tmp_path / "a.nii"), None, "zyx", WHAT)
    assert (source.voxel_size, source.offset) == ((3, 2, 2), None)


def test_nifti_scaling_is_applied_where_it_is_not_the_identity(tmp_path: Path) -> None:
    a = volume("f4") / 7
    image = nib.Nifti1Image(a.T, np.eye(4))
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii")
    proxy = nib.load(tmp_path / "a.nii").dataobj
    assert proxy.slope != 1
    source = open_source(str(tmp_path / "a.nii"), None, "zyx", WHAT)
    assert source.array.dtype == np.float32
    np.testing.assert_allclose(source.array.compute(), np.asarray(proxy).T, rtol=1e-6)


def test_ome_zarr_scale_translation_and_unit(tmp_path: Path) -> None:
    file, key = ome04(tmp_path, volume())
    source = open_source(file, key, "zyx", WHAT)
    assert (source.voxel_size, source.unit, source.offset) == ((40, 4, 4), "nanometer", (400, 40, 80))
    assert source.array.shape == SHAPE
    assert source.header["group_attributes"]["."]["multiscales"][0]["version"] == "0.4"


@pytest.mark.parametrize("inside", [False, True], ids=["key", "path"])
def test_a_level_of_an_ome_zarr_has_its_own_scale(tmp_path: Path, inside: bool) -> None:
    file, _ = ome04(tmp_path, volume())
    source = open_source(f"{file}/1", None, "zyx", WHAT) if inside else open_source(file, "1", "zyx", WHAT)
    assert (source.voxel_size, source.offset) == ((80, 8, 8), (420, 42, 82))
    np.testing.assert_array_equal(source.array.compute(), volume()[::2, ::2, ::2])


def test_ome_zarr_axes_by_name_and_units_that_are_converted(tmp_path: Path) -> None:
    file, key = ome05_xyz(tmp_path, volume())
    source = open_source(file, key, "zyx", WHAT)
    assert (source.voxel_size, source.unit) == (pytest.approx((40, 5, 4)), "nanometer")


def test_zarr_dimension_names_and_attributes(tmp_path: Path) -> None:
    a = zarr.create_array(tmp_path / "a.zarr", data=volume().T, dimension_names=["x", "y", "z"])
    a.attrs.update({"resolution": [4, 5, 40], "unit": "nm", "note": "kept"})
    source = open_source(str(tmp_path / "a.zarr"), None, "zyx", WHAT)
    assert (source.voxel_size, source.unit) == ((40, 5, 4), "nanometer")
    assert source.header["attributes"]["note"] == "kept"
    np.testing.assert_array_equal(source.array.compute(), volume())


def test_zarr_files_are_its_metadata_and_its_chunks(tmp_path: Path) -> None:
    file, key = ome04(tmp_path, volume())
    files = {f.relative_to(tmp_path / "a.zarr").as_posix() for f in open_source(file, key, "zyx", WHAT).files}
    assert files == {".zgroup", ".zattrs", "0/.zarray", "0/.zattrs", "0"} or files == {
        ".zgroup",
        ".zattrs",
        "0/.zarray",
        "0",
    }


@pytest.mark.parametrize(
    ("text", "unit", "factor"),
    [
        ("nm", "nanometer", 1),
        ("\u00b5m", "micrometer", 1),
        ("Micron", "micrometer", 1),
        ("cm", "millimeter", 10),
        ("pixel", None, 1),
    ],
)
def test_units_by_their_usual_names(text: str, unit: str | None, factor: float) -> None:
    assert known_unit(text) == (unit, factor)


def test_header_values_become_json() -> None:
    value = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": b"\x00", "d": (float("nan"), None), 3: Path("x")}
    assert as_json(value) == {"a": 1.5, "b": [1, 2], "c": {"base64": "AA=="}, "d": [None, None], "3": "x"}
