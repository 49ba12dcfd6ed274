"""The path of a trial: the commands from its making to its scores, each measured.

given       affinities are made from the truth, and the whole path is measured.
predicted   before that, predict is measured with a small network; its affinities give way to the given ones.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale.experiment import CONFIG, LAYOUT, MODEL, ROOT, TILE, VOLUME, Trial, files, stores
from benchmarks.scale.measure import Cost, cost, held

REPOSITORY = Path(__file__).parents[2]
STEPS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare", CONFIG, "--volume", VOLUME),
    "predict": ("predict", CONFIG, "--volume", VOLUME),
    "fragments": ("fragments", CONFIG, "--volume", VOLUME),
    "region-graph": ("region-graph", CONFIG, "--volume", VOLUME),
    "agglomerate": ("agglomerate", CONFIG, "--volume", VOLUME),
    "score --sweep": ("score", CONFIG, "--volume", VOLUME, "--sweep"),
    "choose": ("choose", CONFIG),
    "relabel": ("relabel", CONFIG, "--volume", VOLUME),
    "score": ("score", CONFIG, "--volume", VOLUME),
}
# The steps whose time is the segmentation's.
SEGMENTATION = ("fragments", "region-graph", "agglomerate", "relabel")


def stage(prefix: Sequence[str], home: Path, name: str, *options: str) -> Cost:
    """Measure a stage of the making."""
    program = [*prefix, sys.executable, "-m", "benchmarks.scale.make", name, str(home.resolve()), *options]
    return cost(program, REPOSITORY, home / "logs" / f"{name}.log")


def measure_path(trial: Trial, home: Path, tile: Path, prefix: list[str], predicted: bool) -> dict[str, Any]:
    """Make a trial, do its path, and say what every command cost and left behind.

    Parameters
    ----------
    trial : Trial
        The volume.
    home : Path
        An empty folder.
    tile : Path
        tile.npz, which `make tile` wrote.
    prefix : list of str
        What the commands begin with, such as nice.
    predicted : bool
        Whether predict is measured too.
    """
    trial.write(home)
    shutil.copyfile(tile, home / TILE)
    edge = ("--edge", str(trial.edge))
    costs = {"source": stage(prefix, home, "source", *edge)}
    verb = [*prefix, str(Path(sys.executable).with_name("sepvox"))]

    def step(name: str) -> None:
        print(f"{trial.edge}: {name}", file=sys.stderr, flush=True)
        costs[name] = cost([*verb, *STEPS[name]], home, home / "logs" / f"{name}.log")

    step("prepare")
    if predicted:
        stage(prefix, home, "network")
        step("predict")
        for folder in (ROOT / "outputs", LAYOUT.step("predict")):
            shutil.rmtree(home / folder)
    costs["affinities"] = stage(prefix, home, "affinities", *edge)
    for name in STEPS:
        if name not in costs and name != "predict":
            step(name)
    left = {name: asdict(held(home / path)) for name, path in stores().items()}
    chosen = json.loads((home / str(LAYOUT.output(MODEL, VOLUME)) / "scores.json").read_text())["chosen"]
    with np.load(home / str(LAYOUT.lookup_tables(MODEL, VOLUME))) as archive:
        fragments = len(archive["sizes"])
    return {
        "trial": asdict(trial),
        "voxels": trial.voxels,
        "steps": {name: asdict(found) for name, found in costs.items()},
        "stores": left,
        "files": files(trial),
        "fragments": fragments,
        "voi": chosen["voi_sum"],
        "threshold": chosen["threshold"],
    }
