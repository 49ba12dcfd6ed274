"""Class maps follow the probabilities in both spaces, and clean-up removes what it removes everywhere and only where it helps."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sepvox import ome_zarr
from sepvox.blocks import Box, Part
from sepvox.config import parse
from sepvox.errors import StaleError, StoreError
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.grid import canonical_grid
from sepvox.prepare.scans import read_scan
from sepvox.prepare.subjects import prepare_subjects
from sepvox.segment.class_map import decide, write_scan
from sepvox.segment.classify import classify_subjects
from sepvox.segment.clean_up import CleanUp, choose_clean_up, dice_of, largest_component, majority, read_clean_up
from sepvox.world import Geometry

CLASSES = {"left": 300, "right": 7}
# Native axes run to the back, to the left and upwards: neither order nor directions are canonical.
AFFINE = np.array([[0, -1.5, 0, 20], [-2, 0, 0, 30], [0, 0, 3, -10], [0, 0, 0, 1]], float)
SHAPE = (10, 12, 9)
ALL = Part(0, 1)


def scan(path: Path, shape=SHAPE, affine=AFFINE) -> Path:
    voxels = np.random.default_rng(0).integers(1, 500, shape).astype(np.int16)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def probabilities_store(path: Path, values: np.ndarray, attributes=None):
    """A store of probabilities uint8 (class, z, y, x) in shards of 8."""
    names = tuple(f"class {number}" for number in range(len(values)))
    spec = Spec(values.shape[1:], "uint8", Geometry(), (4, 4, 4), (8, 8, 8), names)
    ome_zarr.create(path, spec)
    array = ome_zarr.open_level(path, writable=True)
    ome_zarr.write(array, Box.of(values.shape[1:]), values)
    ome_zarr.finish(path, spec, {"weights": ["w"], "fingerprint": "p"} | (attributes or {}))
    return ome_zarr.open_level(path)


def smooth_probabilities(shape, classes=3, seed=0):
    """Random probabilities with many equal values and many islands."""
    raw = np.random.default_rng(seed).integers(0, 6, (classes, *shape)).astype(float) ** 2
    raw[0] += 4
    return np.rint(raw / raw.sum(axis=0) * 255).astype(np.uint8)


def experiment_of(folder: Path, name="maps", **changes):
    table = folder / f"{name}.csv"
    table.write_text("subject,image\n" + "".join(f"{s},{scan(folder / f'{s}.nii.gz')}\n" for s in ("a", "b")))
    document = {
        "experiment": name,
        "task": "classes",
        "subjects": {"table": str(table)},
        "classes": CLASSES,
        "prepare": {"chunk": [4, 4, 4], "shard": [8, 8, 8]},
        "network": {"weights": str(folder / "best.safetensors")},
    }
    return parse(document | changes, folder / "experiment.yaml")


def predicted(experiment, results: Path) -> dict[str, np.ndarray]:
    """Prepare all subjects and give them random probabilities, which are returned."""
    prepare_subjects(experiment, results, ALL)
    layout = Layout(results / experiment.experiment)
    found = {}
    for seed, name in enumerate(experiment.people):
        shape = ome_zarr.open_level(layout.image(name)).shape[1:]
        found[name] = smooth_probabilities(shape, seed=seed)
        probabilities_store(layout.probabilities("main", name), found[name], {"fingerprint": name})
    return found


def chosen(layout: Layout, foreground=False, classes=(), setting="auto") -> None:
    path = layout.clean_up("main")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"setting": setting, "foreground": foreground, "classes": list(classes)}))


def whole(path: Path) -> np.ndarray:
    array = ome_zarr.open_level(path)
    return ome_zarr.read(array, Box.of(array.shape))


def native_of(prepared: np.ndarray, path: Path) -> np.ndarray:
    """A prepared map of a whole scan (z, y, x) by nibabel's own reorientation, in the order of the file."""
    image = nib.load(path)
    canonical = nib.as_closest_canonical(image)
    back = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(canonical.affine), nib.orientations.io_orientation(image.affine)
    )
    return nib.orientations.apply_orientation(prepared.T, back)


