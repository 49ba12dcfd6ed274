"""prepare: any supported source, or a phantom, to OME-Zarr image, labels and mask.

The image keeps `prepare.context` voxels beyond the region, where the source has them; labels and mask hold the region
only. The image's attributes say where the region lies in it (`region`), so that later steps work in the region's voxels.
Memory is bounded by the block (one shard).
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr, storage
from sepvox.blocks import Box, Lattice, Part, triple
from sepvox.blockwise import Blockwise, fill_pyramid, forget_pyramid
from sepvox.errors import InputError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare import components
from sepvox.prepare.checks import (
    check_image_block,
    check_labels_block,
    check_labels_dtype,
    check_mask_block,
    check_same_shape,
)
from sepvox.prepare.readers.source import Source, open_source
from sepvox.prepare.settings import VolumeSettings
from sepvox.prepare.statistics import Accumulator
from sepvox.prepare.volume import preparation_fingerprint
from sepvox.storage import Place
from sepvox.world import Geometry

Array = NDArray[Any]
Read = Callable[[Box], Array]
WHOLE = Part(0, 1)
METRES = {"nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3}


def prepare(experiment: NeuronsExperiment, volume: str, results: Path, restart: bool = False) -> None:
    """Write image.zarr, and labels.zarr and mask.zarr where there are any, of one volume.

    Raises
    ------
    InputError
        If a source is missing, of the wrong kind, or holds voxels that cannot be used; nothing half-written is left.
    """
    layout = experiment.layout(results)
    settings = experiment.volumes[volume]
    done = layout.done("prepare", volume)
    stores = [layout.image(volume), layout.labels(volume), layout.mask(volume)]
    opened = _phantom(settings) if settings.phantom else _files(settings, volume, experiment.prepare.context)
    made = preparation_fingerprint(experiment, volume)
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
            _write(experiment, layout, volume, made, opened)
        except InputError:
            for store in stores:
                if store not in finished:
                    storage.remove(store)
            raise
        markers.mark(done, made)


class _Opened:
    """What is to be written: readers of boxes in source voxels, the stored box, the region, geometry and header."""

    def __init__(self, stored: Box, region: Box, geometry: Geometry, header: dict[str, Any]) -> None:
        self.stored, self.region, self.geometry, self.header = stored, region, geometry, header
        self.image_dtype: np.dtype[Any] = np.dtype(np.uint8)
        self.image: Read | None = None
        self.labels: Read | None = None
        self.mask: Read | None = None
        self.both: Callable[[Box], tuple[Array, Array]] | None = None
        self.split_labels = False


def _phantom(settings: VolumeSettings) -> _Opened:
    from sepvox.prepare.phantoms.em import em_phantom

    assert settings.phantom is not None
    phantom = settings.phantom
    whole = Box.of(phantom.shape)
    geometry = Geometry(settings.voxel_size or (phantom.anisotropy, 1.0, 1.0), unit=settings.unit)
    opened = _Opened(whole, whole, geometry, {"phantom": phantom.model_dump(mode="json")})
    opened.both = lambda box: em_phantom(phantom, box.begin, box.end)
    return opened


def _files(settings: VolumeSettings, volume: str, context: int) -> _Opened:
    assert settings.image is not None
    image = open_source(settings.image, settings.key, settings.axes, f"volumes.{volume}.image")
    whole = Box.of(image.array.shape)
    region = whole
    if settings.region:
        (z, zz), (y, yy), (x, xx) = settings.region
        region = Box((z, y, x), (zz, yy, xx))
        if not whole.contains(region):
            raise InputError(
                f"volumes.{volume}.region: {[list(s) for s in settings.region]} leaves {settings.image}, whose shape is {list(whole.shape)} (z y x); keep the region inside"
            )
    geometry = _geometry(settings, image)
    opened = _Opened(region.grow((context,) * 3).clip(whole), region, geometry, image.header)
    opened.image_dtype = image.array.dtype
    opened.image = _reader(image, Box.of(image.array.shape))
    opened.split_labels = settings.split_labels
    for name in ("labels", "mask"):
        path, key = getattr(settings, name), getattr(settings, f"{name}_key")
        if path is not None:
            source = open_source(path, key, settings.axes, f"volumes.{volume}.{name}")
            names = (f"{settings.image}", f"{path}")
            check_same_shape(whole.shape, source.array.shape, settings.region, names)
            if name == "labels":
                check_labels_dtype(source.array.dtype, path)
            setattr(opened, name, _reader(source, whole if source.array.shape == whole.shape else region))
    return opened


def _geometry(settings: VolumeSettings, image: Source) -> Geometry:
    """Voxel size and unit of the configuration, else of the file; the file's offset is brought to that unit."""
    offset = image.offset or (0.0, 0.0, 0.0)
    if settings.voxel_size is None:
        return Geometry(image.voxel_size or (1.0, 1.0, 1.0), offset, image.unit)
    if image.unit is not None and settings.unit is not None:
        factor = METRES[image.unit] / METRES[settings.unit]
        offset = (offset[0] * factor, offset[1] * factor, offset[2] * factor)
    return Geometry(settings.voxel_size, offset, settings.unit)


def _reader(source: Source, covered: Box) -> Read:
    """Read boxes given in image voxels from a source that covers `covered`."""

    def read(box: Box) -> Array:
        return np.asarray(source.array[box.inside(covered).slices].compute(scheduler="synchronous"))

    return read


