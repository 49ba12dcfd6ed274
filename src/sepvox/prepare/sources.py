"""What a volume is prepared from: its files or its phantom, as readers of boxes, with geometry and header."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.blocks import Box
from sepvox.errors import InputError
from sepvox.prepare.checks import check_labels_dtype, check_same_shape
from sepvox.prepare.readers.source import Source, open_source
from sepvox.prepare.settings import VolumeSettings
from sepvox.world import Geometry

Array = NDArray[Any]
Read = Callable[[Box], Array]
METRES = {"nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3}


@dataclass
class Sources:
    """The files of one volume, or its phantom; boxes are in voxels of the image's file.

    Attributes
    ----------
    stored : Box
        What image.zarr holds: the region and its context.
    region : Box
        What labels.zarr and mask.zarr hold.
    geometry : Geometry
        Of the file's first voxel.
    header : dict
        All that the image's file says about itself, or the settings of the phantom.
    image, labels, mask : functions from a box to its voxels (z, y, x); None where there is no such file
    both : function from a box to image and labels, of a phantom alone, whose two are made together
    """

    stored: Box
    region: Box
    geometry: Geometry
    header: dict[str, Any]
    image_dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))
    image: Read | None = None
    labels: Read | None = None
    mask: Read | None = None
    both: Callable[[Box], tuple[Array, Array]] | None = None


def open_sources(settings: VolumeSettings, volume: str, context: int) -> Sources:
    """Open what a volume is prepared from; nothing but metadata is read.

    Parameters
    ----------
    context : int
        Voxels of image kept beyond the region, where there are any.

    Raises
    ------
    InputError
        If a file is missing or of the wrong kind, shapes differ, or the region leaves the image.
    """
    return _phantom(settings) if settings.phantom else _files(settings, volume, context)


def _phantom(settings: VolumeSettings) -> Sources:
    from sepvox.prepare.phantoms.em import em_phantom

    assert settings.phantom is not None
    phantom = settings.phantom
    whole = Box.of(phantom.shape)
    geometry = Geometry(settings.voxel_size or (phantom.anisotropy, 1.0, 1.0), unit=settings.unit)
    found = Sources(whole, whole, geometry, {"phantom": phantom.model_dump(mode="json")})
    found.both = lambda box: em_phantom(phantom, box.begin, box.end)
    return found


def _files(settings: VolumeSettings, volume: str, context: int) -> Sources:
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
    stored = region.grow((context,) * 3).clip(whole)
    found = Sources(stored, region, _geometry(settings, image), image.header, image.array.dtype)
    found.image = _reader(image, whole)
    for name in ("labels", "mask"):
        path, key = getattr(settings, name), getattr(settings, f"{name}_key")
        if path is not None:
            source = open_source(path, key, settings.axes, f"volumes.{volume}.{name}")
            names = (f"{settings.image}", f"{path}")
            check_same_shape(whole.shape, source.array.shape, settings.region, names)
            if name == "labels":
                check_labels_dtype(source.array.dtype, path)
            setattr(found, name, _reader(source, whole if source.array.shape == whole.shape else region))
    return found


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
