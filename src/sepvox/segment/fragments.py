"""fragments: affinities to an oversegmentation, cell by cell, written block by block."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part, fitting_block, triple
from sepvox.blockwise import Blockwise, processes
from sepvox.errors import InputError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.ome_zarr import Spec
from sepvox.segment.settings import FragmentSettings
from sepvox.segment.watershed import fragments_of_cell, waterz_thresholds
from sepvox.settings import NEAREST_OFFSETS
from sepvox.storage import Place
from sepvox.versions import VERSIONS


@dataclass(frozen=True)
class _Job:
    affinities: Place
    mask: Place | None
    store: Place
    spec: Spec
    step: Blockwise
    settings: FragmentSettings


def _job(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> _Job:
    layout = experiment.layout(results)
    affinities = layout.affinities(model, volume)
    attributes = ome_zarr.attributes(affinities)
    check_offsets(affinities, attributes)
    array = ome_zarr.open_level(affinities)
    shape = triple(array.shape[1:])
    settings = experiment.segment.fragments
    chunk, shard = experiment.prepare.chunk, experiment.prepare.shard
    block = fitting_block("segment.block", experiment.segment.block, [shard, settings.cell], shape)
    spec = Spec(shape, "uint64", ome_zarr.geometry(affinities), chunk, shard, labels=True)
    mask = None if experiment.volumes[volume].mask is None else layout.mask(volume)
    made = markers.fingerprint(
        "fragments",
        VERSIONS["fragments"],
        settings.model_dump(mode="json"),
        chunk,
        shard,
        block,
        attributes["fingerprint"],
        *([] if mask is None else [ome_zarr.attributes(mask)["fingerprint"]]),
    )
    step = Blockwise(
        "fragments",
        Lattice(shape, block),
        layout.step("fragments", model, volume),
        made,
        layout.blocks("fragments", model, volume),
    )
    return _Job(affinities, mask, layout.fragments(model, volume), spec, step, settings)


def check_offsets(path: Place, attributes: dict[str, Any]) -> None:
    """Raise InputError unless the first three channels are the nearest affinities of sepvox's convention."""
    found = [tuple(offset) for offset in attributes.get("offsets", [])[:3]]
    if found != list(NEAREST_OFFSETS):
        raise InputError(
            f"{path}: its first offsets are {[list(o) for o in found]}, expected {[list(o) for o in NEAREST_OFFSETS]}; predict again with sepvox, or reorder its channels"
        )


def create(experiment: NeuronsExperiment, model: str, volume: str, results: Path, restart: bool) -> None:
    """Lay out fragments.zarr, and take waterz's thresholds from the whole volume where they are not given."""
    job = _job(experiment, model, volume, results)

    def lay_out() -> None:
        ome_zarr.create(job.store, job.spec)
        if job.settings.method == "waterz" and job.settings.waterz_thresholds is None:
            low, high = waterz_thresholds(_histogram(job))
            markers.write_json(job.step.blocks / "thresholds.json", {"low": low, "high": high})

    job.step.create(job.store, lay_out, restart)


def _histogram(job: _Job) -> NDArray[np.int64]:
    """How often each value occurs among the affinities that the watershed looks at: in the mask, and by section y and x only."""
    affinities = ome_zarr.open_level(job.affinities)
    mask = None if job.mask is None else ome_zarr.open_level(job.mask)
    total = np.zeros(256, np.int64)
    for box in Lattice(job.spec.shape, job.spec.shard):
        values = ome_zarr.read(affinities, box, channels=3)[1 if job.settings.by_section else 0 :]
        seen = values if mask is None else values[:, ome_zarr.read(mask, box) != 0]
        total += np.bincount(seen.ravel(), minlength=256)
    # Where the mask is empty no threshold is used.
    return total if total.any() else np.ones(256, np.int64)


def fragments_slice(experiment: NeuronsExperiment, model: str, volume: str, results: Path, part: Part) -> None:
    """Make the fragments of the blocks of a slice that are not done yet."""
    job = _job(experiment, model, volume, results)
    job.step.check_created()
    distribution = None
    thresholds = job.step.blocks / "thresholds.json"
    if thresholds.exists():
        found = markers.read_json(thresholds, "low", "high")
        distribution = (found["low"], found["high"])
    with processes(experiment.segment.processes) as executor:
        job.step.run(part, partial(_block, job, distribution), executor)


def _block(job: _Job, distribution: tuple[float, float] | None, block: Box) -> None:
    """All cells of one block; a top-level function so that it can run in another process."""
    settings = job.settings
    affinities = ome_zarr.open_level(job.affinities)
    mask = None if job.mask is None else ome_zarr.open_level(job.mask)
    result = np.empty(block.shape, np.uint64)
    whole = Box.of(job.spec.shape)
    for cell in Lattice(job.spec.shape, triple(settings.cell)).within(block):
        outer = cell.grow(settings.halo).clip(whole)
        result[cell.inside(block).slices] = fragments_of_cell(
            ome_zarr.read(affinities, outer, channels=3),
            cell.inside(outer).slices,
            cell.begin,
            job.spec.shape,
            settings,
            None if mask is None else ome_zarr.read(mask, outer) != 0,
            job.spec.geometry.voxel_size,
            distribution,
        )
    ome_zarr.write(ome_zarr.open_level(job.store, writable=True), block, result)


def finish(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> None:
    """Write the metadata of fragments.zarr once every block is there."""
    job = _job(experiment, model, volume, results)
    job.step.finish(lambda: ome_zarr.finish(job.store, job.spec, {"fingerprint": job.step.fingerprint}))