def _write(experiment: NeuronsExperiment, layout: Layout, volume: str, made: str, opened: _Opened) -> None:
    settings = experiment.volumes[volume]
    chunk, shard, levels = experiment.prepare.chunk, experiment.prepare.shard, experiment.prepare.levels
    spec = partial(Spec, chunk=chunk, shard=shard, levels=levels)
    statistics = Accumulator(opened.image_dtype, opened.stored.size)
    image_spec = spec(opened.stored.shape, opened.image_dtype.name, opened.geometry.moved(opened.stored.begin))
    region_geometry = opened.geometry.moved(opened.region.begin)
    labels_spec = spec(opened.region.shape, "uint64", region_geometry, labels=True)
    mask_spec = spec(opened.region.shape, "uint8", region_geometry, labels=True)

    def image_work(image: Any, labels: Any, box: Box) -> None:
        where = box.shift(opened.stored.begin)
        if opened.both is not None:
            block, truth = opened.both(where)
            ome_zarr.write(labels, box, truth)
        else:
            assert opened.image is not None
            block = opened.image(where)
            check_image_block(block, where.begin, f"volumes.{volume}.image: {settings.image}")
        ome_zarr.write(image, box, block)

    def labels_work(array: Any, box: Box) -> None:
        assert opened.labels is not None
        where = box.shift(opened.region.begin)
        block = opened.labels(where)
        check_labels_block(block, where.begin, f"volumes.{volume}.labels: {settings.labels}")
        block = block.astype(np.uint64)
        if opened.split_labels:
            block = components.components_of_block(block, box, opened.region.shape)
        ome_zarr.write(array, box, block)

    def mask_work(array: Any, box: Box) -> None:
        assert opened.mask is not None
        where = box.shift(opened.region.begin)
        block = opened.mask(where)
        check_mask_block(block, where.begin, f"volumes.{volume}.mask: {settings.mask}")
        ome_zarr.write(array, box, (block != 0).astype(np.uint8))

    def blockwise(step: str, shape: Any) -> Blockwise:
        names = ("prepare", volume, step)
        lattice = Lattice(triple(shape), shard)
        return Blockwise(f"prepare {step}", lattice, layout.step(*names), made, layout.blocks(*names))

    image_store, labels_store = layout.image(volume), layout.labels(volume)
    step = blockwise("image", opened.stored.shape)

    def lay_out_image() -> None:
        ome_zarr.create(image_store, image_spec)
        if opened.both is not None:
            ome_zarr.create(labels_store, labels_spec)

    step.create(image_store, lay_out_image, restart=True)
    image_array = ome_zarr.open_level(image_store, writable=True)
    labels_array = ome_zarr.open_level(labels_store, writable=True) if opened.both is not None else None
    step.run(WHOLE, partial(image_work, image_array, labels_array))

    def finish_image() -> None:
        for box in step.lattice:
            statistics.add(ome_zarr.read(image_array, box))
        described = {
            "statistics": asdict(statistics.result()),
            "region": [list(s) for s in zip(*_corners(opened.region.inside(opened.stored)), strict=True)],
            "source_region": [list(s) for s in zip(*_corners(opened.region), strict=True)],
            "source_header": json.loads(json.dumps(opened.header, default=str)),
            "fingerprint": made,
        }
        _finish_store(step, image_store, image_spec, described)
        if opened.both is not None:
            _finish_store(step, labels_store, labels_spec, {"fingerprint": made})

    step.finish(finish_image)

    if opened.labels is not None:
        step = blockwise("labels", opened.region.shape)
        step.create(labels_store, lambda: ome_zarr.create(labels_store, labels_spec), restart=True)
        array = ome_zarr.open_level(labels_store, writable=True)
        step.run(WHOLE, partial(labels_work, array))
        if opened.split_labels:
            _join_components(step.lattice, array, opened)
        step.finish(partial(_finish_store, step, labels_store, labels_spec, {"fingerprint": made}))
    if opened.mask is not None:
        mask_store = layout.mask(volume)
        step = blockwise("mask", opened.region.shape)
        step.create(mask_store, lambda: ome_zarr.create(mask_store, mask_spec), restart=True)
        step.run(WHOLE, partial(mask_work, ome_zarr.open_level(mask_store, writable=True)))
        step.finish(partial(_finish_store, step, mask_store, mask_spec, {"fingerprint": made}))


def _finish_store(step: Blockwise, store: Place, spec: Spec, attributes: dict[str, Any]) -> None:
    fill_pyramid(step, store, spec)
    ome_zarr.complete(store, spec, attributes)
    forget_pyramid(step, store, spec)


def _corners(box: Box) -> tuple[Any, Any]:
    return box.begin, box.end


def _join_components(lattice: Lattice, array: Any, opened: _Opened) -> None:
    """Second pass over component ids; a component's smallest id stands for itself, so that a repeated pass is harmless."""
    assert opened.labels is not None
    pairs = []
    for low, high in components.faces(lattice):
        met = [ome_zarr.read(array, face) for face in (low, high)]
        labels = [opened.labels(face.shift(opened.region.begin)) for face in (low, high)]
        pairs.append(components.touching(met[0], met[1], labels[0], labels[1]))
    ids, roots = components.joined(pairs)
    for box in lattice:
        ome_zarr.write(array, box, components.replaced(ome_zarr.read(array, box), ids, roots))
