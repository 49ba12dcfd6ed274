"""The study Video-MNIST in the workflow: every training is a job, beside whatever experiment the workflow is of."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.workflow.runs import planned, snakemake
from tests.workflow.test_workflow import experiment, write

from sepvox.studies.video_mnist.settings import read_study
from sepvox.studies.video_mnist.units import candidate_units, reported_units

CONFIGS = Path(__file__).parents[2] / "configs" / "studies"


def study(**table: Any) -> dict[str, Any]:
    table = {"rows": [10, 20], "runs": 2, "train": {"learning_rates": {"dense": [0.1]}, "choose": {"runs": 1}}} | table
    return {"experiment": "tiny", "videos": {"train": 200}, "table": table}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment, and a study that the environment names."""
    write(tmp_path, experiment())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study()))
    monkeypatch.setenv("SEPVOX_STUDY_VIDEO_MNIST", str(tmp_path / "study.yaml"))
    return tmp_path


def test_small_study_makes_videos_trains_every_unit_once_and_ends_in_its_table(tmp_path: Path) -> None:
    write(tmp_path, experiment())
    table = read_study(CONFIGS / "video-mnist.yaml").with_table()
    trainings = len(candidate_units(table)) + len(reported_units(table))
    expected = {"video_mnist_videos": 1, "video_mnist_train": trainings, "video_mnist_choose": 1}
    expected |= {"video_mnist_table": 1, "study_video_mnist": 1}
    assert planned(tmp_path, "study_video_mnist") == expected


def test_only_networks_with_several_candidates_wait_for_a_choice(folder: Path) -> None:
    assert planned(folder, "results/tiny/done/video-mnist-train/dense-10-run1.json") == {
        "video_mnist_videos": 1,
        "video_mnist_train": 1,
    }
    # 3DTT has five candidates.
    assert planned(folder, "results/tiny/done/video-mnist-train/tt-10-run1.json")["video_mnist_train"] == 5 + 1


def test_a_changed_test_runs_the_trainings_again_that_it_concerns(folder: Path) -> None:
    target = "results/tiny/done/video-mnist-train/dense-10-run"
    done = [f"{target}{run}.json" for run in (0, 1)]
    videos = [f"results/tiny/done/video-mnist/{split}/finish.json" for split in ("train", "validation", "test")]
    for name in [*done, *videos, "results/tiny/videos/contact-sheet.png"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    status, output = snakemake(folder, "--touch", *done)
    assert status == 0, output
    assert planned(folder, *done) == {}
    (folder / "study.yaml").write_text(yaml.safe_dump(study(test={"videos": 100, "whole_runs": 0}, runs=3)))
    assert planned(folder, *done) == {"video_mnist_train": 2}
    (folder / "study.yaml").write_text(yaml.safe_dump(study(runs=3)))
    assert planned(folder, *done) == {}


def test_a_study_whose_data_are_not_there_is_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("SEPVOX_DATA", raising=False)
    monkeypatch.setenv("SEPVOX_STUDY_VIDEO_MNIST", str(CONFIGS / "video-mnist-rows.yaml"))
    write(tmp_path, experiment())
    status, output = snakemake(tmp_path, "--dry-run", "study_video_mnist")
    assert status != 0
    assert "environment variable SEPVOX_DATA is not set" in output
