"""relabel: fragments to the segmentation at the chosen threshold, or at any other of the sweep, block by block."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part, fitting_block, triple
from sepvox.blockwise import Blockwise, processes
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.ome_zarr import Spec
from sepvox.segment.agglomerate import load_lookup_tables
from sepvox.segment.lookup import apply_lookup
from sepvox.segment.threshold import chosen_threshold
from sepvox.storage import Place
from sepvox.versions import VERSIONS

Ids = NDArray[np.uint64]

# The fragments of the volume and their segments: sent to a process once, for they may be much larger than a block.
_lookup: tuple[Ids, Ids]


@dataclass(frozen=True)
class _Job:
    fragments: Place
    threshold: float
    store: Place
    spec: Spec
    step: Blockwise


def _job(experiment: NeuronsExperiment, model: str, volume: str, results: Path, other: float | None) -> _Job:
    layout = experiment.layout(results)
    fragments, tables = layout.fragments(model, volume), layout.lookup_tables(model, volume)
    threshold = chosen_threshold(experiment, model, results)["threshold"] if other is None else other
    shape = triple(ome_zarr.open_level(fragments).shape)
    chunk, shard = experiment.prepare.chunk, experiment.prepare.shard
    block = fitting_block("segment.block", experiment.segment.block, [shard, experiment.segment.fragments.cell], shape)
    spec = Spec(
        shape, "uint64", ome_zarr.geometry(fragments), chunk, shard, labels=True, levels=experiment.prepare.levels
    )
    load_lookup_tables(experiment, model, volume, results).at(threshold)
    made = markers.fingerprint(
        "relabel",
        VERSIONS["relabel"],
        threshold,
        experiment.segment.minimum_size,
        chunk,
        shard,
        block,
        ome_zarr.attributes(fragments)["fingerprint"],
        markers.file_fingerprint(tables),
    )
    names = ("relabel" if other is None else f"relabel-{other:g}", model, volume)
    step = Blockwise("relabel", Lattice(shape, block), layout.step(*names), made, layout.blocks(*names))
    return _Job(fragments, threshold, layout.segmentation(model, volume, other), spec, step)


def create(
    experiment: NeuronsExperiment, model: str, volume: str, results: Path, restart: bool, threshold: float | None = None
) -> None:
    """Lay out segmentation.zarr."""
    job = _job(experiment, model, volume, results, threshold)
    job.step.create(job.store, lambda: ome_zarr.create(job.store, job.spec), restart)


def relabel_slice(
    experiment: NeuronsExperiment, model: str, volume: str, results: Path, part: Part, threshold: float | None = None
) -> None:
    """Relabel the blocks of a slice that are not done yet."""
    job = _job(experiment, model, volume, results, threshold)
    job.step.check_created()
    found = load_lookup_tables(experiment, model, volume, results)
    with processes(experiment.segment.processes, partial(_take, found.fragments, found.at(job.threshold))) as executor:
        job.step.run(part, partial(_block, job), executor)


def _take(ids: Ids, segments: Ids) -> None:
    global _lookup
    _lookup = ids, segments


def _block(job: _Job, block: Box) -> None:
    fragments = ome_zarr.read(ome_zarr.open_level(job.fragments), block)
    ome_zarr.write(ome_zarr.open_level(job.store, writable=True), block, apply_lookup(fragments, *_lookup))


def finish(
    experiment: NeuronsExperiment, model: str, volume: str, results: Path, threshold: float | None = None
) -> None:
    """Write the pyramid and metadata of segmentation.zarr once every block is there."""
    job = _job(experiment, model, volume, results, threshold)
    described = {"threshold": job.threshold, "fingerprint": job.step.fingerprint}
    job.step.finish(lambda: ome_zarr.finish(job.store, job.spec, described))
