"""Clean-up is chosen on validation subjects alone, and scores are of the written maps in native space."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sepvox import ome_zarr
from sepvox.blocks import Box, Part
from sepvox.config import parse
from sepvox.errors import ConfigError, InputError, StoreError
from sepvox.layout import Layout
from sepvox.prepare.subjects import prepare_subjects
from sepvox.score.class_choose import choose_clean_up_of
from sepvox.score.class_score import score_subjects
from sepvox.score.class_tables import scored, summarise
from sepvox.segment.classify import classify_subjects

CLASSES = {"left": 4, "right": 2}
AFFINE = np.array([[0, -1.5, 0, 20], [-2, 0, 0, 30], [0, 0, 3, -10], [0, 0, 0, 1]], float)
SHAPE = (16, 18, 14)
SPLIT = {"a": "train", "b": "validate", "c": "test", "d": "test", "e": "apply"}
ALL = Part(0, 1)


def truth_of(name: str) -> np.ndarray:
    """Labels (i, j, k): one box of each class, elsewhere for every subject."""
    labels = np.zeros(SHAPE, np.uint8)
    shift = "abcde".index(name)
    labels[2 : 6 + shift, 2:8, 2:6] = 4
    labels[3:8, 10:14, 3 : 6 + shift] = 2
    return labels


def write_subjects(folder: Path, split) -> Path:
    table = folder / "subjects.csv"
    rows = ["subject,image,labels,split"]
    for name, role in split.items():
        voxels = np.random.default_rng(ord(name)).integers(1, 500, SHAPE).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, AFFINE), folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(truth_of(name), AFFINE), folder / f"{name}_labels.nii.gz")
        rows.append(f"{name},{name}.nii.gz,{'' if role == 'apply' else f'{name}_labels.nii.gz'},{role}")
    table.write_text("\n".join(rows) + "\n")
    return table


def experiment_of(folder: Path, split=SPLIT, **changes):
    document = {
        "experiment": "scored",
        "task": "classes",
        "subjects": {"table": str(write_subjects(folder, split))},
        "classes": CLASSES,
        "prepare": {"chunk": [8, 8, 8], "shard": [16, 16, 16]},
        "train": {},
    }
    return parse({key: value for key, value in (document | changes).items() if value is not None}, folder / "e.yaml")


def predict_from(experiment, results: Path, model: str, change=lambda _name, numbers: numbers) -> Layout:
    """Prepare, and write probabilities that say the truth with a change, a function of name and class numbers (z, y, x)."""
    prepare_subjects(experiment, results, ALL)
    layout = Layout(results / experiment.experiment)
    names = experiment.predicted(model)
    for name in names:
        canonical = nib.as_closest_canonical(nib.Nifti1Image(truth_of(name), AFFINE))
        labels = np.asarray(canonical.dataobj).T
        numbers = change(name, np.select([labels == 4, labels == 2], [1, 2], 0))
        values = np.stack([np.where(numbers == number, 255, 0) for number in range(3)]).astype(np.uint8)
        spec = ome_zarr.Spec(
            values.shape[1:], "uint8", ome_zarr.geometry(layout.image(name)), (8, 8, 8), (16, 16, 16), ("0", "1", "2")
        )
        store = layout.probabilities(model, name)
        ome_zarr.create(store, spec)
        ome_zarr.write(ome_zarr.open_level(store, writable=True), Box.of(spec.shape), values)
        ome_zarr.finish(store, spec, {"weights": ["w"], "fingerprint": name})
    return layout


def with_island(_name, numbers):
    """An island of class 2 far from its own part."""
    numbers = numbers.copy()
    numbers[-3:, -3:, -3:] = 2
    return numbers


def read(path: Path):
    return json.loads(path.read_text())


def test_clean_up_is_chosen_where_it_helps_the_validation_subjects(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    layout = predict_from(experiment, results, "main", with_island)
    choose_clean_up_of(experiment, "main", results)
    found = read(layout.clean_up("main"))
    assert found["chosen_on"] == ["b"]
    # The two boxes do not touch, so cleaning the foreground would remove a whole class.
    assert (found["foreground"], found["classes"]) == (False, ["right"])
    assert found["dice"]["without"]["right"] < found["dice"]["with"]["right"] == 1
    assert found["dice"]["with"]["left"] == 1
    classify_subjects(experiment, "main", results, ALL)
    np.testing.assert_array_equal(nib.load(layout.native_segmentation("main", "c")).dataobj, truth_of("c"))


def test_clean_up_is_not_chosen_where_only_other_subjects_would_gain(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"

    def change(name, numbers):
        return numbers if name == "b" else with_island(name, numbers)

    layout = predict_from(experiment, results, "main", change)
    choose_clean_up_of(experiment, "main", results)
    found = read(layout.clean_up("main"))
    assert (found["foreground"], found["classes"]) == (False, [])
    assert found["dice"]["without"] == found["dice"]["with"] == {"left": 1.0, "right": 1.0}


@pytest.mark.parametrize(("setting", "classes"), [("always", ["left", "right"]), ("never", [])])
def test_the_configuration_has_the_last_word(tmp_path, setting, classes):
    experiment, results = experiment_of(tmp_path, segment={"clean_up": setting}), tmp_path / "results"
    choose_clean_up_of(experiment, "main", results)
    found = read(Layout(results / "scored").clean_up("main"))
    assert (found["classes"], found["chosen_on"], found["setting"]) == (classes, [], setting)
    with pytest.raises(ConfigError, match="--model other: the experiment has main"):
        choose_clean_up_of(experiment, "other", results)


def test_without_validation_subjects_nothing_is_cleaned_and_the_file_says_why(tmp_path):
    results = tmp_path / "results"
    split = {name: role for name, role in SPLIT.items() if name != "b"}
    experiment = experiment_of(tmp_path, split=split)
    choose_clean_up_of(experiment, "main", results)
    found = read(Layout(results / "scored").clean_up("main"))
    assert found["classes"] == []
    assert found["reason"] == "there are no validation subjects to choose on"


def test_given_weights_bring_their_clean_up(tmp_path):
    (tmp_path / "model").mkdir()
    weights = {"weights": str(tmp_path / "model" / "best.safetensors")}
    experiment = experiment_of(tmp_path, train=None, network=weights)
    results = tmp_path / "results"
    path = Layout(results / "scored").clean_up("main")
    choose_clean_up_of(experiment, "main", results)
    assert read(path)["classes"] == []
    given = {"setting": "auto", "foreground": False, "classes": ["right"], "chosen_on": ["x"], "dice": None}
    (tmp_path / "model" / "clean_up.json").write_text(json.dumps(given))
    choose_clean_up_of(experiment, "main", results)
    assert (read(path)["classes"], read(path)["chosen_on"]) == (["right"], ["x"])


def test_an_ensemble_follows_the_majority_of_its_folds(tmp_path):
    split = {"a": "", "b": "", "c": "", "d": "", "e": "apply"}
    document = {
        "experiment": "scored",
        "task": "classes",
        "subjects": {"table": str(write_subjects(tmp_path, split))},
        "classes": CLASSES,
        "split": {"folds": 3},
        "train": {},
    }
    experiment, results = parse(document, tmp_path / "e.yaml"), tmp_path / "results"
    layout = Layout(results / "scored")
    with pytest.raises(StoreError, match=r"sepvox choose --model fold0"):
        choose_clean_up_of(experiment, "ensemble", results)
    for fold, classes in enumerate((["left", "right"], ["right"], [])):
        path = layout.clean_up(f"fold{fold}")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"foreground": False, "classes": classes, "chosen_on": [f"s{fold}"]}))
    choose_clean_up_of(experiment, "ensemble", results)
    found = read(layout.clean_up("ensemble"))
    assert (found["classes"], found["chosen_on"]) == (["right"], ["s0", "s1", "s2"])


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """An experiment whose predictions are the truth, but for subject d, whose `right` is moved by one voxel upwards."""
    folder = tmp_path_factory.mktemp("judged")

    def change(name, numbers):
        moved = numbers.copy()
        if name == "d":
            moved[numbers == 2] = 0
            moved[1:][numbers[:-1] == 2] = 2
        return moved

    experiment, results = experiment_of(folder), folder / "results"
    predict_from(experiment, results, "main", change)
    choose_clean_up_of(experiment, "main", results)
    classify_subjects(experiment, "main", results, ALL)
    score_subjects(experiment, "main", results, ALL)
    summarise(experiment, "main", results)
    return experiment, results


def test_subjects_are_scored_in_millimetres_of_their_own_scan(judged):
    experiment, results = judged
    layout = Layout(results / "scored")
    assert scored(experiment, "main") == ["b", "c", "d"]
    perfect, moved = (read(layout.scores("main", name)) for name in "cd")
    assert (perfect["subject"], perfect["model"], perfect["role"]) == ("c", "main", "test")
    assert perfect["mean"]["dice"] == 1
    assert perfect["mean"]["hd95_mm"] == 0
    right = moved["classes"]["right"]
    # The class is 5 x 4 voxels wide and 6 high, in voxels of 2 x 1.5 x 3 mm; upwards is the axis of 3 mm.
    assert right["true_volume_mm3"] == pytest.approx(5 * 4 * 6 * 9)
    assert right["dice"] == pytest.approx(5 / 6)
    assert right["hd95_mm"] == pytest.approx(3)
    assert moved["classes"]["left"]["dice"] == 1


def test_the_tables_keep_test_and_validation_subjects_apart(judged):
    _, results = judged
    layout = Layout(results / "scored")
    table = read(layout.summary("main"))
    assert (table["test"]["subjects"], table["validate"]["subjects"]) == (2, 1)
    assert table["test"]["mean"]["worst"]["subject"] == "d"
    assert table["test"]["classes"]["right"]["scores"]["dice"]["mean"] == pytest.approx((1 + 5 / 6) / 2)
    rows = list(csv.DictReader(layout.summary_table("main").read_text().splitlines()))
    assert [(row["role"], row["subject"], row["class"]) for row in rows[:3]] == [
        ("validate", "b", "left"),
        ("validate", "b", "right"),
        ("test", "c", "left"),
    ]


def test_corrected_labels_are_scored_anew_and_others_are_not(tmp_path):
    split = {"a": "train", "b": "validate", "c": "test", "d": "test"}
    experiment, results = experiment_of(tmp_path, split=split), tmp_path / "results"
    layout = predict_from(experiment, results, "main")
    choose_clean_up_of(experiment, "main", results)
    classify_subjects(experiment, "main", results, ALL)
    with pytest.raises(StoreError, match=r"score of 3 of 3 subjects is missing"):
        summarise(experiment, "main", results)
    score_subjects(experiment, "main", results, Part(0, 2))
    score_subjects(experiment, "main", results, Part(1, 2))
    summarise(experiment, "main", results)
    made = {name: layout.scores("main", name).stat().st_mtime_ns for name in "bcd"}
    labels = truth_of("c")
    labels[2:4] = 0
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "c_labels.nii.gz")
    with pytest.raises(StoreError, match="the first is c"):
        summarise(experiment, "main", results)
    score_subjects(experiment, "main", results, ALL)
    assert read(layout.scores("main", "c"))["mean"]["dice"] < 1
    assert {name for name in "bcd" if layout.scores("main", name).stat().st_mtime_ns != made[name]} == {"c"}


def test_labels_on_another_grid_are_refused_in_one_line(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    predict_from(experiment, results, "main")
    choose_clean_up_of(experiment, "main", results)
    classify_subjects(experiment, "main", results, ALL)
    moved = AFFINE.copy()
    moved[0, 3] += 40
    nib.save(nib.Nifti1Image(truth_of("d"), moved), tmp_path / "d_labels.nii.gz")
    with pytest.raises(InputError, match=r"subject d: labels: .*d_labels.nii.gz: its affine") as caught:
        score_subjects(experiment, "main", results, ALL)
    assert "\n" not in str(caught.value)


def test_scores_need_classified_subjects(tmp_path):
    experiment, results = experiment_of(tmp_path), tmp_path / "results"
    predict_from(experiment, results, "main")
    with pytest.raises(StoreError, match=r"segmentation.zarr: missing, unfinished or damaged"):
        score_subjects(experiment, "main", results, ALL)
