"""A small experiment on the phantom, run once through every verb."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from sepvox.config import load
from sepvox.layout import Layout

EXPERIMENT = {
    "experiment": "small",
    "volumes": {
        "learn": {"role": "train", "phantom": {"shape": [48, 64, 64], "seed": 1}},
        "choose": {"role": "validate", "phantom": {"shape": [40, 48, 48], "seed": 2}},
        "judge": {"role": "test", "phantom": {"shape": [40, 72, 48], "seed": 3}},
    },
    "prepare": {"chunk": [8, 8, 8], "shard": [16, 16, 16]},
    "network": {"width": 4, "depth": 1},
    "train": {
        "iterations": 30,
        "patch": [24, 24, 24],
        "validate_every": 15,
        "checkpoint_every": 5,
        "validation_crop": [24, 24, 24],
        "workers": 0,
        "tensorboard": False,
    },
    "segment": {
        "fragments": {"cell": [16, 16, 16], "halo": [8, 8, 8]},
        "agglomerate": {"cell": [32, 32, 32], "context": 16, "thresholds": [0.3, 0.5, 0.7]},
    },
}


def write(folder: Path, experiment: dict) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def sepvox(*arguments, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run the command line in another process."""
    command = [str(Path(sys.executable).with_name("sepvox")), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def whole(path):
    """All voxels of a store."""
    from sepvox import ome_zarr
    from sepvox.blocks import Box

    array = ome_zarr.open_level(path)
    return ome_zarr.read(array, Box.of(array.shape[-3:]))


def segment(experiment, results: Path, volume: str) -> None:
    """Everything from affinities to lookup tables, in this process."""
    from sepvox.blocks import Part
    from sepvox.segment import agglomerate, fragments, region_graph

    fragments.create(experiment, "main", volume, results, restart=True)
    fragments.fragments_slice(experiment, "main", volume, results, Part(0, 1))
    fragments.finish(experiment, "main", volume, results)
    region_graph.region_graph_slice(experiment, "main", volume, results, Part(0, 1))
    agglomerate.agglomerate(experiment, "main", volume, results)


def predict(experiment, results: Path, volume: str) -> None:
    """Affinities of a volume, in this process."""
    from sepvox.blocks import Part
    from sepvox.predict import job
    from sepvox.predict.predict import predict_slice

    job.create(experiment, "main", volume, results, restart=True)
    predict_slice(experiment, "main", volume, results, Part(0, 1))
    job.finish(experiment, "main", volume, results)


def relabel(experiment, results: Path, volume: str) -> None:
    """The segmentation at the chosen threshold, in this process."""
    from sepvox.blocks import Part
    from sepvox.segment import relabel as step

    step.create(experiment, "main", volume, results, restart=True)
    step.relabel_slice(experiment, "main", volume, results, Part(0, 1))
    step.finish(experiment, "main", volume, results)


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process of a test run makes and all of them read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}-made-once"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Folder, configuration and layout of the finished experiment, which no test changes."""
    folder = made_once(tmp_path_factory, "small", make_small)
    return folder, folder / "experiment.yaml", Layout(folder / "results" / "small")


def make_small(folder: Path) -> None:
    from sepvox.prepare.prepare import prepare
    from sepvox.score.choose import choose
    from sepvox.score.score import score_chosen, score_sweep
    from sepvox.train.neurons import train_neurons

    experiment, results = load(write(folder, EXPERIMENT)), folder / "results"
    for volume in experiment.volumes:
        prepare(experiment, volume, results)
    train_neurons(experiment, "main", results)
    for volume in experiment.predicted():
        predict(experiment, results, volume)
        segment(experiment, results, volume)
        score_sweep(experiment, "main", volume, results)
    choose(experiment, "main", results)
    for volume in experiment.predicted():
        relabel(experiment, results, volume)
        score_chosen(experiment, "main", volume, results)
