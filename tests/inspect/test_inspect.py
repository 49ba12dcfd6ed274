"""Every planted fault of a data set is found, and named with its subject and file; a clean data set has none."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from sepvox.cli import app
from sepvox.config import load
from sepvox.experiments.classes import ClassesExperiment
from sepvox.inspect.fingerprint import DatasetFingerprint, inspect_subjects
from sepvox.inspect.outliers import modified_z
from sepvox.inspect.table import as_json, render
from sepvox.nets.settings import NetworkSettings
from sepvox.train.plan import plan

SHAPE = (14, 12, 10)
SUBJECTS = 22


def affine(spacing: float = 1.0, shift: float = 0.0) -> np.ndarray:
    found = np.diag([spacing, spacing, spacing, 1.0])
    found[:3, 3] = -5.0, 3.0 + shift, 8.0
    return found


def save(path: Path, data: np.ndarray, where: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, where)
    image.set_qform(where, 1)
    image.set_sform(where, 1)
    nib.save(image, path)
    return path


def labels_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    found = np.zeros(SHAPE, np.uint8)
    found[2 : 11 + rng.integers(0, 2), 2:10, 2:5] = 1
    found[2 : 11 + rng.integers(0, 2), 2:10, 5:8] = 2
    # No two subjects are alike.
    found[2, 2:10, 2:8] *= rng.integers(0, 2, (8, 6), dtype=np.uint8)
    return found


def file(folder: Path, subject: int, kind: str) -> Path:
    return folder / kind / f"s{subject:02d}.nii.gz"


def clean(folder: Path, subjects: int = SUBJECTS, spacing: float = 1.0) -> None:
    """Two modalities and a label map of each subject; two classes in noise."""
    for subject in range(1, subjects + 1):
        rng = np.random.default_rng(subject)
        truth = labels_of(subject)
        for kind, means in (("T1w", (20, 200, 300)), ("T2w", (30, 500, 400))):
            data = np.asarray(means)[truth] * rng.uniform(0.9, 1.1) + rng.normal(0, 8, SHAPE)
            save(file(folder, subject, kind), np.clip(data, 1, None).astype(np.int16), affine(spacing))
        save(file(folder, subject, "labels"), truth, affine(spacing))


def experiment_of(folder: Path, more: str = "", classes: str = "{one: 1, two: 2}") -> ClassesExperiment:
    config = folder / "set.yaml"
    config.write_text(
        "experiment: planted\ntask: classes\n"
        "subjects: {images: {T1w: T1w/*.nii.gz, T2w: T2w/*.nii.gz}, labels: labels/*.nii.gz}\n"
        f"classes: {classes}\n{more or 'network: {weights: none.safetensors}'}\n"
    )
    found = load(config)
    assert isinstance(found, ClassesExperiment)
    return found


def change(path: Path, edit, where: np.ndarray | None = None) -> None:
    """Write a file again with its voxels changed, and with another affine where one is given."""
    image = nib.load(path)
    save(path, edit(np.asarray(image.dataobj)), image.affine if where is None else where)


def with_nan(data: np.ndarray) -> np.ndarray:
    found = data.astype(np.float32)
    found[3, 4, 5] = np.nan
    return found


def with_value(value: float, dtype: str = "u1"):
    def edit(data: np.ndarray) -> np.ndarray:
        found = data.astype(dtype)
        found[3, 4, 2:4] = value
        return found

    return edit


def two_forms(path: Path) -> None:
    image = nib.load(path)
    turned = affine()
    turned[:3, :3] = turned[:3, :3] @ np.diag([-1, -1, 1])
    image.set_qform(turned, 1)
    image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.set_sform(affine(), 1)
    nib.save(image, path)


def no_form(path: Path) -> None:
    image = nib.load(path)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)


def plant(folder: Path) -> set[tuple[str, str, str]]:
    """One fault per subject; what is to be found: severity, kind, subject."""

    def at(subject: int, kind: str) -> Path:
        return file(folder, subject, kind)

    truncated = at(1, "T1w")
    truncated.write_bytes(truncated.read_bytes()[:-300])
    change(at(2, "T2w"), with_nan)
    change(at(3, "T1w"), lambda data: np.zeros_like(data))
    at(4, "T2w").unlink()
    change(at(5, "labels"), lambda data: data[:, :, :-1])
    change(at(6, "T2w"), lambda data: data, affine(shift=2.0))
    change(at(7, "labels"), with_value(7))
    change(at(8, "labels"), with_value(1.5, "f4"))
    change(at(9, "labels"), lambda data: np.zeros_like(data))
    for kind in ("T1w", "T2w", "labels"):
        change(at(10, kind), lambda data: data, affine(2.0))
    change(at(11, "T1w"), lambda data: data.astype(np.float32) * 40)
    shutil.copy(at(13, "T1w"), at(12, "T1w"))
    change(at(14, "labels"), lambda data: np.where(np.arange(10) < 4, 0, data))
    for kind in ("T1w", "T2w", "labels"):
        flipped = affine() @ np.diag([-1.0, 1.0, 1.0, 1.0])
        flipped[0, 3] = affine()[0, 3] + SHAPE[0] - 1
        change(at(15, kind), lambda data: data[::-1], flipped)
    change(at(16, "labels"), lambda data: np.where(data == 2, 0, data))
    two_forms(at(17, "T1w"))
    change(at(18, "labels"), lambda data: data.astype(np.float64))
    for kind in ("T1w", "T2w", "labels"):
        no_form(at(19, kind))
    change(at(20, "labels"), with_value(3))
    at(21, "labels").unlink()
    return {
        *(("error", "unusable", f"s{n:02d}") for n in (1, 2, 3, 4, 8, 21)),
        *(("error", "grid", f"s{n:02d}") for n in (5, 6)),
        ("error", "undeclared value", "s07"),
        ("warning", "empty labels", "s09"),
        ("warning", "spacing", "s10"),
        ("warning", "volume", "s10"),
        ("warning", "intensity", "s11"),
        ("warning", "duplicate", "s13"),
        ("warning", "volume", "s14"),
        ("note", "orientation", "s15"),
        ("note", "absent class", "s16"),
        ("warning", "forms differ", "s17"),
        ("note", "float labels", "s18"),
        ("warning", "no form", "s19"),
        ("warning", "single value", "s20"),
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[DatasetFingerprint, set[tuple[str, str, str]], Path]:
    folder = tmp_path_factory.mktemp("planted")
    clean(folder)
    expected = plant(folder)
    return inspect_subjects(experiment_of(folder, classes="{one: 1, two: 2, rare: 3}")), expected, folder


def test_a_clean_set_has_no_oddity(tmp_path):
    clean(tmp_path, 8)
    found = inspect_subjects(experiment_of(tmp_path))
    assert found.oddities == ()
    assert render(found).endswith("oddities: none\n")


def test_every_planted_fault_is_found_and_nothing_else(planted):
    found, expected, _ = planted
    assert {(oddity.severity, oddity.kind, oddity.subject) for oddity in found.oddities} == expected


REASONS = {
    "s01": "truncated",
    "s02": "NaN",
    "s03": "every voxel is 0",
    "s04": "T2w does not exist",
    "s05": "14x12x9",
    "s06": "2 mm",
    "s07": "value 7 in 2 voxels",
    "s08": "not whole, such as 1.5",
    "s10": "2 x 2 x 2 mm",
    "s13": "T1w of s12",
    "s16": "two (2)",
    "s17": "mm apart",
    "s20": "rare (3) in 2 voxels, in this subject alone",
    "s21": "labels does not exist",
}


@pytest.mark.parametrize("subject", REASONS)
def test_the_line_says_what_is_wrong_and_where(planted, subject):
    found, _, folder = planted
    own = [oddity for oddity in found.oddities if oddity.subject == subject]
    assert any(REASONS[subject] in oddity.text for oddity in own)
    assert all(Path(oddity.file).is_relative_to(folder) and f"{subject}.nii.gz" in oddity.file for oddity in own)
    assert all("\n" not in oddity.text for oddity in own)


def test_the_most_severe_come_first(planted):
    severities = [oddity.severity for oddity in planted[0].oddities]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_the_tables_are_at_most_a_hundred_wide_and_the_oddities_one_line_each(planted):
    found, _, folder = planted
    tables, _, oddities = render(found).partition("oddities: ")
    assert max(map(len, tables.splitlines())) <= 100
    assert str(folder) in tables
    assert "22 subjects, 20 with T1w, 20 with T2w, 20 with labels" in tables
    lines = oddities.splitlines()
    assert len(lines) == 1 + len(found.oddities)
    assert any(line.split()[:3] == ["error", "s04", "T2w/s04.nii.gz"] for line in lines)


def test_measures_are_those_of_the_files(planted):
    found, _, folder = planted
    content = json.loads(json.dumps(as_json(found), allow_nan=False))
    own = content["subjects"]["s10"]
    data = np.asarray(nib.load(file(folder, 10, "T1w")).dataobj)
    image = own["images"]["T1w"]
    assert (image["shape"], image["spacing_mm"]) == ([10, 12, 14], [2.0, 2.0, 2.0])
    assert (image["orientation"], image["dtype"], image["oblique_degrees"]) == ("RAS", "int16", 0.0)
    assert (image["lowest"], image["highest"], image["not_zero"]) == (data.min(), data.max(), 1.0)
    truth = labels_of(10)
    for value in (1, 2):
        count = int((truth == value).sum())
        assert own["labels"]["values"][str(value)] == {"voxels": count, "volume_mm3": 8.0 * count}
    assert content["subjects"]["s01"]["refused"][0]["kind"] == "T1w"
    assert content["subjects"]["s01"]["prepared"] is None
    assert len(content["oddities"]) == len(found.oddities)


def test_two_groups_of_spacings_are_one_line(tmp_path):
    clean(tmp_path, 10)
    for subject in (4, 5, 6, 7):
        for kind in ("T1w", "T2w", "labels"):
            change(file(tmp_path, subject, kind), lambda data: data, affine(1.5))
    found = [oddity for oddity in inspect_subjects(experiment_of(tmp_path)).oddities if oddity.kind == "spacing"]
    assert [(oddity.severity, oddity.subject) for oddity in found] == [("warning", "s04")]
    assert "8 images, this the first, have voxels of 1.5 x 1.5 x 1.5 mm" in found[0].text
    resampled = experiment_of(tmp_path, "network: {weights: none.safetensors}\nprepare: {spacing: [1, 1, 1]}")
    found = [oddity for oddity in inspect_subjects(resampled).oddities if oddity.kind == "spacing"]
    assert [oddity.severity for oddity in found] == ["note"]


def test_neither_of_two_equal_groups_is_the_usual_one(tmp_path):
    clean(tmp_path, 4)
    for subject in (3, 4):
        for kind in ("T1w", "T2w", "labels"):
            change(file(tmp_path, subject, kind), lambda data: data, affine(1.5))
    found = [oddity for oddity in inspect_subjects(experiment_of(tmp_path)).oddities if oddity.kind == "spacing"]
    assert [oddity.text.partition(":")[0] for oddity in found] == ["images come in 2 kinds"]


def test_exit_status_tells_whether_prepare_would_refuse_a_file(tmp_path):
    clean(tmp_path, 3)
    experiment_of(tmp_path)
    config = str(tmp_path / "set.yaml")
    assert CliRunner().invoke(app, ["inspect", config]).exit_code == 0
    change(file(tmp_path, 2, "T1w"), with_nan)
    refused = CliRunner().invoke(app, ["inspect", config, "--json"])
    assert refused.exit_code == 1
    assert [oddity["severity"] for oddity in json.loads(refused.stdout)["oddities"]] == ["error"]


def test_the_plan_is_the_one_of_training(tmp_path):
    clean(tmp_path, 3)
    settings = "network: {width: 4}\ntrain: {memory: 0.5}\nprepare: {crop: false}\nsplit: {test: 0, validation: 0}\nmodels: {small: {}, large: {network: {width: 64}, train: {memory: 0.0001}}}"
    found = inspect_subjects(experiment_of(tmp_path, settings))
    shapes, spacings = [(10, 12, 14)] * 3, [(1.0, 1.0, 1.0)] * 3
    network = NetworkSettings(width=4, norm="instance", in_channels=2, out_channels=3)
    expected = plan(shapes, spacings, network, 2**29)
    assert found.plans["small"] == expected
    assert f"batch {expected.batch}" in render(found)
    # What cannot be trained is told, not raised.
    assert "network large would be refused: memory: even patches" in render(found)


def test_phantoms_are_inspected_before_they_are_made_and_processes_change_nothing(tmp_path):
    config = tmp_path / "heads.yaml"
    config.write_text(
        "experiment: heads\ntask: classes\nsubjects: {phantom: {subjects: 2, shape: [16, 18, 16], voxel_size: [10, 10, 10]}}\n"
        "classes: {csf: 1, grey: 2, white: 3}\nnetwork: {weights: none.safetensors}\n"
    )
    experiment = load(config)
    assert isinstance(experiment, ClassesExperiment)
    alone, together = (inspect_subjects(experiment, processes) for processes in (1, 2))
    assert as_json(alone) == as_json(together)
    assert [subject.labels is not None for subject in alone.subjects] == [True, True]
    assert not [oddity for oddity in alone.oddities if oddity.severity != "note"]


def test_numbers_that_hardly_differ_have_no_outlier():
    assert max(map(abs, modified_z([10.0, 10.0, 10.0, 10.0, 10.4], 1.0))) < 1
    assert modified_z([1.0, 1.0, 1.0, 1.0, 9.0], 0.5)[-1] > 5
    assert modified_z([1.0, 1.0, 1.0, 99.0], 0.5) == [0.0] * 4
