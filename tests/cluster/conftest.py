"""A small volume with affinities, to be segmented as jobs of a cluster, and what one process makes of it."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.end_to_end.conftest import made_once, relabel, segment, whole

from sepvox import ome_zarr
from sepvox.blocks import Part
from sepvox.config import load
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.predict import job as predict
from sepvox.prepare.prepare import prepare
from sepvox.score.choose import choose
from sepvox.score.score import score_chosen, score_sweep
from sepvox.train.targets import affinities

REPOSITORY = Path(__file__).parents[2]

EXPERIMENT = {
    "experiment": "small",
    "volumes": {"judge": {"role": "test", "phantom": {"shape": [64, 96, 96], "seed": 3}}},
    "prepare": {"chunk": [16, 16, 16], "shard": [32, 32, 32]},
    "network": {"weights": "best.safetensors"},
    "segment": {
        "fragments": {"cell": [16, 16, 16], "halo": [8, 8, 8]},
        "agglomerate": {"cell": [32, 32, 32], "context": 16, "thresholds": [0.3, 0.5, 0.7]},
        "threshold": 0.5,
        "slices": 2,
    },
}
LAYOUT = Layout(Path("results/small"))
SCORES = LAYOUT.scores("main", "judge")
SEGMENTATION = LAYOUT.segmentation("main", "judge")
FRAGMENTS = LAYOUT.fragments("main", "judge")
CELLS = LAYOUT.region_graph("main", "judge") / "cells"
CELLS_DONE = [LAYOUT.done("region-graph", "main", "judge", f"{index}-2") for index in range(2)]
LOOKUP_TABLES = LAYOUT.lookup_tables("main", "judge")
SEGMENTED = LAYOUT.done("relabel", "main", "judge", "finish")


@pytest.fixture(scope="session")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, its network, and a prepared volume whose affinities are those of its truth, with noise."""
    return made_once(tmp_path_factory, "predicted", make_predicted)


def make_predicted(folder: Path) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    network = NetworkSettings(width=4, depth=1)
    weights.save(folder / "best.safetensors", build(network).state_dict(), {})
    write_model_config(folder / "config.json", network, {})
    experiment, results = load(folder / "experiment.yaml"), folder / "results"
    prepare(experiment, "judge", results)
    predict.create(experiment, "main", "judge", results, restart=True)
    job = predict.predict_job(experiment, "main", "judge", results)
    targets, _ = affinities(whole(folder / LAYOUT.labels("judge")), job.offsets)
    noise = np.random.default_rng(1).normal(30, 40, targets.shape)
    noisy = np.clip(180 * targets + noise, 0, 255).astype(np.uint8)
    store = ome_zarr.open_level(job.store, writable=True)
    job.step.run(Part(0, 1), lambda box: ome_zarr.write(store, box, noisy[:, *box.slices]))
    predict.finish(experiment, "main", "judge", results)


@pytest.fixture(scope="session")
def expected(predicted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment, finished in this process."""
    return made_once(tmp_path_factory, "expected", lambda folder: make_expected(predicted, folder))


def make_expected(predicted: Path, folder: Path) -> None:
    copied(predicted, folder)
    experiment, results = load(folder / "experiment.yaml"), folder / "results"
    segment(experiment, results, "judge")
    score_sweep(experiment, "main", "judge", results)
    choose(experiment, "main", results)
    relabel(experiment, results, "judge")
    score_chosen(experiment, "main", "judge", results)


def copied(folder: Path, to: Path) -> Path:
    """A copy in which everything is as old as it was."""
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


def contents(folder: Path, *paths: Path) -> dict[str, bytes]:
    """Bytes of files, and of all files below folders."""
    found = [file for path in paths for file in (folder / path, *(folder / path).rglob("*")) if file.is_file()]
    assert len(found) >= len(paths)
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def finished_blocks(folder: Path, step: str) -> int:
    blocks = folder / LAYOUT.step(step, "main", "judge") / "blocks"
    return sum(file.stem.isdigit() for file in blocks.glob("*.json"))


def until(condition: Callable[[], object], what: str, seconds: float = 600, every: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(every)
