"""A scan is read as nibabel reads it, or refused with one line; labels are whole and declared; grids are compared in mm."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from sepvox.errors import InputError
from sepvox.prepare.labels import label_dtype, read_labels
from sepvox.prepare.scans import Scan, check_same_grid, read_scan

WHAT = "subjects.s1.image"
SHAPE = (7, 8, 9)
Write = Callable[[Path], Path]


def rotation(seed: int = 1, degrees: float = 20.0) -> np.ndarray:
    """A rotation by `degrees` around an arbitrary axis."""
    a, b, c = (v := np.random.default_rng(seed).normal(size=3)) / np.linalg.norm(v)
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def affine_of(axes: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing)
    affine[:3, 3] = -12.5, 31.25, 7.0
    return affine


PLAIN = affine_of(np.eye(3))
OBLIQUE = affine_of(rotation(), (0.8, 0.9, 3.0))
FLIPPED = affine_of(np.diag([-1.0, 1.0, -1.0]), (1, 1.5, 2))
PERMUTED = affine_of(np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]), (1, 1.5, 2))


def grey(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(-500, 1500, shape).astype(np.int16)


def store(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray = PLAIN,
    *,
    sform: int = 1,
    qform: int = 1,
    scaling: tuple[float, float] | None = None,
    big: bool = False,
    two: bool = False,
    extensions: tuple[tuple[int, bytes], ...] = (),
    qform_affine: np.ndarray | None = None,
    **fields: Any,
) -> Path:
    """Write a NIfTI file with exactly the given header."""
    pair = (nib.Nifti2Header, nib.Nifti2Image) if two else (nib.Nifti1Header, nib.Nifti1Image)
    header = pair[0](endianness=">" if big else "<")
    header.set_data_dtype(data.dtype)
    header.extensions = header.exts_klass(Nifti1Extension(code, content) for code, content in extensions)
    image = pair[1](data, None, header)
    image.header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0), *[1.0] * (data.ndim - 3)))
    if qform:
        image.set_qform(affine if qform_affine is None else qform_affine, qform)
    if sform:
        image.set_sform(affine, sform)
    if scaling:
        image.header.set_slope_inter(*scaling)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def load(path: Path) -> Any:
    """The file as nibabel sees it; its own way of opening .mgh leaves the file open."""
    return nib.MGHImage.from_bytes(path.read_bytes()) if path.suffix == ".mgh" else nib.load(path)


def mgh(path: Path) -> Path:
    nib.save(nib.MGHImage(grey(), OBLIQUE), path)
    return path


SCANS: dict[str, Write] = {
    "plain": lambda f: store(f / "a.nii", grey(), xyzt_units=10, descrip=b"FSL5.0", aux_file=b"grey.lut"),
    "oblique": lambda f: store(f / "a.nii.gz", grey(), OBLIQUE, xyzt_units=2),
    "flipped": lambda f: store(f / "a.nii.gz", grey(), FLIPPED, sform=4, qform=2),
    "permuted": lambda f: store(f / "a.nii.gz", grey(), PERMUTED, sform=2, qform=1, dim_info=57, slice_code=3),
    "anisotropic": lambda f: store(f / "a.nii", grey(), affine_of(np.eye(3), (0.5, 0.5, 5))),
    "four axes": lambda f: store(f / "a.nii.gz", grey((*SHAPE, 1)), OBLIQUE, toffset=3.5),
    "five axes": lambda f: store(f / "a.nii", grey((*SHAPE, 1, 1)), OBLIQUE),
    "scaled": lambda f: store(f / "a.nii.gz", grey(), FLIPPED, scaling=(0.5, -3), cal_max=900),
    "float32": lambda f: store(f / "a.nii", grey().astype(np.float32), OBLIQUE, intent_code=5, intent_name=b"z map"),
    "sform only": lambda f: store(f / "a.nii", grey(), OBLIQUE, qform=0),
    "qform only": lambda f: store(f / "a.nii.gz", grey(), OBLIQUE, sform=0),
    "two forms": lambda f: store(f / "a.nii.gz", grey(), OBLIQUE, qform_affine=FLIPPED, qform=1, sform=4),
    "no form": lambda f: store(f / "a.nii", grey(), FLIPPED, sform=0, qform=0),
    "big-endian": lambda f: store(f / "a.nii.gz", grey(), PERMUTED, big=True, extensions=((6, b"from a scanner"),)),
    "extensions": lambda f: store(f / "a.nii.gz", grey(), extensions=((6, b"one"), (44, b"\x00\x01 two" * 9))),
    "nifti2": lambda f: store(f / "a.nii.gz", grey(), OBLIQUE, two=True, extensions=((6, b"comment"),)),
    "mgh": lambda f: mgh(f / "a.mgh"),
    "mgz": lambda f: mgh(f / "a.mgz"),
}


def refusal(call: Callable[[], object]) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("write", SCANS.values(), ids=SCANS)
def test_scan_is_what_nibabel_reads(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path)
    image = load(path)
    scan = read_scan(path, WHAT)
    assert scan.shape == SHAPE
    assert scan.data.dtype.isnative
    np.testing.assert_array_equal(scan.data, image.get_fdata().reshape(SHAPE))
    np.testing.assert_array_equal(scan.affine, image.affine)
    assert scan.spacing == pytest.approx(nib.affines.voxel_sizes(image.affine))


@pytest.mark.parametrize("write", SCANS.values(), ids=SCANS)
def test_header_survives_json_and_is_complete(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path)
    image = load(path)
    header = json.loads(json.dumps(read_scan(path, WHAT).header, allow_nan=False))
    assert (header["class"], tuple(header["shape"])) == (type(image).__name__, image.shape)
    assert base64.b64decode(header["binary"]["base64"]) == image.header.binaryblock
    assert header["affine"] == image.affine.tolist()
    kept = [(e["code"], base64.b64decode(e["content"]["base64"])) for e in header["extensions"]]
    assert kept == [(e.get_code(), e.content) for e in getattr(image.header, "extensions", ())]


@pytest.mark.parametrize("stored", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_integers_stay_integers_and_the_rest_is_float32(tmp_path: Path, stored: str) -> None:
    data = np.abs(grey()).astype(stored)
    scan = read_scan(store(tmp_path / "a.nii", data), WHAT)
    assert scan.data.dtype == (np.dtype(stored) if stored[0] != "f" else np.float32)
    np.testing.assert_array_equal(scan.data, data)


def test_scaling_is_applied_in_float64(tmp_path: Path) -> None:
    raw = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE) + 2**30
    path = store(tmp_path / "a.nii", raw)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([1, -(2**30)], "<f4").tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read_scan(path, WHAT).data, raw - 2**30)


@pytest.mark.parametrize(
    ("unit", "edge"), [(0, 2.0), (1, 2000.0), (2, 2.0), (3, 0.002), (64, 2.0), (58, 2.0), (10, 2.0)]
)
def test_world_is_in_millimetres_whatever_the_unit(tmp_path: Path, unit: int, edge: float) -> None:
    scan = read_scan(store(tmp_path / "a.nii", grey(), affine_of(np.eye(3), (2, 2, 2)), xyzt_units=unit), WHAT)
    assert scan.spacing == pytest.approx((edge, edge, edge))


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def nan(folder: Path) -> Path:
    data = grey().astype(np.float32)
    data[1, 2, 3] = np.nan
    data[4, 5, 6] = np.inf
    return store(folder / "a.nii.gz", data)


def huge(folder: Path) -> Path:
    return store(folder / "a.nii", grey().astype(np.float64) * 1e300)


def cut(folder: Path, name: str, keep: float) -> Path:
    path = store(folder / name, grey((30, 30, 30)))
    return damaged(path, path.read_bytes()[: int(path.stat().st_size * keep)])


def flipped_byte(folder: Path) -> Path:
    path = store(folder / "a.nii.gz", np.arange(27000, dtype=np.int16).reshape(30, 30, 30))
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0))
    content[len(content) // 2] ^= 1
    return damaged(path, content)


def patched(folder: Path, at: int, field: np.ndarray) -> Path:
    """A file with other bytes in its header."""
    path = store(folder / "a.nii", grey(), qform=0)
    content = bytearray(path.read_bytes())
    content[at : at + field.nbytes] = field.tobytes()
    return damaged(path, content)


def terabytes(folder: Path) -> Path:
    return patched(folder, 40, np.array([3, 30000, 30000, 30000], "<i2"))


def empty_axis(folder: Path) -> Path:
    return patched(folder, 40, np.array([3, 7, 8, 0], "<i2"))


def two_axes(folder: Path) -> Path:
    nib.save(nib.Nifti1Image(grey((30, 40)), PLAIN), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def cifti(folder: Path) -> Path:
    scalars = nib.cifti2.ScalarAxis(["one"])
    models = nib.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), "thalamus_left", PLAIN)
    nib.save(nib.Cifti2Image(np.ones((1, 8)), (scalars, models)), folder / "a.dscalar.nii")
    return folder / "a.dscalar.nii"


BAD: dict[str, tuple[Write, str]] = {
    "missing": (lambda f: f / "none.nii.gz", "does not exist"),
    "suffix": (lambda f: damaged(f / "a.png", b"x"), ".nii.gz"),
    "folder": (lambda f: f, "no file that scans are read from"),
    "empty file": (lambda f: damaged(f / "a.nii", b""), "cannot be opened"),
    "text": (lambda f: damaged(f / "a.nii", b"no scan at all" * 99), "another format"),
    "text in gzip": (lambda f: damaged(f / "a.nii.gz", gzip.compress(b"no scan" * 99)), "another format"),
    "text as mgh": (lambda f: damaged(f / "a.mgz", gzip.compress(b"no scan" * 99)), "another format"),
    "truncated header": (lambda f: cut(f, "a.nii", 0.004), "truncated"),
    "truncated": (lambda f: cut(f, "a.nii", 0.7), "is truncated: 38046 bytes, its header needs 54352"),
    "truncated gzip": (lambda f: cut(f, "a.nii.gz", 0.7), "truncated or damaged"),
    "without checksum": (
        lambda f: damaged(cut(f, "a.nii.gz", 1), cut(f, "a.nii.gz", 1).read_bytes()[:-6]),
        "truncated",
    ),
    "flipped byte": (flipped_byte, "truncated or damaged"),
    "terabytes": (terabytes, "its header needs 54000000000352"),
    "2-D": (two_axes, "30x40, a 2-D image"),
    "one plane": (lambda f: store(f / "a.nii", grey((30, 40, 1))), "30x40x1, a 2-D image"),
    "several volumes": (lambda f: store(f / "a.nii", grey((*SHAPE, 3))), "7x8x9x3, several volumes"),
    "no voxels": (empty_axis, "7x8x0: it holds no voxels"),
    "colours": (lambda f: store(f / "a.nii", np.zeros(SHAPE, [(c, "u1") for c in "RGB"])), "one real number per voxel"),
    "complex": (lambda f: store(f / "a.nii", np.ones(SHAPE, np.complex64)), "one real number per voxel"),
    "surface": (cifti, "Cifti2Image"),
    "nan": (nan, "2 of 504 voxels are NaN, infinite or beyond float32, the first at (1, 2, 3)"),
    "huge": (huge, "beyond float32"),
    "zeros": (lambda f: store(f / "a.nii", np.zeros(SHAPE, np.int16)), "every voxel is 0"),
    "constant": (lambda f: store(f / "a.nii", np.full(SHAPE, 7.5, np.float32)), "every voxel is 7.5"),
    "voxels in the header": (lambda f: patched(f, 108, np.array([0], "<f4")), "begin at byte 0, inside the header"),
    "voxels of light years": (lambda f: patched(f, 280, np.array([1e30], "<f4")), "expected 1e-06 to 100000"),
    "flat affine": (lambda f: patched(f, 312, np.array([0, 0, 0, 5], "<f4")), "is singular"),
    "nan affine": (lambda f: patched(f, 312, np.array([0, 0, np.nan, 5], "<f4")), "is singular"),
}


@pytest.mark.parametrize(("write", "reason"), BAD.values(), ids=BAD)
def test_bad_file_is_refused_with_one_line(tmp_path: Path, write: Write, reason: str) -> None:
    path = write(tmp_path)
    message = refusal(lambda: read_scan(path, WHAT))
    assert message.startswith(f"{WHAT}: {path}: ")
    assert reason in message


def regions(values: tuple[float, ...] = (0, 1, 2)) -> np.ndarray:
    return np.asarray(values)[np.random.default_rng(0).integers(0, len(values), SHAPE)]


@pytest.mark.parametrize("stored", ["u1", "i2", "u2", "f4", "f8"])
def test_labels_may_be_stored_as_floats(tmp_path: Path, stored: str) -> None:
    scan = read_labels(store(tmp_path / "a.nii.gz", regions().astype(stored)), WHAT, (1, 2))
    assert scan.data.dtype == np.uint8
    np.testing.assert_array_equal(scan.data, regions())


@pytest.mark.parametrize("steps", [255, 32767])
def test_labels_scaled_by_a_tool_come_out_whole(tmp_path: Path, steps: int) -> None:
    path = store(
        tmp_path / "a.nii.gz", np.rint(regions((0, 3, 7)) * (steps / 7)).astype(np.int16), scaling=(7 / steps, 0)
    )
    assert not np.array_equal(nib.load(path).get_fdata(), regions((0, 3, 7)))
    np.testing.assert_array_equal(read_labels(path, WHAT, (3, 7)).data, regions((0, 3, 7)))


def test_background_alone_is_a_label_map(tmp_path: Path) -> None:
    assert not read_labels(store(tmp_path / "a.nii", np.zeros(SHAPE, np.uint8)), WHAT, (1, 2)).data.any()


def test_undeclared_values_are_listed(tmp_path: Path) -> None:
    path = store(tmp_path / "a.nii", regions((0, 1, 2, 4, 9)).astype(np.uint8))
    message = refusal(lambda: read_labels(path, WHAT, (1, 2)))
    assert "holds the values 4, 9, which are no declared class; expected 0 and 1, 2" in message
    np.testing.assert_array_equal(read_labels(path, WHAT, None).data, regions((0, 1, 2, 4, 9)))


@pytest.mark.parametrize("values", [(0, 1, 0.5), (0, 1, np.nan), (0, 1, np.inf), (0, 1, 1e12)])
def test_values_that_are_no_classes_are_refused(tmp_path: Path, values: tuple[float, ...]) -> None:
    path = store(tmp_path / "a.nii", regions(values))
    assert f"{values[2]:g}" in refusal(lambda: read_labels(path, WHAT, None))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((), "u1"), ((1, 255), "u1"), ((256,), "u2"), ((65535,), "u2"), ((65536,), "i4"), ((-1,), "i4")],
)
def test_smallest_type_that_viewers_read_holds_the_labels(values: tuple[int, ...], dtype: str) -> None:
    assert label_dtype(values) == np.dtype(dtype)


def scan_at(affine: np.ndarray, shape: tuple[int, int, int] = (100, 90, 80)) -> Scan:
    return Scan(Path("a.nii"), np.zeros(shape, np.uint8), affine, {})


def test_grids_that_differ_by_rounding_are_the_same() -> None:
    check_same_grid(scan_at(OBLIQUE.astype(np.float32).astype(np.float64)), scan_at(OBLIQUE), WHAT)
    moved = OBLIQUE.copy()
    moved[:3, 3] += 0.04
    check_same_grid(scan_at(moved), scan_at(OBLIQUE), WHAT)


def test_another_place_or_shape_is_refused_showing_both() -> None:
    turned = OBLIQUE.copy()
    turned[:3, :3] = rotation(2, 0.5) @ OBLIQUE[:3, :3]
    message = refusal(lambda: check_same_grid(scan_at(turned), scan_at(OBLIQUE), WHAT))
    for affine in (turned, OBLIQUE):
        assert " ".join(f"{v:.6g}" for v in affine[1]) in message
    assert "mm apart" in message
    message = refusal(lambda: check_same_grid(scan_at(OBLIQUE, (100, 90, 79)), scan_at(OBLIQUE), WHAT))
    assert "100x90x79" in message
    assert "100x90x80" in message


def test_corners_count_and_not_only_the_first_voxel() -> None:
    scaled = OBLIQUE.copy()
    scaled[:3, 0] *= 1.002
    assert "apart" in refusal(lambda: check_same_grid(scan_at(scaled), scan_at(OBLIQUE), WHAT))
