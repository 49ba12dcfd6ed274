"""A prepared volume as later steps see it: boxes in the voxels of its region, whatever lies beyond."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sepvox import markers, ome_zarr, storage
from sepvox.blocks import Box, Triple, reflected, triple
from sepvox.errors import AccessError, StaleError, StoreError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.prepare.readers.zarr_store import is_zarr, metadata
from sepvox.prepare.statistics import normalise
from sepvox.versions import VERSIONS
from sepvox.world import Geometry


@dataclass(frozen=True)
class PreparedVolume:
    """Image, labels and mask of one volume; boxes are in voxels of the region, z y x.

    Attributes
    ----------
    region : Box
        The region inside the stored image.
    geometry : Geometry
        Of the region's first voxel.
    percentiles : dict
        Intensity percentiles of the stored image.
    fingerprint : str
        Of what the volume was prepared from.
    """

    image: "zarr.Array[Any]"
    labels: "zarr.Array[Any] | None"
    mask: "zarr.Array[Any] | None"
    region: Box
    geometry: Geometry
    percentiles: dict[str, float]
    fingerprint: str

    @property
    def shape(self) -> Triple:
        return self.region.shape

    def raw_box(self, box: Box) -> NDArray[Any]:
        """Intensities of `box` as stored; beyond the stored image they are mirrored at its faces."""
        where = box.shift(self.region.begin)
        size = triple(self.image.shape)
        indices = [reflected(b, e, n) for b, e, n in zip(where.begin, where.end, size, strict=True)]
        needed = Box(triple([int(i.min()) for i in indices]), triple([int(i.max()) + 1 for i in indices]))
        block = ome_zarr.read(self.image, needed)
        if needed == where:
            return block
        z, y, x = (i - b for i, b in zip(indices, needed.begin, strict=True))
        return block[np.ix_(z, y, x)]

    def image_box(self, box: Box) -> NDArray[np.float32]:
        """Normalised intensities in [0, 1]."""
        return normalise(self.raw_box(box), self.percentiles)

    def labels_box(self, box: Box) -> NDArray[np.uint64]:
        """Ground truth; 0, unknown, beyond the region."""
        assert self.labels is not None
        return _zero_padded(self.labels, box)

    def mask_box(self, box: Box) -> NDArray[np.bool_] | None:
        """Where the volume is to be segmented; None where there is no mask."""
        return None if self.mask is None else _zero_padded(self.mask, box) != 0


def open_volume(layout: Layout, volume: str) -> PreparedVolume:
    """Open a finished volume.

    Raises
    ------
    StoreError
        If it was not prepared, or its attributes are damaged.
    """
    path = layout.image(volume)
    attributes = ome_zarr.attributes(path)
    try:
        (z, zz), (y, yy), (x, xx) = attributes["region"]
        region = Box((z, y, x), (zz, yy, xx))
        percentiles = {q: float(value) for q, value in attributes["statistics"]["percentiles"].items()}
        fingerprint = str(attributes["fingerprint"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path}: its attributes are damaged ({error!r}); remove {path.parent} and run prepare again"
        ) from None
    labels, mask = layout.labels(volume), layout.mask(volume)
    for store in (labels, mask):
        # A store of another preparation, or one that was not finished, is not this volume's.
        if store.exists() and ome_zarr.attributes(store).get("fingerprint") != fingerprint:
            raise StoreError(f"{store}: is not of the same preparation as {path.name}; run prepare again")
    return PreparedVolume(
        image=ome_zarr.open_level(path),
        labels=ome_zarr.open_level(labels) if labels.exists() else None,
        mask=ome_zarr.open_level(mask) if mask.exists() else None,
        region=region,
        geometry=ome_zarr.geometry(path).moved(region.begin),
        percentiles=percentiles,
        fingerprint=fingerprint,
    )


def open_prepared(experiment: NeuronsExperiment, layout: Layout, volume: str) -> PreparedVolume:
    """A volume of an experiment that was prepared from what the experiment says now.

    Raises
    ------
    StoreError
        As `open_volume`, and if labels or a mask that it should have are not there.
    StaleError
        If it was prepared from other files or with other settings. Sources that are gone by now cannot have changed.
    """
    opened = open_volume(layout, volume)
    settings = experiment.volumes[volume]
    for store, expected in (
        (layout.labels(volume), settings.labels or settings.phantom),
        (layout.mask(volume), settings.mask),
    ):
        if expected is not None and not store.exists():
            raise StoreError(f"{store}: missing; run `sepvox prepare` again")
    try:
        there = all(path.exists() for path in experiment.source_files(volume)) and all(
            is_zarr(storage.place(address)) for address in experiment.source_addresses(volume).values()
        )
        changed = there and opened.fingerprint != preparation_fingerprint(experiment, volume)
    except AccessError:
        changed = False
    if changed:
        raise StaleError(
            f"{layout.image(volume)}: prepared from other files or with other settings than volumes.{volume} has now; run `sepvox prepare --restart`, or the workflow with `--forcerun prepare`"
        )
    return opened


def preparation_fingerprint(experiment: NeuronsExperiment, volume: str) -> str:
    """Of everything that a prepared volume depends on.

    Raises
    ------
    AccessError
        If an address of its sources cannot be reached.
    """
    settings = experiment.volumes[volume].model_dump(mode="json", exclude={"role"})
    files = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in experiment.source_files(volume)
        if path.exists()
    ]
    # The metadata of a node are all that can be compared without reading its voxels.
    nodes = {
        address: {name: content.hex() for name, content in metadata(storage.place(address)).items()}
        for address in experiment.source_addresses(volume).values()
    }
    return markers.fingerprint(
        "prepare",
        VERSIONS["prepare"],
        settings,
        experiment.prepare.model_dump(mode="json", exclude={"processes"}),
        files,
        *([nodes] if nodes else []),
    )


def _zero_padded(array: "zarr.Array[Any]", box: Box) -> NDArray[Any]:
    inside = box.clip(Box.of(array.shape))
    padded = np.zeros(box.shape, array.dtype)
    if inside.size:
        padded[inside.inside(box).slices] = ome_zarr.read(array, inside)
    return padded