def test_components_are_joined_through_corners_and_the_first_of_equals_is_kept():
    mask = np.zeros((4, 4, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[3, 3, 4] = mask[3, 3, 5] = True
    kept = np.argwhere(largest_component(mask)).tolist()
    assert kept == [[0, 0, 0], [1, 1, 1]]
    mask[3, 2, 5] = True
    assert np.argwhere(largest_component(mask))[:, 0].tolist() == [3, 3, 3]
    assert not largest_component(np.zeros((2, 2, 2), bool)).any()


def test_cleaning_the_foreground_keeps_small_parts_that_touch_it_and_cleaning_a_class_does_not():
    labels = np.zeros((1, 1, 12), np.uint8)
    labels[0, 0] = [1, 1, 1, 2, 2, 1, 0, 2, 0, 1, 1, 0]
    assert CleanUp(True).apply(labels)[0, 0].tolist() == [1, 1, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0]
    assert CleanUp(False, (1,)).apply(labels)[0, 0].tolist() == [1, 1, 1, 2, 2, 0, 0, 2, 0, 0, 0, 0]
    assert CleanUp(True, (1, 2)).apply(labels)[0, 0].tolist() == [1, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert labels[0, 0, 10] == 1


def test_clean_up_is_chosen_for_a_class_only_where_it_raises_the_dice():
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[1:5, 1:5, 1:5], truth[7:11, 1:5, 1:5], truth[1:5, 7:11, 7:11] = 1, 1, 2
    islands = truth.copy()
    islands[9:11, 8:11, 8:11] = 2
    choice = choose_clean_up([(islands, truth), (truth, truth)], 2)
    assert choice.clean_up == CleanUp(False, (2,))
    assert choice.without[0] == choice.with_clean_up[0] == 1
    assert choice.without[1] < choice.with_clean_up[1] == 1
    assert choose_clean_up([(truth, truth)], 2).clean_up == CleanUp()
    assert choose_clean_up([], 2).with_clean_up == (None, None)


def test_the_foreground_is_cleaned_only_where_no_class_loses():
    truth = np.zeros((3, 3, 30), np.uint8)
    truth[:, :, 2:10], truth[:, :, 10:14] = 1, 2
    far = truth.copy()
    far[:, :, 20:24] = 1
    far[:, :, 24:26] = 2
    assert choose_clean_up([(far, truth)], 2).clean_up.foreground
    apart = truth.copy()
    apart[:, :, 17:19] = 2
    with_part = far.copy()
    with_part[:, :, 17:19] = 2
    choice = choose_clean_up([(with_part, apart)], 2)
    assert choice.clean_up == CleanUp(False, (1,))


def test_a_gain_below_the_margin_is_no_reason_to_clean():
    truth = np.zeros((40, 40, 40), np.uint8)
    truth[2:36, 2:36, 2:36] = 1
    found = truth.copy()
    found[39, 39, 39] = 1
    assert dice_of(found, truth, 1)[0] < 1
    assert choose_clean_up([(found, truth)], 1).clean_up == CleanUp()


def test_dice_of_a_class_that_neither_has_is_left_out_of_the_mean():
    one, none = np.ones((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)
    choice = choose_clean_up([(one, one), (none, none)], 2)
    assert choice.without == (1.0, None)


def test_an_ensemble_cleans_what_more_than_half_of_its_models_clean():
    choices = [CleanUp(True, (1, 3)), CleanUp(False, (3,)), CleanUp(True, (2,)), CleanUp(False, (1, 3))]
    assert majority(choices) == CleanUp(False, (3,))
    assert majority([CleanUp(True, (1,))]) == CleanUp(True, (1,))


def test_a_clean_up_of_other_classes_is_refused(tmp_path):
    path = tmp_path / "clean_up.json"
    path.write_text(json.dumps({"foreground": False, "classes": ["right", "left"]}))
    assert read_clean_up(path, CLASSES, "mend") == CleanUp(False, (1, 2))
    path.write_text(json.dumps({"foreground": False, "classes": ["middle"]}))
    with pytest.raises(StoreError, match=r"names the class middle, but the classes are left, right; mend"):
        read_clean_up(path, CLASSES, "mend")


@pytest.mark.parametrize("spacing", [None, (2.0, 2.5, 2.0)])
@pytest.mark.parametrize("clean_up", [CleanUp(), CleanUp(True, (1, 2))])
def test_the_native_map_does_not_depend_on_the_slab(tmp_path, spacing, clean_up):
    source = read_scan(scan(tmp_path / "s.nii.gz"), "scan")
    grid = canonical_grid(source.shape, source.affine, spacing)
    array = probabilities_store(tmp_path / "p.zarr", smooth_probabilities(grid.shape))
    decision = decide(array, clean_up)
    files = []
    for slab in (1, 4, 16):
        write_scan(tmp_path / f"{slab}.nii.gz", decision, CLASSES, grid, source.header, slab)
        files.append((tmp_path / f"{slab}.nii.gz").read_bytes())
    assert files[0] == files[1] == files[2]
    assert set(np.unique(nib.load(tmp_path / "1.nii.gz").dataobj)) == {0, 7, 300}


def test_nothing_of_a_removed_component_is_left_in_a_scan_of_finer_voxels(tmp_path):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    source = read_scan(scan(tmp_path / "s.nii.gz", (36, 36, 36), affine), "scan")
    grid = canonical_grid(source.shape, source.affine, (3.0, 3.0, 3.0))
    raw = np.zeros((2, *grid.shape))
    raw[1, 2:6, 2:6, 2:6] = 250
    raw[1, 9, 9, 9] = 250
    raw[1, 8:11, 8:11, 8:11] += np.where(raw[1, 8:11, 8:11, 8:11] == 0, 120, 0)
    raw[0] = 255 - raw[1]
    array = probabilities_store(tmp_path / "p.zarr", raw.astype(np.uint8))
    found = {}
    for key, clean_up in (("plain", CleanUp()), ("clean", CleanUp(False, (1,)))):
        write_scan(tmp_path / f"{key}.nii.gz", decide(array, clean_up), {"one": 1}, grid, source.header)
        found[key] = np.asarray(nib.load(tmp_path / f"{key}.nii.gz").dataobj)
    far = np.s_[22:, 22:, 22:]
    assert found["plain"][far].sum() > 27
    assert found["clean"][far].sum() == 0
    found["plain"][far] = 0
    np.testing.assert_array_equal(found["plain"], found["clean"])


def test_both_maps_hold_the_values_of_the_most_probable_class(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    probabilities = predicted(experiment, results)
    layout = Layout(results / "maps")
    chosen(layout)
    classify_subjects(experiment, "main", results, Part(0, 2))
    assert not layout.segmentation("main", "b").exists()
    classify_subjects(experiment, "main", results, Part(1, 2))
    for name, values in probabilities.items():
        expected = np.array([0, 300, 7], np.uint16)[values.argmax(axis=0)]
        np.testing.assert_array_equal(whole(layout.segmentation("main", name)), expected)
        source, written = nib.load(tmp_path / f"{name}.nii.gz"), nib.load(layout.native_segmentation("main", name))
        np.testing.assert_array_equal(written.dataobj, native_of(expected, tmp_path / f"{name}.nii.gz"))
        np.testing.assert_array_equal(written.affine, source.affine)
        assert written.get_data_dtype() == np.uint16
    attributes = ome_zarr.attributes(layout.segmentation("main", "a"))
    assert attributes["classes"] == CLASSES
    assert attributes["weights"] == ["w"]


def test_clean_up_reaches_both_maps_and_another_choice_makes_them_stale(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    probabilities = predicted(experiment, results)
    layout = Layout(results / "maps")
    chosen(layout)
    classify_subjects(experiment, "main", results, ALL)
    chosen(layout, classes=["right"])
    with pytest.raises(StaleError, match="--restart"):
        classify_subjects(experiment, "main", results, ALL)
    classify_subjects(experiment, "main", results, ALL, restart=True)
    plain = probabilities["a"].argmax(axis=0).astype(np.uint8)
    cleaned = CleanUp(False, (2,)).apply(plain)
    assert (plain != cleaned).any()
    expected = np.array([0, 300, 7], np.uint16)[cleaned]
    np.testing.assert_array_equal(whole(layout.segmentation("main", "a")), expected)
    native = nib.load(layout.native_segmentation("main", "a"))
    np.testing.assert_array_equal(native.dataobj, native_of(expected, tmp_path / "a.nii.gz"))


def test_classify_refuses_to_guess_the_clean_up(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    predicted(experiment, results)
    with pytest.raises(StoreError, match=r"clean_up.json: missing"):
        classify_subjects(experiment, "main", results, ALL)
    chosen(Layout(results / "maps"), setting="never")
    with pytest.raises(StaleError, match=r"chosen with segment.clean_up never, which is auto now"):
        classify_subjects(experiment, "main", results, ALL)
