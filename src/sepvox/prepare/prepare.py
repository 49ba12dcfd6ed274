"""prepare: any supported source, or a phantom, to OME-Zarr image, labels and mask.

The image keeps `prepare.context` voxels beyond the region, where the source has them; labels and mask hold the region
only. The image's attributes say where the region lies in it (`region`), so that later steps work in the region's voxels.
Memory is bounded by the block (one shard) and the number of processes, which changes no byte.
"""

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sepvox import markers, ome_zarr, storage
from sepvox.blocks import Box, Lattice, Part
from sepvox.blockwise import Blockwise, fill_pyramid, forget_pyramid, in_order, processes
from sepvox.errors import InputError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare import components
from sepvox.prepare.checks import check_image_block, check_labels_block, check_mask_block
from sepvox.prepare.settings import VolumeSettings
from sepvox.prepare.sources import Sources, open_sources
from sepvox.prepare.statistics import Accumulator
from sepvox.prepare.volume import preparation_fingerprint
from sepvox.storage import Place

WHOLE = Part(0, 1)


@dataclass(frozen=True)
class _Job:
    """What a process has to know of one volume.

    Attributes
    ----------
    made : str
        The preparation's fingerprint.
    """

    volume: str
    settings: VolumeSettings
    context: int
    layout: Layout
    made: str

    def sources(self) -> Sources:
        """Opened once in each process, until `prepare` ends."""
        return _opened(self.settings.model_dump_json(), self.volume, self.context)

    def named(self, source: str) -> str:
        """A source in messages."""
        return f"volumes.{self.volume}.{source}: {getattr(self.settings, source)}"


@lru_cache(maxsize=1)
def _opened(settings: str, volume: str, context: int) -> Sources:
    return open_sources(VolumeSettings.model_validate_json(settings), volume, context)


def prepare(experiment: NeuronsExperiment, volume: str, results: Path, restart: bool = False) -> None:
    """Write image.zarr, and labels.zarr and mask.zarr where there are any, of one volume.

    Raises
    ------
    InputError
        If a source is missing, of the wrong kind, or holds voxels that cannot be used; nothing half-written is left.
    """
    layout = experiment.layout(results)
    # What cannot be opened is told first.
    open_sources(experiment.volumes[volume], volume, experiment.prepare.context)
    stores = [layout.image(volume), layout.labels(volume), layout.mask(volume)]
    made = preparation_fingerprint(experiment, volume)
    job = _Job(volume, experiment.volumes[volume], experiment.prepare.context, layout, made)
    layout.note()
    with markers.locked(layout.volume(volume) / ".lock"):
        if any(store.exists() for store in stores) and not markers.is_done(layout.made(volume), made):
            for store in stores:
                if store.exists():
                    markers.set_aside(store, restart, "made with other settings or from other files")
            for step in ("image", "labels", "mask"):
                storage.remove(layout.blocks("prepare", volume, step))
                storage.remove(layout.step("prepare", volume, step))
        markers.mark(layout.made(volume), made)
        finished = [store for store in stores if (store / "zarr.json").exists()]
        try:
            with processes(experiment.prepare.processes) as executor:
                _write(experiment, job, executor)
        except InputError:
            for store in stores:
                if store not in finished:
                    storage.remove(store)
            raise
        finally:
            _opened.cache_clear()
        markers.mark(layout.done("prepare", volume), made)


