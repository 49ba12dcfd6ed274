"""score: fragments, truth and lookup tables to scores, without writing a segmentation.

contingency.npz beside the scores holds the voxel counts of fragments × truth; every threshold is scored from it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, triple
from sepvox.config import Experiment
from sepvox.errors import ConfigError
from sepvox.layout import Layout
from sepvox.prepare.volume import PreparedVolume, open_volume
from sepvox.score.contingency import Contingency, contingency, merge, near_border, relabel
from sepvox.score.metrics import adapted_rand_error, cremi_score, per_object_errors, variation_of_information
from sepvox.segment.agglomerate import load_lookup_tables

BLOCK = (128, 128, 128)


def score_sweep(experiment: Experiment, model: str, volume: str, results: Path) -> None:
    """Write sweep.json: the scores of one volume at every threshold."""
    layout = Layout(results / experiment.experiment)
    if not experiment.has_truth(volume):
        raise ConfigError(f"volumes.{volume}: has no `labels` to compare with; add them, or do not score this volume")
    tables = load_lookup_tables(layout.lookup_tables(model, volume))
    counted = _count(layout.fragments(model, volume), open_volume(layout, volume), experiment.score.ignore_border)
    with markers.replacing(_contingency_file(layout, model, volume)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, fragment=counted.fragment, truth=counted.truth, count=counted.count)
    scored = [scores_at(relabel(counted, tables.fragments, tables.at(t)), float(t)) for t in tables.thresholds]
    sweep = {"volume": volume, "role": experiment.volumes[volume].role, "thresholds": scored}
    markers.write_json(layout.sweep(model, volume), sweep)


def score_chosen(experiment: Experiment, model: str, volume: str, results: Path) -> None:
    """Write scores.json: the sweep, the scores at the chosen threshold, and the largest errors."""
    layout = Layout(results / experiment.experiment)
    sweep = markers.read_json(layout.sweep(model, volume))
    chosen = markers.read_json(layout.threshold(model))
    tables = load_lookup_tables(layout.lookup_tables(model, volume))
    counted = relabel(load_contingency(layout, model, volume), tables.fragments, tables.at(chosen["threshold"]))
    splits, merges = per_object_errors(counted)
    found = scores_at(counted, chosen["threshold"]) | {"chosen_on": chosen["chosen_on"]}
    errors = {"split": [vars(error) for error in splits], "merge": [vars(error) for error in merges]}
    markers.write_json(layout.scores(model, volume), sweep | {"chosen": found, "errors": errors})


def scores_at(counted: Contingency, threshold: float) -> dict[str, float]:
    """The scores of one segmentation against the truth, keyed as in scores.json."""
    split, merged = variation_of_information(counted)
    return {
        "threshold": threshold,
        "voi_split": split,
        "voi_merge": merged,
        "voi_sum": split + merged,
        "arand": adapted_rand_error(counted),
        "cremi": cremi_score(counted),
    }


def load_contingency(layout: Layout, model: str, volume: str) -> Contingency:
    """The counts that `score_sweep` kept."""
    with np.load(_contingency_file(layout, model, volume)) as file:
        return Contingency(file["fragment"], file["truth"], file["count"])


def _contingency_file(layout: Layout, model: str, volume: str) -> Path:
    return layout.sweep(model, volume).with_name("contingency.npz")


def _count(store: Path, volume: PreparedVolume, ignore_border: int) -> Contingency:
    fragments = ome_zarr.open_level(store)
    halo = (0, ignore_border, ignore_border)
    found = []
    for box in Lattice(triple(fragments.shape), BLOCK):
        outer = box.grow(halo).clip(Box.of(fragments.shape))
        truth = volume.labels_box(outer)
        inner: Any = box.inside(outer).slices
        ignore = near_border(truth, ignore_border)[inner] if ignore_border else None
        found.append(contingency(ome_zarr.read(fragments, box), truth[inner], ignore))
    return merge(found)
