"""Header and voxel size of a TIFF file.

ImageJ writes the pixels per unit of x and y as TIFF resolution and the distance of z slices as `spacing`, 1 where it is
not written. OME-TIFF writes `PhysicalSizeX`, Y and Z with their units, micrometers where they are not written. A plain
TIFF has no distance of its planes, hence no voxel size.
"""

import math
from typing import Any
from xml.etree import ElementTree

from sepvox.prepare.readers.header import Geometry, as_json, known_unit, scaled, triple

_LOCATIONS = ("StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts")


def geometry_of(tiff: Any) -> Geometry:
    """Voxel size (z, y, x) and unit of an open `tifffile.TiffFile`, where it has them."""
    if tiff.is_ome:
        return _of_ome(tiff.ome_metadata)
    if tiff.is_imagej:
        return _of_imagej(tiff)
    return Geometry()


def header_of(tiff: Any) -> dict[str, Any]:
    """Tags of the first page, without where the voxels lie, and the ImageJ or OME metadata."""
    tags = {tag.name: as_json(tag.value) for tag in tiff.pages[0].tags if tag.name not in _LOCATIONS}
    header: dict[str, Any] = {"format": "tiff", "tags": tags}
    if tiff.is_imagej:
        header["imagej"] = as_json(tiff.imagej_metadata)
    if tiff.is_ome:
        header["ome"] = tiff.ome_metadata
    return header


def _of_imagej(tiff: Any) -> Geometry:
    metadata = tiff.imagej_metadata or {}
    unit, factor = known_unit(metadata.get("unit"))
    tags = tiff.pages[0].tags
    if unit is None or "XResolution" not in tags or "YResolution" not in tags:
        return Geometry()
    lengths = [metadata.get("spacing", 1.0)]
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value
        lengths.append(units / pixels if pixels else math.nan)
    size = triple([abs(float(length)) for length in lengths], positive=True)
    return Geometry() if size is None else scaled(size, unit, None, factor)


def _of_ome(xml: str) -> Geometry:
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return Geometry()
    lengths, units = [], set()
    for axis in "ZYX":
        unit, factor = known_unit(pixels.get(f"PhysicalSize{axis}Unit", "micrometer"))
        units.add(unit)
        lengths.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * factor)
    size = triple(lengths, positive=True)
    return Geometry(size, units.pop()) if size is not None and len(units) == 1 else Geometry()
