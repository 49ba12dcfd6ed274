"""A training goes on only as it began, stops for good once it has stopped, and says in one line why it cannot go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.end_to_end.conftest import EXPERIMENT, write

from sepvox import ome_zarr
from sepvox.blocks import Box
from sepvox.config import load
from sepvox.errors import InputError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.nets.geometry import geometry
from sepvox.prepare.prepare import prepare
from sepvox.prepare.volume import open_volume
from sepvox.train import checkpoint, validation
from sepvox.train.neurons import train_neurons
from sepvox.train.targets import affinities, erode

TRAIN = EXPERIMENT["train"] | {"patch": [16, 16, 16], "validation_crop": [16, 16, 16], "iterations": 6}


def configured(folder: Path, **changes):
    volumes = {
        "learn": {"role": "train", "phantom": {"shape": [16, 32, 32], "seed": 1}},
        "choose": {"role": "validate", "phantom": {"shape": [16, 24, 24], "seed": 2}},
    }
    settings = TRAIN | {"validate_every": 3, "checkpoint_every": 2} | changes
    network = {"width": 2, "depth": 1}
    return load(write(folder, EXPERIMENT | {"volumes": volumes, "network": network, "train": settings}))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    for volume in ("learn", "choose"):
        prepare(configured(folder), volume, folder / "results")
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    """A folder with both volumes, and no model."""
    shutil.copytree(prepared, tmp_path / "run")
    return tmp_path / "run"


def published(layout: Layout) -> list[bytes]:
    return [path.read_bytes() for path in (layout.weights("main"), layout.metrics("main"), layout.model_config("main"))]


def test_a_training_that_stopped_early_stays_as_it_is_when_started_again(folder):
    # Nothing improves after the first validation, so that patience ends the run at the second.
    experiment, results = (
        configured(folder, learning_rate=1e-12, ema=0.0, patience=1, select="loss", iterations=30),
        folder / "results",
    )
    layout = Layout(results / "small")
    train_neurons(experiment, "main", results)
    before = published(layout)
    lines = [json.loads(line) for line in layout.metrics("main").read_text().splitlines()]
    assert lines[-1]["iteration"] < 30
    train_neurons(experiment, "main", results)
    assert published(layout) == before


def test_a_checkpoint_of_another_precision_is_refused_until_it_is_finished(folder):
    experiment, results = configured(folder), folder / "results"
    layout = Layout(results / "small")
    train_neurons(experiment, "main", results)
    path = layout.state("main") / "checkpoint.pt"
    finished = checkpoint.load(path)
    assert finished["precision"] == "float32"
    checkpoint.save(path, finished | {"precision": "bfloat16"})
    train_neurons(experiment, "main", results)
    checkpoint.save(path, finished | {"precision": "bfloat16", "iteration": 4})
    with pytest.raises(StaleError, match=r"^[^\n]*checkpoint\.pt: trained in bfloat16[^\n]*train\.precision[^\n]*$"):
        train_neurons(experiment, "main", results)
    checkpoint.save(path, finished | {"iteration": 4})
    train_neurons(experiment, "main", results)


def test_a_finished_training_without_its_weights_says_how_to_train_afresh(folder):
    results = folder / "results"
    experiment, state = configured(folder, iterations=1), Layout(results / "small").state("main")
    train_neurons(experiment, "main", results)
    (state / "best.safetensors").unlink()
    with pytest.raises(StoreError, match=rf"best\.safetensors: missing; remove {state} to train afresh"):
        train_neurons(experiment, "main", results)


def test_a_damaged_shard_is_one_line_also_from_a_loader_process(folder):
    results = folder / "results"
    layout = Layout(results / "small")
    for shard in (path for path in (layout.image("learn") / "0/c").rglob("*") if path.is_file()):
        shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(StoreError) as caught:
        train_neurons(configured(folder, workers=1), "main", results)
    assert str(caught.value).startswith(str(layout.image("learn")))
    assert "damaged" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_validation_crop_without_truth_is_refused_before_the_first_iteration(folder):
    results = folder / "results"
    labels = ome_zarr.open_level(Layout(results / "small").labels("choose"), writable=True)
    ome_zarr.write(labels, Box.of(labels.shape), np.zeros(labels.shape, np.uint64))
    with pytest.raises(InputError, match=r"volumes.choose: .* enlarge train.validation_crop"):
        train_neurons(configured(folder), "main", results)
    assert not Layout(results / "small").state("main").exists()


def test_validation_targets_are_eroded_like_those_of_training_and_its_labels_are_not(folder):
    experiment = configured(folder)
    volume = open_volume(Layout(folder / "results/small"), "choose")
    net = experiment.network
    crop = validation.crop_of(volume, volume.shape, geometry(net), net.offsets, "unknown", 1)
    labels = volume.labels_box(crop_box := volume.region.shift([-b for b in volume.region.begin]))
    assert crop_box.shape == volume.shape
    expected, known = affinities(erode(labels, 1), net.offsets)
    assert torch.equal(crop.targets[0], torch.from_numpy(expected))
    assert torch.equal(crop.mask[0], torch.from_numpy(known))
    assert not np.array_equal(expected, affinities(labels, net.offsets)[0])
    assert np.array_equal(crop.labels, labels)


def test_validation_erodes_as_the_settings_say(folder):
    figures = []
    for voxels in (0, 1):
        results = folder / "results"
        train_neurons(configured(folder, erode_labels=voxels, iterations=1), "main", results, restart=True)
        lines = [json.loads(line) for line in Layout(results / "small").metrics("main").read_text().splitlines()]
        figures.append(next(line["validation_loss"] for line in lines if "validation_loss" in line))
    assert figures[0] != figures[1]
