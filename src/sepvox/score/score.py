"""score: fragments, truth and lookup tables to scores, without writing a segmentation."""

from functools import partial
from pathlib import Path
from typing import Any

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, triple
from sepvox.blockwise import in_order, processes
from sepvox.errors import ConfigError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.prepare.volume import open_volume
from sepvox.score.contingency import Contingency, contingency, merge, near_border, relabel
from sepvox.score.metrics import adapted_rand_error, cremi_score, per_object_errors, variation_of_information
from sepvox.score.sweep import load_counts, read_sweep, save_counts, sources
from sepvox.segment.agglomerate import load_lookup_tables
from sepvox.segment.threshold import chosen_threshold
from sepvox.storage import Place

BLOCK = (128, 128, 128)


def score_sweep(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> None:
    """Write sweep.json: the scores of one volume at every threshold."""
    layout = experiment.layout(results)
    if not experiment.has_truth(volume):
        raise ConfigError(f"volumes.{volume}: has no `labels` to compare with; add them, or do not score this volume")
    tables = load_lookup_tables(experiment, model, volume, results)
    made_from = sources(experiment, model, volume, results)
    counted = _count(experiment, model, volume, results)
    save_counts(layout, model, volume, counted, made_from["contingency"])
    fragments = tables.fragments()
    scored = [scores_at(relabel(counted, fragments, tables.at(t)), t) for t in tables.thresholds]
    sweep = {
        "volume": volume,
        "role": experiment.volumes[volume].role,
        "made_from": made_from,
        "thresholds": scored,
    }
    markers.write_json(layout.sweep(model, volume), sweep)


def score_chosen(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> None:
    """Write scores.json: the sweep, the scores at the chosen threshold, and the largest errors."""
    layout = experiment.layout(results)
    tables = load_lookup_tables(experiment, model, volume, results)
    sweep = read_sweep(experiment, model, volume, results)
    chosen = chosen_threshold(experiment, model, results)
    counts = load_counts(experiment, model, volume, results)
    counted = relabel(counts, tables.fragments(), tables.at(chosen["threshold"]))
    splits, merges = per_object_errors(counted)
    found = scores_at(counted, chosen["threshold"]) | {"chosen_on": chosen["chosen_on"]}
    errors = {"split": [vars(error) for error in splits], "merge": [vars(error) for error in merges]}
    kept = {key: sweep[key] for key in ("volume", "role", "thresholds")}
    markers.write_json(layout.scores(model, volume), kept | {"chosen": found, "errors": errors})


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


def _count(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> Contingency:
    layout = experiment.layout(results)
    store, labels = layout.fragments(model, volume), layout.labels(volume)
    # Whether the labels are of the volume as it was prepared last.
    open_volume(layout, volume)
    lattice = Lattice(triple(ome_zarr.open_level(store).shape), BLOCK)
    work = partial(_count_block, store, labels, experiment.score.ignore_border)
    with processes(experiment.score.processes) as executor:
        return merge(list(in_order(work, lattice, executor, "score")))


def _count_block(store: Place, labels: Place, ignore_border: int, box: Box) -> Contingency:
    fragments = ome_zarr.open_level(store)
    outer = box.grow((0, ignore_border, ignore_border)).clip(Box.of(fragments.shape))
    truth = ome_zarr.read(ome_zarr.open_level(labels), outer)
    inner: Any = box.inside(outer).slices
    ignore = near_border(truth, ignore_border)[inner] if ignore_border else None
    return contingency(ome_zarr.read(fragments, box), truth[inner], ignore)
