"""Content that no step can use is refused with one line: how many, where the first, and the mend."""

import numpy as np
import pytest

from sepvox.errors import InputError
from sepvox.prepare.checks import (
    check_image_block,
    check_labels_block,
    check_labels_dtype,
    check_mask_block,
    check_region,
    check_same_shape,
)


def test_nan_and_infinite_voxels_are_counted_and_located() -> None:
    block = np.zeros((3, 4, 5), np.float32)
    block[1, 2, 3] = np.nan
    block[2, 0, 0] = np.nan
    block[2, 3, 4] = -np.inf
    with pytest.raises(
        InputError, match=r"^a: b: 2 NaN and 1 infinite of 60 voxels .* first at z 11 y 22 x 33; replace"
    ) as caught:
        check_image_block(block, (10, 20, 30), "a: b")
    assert "\n" not in str(caught.value)


def test_voxels_beyond_the_range_of_the_networks_input_are_infinite() -> None:
    block = np.ones((3, 4, 5))
    block[1, 2, 3] = -1e300
    with pytest.raises(InputError, match=r"1 infinite of 60 voxels .* first at z 1 y 2 x 3"):
        check_image_block(block, (0, 0, 0), "a")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_in_a_mask_is_counted_and_located(dtype: str) -> None:
    block = np.zeros((3, 4, 5), dtype)
    check_mask_block(block, (10, 20, 30), "a")
    block[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"^a: 1 NaN of 60 voxels .* first at z 11 y 22 x 33; .* set NaN to 0"):
        check_mask_block(block, (10, 20, 30), "a")


@pytest.mark.parametrize("dtype", ["u1", "i2", "f2", "f4", "f8", "?"])
def test_finite_images_of_any_dtype_pass(dtype: str) -> None:
    check_image_block(np.ones((2, 3, 4), dtype), (0, 0, 0), "a")


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_float_labels_are_refused_with_their_dtype(dtype: str) -> None:
    with pytest.raises(InputError, match=f"a: labels are {np.dtype(dtype)}; expected integers.* save them as uint32"):
        check_labels_block(np.ones((2, 3, 4), dtype), (0, 0, 0), "a")


def test_negative_labels_are_counted_and_located() -> None:
    block = np.zeros((3, 4, 5), np.int32)
    block[1, 2, 3] = -7
    block[2, 0, 0] = -1
    with pytest.raises(
        InputError, match=r"2 of 60 labels .* negative, the first, -7, at z 11 y 22 x 33; .* set negative ones to 0"
    ):
        check_labels_block(block, (10, 20, 30), "a")


@pytest.mark.parametrize("dtype", ["u1", "u4", "u8", "i8", "?"])
def test_integer_labels_pass(dtype: str) -> None:
    check_labels_block(np.ones((2, 3, 4), dtype), (0, 0, 0), "a")
    check_labels_dtype(np.dtype(dtype), "a")


def test_labels_of_the_images_or_the_regions_shape_pass() -> None:
    names = ("v.image: a.h5", "v.labels: b.h5")
    region = ((0, 5), (2, 6), (1, 4))
    check_same_shape((10, 20, 30), (10, 20, 30), None, names)
    check_same_shape((10, 20, 30), (10, 20, 30), region, names)
    check_same_shape((10, 20, 30), (5, 4, 3), region, names)


def test_labels_of_another_shape_are_refused_naming_both_and_the_axis() -> None:
    names = ("v.image: a.h5", "v.labels: b.h5")
    with pytest.raises(
        InputError,
        match=r"^v.labels: b.h5: has shape 10x21x30 .* 10x20x30 of v.image: a.h5: axis y differs; .*crop or pad this one \(0: unlabelled",
    ):
        check_same_shape((10, 20, 30), (10, 21, 30), None, names)
    with pytest.raises(InputError, match="check `axes`"):
        check_same_shape((10, 20, 30), (30, 20, 10), None, names)
    with pytest.raises(InputError, match=r"or the region's 5x4x3"):
        check_same_shape((10, 20, 30), (5, 4, 4), ((0, 5), (2, 6), (1, 4)), names)


def test_region_beyond_the_volume_names_the_axis() -> None:
    check_region((10, 20, 30), ((0, 10), (0, 20), (5, 30)), "v")
    check_region((10, 20, 30), None, "v")
    with pytest.raises(InputError, match=r"v: region: axis x is \[5, 31\), but the volume has 30"):
        check_region((10, 20, 30), ((0, 10), (0, 20), (5, 31)), "v")
