"""agglomerate: the region graph of all cells to one lookup table from fragments to segments per threshold.

The file lookup_tables.npz holds `fragments` uint64 (f,) in rising order, `sizes` int64 (f,), `thresholds` float64 (t,), for
the i-th of these `table_{i}` uint64 (f,), and the `fingerprint` of the fragments, region graph and settings that it was
made from. A table by itself can be read without the others.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.errors import StaleError, StoreError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.segment.contacts import Contacts, added
from sepvox.segment.lookup import lookup_tables, mean_lookup_tables
from sepvox.segment.region_graph import region_graph_job
from sepvox.segment.threshold import given_threshold
from sepvox.versions import VERSIONS

STEP = "`sepvox agglomerate`"
CONTACTS = tuple(field.name for field in fields(Contacts))


@dataclass(frozen=True)
class LookupTables:
    """The lookup tables of a volume; those of its arrays that grow with it are read when they are asked for."""

    path: Path
    thresholds: tuple[float, ...]

    def fragments(self) -> NDArray[np.uint64]:
        """All fragments, (f,) in rising order."""
        return self._read("fragments")

    def at(self, threshold: float) -> NDArray[np.uint64]:
        """The table of a threshold, (f,): the segment of each fragment.

        Raises
        ------
        StoreError
            If it was not agglomerated at this threshold.
        """
        return self._read(self._name(threshold))

    def checksums(self, threshold: float) -> list[int]:
        """What tells these fragments and the table of this threshold from others; errors are those of `at`."""
        return markers.checksums(self.path, STEP, "fragments", self._name(threshold))

    def _read(self, name: str) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = markers.read_arrays(self.path, STEP, name)[name]
        return found

    def _name(self, threshold: float) -> str:
        found = np.flatnonzero(np.isclose(np.array(self.thresholds), threshold, rtol=0, atol=1e-9))
        if not len(found):
            known = ", ".join(f"{t:g}" for t in self.thresholds)
            raise StoreError(
                f"threshold {threshold:g}: the lookup tables have {known}; add it to segment.agglomerate.thresholds and run agglomerate again"
            )
        return f"table_{found[0]}"


def thresholds_of(experiment: NeuronsExperiment, results: Path, model: str) -> list[float]:
    """Thresholds of the sweep, with the one that is configured or comes with given weights."""
    wanted = set(experiment.segment.agglomerate.thresholds)
    if experiment.segment.threshold is not None:
        wanted.add(experiment.segment.threshold)
    given = given_threshold(experiment, model, results)
    if given is not None:
        wanted.add(given["threshold"])
    return sorted(wanted)


def tables_fingerprint(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> str:
    """Of what the lookup tables of one volume are made from; its fragments must be finished.

    The affinities are part of the fragments' own fingerprint and need not be there any more.
    """
    fragments = experiment.layout(results).fragments(model, volume)
    return markers.fingerprint(
        "agglomerate",
        VERSIONS["agglomerate"],
        VERSIONS["region-graph"],
        experiment.segment.agglomerate.model_dump(mode="json", exclude={"thresholds"}),
        thresholds_of(experiment, results, model),
        experiment.segment.minimum_size,
        ome_zarr.attributes(fragments)["fingerprint"],
    )


def agglomerate(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> None:
    """Reduce the cells' region graphs to lookup tables.

    Raises
    ------
    StoreError
        If a cell's region graph is missing or damaged, or was made anew meanwhile.
    """
    made = tables_fingerprint(experiment, model, volume, results)
    job = region_graph_job(experiment, model, volume, results)
    job.step.check_done()
    columns = CONTACTS if job.settings.backend == "mean" else ("edges", "scores")
    parts = [
        markers.read_arrays(job.cell_file(cell), "`sepvox region-graph`", "fragments", "sizes", *columns)
        for cell in job.step.lattice
    ]
    fragments = np.concatenate([part["fragments"] for part in parts])
    order = np.argsort(fragments)
    fragments = fragments[order]
    sizes = np.concatenate([part["sizes"] for part in parts])[order]
    thresholds = thresholds_of(experiment, results, model)
    least = experiment.segment.minimum_size
    if job.settings.backend == "mean":
        found = added([Contacts.from_arrays(part) for part in parts])
        tables = mean_lookup_tables(fragments, sizes, found, thresholds, least)
    else:
        edges, scores = (np.concatenate([part[name] for part in parts]) for name in columns)
        tables = lookup_tables(fragments, sizes, edges, scores, thresholds, least)
    job.step.check_done()
    if tables_fingerprint(experiment, model, volume, results) != made:
        raise StoreError(
            f"{experiment.layout(results).fragments(model, volume)}: made anew meanwhile; run {STEP} again"
        )
    markers.write_arrays(
        experiment.layout(results).lookup_tables(model, volume),
        fragments=fragments,
        sizes=sizes,
        thresholds=np.array(thresholds),
        **{f"table_{index}": table for index, table in enumerate(tables)},
        fingerprint=made,
    )


def load_lookup_tables(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> LookupTables:
    """Open lookup_tables.npz.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    StaleError
        If it was made from other fragments or with other settings.
    """
    path = experiment.layout(results).lookup_tables(model, volume)
    found = markers.read_arrays(path, STEP, "thresholds", "fingerprint")
    if str(found["fingerprint"]) != tables_fingerprint(experiment, model, volume, results):
        raise StaleError(f"{path}: made from other fragments or with other settings; run {STEP} again")
    return LookupTables(path, tuple(float(t) for t in found["thresholds"]))
