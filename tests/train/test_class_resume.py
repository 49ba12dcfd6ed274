"""A training of classes that was killed ends with the same weights, stops for good once it stopped, and says why it cannot go on."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.end_to_end.conftest import write
from tests.end_to_end.test_kill_and_resume import kill_when

from sepvox.blocks import Part
from sepvox.config import load
from sepvox.errors import StaleError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.prepare.subjects import prepare_subjects
from sepvox.train import checkpoint
from sepvox.train.classes import train_classes

TRAIN = {
    "iterations": 24,
    "patch": [8, 8, 8],
    "batch": 2,
    "learning_rate": 0.01,
    "ema": 0.9,
    "validate_every": 8,
    "checkpoint_every": 4,
    "workers": 0,
    "tensorboard": False,
    "device": "cpu",
}
ITERATIONS = 160


def written(folder: Path, validation: float = 0.4, **changes) -> Path:
    phantom = {"subjects": 4, "shape": [20, 24, 20], "voxel_size": [8, 8, 8]}
    document = {
        "experiment": "heads",
        "task": "classes",
        "subjects": {"phantom": phantom},
        "classes": {"csf": 1, "grey": 2, "white": 3},
        "split": {"test": 0.25, "validation": validation},
        "prepare": {"chunk": [8, 8, 8], "shard": [16, 16, 16]},
        "network": {"width": 4, "depth": 1},
        "train": TRAIN | changes,
    }
    return write(folder, document)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    prepare_subjects(load(written(folder)), folder / "results", Part(0, 1))
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    """A folder with prepared subjects, and no model."""
    shutil.copytree(prepared, tmp_path / "run")
    return tmp_path / "run"


def train(folder: Path, restart: bool = False, **changes) -> Layout:
    train_classes(load(written(folder, **changes)), "main", folder / "results", restart)
    return Layout(folder / "results/heads")


def lines(layout: Layout) -> list[dict]:
    """metrics.jsonl but for how fast it went."""
    found = [json.loads(line) for line in layout.metrics("main").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "patches_per_second"} for line in found]


def published(layout: Layout) -> list[bytes]:
    return [path.read_bytes() for path in (layout.weights("main"), layout.metrics("main"), layout.model_config("main"))]


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights_and_metrics(prepared, folder):
    whole = folder.with_name("whole")
    shutil.copytree(prepared, whole)
    expected = train(whole, iterations=ITERATIONS)
    config = written(folder, iterations=ITERATIONS)
    state = Layout(folder / "results/heads").state("main")

    def validated() -> bool:
        """Whether a checkpoint was written after a validation, whose best it has to remember."""
        metrics = state / "metrics.jsonl"
        steps = [json.loads(line) for line in metrics.read_text().splitlines()[:-1]] if metrics.exists() else []
        best = [step["iteration"] for step in steps if "best" in step]
        return bool(best) and steps[-1]["iteration"] > best[0] + 4

    assert kill_when(validated, "train", config, cwd=folder)
    assert not (state.parent / "best.safetensors").exists()
    reached = checkpoint.load(state / "checkpoint.pt")["iteration"]
    assert 0 < reached < ITERATIONS
    # Loader processes make no difference.
    found = train(folder, iterations=ITERATIONS, workers=1)
    assert found.weights("main").read_bytes() == expected.weights("main").read_bytes()
    assert lines(found) == lines(expected)


def test_a_finished_training_is_published_again_without_training(folder):
    layout = train(folder)
    before = published(layout)
    for path in (layout.weights("main"), layout.metrics("main"), layout.model_config("main")):
        path.unlink()
    train(folder)
    assert published(layout) == before


def test_a_training_that_stopped_early_stays_as_it_is_when_started_again(folder):
    # Nothing improves after the first validation, so that patience ends the run at the second.
    changes = {"learning_rate": 1e-12, "ema": 0.0, "patience": 1, "select": "loss", "warmup": 0}
    layout = train(folder, **changes)
    assert lines(layout)[-1]["iteration"] == 16
    assert weights.load_metadata(layout.weights("main"))["iteration"] == "8"
    before = published(layout)
    train(folder, **changes)
    assert published(layout) == before


def test_a_training_of_other_settings_is_refused_and_with_restart_set_aside(folder):
    layout = train(folder, iterations=4)
    with pytest.raises(StaleError, match=r"^[^\n]*state: holds a training with other settings[^\n]*--restart[^\n]*$"):
        train(folder, iterations=4, patience=3)
    train(folder, restart=True, iterations=4, patience=3)
    assert (layout.state("main").with_name("state.stale") / "checkpoint.pt").exists()
    with pytest.raises(StaleError, match="other settings or data"):
        train(folder, iterations=4, patience=3, validation=0)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_without_validation_subjects_the_last_weights_are_published(folder, ema):
    layout = train(folder, validation=0, ema=ema, iterations=10)
    last = checkpoint.load(layout.state("main") / "checkpoint.pt")
    expected = (
        last["network"]
        if ema == 0
        else {name.removeprefix("module."): value for name, value in last["average"].items() if name != "n_averaged"}
    )
    found = weights.load(layout.weights("main"))
    assert weights.load_metadata(layout.weights("main"))["iteration"] == "10"
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not any("best" in line for line in lines(layout))
    before = published(layout)
    train(folder, validation=0, ema=ema, iterations=10)
    assert published(layout) == before
