"""NIfTI in, NIfTI out: same shape, affine, qform, sform, codes and units; labels are those of the prepared grid."""

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from test_grid import ORIENTATIONS
from test_scans import FLIPPED, OBLIQUE, SCANS, SHAPE, WHAT, Write, affine_of, grey, load, rotation, store

from sepvox.blocks import Box
from sepvox.errors import ConfigError
from sepvox.prepare.grid import canonical_grid, sample_labels
from sepvox.prepare.labels import label_dtype, read_labels
from sepvox.prepare.native import native_labels, native_labels_from_map, write_native
from sepvox.prepare.scans import read_scan

DATA = Path(os.environ.get("SEPVOX_DATA") or "/nonexistent")
# What describes intensities or the layout of the file, and not the space of the scan.
CHANGED = {
    *("datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max", "glmin", "glmax", "vox_offset"),
    *("intent_code", "intent_name", "intent_p1", "intent_p2", "intent_p3", "descrip", "aux_file"),
}


def classes(shape: tuple[int, ...] = SHAPE, count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).integers(0, count, shape).astype(np.uint8)


def written(path: Path, header: dict[str, Any], labels: np.ndarray, slab: int = 4) -> Any:
    """The file that `write_native` makes of a label map (i, j, k), as nibabel reads it."""
    header = json.loads(json.dumps(header))
    write_native(path, header, lambda begin, end: labels[:, :, begin:end], labels.dtype, slab)
    return nib.load(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("write", SCANS.values(), ids=SCANS)
def test_result_lies_in_the_space_of_its_scan(tmp_path: Path, write: Write, suffix: str) -> None:
    path = write(tmp_path)
    source, scan = load(path), read_scan(path, WHAT)
    grid = canonical_grid(scan.shape, scan.affine)
    prepared = sample_labels(classes(), grid, range(4))
    back = native_labels_from_map(grid, scan.shape, lambda box: prepared[box.slices], 0, scan.shape[2])
    result = written(tmp_path / f"result{suffix}", scan.header, back)
    assert result.shape == source.shape
    np.testing.assert_array_equal(np.asarray(result.dataobj).reshape(SHAPE), classes())
    assert result.get_data_dtype() == np.uint8
    if isinstance(source, nib.MGHImage):
        np.testing.assert_allclose(result.affine, source.affine, atol=1e-5)
        assert (int(result.header["sform_code"]), int(result.header["qform_code"])) == (1, 1)
        assert result.header.get_xyzt_units()[0] == "mm"
        return
    np.testing.assert_array_equal(result.affine, source.affine)
    assert type(result) is type(source)
    for get in ("get_qform", "get_sform"):
        for mine, theirs in zip(getattr(result, get)(coded=True), getattr(source, get)(coded=True), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert result.header.get_zooms() == source.header.get_zooms()
    assert result.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert result.header.extensions == source.header.extensions
    for field in set(source.header) - CHANGED:
        np.testing.assert_array_equal(result.header[field], source.header[field], err_msg=field)


@pytest.mark.parametrize("kind", ["plain", "scaled", "float32", "nifti2"])
def test_intensities_are_described_anew(tmp_path: Path, kind: str) -> None:
    scan = read_scan(SCANS[kind](tmp_path), WHAT)
    result = written(tmp_path / "result.nii", scan.header, classes())
    assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
    header = result.header
    assert header.get_intent() == ("label", (), "")
    assert [float(header[f]) for f in ("cal_min", "cal_max")] == [0, 0]
    assert (header["descrip"].item(), header["aux_file"].item()) == (b"sepvox", b"")
    offset = 540 if kind == "nifti2" else 348
    assert (tmp_path / "result.nii").read_bytes()[offset : offset + 4] in (b"\0\0\0\0", b"\1\0\0\0")
    stored = np.frombuffer(
        (tmp_path / "result.nii").read_bytes()[:348], nib.Nifti1Header.template_dtype.newbyteorder("<")
    )
    if kind != "nifti2":
        assert (float(stored["scl_slope"][0]), float(stored["scl_inter"][0])) == (1, 0)


@pytest.mark.parametrize(("values", "stored"), [((0, 255), "u1"), ((0, 300), "u2"), ((-7, 70000), "i4")])
def test_large_labels_get_a_wider_type(tmp_path: Path, values: tuple[int, ...], stored: str) -> None:
    scan = read_scan(SCANS["oblique"](tmp_path), WHAT)
    labels = np.asarray(values)[classes(count=2)].astype(label_dtype(values))
    result = written(tmp_path / "result.nii.gz", scan.header, labels)
    assert result.get_data_dtype() == np.dtype(stored)
    np.testing.assert_array_equal(np.asarray(result.dataobj), labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slabs_of_any_size_make_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    header = read_scan(SCANS["extensions"](tmp_path), WHAT).header
    asked: list[tuple[int, int]] = []
    contents = set()
    for slab in (1, 2, 4, 9, 100):

        def values_of(begin: int, end: int) -> np.ndarray:
            asked.append((begin, end))
            return classes()[:, :, begin:end]

        write_native(tmp_path / f"result{suffix}", header, values_of, np.uint8, slab)
        content = (tmp_path / f"result{suffix}").read_bytes()
        contents.add(gzip.decompress(content) if suffix == ".nii.gz" else content)
    assert len(contents) == 1
    assert asked[9:14] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]
    write_native(tmp_path / "other.nii.gz", header, values_of, np.uint8, 4)
    write_native(tmp_path / "again.nii.gz", header, values_of, np.uint8, 4)
    assert (tmp_path / "other.nii.gz").read_bytes() == (tmp_path / "again.nii.gz").read_bytes()


def test_no_more_than_a_slab_is_in_memory(tmp_path: Path) -> None:
    header = read_scan(SCANS["plain"](tmp_path), WHAT).header
    header["shape"] = [200, 200, 150]
    plane = np.zeros((200, 200, 1), np.uint8)
    plane[50:150, 50:150] = 1
    tracemalloc.start()
    write_native(tmp_path / "a.nii.gz", header, lambda b, e: np.repeat(plane, e - b, 2), np.uint8, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 200 * 150 / 8


def test_failed_or_wrong_result_leaves_nothing_behind(tmp_path: Path) -> None:
    header = read_scan(SCANS["plain"](tmp_path), WHAT).header
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "result.nii.gz"

    def fails(begin: int, end: int) -> np.ndarray:
        if begin:
            raise RuntimeError("in the middle")
        return classes()[:, :, begin:end]

    with pytest.raises(RuntimeError, match="in the middle"):
        write_native(target, header, fails, np.uint8, 2)
    with pytest.raises(ValueError, match="do not fit uint8"):
        write_native(target, header, lambda b, e: np.full((7, 8, e - b), 256), np.uint8)
    with pytest.raises(ValueError, match="has shape"):
        write_native(target, header, lambda b, _: classes()[:, :, b : b + 1], np.uint8)
    with pytest.raises(ConfigError, match=r"\.nii or \.nii\.gz"):
        write_native(target.with_name("result.mgz"), header, fails, np.uint8)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("tilt", [0.0, 20.0])
def test_labels_come_back_bit_by_bit_from_all_48_orientations(tilt: float) -> None:
    labels = classes()
    for number, axes in enumerate(ORIENTATIONS):
        grid = canonical_grid(SHAPE, affine_of(rotation(3, tilt) @ axes, (0.8, 1.1, 2.5)))
        prepared = sample_labels(labels, grid, range(4))
        votes = (prepared == np.arange(4)[:, None, None, None]).astype(np.float16)
        slab = 1 + number % 9
        for back in (
            [
                native_labels_from_map(grid, SHAPE, lambda b, p=prepared: p[b.slices], k, min(k + slab, 9))
                for k in range(0, 9, slab)
            ],
            [
                native_labels(grid, SHAPE, lambda b, v=votes: v[:, *b.slices], k, min(k + slab, 9))
                for k in range(0, 9, slab)
            ],
        ):
            np.testing.assert_array_equal(np.concatenate(back, axis=2), labels)


def test_outside_the_crop_is_background() -> None:
    whole = canonical_grid(SHAPE, FLIPPED)
    crop = Box((2, 3, 1), (6, 6, 5))
    inside = np.zeros(whole.shape, bool)
    inside[crop.slices] = True
    native_inside = native_labels_from_map(whole, SHAPE, lambda b: inside[b.slices].astype(np.uint8), 0, 9)
    grid = canonical_grid(SHAPE, FLIPPED, crop=crop)
    labels = classes() + 1
    prepared = sample_labels(labels, grid, range(5))
    assert prepared.shape == crop.shape
    asked: list[Box] = []

    def values(box: Box) -> np.ndarray:
        asked.append(box)
        return prepared[box.slices]

    back = np.concatenate([native_labels_from_map(grid, SHAPE, values, k, k + 1) for k in range(9)], axis=2)
    np.testing.assert_array_equal(back, labels * native_inside)
    assert len(asked) == 4, "planes outside the crop need no prepared voxel"
    assert all(box.shape == (1, *crop.shape[1:]) for box in asked)


@given(
    orientation=st.integers(0, 47),
    spacing=st.tuples(*[st.floats(0.4, 4)] * 3),
    slab=st.integers(1, 9),
)
def test_resampled_slabs_are_those_of_the_whole_and_linear(
    orientation: int, spacing: tuple[float, float, float], slab: int
) -> None:
    affine = affine_of(ORIENTATIONS[orientation], (1, 1.2, 0.9))
    grid = canonical_grid(SHAPE, affine, spacing, Box((1, 0, 1), (6, 6, 7)))
    scores = np.random.default_rng(0).random((3, *grid.shape)).astype(np.float32)
    whole = native_labels(grid, SHAPE, lambda box: scores[:, *box.slices], 0, 9)
    parts = [native_labels(grid, SHAPE, lambda b: scores[:, *b.slices], k, min(k + slab, 9)) for k in range(0, 9, slab)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), whole)
    native = np.vstack([np.indices(SHAPE).reshape(3, -1), np.ones(7 * 8 * 9)])
    prepared = (np.linalg.inv(grid.to_native) @ native)[:3]
    shares = np.stack([ndimage.map_coordinates(s, prepared, order=1, mode="nearest") for s in scores])
    margin = np.abs(prepared - (np.reshape(grid.shape, (3, 1)) - 1) / 2) - np.reshape(grid.shape, (3, 1)) / 2
    expected = np.where((margin <= 0).all(axis=0), shares.argmax(axis=0), 0)
    ranked = np.sort(shares, axis=0)
    sure = (ranked[-1] - ranked[-2] > 1e-5) & (np.abs(margin) > 1e-5).all(axis=0)
    np.testing.assert_array_equal(whole.ravel()[sure], expected[sure])


def test_a_slab_asks_only_for_the_prepared_voxels_it_needs() -> None:
    shape = (20, 20, 40)
    grid = canonical_grid(shape, affine_of(ORIENTATIONS[13], (1, 1, 1)), (2, 2, 2))
    along = next(a for a, axis in enumerate(grid.axes) if axis.native == 2)
    for begin in range(0, 40, 4):
        asked: list[Box] = []

        def scores(box: Box, asked: list[Box] = asked) -> np.ndarray:
            asked.append(box)
            return np.zeros((2, *box.shape), np.float32)

        native_labels(grid, shape, scores, begin, begin + 4)
        assert len(asked) == 1
        assert asked[0].shape[along] <= 4


def balls(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Two nested balls of 12 and 7 mm radius in the middle of a scan."""
    world = affine[:3, :3] @ (np.indices(shape).reshape(3, -1) - (np.reshape(shape, (3, 1)) - 1) / 2)
    radius = np.linalg.norm(world, axis=0).reshape(shape)
    return (radius < 12).astype(np.uint8) + (radius < 7)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.1, 1.3), (1.5, 1.5, 1.5)])
@pytest.mark.parametrize("orientation", [0, 21, 38])
def test_resampled_round_trip_keeps_the_regions(spacing: tuple[float, float, float], orientation: int) -> None:
    shape = (34, 30, 22)
    affine = affine_of(rotation(5, 20) @ ORIENTATIONS[orientation], (0.9, 1.0, 1.5))
    labels = balls(shape, affine)
    grid = canonical_grid(shape, affine, spacing)
    prepared = sample_labels(labels, grid, (1, 2))
    votes = (prepared == np.arange(3)[:, None, None, None]).astype(np.float32)
    for back in (
        native_labels(grid, shape, lambda b: votes[:, *b.slices], 0, 22),
        native_labels_from_map(grid, shape, lambda b: prepared[b.slices], 0, 22),
    ):
        for value in (1, 2):
            mine, theirs = back == value, labels == value
            assert 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()) > 0.93


@pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
def test_hippocampus_labels_come_back_bit_by_bit(tmp_path: Path) -> None:
    paths = sorted((DATA / "mri" / "hippocampus" / "labels").glob("*.nii.gz"))
    assert paths
    for path in paths[::15]:
        labels = read_labels(path, WHAT, (1, 2))
        image = read_scan(path.parents[1] / "images" / path.name, WHAT)
        grid = canonical_grid(labels.shape, labels.affine)
        prepared = sample_labels(labels.data, grid, (1, 2))

        def slab(begin: int, end: int, grid=grid, labels=labels, prepared=prepared) -> np.ndarray:
            return native_labels_from_map(grid, labels.shape, lambda box: prepared[box.slices], begin, end)

        write_native(tmp_path / path.name, image.header, slab, np.uint8)
        source, result = nib.load(path), nib.load(tmp_path / path.name)
        np.testing.assert_array_equal(np.asarray(result.dataobj), np.asarray(source.dataobj))
        np.testing.assert_array_equal(result.affine, source.affine)


def test_labels_stored_as_floats_come_back_as_integers(tmp_path: Path) -> None:
    path = store(tmp_path / "labels.nii.gz", classes().astype(np.float32), OBLIQUE)
    image = read_scan(store(tmp_path / "image.nii", grey(), OBLIQUE), WHAT)
    labels = read_labels(path, WHAT, (1, 2, 3))
    result = written(tmp_path / "result.nii.gz", image.header, labels.data)
    np.testing.assert_array_equal(np.asarray(result.dataobj), classes())
