"""agglomerate: the merge scores of all cells to one lookup table from fragments to segments per threshold.

The file lookup_tables.npz holds `fragments` uint64 (f,) in rising order, `sizes` int64 (f,), `thresholds` float64 (t,) and
`tables` uint64 (t, f).
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox import markers
from sepvox.config import Experiment
from sepvox.errors import StoreError
from sepvox.layout import Layout
from sepvox.segment.lookup import lookup_tables
from sepvox.segment.region_graph import region_graph_job


@dataclass(frozen=True)
class LookupTables:
    """One segment id per threshold and fragment."""

    fragments: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    tables: NDArray[np.uint64]

    def at(self, threshold: float) -> NDArray[np.uint64]:
        """The table of a threshold.

        Raises
        ------
        StoreError
            If it was not agglomerated at this threshold.
        """
        found = np.flatnonzero(np.isclose(self.thresholds, threshold, rtol=0, atol=1e-9))
        if not len(found):
            known = ", ".join(f"{t:g}" for t in self.thresholds)
            raise StoreError(
                f"threshold {threshold:g}: the lookup tables have {known}; add it to segment.agglomerate.thresholds and run agglomerate again"
            )
        table: NDArray[np.uint64] = self.tables[found[0]]
        return table


def thresholds_of(experiment: Experiment, results: Path, model: str) -> list[float]:
    """Thresholds of the sweep, with the one that is configured or comes with given weights."""
    wanted = set(experiment.segment.agglomerate.thresholds)
    if experiment.segment.threshold is not None:
        wanted.add(experiment.segment.threshold)
    given = experiment.model_directory(results, model) / "threshold.json"
    if experiment.train is None and given.exists():
        wanted.add(float(markers.read_json(given)["threshold"]))
    return sorted(wanted)


def agglomerate(experiment: Experiment, model: str, volume: str, results: Path) -> None:
    """Reduce the cells' merge scores to lookup tables.

    Raises
    ------
    StoreError
        If a cell's merge scores are missing or damaged.
    """
    job = region_graph_job(experiment, model, volume, results)
    job.step.check_done()
    parts = [_load(job.cell_file(cell)) for cell in job.step.lattice]
    fragments = np.concatenate([part["fragments"] for part in parts])
    order = np.argsort(fragments)
    fragments = fragments[order]
    sizes = np.concatenate([part["sizes"] for part in parts])[order]
    edges = np.concatenate([part["edges"] for part in parts])
    scores = np.concatenate([part["scores"] for part in parts])
    thresholds = thresholds_of(experiment, results, model)
    tables = lookup_tables(fragments, sizes, edges, scores, thresholds, experiment.segment.minimum_size)
    path = Layout(results / experiment.experiment).lookup_tables(model, volume)
    with markers.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, fragments=fragments, sizes=sizes, thresholds=np.array(thresholds), tables=tables)


def load_lookup_tables(path: Path) -> LookupTables:
    """Read lookup_tables.npz.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    found = _load(path)
    return LookupTables(found["fragments"], found["sizes"], found["thresholds"], found["tables"])


def _load(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as file:
            return dict(file)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; run region-graph and agglomerate first") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise StoreError(f"{path}: damaged ({error}); remove it and run region-graph and agglomerate again") from None
