"""Stores are valid OME-Zarr 0.5, keep geometry, and never hand out damaged or absent voxels as data."""

import shutil

import numpy as np
import ome_zarr_models
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from sepvox import ome_zarr
from sepvox.blocks import Box, Lattice
from sepvox.errors import StoreError
from sepvox.ome_zarr import Spec
from sepvox.pyramid import downsample, mode
from sepvox.world import Geometry

SHAPE, CHUNK, SHARD = (40, 36, 50), (8, 8, 8), (16, 16, 16)
ANISOTROPIC = Geometry((40.0, 4.0, 4.0), (400.0, 8.0, 0.0), "nanometer")


def store(path, data, **changes):
    spec = Spec(data.shape[-3:], data.dtype.name, ANISOTROPIC, CHUNK, SHARD, **changes)
    ome_zarr.create(path, spec)
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(spec.shape, SHARD):
        ome_zarr.write(array, box, data[..., *box.slices])
    ome_zarr.finish(path, spec, {"fingerprint": "f"})
    return path


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)


def test_image_and_labels_validate_and_keep_units_scale_and_offset(tmp_path, image):
    for name, options in (("image", {"levels": 3}), ("labels", {"levels": 3, "labels": True})):
        path = store(tmp_path / f"{name}.zarr", image, **options)
        group = ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"))
        multiscale = group.attributes.ome.multiscales[0]
        assert [axis.unit for axis in multiscale.axes] == ["nanometer"] * 3
        assert multiscale.datasets[0].coordinateTransformations[0].scale == [40.0, 4.0, 4.0]
        assert ome_zarr.geometry(path) == ANISOTROPIC
    assert "image-label" in dict(zarr.open_group(str(tmp_path / "labels.zarr"), mode="r").attrs)["ome"]


def test_affinities_with_channels_validate(tmp_path, image):
    path = store(tmp_path / "affinities.zarr", np.stack([image, image, image]), channels=("a", "b", "c"))
    group = ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"))
    assert [axis.type for axis in group.attributes.ome.multiscales[0].axes] == ["channel", "space", "space", "space"]
    assert (ome_zarr.read(ome_zarr.open_level(path), Box.of(SHAPE)) == image).all()


def test_first_channels_are_read_without_the_others(tmp_path):
    channels = np.random.default_rng(3).integers(0, 255, (4, 16, 16, 16), dtype=np.uint8)
    path = store(tmp_path / "affinities.zarr", channels, channels=tuple("abcd"))
    shard = path / "0/c/0/0/0/0"
    content = bytearray(shard.read_bytes())
    # At its end a shard lists where its 4 x 2 x 2 x 2 chunks begin and how long they are, and four bytes of checksum.
    index = np.frombuffer(bytes(content[-4 - 32 * 16 : -4]), "<u8").reshape(4, 8, 2)
    content[int(index[3, 0].sum()) - 1] ^= 1
    shard.write_bytes(bytes(content))
    array, box = ome_zarr.open_level(path), Box.of((16, 16, 16))
    assert (ome_zarr.read(array, box, channels=3) == channels[:3]).all()
    with pytest.raises(StoreError, match="damaged"):
        ome_zarr.read(array, box)


def test_coarse_axes_wait_for_the_fine_ones_and_centres_move_by_half_a_voxel():
    levels = Spec((40, 400, 400), "uint8", ANISOTROPIC, CHUNK, SHARD, levels=5).pyramid()
    assert [shape for shape, _ in levels] == [
        (40, 400, 400),
        (40, 200, 200),
        (40, 100, 100),
        (40, 50, 50),
        (20, 25, 25),
    ]
    assert levels[1][1].offset == (400.0, 10.0, 2.0)
    assert levels[3][1].voxel_size == (40.0, 32.0, 32.0)


def test_image_levels_are_means_and_label_levels_are_modes(tmp_path, image):
    path = store(tmp_path / "image.zarr", image, levels=2)
    level = ome_zarr.read(ome_zarr.open_level(path, 1), Box.of((40, 18, 25)))
    expected = np.rint(image.reshape(40, 18, 2, 25, 2).mean(axis=(2, 4)))
    assert (level == expected).all()
    labels = np.zeros((2, 2, 2), np.uint64)
    labels[0] = 7
    labels[1, 0, 0] = 7
    assert downsample(labels, (2, 2, 2), mode).item() == 7


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8))
@settings(max_examples=30)
def test_mode_is_the_commonest_value_and_the_first_among_equals(values):
    counts = {value: values.count(value) for value in values}
    most = max(counts.values())
    expected = next(value for value in values if counts[value] == most)
    assert mode(np.array([values], np.uint64)).item() == expected


def test_every_flipped_byte_is_found_and_named(tmp_path, image):
    path = store(tmp_path / "image.zarr", image)
    shards = sorted(file for file in (path / "0" / "c").rglob("*") if file.is_file())
    rng = np.random.default_rng(1)
    for _ in range(30):
        file = shards[rng.integers(len(shards))]
        content = bytearray(file.read_bytes())
        original = bytes(content)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(content))
        with pytest.raises(StoreError, match=r"image\.zarr/0: .*chunk at z y x = .* is damaged") as caught:
            ome_zarr.read(ome_zarr.open_level(path), Box.of(SHAPE))
        assert "\n" not in str(caught.value)
        file.write_bytes(original)


def test_missing_shard_is_an_error_and_an_empty_one_is_stored(tmp_path):
    path = store(tmp_path / "empty.zarr", np.zeros(SHAPE, np.uint8))
    assert (ome_zarr.read(ome_zarr.open_level(path), Box.of(SHAPE)) == 0).all()
    (path / "0/c/1/1/1").unlink()
    with pytest.raises(StoreError, match=r"shard c/1/1/1 is missing"):
        ome_zarr.read(ome_zarr.open_level(path), Box.of(SHAPE))
    ome_zarr.read(ome_zarr.open_level(path), Box((0, 0, 0), (16, 16, 16)))


def test_truncated_shard_is_an_error(tmp_path, image):
    path = store(tmp_path / "image.zarr", image)
    shard = path / "0/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(StoreError, match="damaged"):
        ome_zarr.read(ome_zarr.open_level(path), Box((0, 0, 0), (4, 4, 4)))


def test_unfinished_store_is_not_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "half.zarr"
    ome_zarr.create(path, Spec(SHAPE, "uint8", Geometry(), CHUNK, SHARD))
    with pytest.raises(StoreError, match="missing, unfinished or damaged"):
        ome_zarr.attributes(path)
    shutil.rmtree(path)
    with pytest.raises(StoreError, match="no readable level 0"):
        ome_zarr.open_level(path)


@pytest.mark.parametrize("key", ["level", "chunk_shape", "codecs", "data_type", "name"])
def test_metadata_with_a_damaged_key_is_one_line(tmp_path, image, key):
    path = store(tmp_path / "image.zarr", image)
    metadata = path / "0/zarr.json"
    whole = metadata.read_text()
    assert f'"{key}"' in whole
    metadata.write_text(whole.replace(f'"{key}"', f'"{key[:-1]}~"'))
    with pytest.raises(StoreError, match="no readable level 0"):
        ome_zarr.open_level(path)


def test_part_of_a_shard_cannot_be_written(tmp_path, image):
    path = store(tmp_path / "image.zarr", image)
    with pytest.raises(AssertionError, match="not a whole number of shards"):
        ome_zarr.write(ome_zarr.open_level(path, writable=True), Box((0, 0, 0), (16, 16, 8)), image[:16, :16, :8])