def _write(experiment: NeuronsExperiment, job: _Job, executor: Executor | None) -> None:
    layout, volume, sources = job.layout, job.volume, job.sources()
    chunk, shard, levels = experiment.prepare.chunk, experiment.prepare.shard, experiment.prepare.levels
    spec = partial(Spec, chunk=chunk, shard=shard, levels=levels)
    region_geometry = sources.geometry.moved(sources.region.begin)
    labels_spec = spec(sources.region.shape, "uint64", region_geometry, labels=True)

    def filled(
        name: str, stores: dict[Place, Spec], work: Callable[[_Job, Box], None], complete: Callable[[Blockwise], None]
    ) -> None:
        names = ("prepare", volume, name)
        first = next(iter(stores))
        lattice = Lattice(stores[first].shape, shard)
        step = Blockwise(f"prepare {name}", lattice, layout.step(*names), job.made, layout.blocks(*names))

        def lay_out() -> None:
            for store, described in stores.items():
                ome_zarr.create(store, described)

        if not all(store.exists() for store in stores):
            step.forget()
        step.create(first, lay_out, restart=True)
        step.run(WHOLE, partial(work, job), executor)
        step.finish(partial(complete, step))

    def finished(step: Blockwise, store: Place, described: Spec, attributes: dict[str, Any]) -> None:
        fill_pyramid(step, store, described, executor)
        ome_zarr.complete(store, described, {**attributes, "fingerprint": job.made})
        forget_pyramid(step, store, described)

    def complete_image(step: Blockwise) -> None:
        statistics = Accumulator(sources.image_dtype, sources.stored.size)
        for found in in_order(partial(_counted, job), step.lattice, executor, step.step):
            statistics.merge(found)
        attributes = {
            "statistics": asdict(statistics.result()),
            "region": _spans(sources.region.inside(sources.stored)),
            "source_region": _spans(sources.region),
            "source_header": json.loads(json.dumps(sources.header, default=str)),
        }
        finished(step, image, images[image], attributes)
        if sources.both is not None:
            finished(step, labels, labels_spec, {})

    def complete_labels(step: Blockwise) -> None:
        if job.settings.split_labels:
            _join_components(job, step.lattice)
        finished(step, labels, labels_spec, {})

    image, labels, mask = layout.image(volume), layout.labels(volume), layout.mask(volume)
    image_geometry = sources.geometry.moved(sources.stored.begin)
    images = {image: spec(sources.stored.shape, sources.image_dtype.name, image_geometry)}
    if sources.both is not None:
        filled("image", {**images, labels: labels_spec}, _write_phantom, complete_image)
        return
    filled("image", images, _write_image, complete_image)
    if sources.labels is not None:
        filled("labels", {labels: labels_spec}, _write_labels, complete_labels)
    if sources.mask is not None:
        mask_spec = spec(sources.region.shape, "uint8", region_geometry, labels=True)
        filled(
            "mask", {mask: mask_spec}, _write_mask, partial(finished, store=mask, described=mask_spec, attributes={})
        )


def _write_phantom(job: _Job, box: Box) -> None:
    sources = job.sources()
    assert sources.both is not None
    image, labels = sources.both(box.shift(sources.stored.begin))
    ome_zarr.write(ome_zarr.open_level(job.layout.labels(job.volume), writable=True), box, labels)
    ome_zarr.write(ome_zarr.open_level(job.layout.image(job.volume), writable=True), box, image)


def _write_image(job: _Job, box: Box) -> None:
    sources = job.sources()
    assert sources.image is not None
    where = box.shift(sources.stored.begin)
    block = sources.image(where)
    check_image_block(block, where.begin, job.named("image"))
    ome_zarr.write(ome_zarr.open_level(job.layout.image(job.volume), writable=True), box, block)


def _write_labels(job: _Job, box: Box) -> None:
    sources = job.sources()
    assert sources.labels is not None
    where = box.shift(sources.region.begin)
    block = sources.labels(where)
    check_labels_block(block, where.begin, job.named("labels"))
    block = block.astype(np.uint64)
    if job.settings.split_labels:
        block = components.components_of_block(block, box, sources.region.shape)
    ome_zarr.write(ome_zarr.open_level(job.layout.labels(job.volume), writable=True), box, block)


def _write_mask(job: _Job, box: Box) -> None:
    sources = job.sources()
    assert sources.mask is not None
    where = box.shift(sources.region.begin)
    block = sources.mask(where)
    check_mask_block(block, where.begin, job.named("mask"))
    ome_zarr.write(ome_zarr.open_level(job.layout.mask(job.volume), writable=True), box, (block != 0).astype(np.uint8))


def _counted(job: _Job, box: Box) -> Accumulator:
    """Statistics of one block of the stored image."""
    sources = job.sources()
    found = Accumulator(sources.image_dtype, sources.stored.size)
    found.add(ome_zarr.read(ome_zarr.open_level(job.layout.image(job.volume)), box), box.begin)
    return found


def _spans(box: Box) -> list[list[int]]:
    """[begin, end) of each axis."""
    return [list(span) for span in zip(box.begin, box.end, strict=True)]


def _join_components(job: _Job, lattice: Lattice) -> None:
    """Second pass over component ids; a component's smallest id stands for itself, so that a repeated pass is harmless."""
    sources, array = job.sources(), ome_zarr.open_level(job.layout.labels(job.volume), writable=True)
    assert sources.labels is not None
    pairs = []
    for low, high in components.faces(lattice):
        met = [ome_zarr.read(array, face) for face in (low, high)]
        labels = [sources.labels(face.shift(sources.region.begin)) for face in (low, high)]
        pairs.append(components.touching(met[0], met[1], labels[0], labels[1]))
    ids, roots = components.joined(pairs)
    for box in lattice:
        ome_zarr.write(array, box, components.replaced(ome_zarr.read(array, box), ids, roots))
