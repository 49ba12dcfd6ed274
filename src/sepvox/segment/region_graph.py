"""region-graph: what is known of neighbouring fragments, cell by cell.

A cell's file holds its own `fragments` uint64 (f,) with their `sizes` int64 (f,), and by the backend

- waterz: `edges` uint64 (e, 2) and `scores` float32 (e,), the merge scores in the cell with context; a cell keeps the edges
  whose smaller fragment lies in it, so that each edge of the volume's region graph is kept once.
- mean: the columns of `sepvox.segment.contacts.Contacts` over the faces of the cell's voxels, which add up over cells.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part, triple
from sepvox.blockwise import Blockwise, processes
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.segment.contacts import contacts
from sepvox.segment.merge_scores import merge_scores
from sepvox.segment.settings import AgglomerateSettings
from sepvox.storage import Place
from sepvox.versions import VERSIONS


@dataclass(frozen=True)
class RegionGraphJob:
    """The cells of one volume's region graph."""

    affinities: Place
    fragments: Place
    folder: Path
    settings: AgglomerateSettings
    step: Blockwise

    def cell_file(self, cell: Box) -> Path:
        """File of the merge scores of one cell."""
        return self.folder / "cells" / ("-".join(str(b) for b in cell.begin) + ".npz")


def region_graph_job(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> RegionGraphJob:
    """Describe the region graph of one volume; its fragments must be finished."""
    layout = experiment.layout(results)
    fragments = layout.fragments(model, volume)
    settings = experiment.segment.agglomerate
    shape = triple(ome_zarr.open_level(fragments).shape)
    made = markers.fingerprint(
        "region-graph",
        VERSIONS["region-graph"],
        settings.model_dump(mode="json", exclude={"thresholds"}),
        ome_zarr.attributes(fragments)["fingerprint"],
        ome_zarr.attributes(layout.affinities(model, volume))["fingerprint"],
    )
    done = layout.step("region-graph", model, volume)
    step = Blockwise("region graph", Lattice(shape, settings.cell), done, made)
    return RegionGraphJob(
        layout.affinities(model, volume), fragments, layout.region_graph(model, volume), settings, step
    )


def region_graph_slice(experiment: NeuronsExperiment, model: str, volume: str, results: Path, part: Part) -> None:
    """Compute the merge scores of the cells of a slice that are not done yet."""
    job = region_graph_job(experiment, model, volume, results)
    with processes(experiment.segment.processes) as executor:
        job.step.run(part, partial(_cell, job), executor, is_there=lambda cell: job.cell_file(cell).exists())


def _cell(job: RegionGraphJob, cell: Box) -> None:
    exact = job.settings.backend == "mean"
    context = 1 if exact else job.settings.context
    outer = cell.grow((context,) * 3).clip(Box.of(job.step.lattice.shape))
    inner = cell.inside(outer)
    fragments = ome_zarr.read(ome_zarr.open_level(job.fragments), outer)
    affinities = ome_zarr.read(ome_zarr.open_level(job.affinities), outer, channels=3)
    own, sizes = np.unique(fragments[inner.slices], return_counts=True)
    own, sizes = own[own != 0], sizes[own != 0]
    if exact:
        found = contacts(affinities, fragments, inner).as_arrays()
    else:
        edges, scores = merge_scores(affinities, fragments, own, job.settings.scoring)
        found = {"edges": edges, "scores": scores}
    markers.write_arrays(job.cell_file(cell), fragments=own, sizes=sizes, **found)
