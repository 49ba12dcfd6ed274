"""OME-Zarr metadata of an image: its levels, its axes, and where its voxels lie.

A *multiscale* is a group that OME-Zarr metadata (0.4 in `multiscales`, 0.5 in `ome.multiscales`) makes an image: *levels* of
falling resolution, the finest first, with named axes and a scale and translation per level. Axes of channel and time must
be of length 1 and are dropped; those of space are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sepvox.errors import InputError
from sepvox.prepare.readers.header import Geometry, known_unit, scaled, triple


@dataclass(frozen=True)
class Axis:
    """One axis of an OME-Zarr image."""

    name: str
    kind: str
    unit: str | None


@dataclass(frozen=True)
class Level:
    """One level of a multiscale: its array, axes, and the transformation to world units, one number per axis."""

    array: str
    axes: tuple[Axis, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def multiscales(attributes: Mapping[str, Any]) -> list[Any]:
    """The images that the attributes of a group describe; empty where it is a plain group."""
    ome = attributes.get("ome")
    found = (ome if isinstance(ome, Mapping) else attributes).get("multiscales")
    return found if isinstance(found, list) else []


def levels_of(attributes: Mapping[str, Any], path: str, name: str) -> list[Level]:
    """The levels of the first image in the attributes of the group `path`, the finest first; empty for a plain group.

    Raises
    ------
    InputError: the metadata cannot be understood.
    """
    images = multiscales(attributes)
    if not images:
        return []
    try:
        image = images[0]
        # Version 0.3 has axes as bare names.
        axes = tuple(
            Axis(a, "channel" if a == "c" else "time" if a == "t" else "space", None)
            if isinstance(a, str)
            else Axis(str(a["name"]), str(a.get("type", "space")), a.get("unit"))
            for a in image["axes"]
        )
        levels = []
        for dataset in image["datasets"]:
            scale, translation = np.ones(len(axes)), np.zeros(len(axes))
            for step in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
                if step["type"] == "scale":
                    factor = np.asarray(step["scale"], dtype=np.float64)
                    scale, translation = scale * factor, translation * factor
                elif step["type"] == "translation":
                    translation = translation + np.asarray(step["translation"], dtype=np.float64)
            array = f"{path}/{dataset['path']}".strip("/")
            levels.append(Level(array, axes, tuple(scale.tolist()), tuple(translation.tolist())))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{name}: the OME-Zarr metadata of {path or '.'!r} cannot be understood ({type(error).__name__}: {error}); write it again"
        ) from error
    return levels


def axes_kept(
    level: Level, shape: tuple[int, ...], name: str
) -> tuple[tuple[int, ...], tuple[int, int, int] | None, Geometry]:
    """The axes of space of a level of this shape, for z, y, x which of these it is, and their geometry.

    Raises
    ------
    InputError: the array has other axes than the metadata, or channels or time points beyond one.
    """
    if len(level.axes) != len(shape):
        raise InputError(
            f"{name}: {level.array!r} has shape {shape}, but its OME-Zarr metadata names {len(level.axes)} axes; write the metadata again"
        )
    axes = "".join(axis.name for axis in level.axes)
    for axis, length in zip(level.axes, shape, strict=True):
        if axis.kind != "space" and length != 1:
            raise InputError(
                f"{name}: has shape {shape} with axes {axes}; expected one channel and one time point, "
                f"but axis {axis.name} is {length}: save one of them alone"
            )
    spatial = tuple(i for i, axis in enumerate(level.axes) if axis.kind == "space")
    if len(spatial) != 3:
        return spatial, None, Geometry()
    size = triple([level.scale[i] for i in spatial], positive=True)
    offset = triple([level.translation[i] for i in spatial])
    units = {known_unit(level.axes[i].unit) for i in spatial}
    unit, factor = units.pop() if len(units) == 1 else (None, 1.0)
    order = order_of([level.axes[i].name for i in spatial])
    return spatial, order, Geometry() if size is None else scaled(size, unit, offset, factor)


def order_of(names: Sequence[str]) -> tuple[int, int, int] | None:
    """For z, y, x which of the named axes it is; None where these are not the names."""
    lower = [name.lower() for name in names]
    return (lower.index("z"), lower.index("y"), lower.index("x")) if sorted(lower) == ["x", "y", "z"] else None
