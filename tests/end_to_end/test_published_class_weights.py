"""The weights for MRI in `pretrained/` do what their model cards say."""

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sepvox.apply import apply
from sepvox.config import load
from sepvox.experiments.classes import ClassesExperiment
from sepvox.predict.class_model import read_class_model
from sepvox.predict.settings import ClassPredictSettings
from sepvox.score.class_metrics import class_scores

ROOT = Path(__file__).parents[2]
HIPPOCAMPUS = ROOT / "pretrained/hippocampus-p2sc2"
BRAIN = ROOT / "pretrained/brain-extraction-p2sc2"
DATA = Path(os.environ.get("SEPVOX_DATA") or "/nonexistent")
FOLD = "fold0"


@pytest.fixture
def hippocampus(monkeypatch: pytest.MonkeyPatch) -> ClassesExperiment:
    monkeypatch.setenv("SEPVOX_DATA", str(DATA))
    experiment = load(ROOT / "configs/hippocampus.yaml")
    assert isinstance(experiment, ClassesExperiment)
    return experiment


def test_the_card_of_hippocampus_says_what_the_files_say(hippocampus: ClassesExperiment) -> None:
    card = (HIPPOCAMPUS / "README.md").read_text()
    weights = HIPPOCAMPUS / "best.safetensors"
    config = json.loads((HIPPOCAMPUS / "config.json").read_text())
    assert weights.stat().st_size <= 10_000_000
    assert f"{config['training']['settings']['iterations']} iterations" in card
    assert FOLD in card
    assert hippocampus.train is not None
    assert config["training"]["settings"] == hippocampus.train.model_dump(mode="json")
    assert read_class_model(weights).classes == hippocampus.classes


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
def test_hippocampus_weights_reach_their_score_on_subjects_that_they_were_not_trained_on(
    hippocampus: ClassesExperiment, tmp_path: Path
) -> None:
    unseen = [hippocampus.people[name] for name in hippocampus.named(FOLD, "test")[:6]]
    scans = [image for person in unseen for image in person.images.values()]
    settings = ClassPredictSettings(augment="mirror")
    apply([HIPPOCAMPUS / "best.safetensors"], tmp_path, scans, settings=settings, tell=lambda _: None)
    dice = []
    for person, scan in zip(unseen, scans, strict=True):
        assert person.labels is not None
        found = nibabel.load(tmp_path / scan.name.replace(".nii.gz", "_seg.nii.gz"))
        truth = nibabel.load(person.labels)
        assert np.array_equal(found.affine, nibabel.load(scan).affine)
        maps = [np.asanyarray(image.dataobj).astype(np.uint8) for image in (found, truth)]
        dice.append(class_scores(*maps, hippocampus.classes, (1.0, 1.0, 1.0))["mean"]["dice"])
    assert np.mean(dice) >= 0.86


@pytest.fixture
def brain(monkeypatch: pytest.MonkeyPatch) -> ClassesExperiment:
    monkeypatch.setenv("SEPVOX_DATA", str(DATA))
    experiment = load(ROOT / "configs/brain-extraction.yaml")
    assert isinstance(experiment, ClassesExperiment)
    return experiment


def test_the_card_of_brain_extraction_says_what_the_files_say(brain: ClassesExperiment) -> None:
    card = (BRAIN / "README.md").read_text()
    assert sorted(folder.name for folder in BRAIN.iterdir() if folder.is_dir()) == list(brain.runs())
    assert brain.train is not None
    for fold in brain.runs():
        weights = BRAIN / fold / "best.safetensors"
        config = json.loads((BRAIN / fold / "config.json").read_text())
        assert weights.stat().st_size <= 10_000_000
        assert f"{config['training']['settings']['iterations']} iterations" in card
        assert config["training"]["settings"] == brain.train.model_dump(mode="json")
        assert read_class_model(weights).classes == brain.classes


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
def test_brain_weights_extract_a_head_of_another_scanner_that_no_network_was_trained_on(
    brain: ClassesExperiment, tmp_path: Path
) -> None:
    head = brain.people["mni152"]
    (scan,) = head.images.values()
    assert head.labels is not None
    apply([BRAIN / fold / "best.safetensors" for fold in brain.runs()], tmp_path, [scan], tell=lambda _: None)
    maps = [
        np.asanyarray(nibabel.load(path).dataobj).astype(np.uint8)
        for path in (tmp_path / scan.name.replace(".nii.gz", "_seg.nii.gz"), head.labels)
    ]
    assert class_scores(*maps, brain.classes, (2.0, 2.0, 2.0))["mean"]["dice"] >= 0.90
