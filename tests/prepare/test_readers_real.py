"""The readers on real volumes, where SEPVOX_DATA names the folder that has them."""

import os
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile

from sepvox.prepare.readers.source import open_source

DATA = Path(os.environ.get("SEPVOX_DATA") or "/nonexistent")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
WHAT = "volumes.real.image"


@pytest.mark.parametrize(("key", "dtype"), [("raw", "u1"), ("labels", "u4")])
def test_fib25(key: str, dtype: str) -> None:
    path = DATA / "em" / "fib25.h5"
    source = open_source(str(path), key, "zyx", WHAT)
    assert (source.array.shape, source.array.dtype) == ((180, 250, 250), np.dtype(dtype))
    assert (source.voxel_size, source.unit, source.offset) == ((10, 10, 10), "nanometer", (0, 0, 0))
    with h5py.File(path) as file:
        np.testing.assert_array_equal(source.array[70:90, 100:200, 3:9].compute(), file[key][70:90, 100:200, 3:9])


def test_cremi_tiff() -> None:
    path = DATA / "em" / "cremi_c_25x625x625.tif"
    source = open_source(str(path), None, "zyx", WHAT)
    np.testing.assert_array_equal(source.array.compute(), tifffile.imread(path))


def test_hippocampus_nifti() -> None:
    paths = sorted((DATA / "mri" / "hippocampus" / "images").glob("*.nii*"))
    assert paths
    for path in paths[::20]:
        source = open_source(str(path), None, "zyx", WHAT)
        image = nib.load(path)
        voxels = source.array.compute()
        assert voxels.dtype == image.get_data_dtype().newbyteorder("=")
        np.testing.assert_array_equal(voxels, np.asarray(image.dataobj).T)
        assert source.voxel_size == pytest.approx(image.header.get_zooms()[::-1])
