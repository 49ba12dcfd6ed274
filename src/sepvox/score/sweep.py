"""The two files of a sweep over thresholds, which say what they were made from and are not read after that has changed.

contingency.npz   the voxel counts of fragments × truth, from which every threshold is scored.
sweep.json        the scores of one volume at every threshold.
"""

from pathlib import Path
from typing import Any

from sepvox import markers, ome_zarr
from sepvox.errors import StaleError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.score.contingency import Contingency
from sepvox.segment.agglomerate import tables_fingerprint
from sepvox.versions import VERSIONS

STEP = "`sepvox score --sweep`"


def sources(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> dict[str, str]:
    """Fingerprints of what a sweep is made from: the counts, that is fragments, truth and settings, and lookup tables."""
    layout = experiment.layout(results)
    counts = markers.fingerprint(
        "contingency",
        VERSIONS["score"],
        experiment.score.model_dump(mode="json", exclude={"processes"}),
        ome_zarr.attributes(layout.fragments(model, volume))["fingerprint"],
        ome_zarr.attributes(layout.labels(volume))["fingerprint"],
    )
    return {"contingency": counts, "lookup_tables": tables_fingerprint(experiment, model, volume, results)}


def save_counts(layout: Layout, model: str, volume: str, counted: Contingency, made_from: str) -> None:
    """Write contingency.npz."""
    markers.write_arrays(
        _counts_file(layout, model, volume),
        fragment=counted.fragment,
        truth=counted.truth,
        count=counted.count,
        fingerprint=made_from,
    )


def load_counts(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> Contingency:
    """Read contingency.npz.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    StaleError
        If it was made from other fragments or labels, or with other settings.
    """
    path = _counts_file(experiment.layout(results), model, volume)
    found = markers.read_arrays(path, STEP, "fragment", "truth", "count", "fingerprint")
    if str(found["fingerprint"]) != sources(experiment, model, volume, results)["contingency"]:
        raise StaleError(f"{path}: counted on other fragments or labels, or with other settings; run {STEP} again")
    return Contingency(found["fragment"], found["truth"], found["count"])


def read_sweep(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> dict[str, Any]:
    """Read sweep.json.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    StaleError
        If it was made from other fragments, labels or lookup tables, or with other settings.
    """
    path = experiment.layout(results).sweep(model, volume)
    sweep: dict[str, Any] = markers.read_json(path, "volume", "role", "thresholds", step=STEP)
    if sweep.get("made_from") != sources(experiment, model, volume, results):
        raise StaleError(
            f"{path}: made from other fragments, labels or lookup tables, or with other settings; run {STEP} again"
        )
    return sweep


def _counts_file(layout: Layout, model: str, volume: str) -> Path:
    return layout.sweep(model, volume).with_name("contingency.npz")
