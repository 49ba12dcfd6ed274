"""relabel: fragments to the segmentation at the chosen threshold, or at any other of the sweep, block by block."""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part, fitting_block, triple
from sepvox.blockwise import Blockwise, fill_pyramid, forget_pyramid, processes
from sepvox.errors import StaleError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.ome_zarr import Spec
from sepvox.segment.agglomerate import LookupTables, load_lookup_tables
from sepvox.segment.lookup import apply_lookup
from sepvox.segment.threshold import chosen_threshold
from sepvox.storage import Place
from sepvox.versions import VERSIONS

Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class _Job:
    fragments: Place
    tables: LookupTables
    threshold: float
    checksums: tuple[int, ...]
    store: Place
    spec: Spec
    step: Blockwise


def _job(experiment: NeuronsExperiment, model: str, volume: str, results: Path, other: float | None) -> _Job:
    layout = experiment.layout(results)
    fragments = layout.fragments(model, volume)
    threshold = chosen_threshold(experiment, model, results)["threshold"] if other is None else other
    shape = triple(ome_zarr.open_level(fragments).shape)
    chunk, shard = experiment.prepare.chunk, experiment.prepare.shard
    block = fitting_block("segment.block", experiment.segment.block, [shard, experiment.segment.fragments.cell], shape)
    tables = load_lookup_tables(experiment, model, volume, results)
    checksums = tuple(tables.checksums(threshold))
    spec = Spec(
        shape, "uint64", ome_zarr.geometry(fragments), chunk, shard, labels=True, levels=experiment.prepare.levels
    )
    made = markers.fingerprint(
        "relabel",
        VERSIONS["relabel"],
        threshold,
        experiment.segment.minimum_size,
        chunk,
        shard,
        block,
        ome_zarr.attributes(fragments)["fingerprint"],
        checksums,
    )
    names = ("relabel" if other is None else f"relabel-{other:g}", model, volume)
    step = Blockwise("relabel", Lattice(shape, block), layout.step(*names), made, layout.blocks(*names))
    return _Job(fragments, tables, threshold, checksums, layout.segmentation(model, volume, other), spec, step)


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
    with processes(experiment.segment.processes) as executor:
        job.step.run(part, partial(_block, job), executor)


@lru_cache(maxsize=1)
def _lookup(tables: LookupTables, threshold: float, checksums: tuple[int, ...]) -> tuple[Ids, Ids]:
    """Fragments and their segments, which each process reads once."""
    if tuple(tables.checksums(threshold)) != checksums:
        raise StaleError(f"{tables.path}: was replaced while relabel ran; run `sepvox relabel` again")
    return tables.fragments(), tables.at(threshold)


def _block(job: _Job, block: Box) -> None:
    fragments = ome_zarr.read(ome_zarr.open_level(job.fragments), block)
    lookup = _lookup(job.tables, job.threshold, job.checksums)
    ome_zarr.write(ome_zarr.open_level(job.store, writable=True), block, apply_lookup(fragments, *lookup))


def finish(
    experiment: NeuronsExperiment, model: str, volume: str, results: Path, threshold: float | None = None
) -> None:
    """Write the pyramid and metadata of segmentation.zarr once every block is there."""
    job = _job(experiment, model, volume, results, threshold)
    described = {"threshold": job.threshold, "fingerprint": job.step.fingerprint}

    def complete() -> None:
        with processes(experiment.segment.processes) as executor:
            fill_pyramid(job.step, job.store, job.spec, executor)
        ome_zarr.complete(job.store, job.spec, described)
        forget_pyramid(job.step, job.store, job.spec)

    job.step.finish(complete)
