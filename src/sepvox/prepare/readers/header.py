"""What a file says about itself: its header as JSON, and the geometry in its attributes.

*Header* is everything but the voxels, kept whole so that nothing of the source is lost. *Geometry* is voxel size, unit
and offset. Attribute conventions: `resolution` and `offset` in nanometers unless `unit` or `units` says otherwise (the
CREMI challenge's files, and Daisy's with `voxel_size`), and `element_size_um` in micrometers (ilastik, PlantSeg); all in
the order of the array's axes.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from sepvox.prepare.readers.stored import Triple

_UNITS = {
    "nanometer": ("nm", "nanometers", "nanometre", "nanometres"),
    "micrometer": (
        "um",
        "\u00b5m",
        "\u03bcm",
        "\\u00b5m",
        "micron",
        "microns",
        "micrometers",
        "micrometre",
        "micrometres",
    ),
    "millimeter": ("mm", "millimeters", "millimetre", "millimetres"),
}
_OTHER_UNITS: dict[str, tuple[str, float]] = {
    "angstrom": ("nanometer", 0.1),
    "\u00e5": ("nanometer", 0.1),
    "picometer": ("nanometer", 1e-3),
    "centimeter": ("millimeter", 10.0),
    "cm": ("millimeter", 10.0),
    "inch": ("millimeter", 25.4),
    "meter": ("millimeter", 1e3),
    "m": ("millimeter", 1e3),
}


@dataclass(frozen=True)
class Geometry:
    """Voxel size and offset in `unit`, in the order of the array's axes; None where the file does not say."""

    voxel_size: Triple | None = None
    unit: str | None = None
    offset: Triple | None = None


def known_unit(text: object) -> tuple[str | None, float]:
    """The unit of sepvox that `text` means, and how many of it make one of `text`; (None, 1) for an unknown unit."""
    name = str(text).strip().lower()
    for unit, spellings in _UNITS.items():
        if name == unit or name in spellings:
            return unit, 1.0
    return _OTHER_UNITS.get(name, (None, 1.0))


def triple(value: object, positive: bool = False) -> Triple | None:
    """Three finite numbers, or None where `value` is anything else."""
    try:
        numbers = [float(v) for v in np.asarray(value, dtype=np.float64).ravel()]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 3 or not all(math.isfinite(v) and (v > 0 or not positive) for v in numbers):
        return None
    return (numbers[0], numbers[1], numbers[2])


def geometry_of_attributes(attributes: Mapping[str, Any]) -> Geometry:
    """Voxel size, unit and offset from the attributes of an HDF5 dataset or a Zarr array."""
    micrometers = triple(attributes.get("element_size_um"), positive=True)
    if micrometers is not None:
        return Geometry(micrometers, "micrometer")
    size = triple(attributes.get("resolution", attributes.get("voxel_size")), positive=True)
    offset = triple(attributes.get("offset"))
    if size is None:
        return Geometry()
    units = np.atleast_1d(np.asarray(attributes.get("unit", attributes.get("units", "nanometer")))).ravel()
    names = {known_unit(u.decode() if isinstance(u, bytes) else u) for u in units}
    unit, factor = names.pop() if len(names) == 1 else (None, 1.0)
    return scaled(size, unit, offset, factor)


def scaled(size: Triple, unit: str | None, offset: Triple | None, factor: float) -> Geometry:
    """The geometry with both lengths multiplied by `factor`."""
    length = (size[0] * factor, size[1] * factor, size[2] * factor)
    begin = None if offset is None else (offset[0] * factor, offset[1] * factor, offset[2] * factor)
    return Geometry(length, unit, begin)


def as_json(value: object) -> Any:
    """`value` as JSON knows it: bytes in base64, arrays as lists, numbers that are not finite as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(v) for v in value]
    return str(value)
