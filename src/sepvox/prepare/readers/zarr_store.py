"""Zarr 2 and 3 folders: arrays, arrays within groups, and OME-Zarr images.

A *node* is a group or array, a folder with metadata of its own. A *multiscale* is a group that OME-Zarr metadata (0.4
in `multiscales`, 0.5 in `ome.multiscales`) makes an image: levels of falling resolution, of which the first is read, with
named axes and a scale and translation per level. Axes of channel and time must be of length 1 and are dropped.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.header import Geometry, as_json, geometry_of_attributes, known_unit, scaled, triple
from sepvox.prepare.readers.keys import choose_key, refuse_key
from sepvox.prepare.readers.stored import Box, Stored, first_line

_METADATA = ("zarr.json", ".zgroup", ".zarray")
_ALL_METADATA = (*_METADATA, ".zattrs", ".zmetadata")


@dataclass(frozen=True)
class ZarrVoxels:
    """Box reader of a Zarr array, of which `spatial` are the axes that are kept; the others have length 1."""

    array: zarr.Array[Any]
    spatial: tuple[int, ...]

    def read(self, box: Box) -> NDArray[Any]:
        selection: list[slice | int] = [0] * self.array.ndim
        for axis, span in zip(self.spatial, box, strict=True):
            selection[axis] = span
        return np.asarray(self.array[tuple(selection)])


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


def is_zarr(folder: Path) -> bool:
    """Whether `folder` is a Zarr node."""
    return any((folder / name).is_file() for name in _METADATA)


def open_zarr(folder: Path, key: str | None, what: str) -> Stored:
    """The array or image `key` of a Zarr folder; the folder itself, or its only array, where no key is given.

    Raises
    ------
    InputError: no such node, an array that this Zarr cannot decode, or channels or time points beyond one.
    """
    name = f"{what}: {folder}"
    root = folder.resolve()
    while is_zarr(root.parent) and root.parent != root:
        root = root.parent
    path = _resolved(folder.resolve(), key, str(folder), what).relative_to(root).as_posix()
    path = "" if path == "." else path
    levels = _levels(root / path, path, name) if _is_group(root / path) else []
    level = levels[0] if levels else _level_of_array(root, path, name)
    return _stored(root, level.array if level else path, level, name)


def _resolved(folder: Path, key: str | None, path: str, what: str) -> Path:
    """The array or multiscale that `key` means in the node `folder`."""
    if not _is_group(folder):
        refuse_key(key, "a Zarr array", path, what)
        return folder
    name = (key or "").strip("/")
    node = folder / name
    if ".." in Path(name).parts or not is_zarr(node):
        return folder / choose_key(key, _arrays(folder, folder), path, what)
    if _is_group(node) and not _multiscales(_attributes(node)):
        return folder / choose_key(None, _arrays(node, folder), path, what)
    return node


def _stored(root: Path, path: str, level: Level | None, name: str) -> Stored:
    node = root / path
    try:
        array = zarr.open_array(node, mode="r")
    except Exception as error:
        # zarr's errors have no common type: unknown codecs, damaged metadata, unsupported types.
        raise InputError(
            f"{name}: the array {path or '.'!r} cannot be opened as Zarr ({first_line(error)}); it is damaged or uses an unknown codec"
        ) from error
    attributes = dict(array.attrs)
    spatial, order, geometry = _spatial(array, level, attributes, name)
    chunks = array.chunks
    ancestors = [root.joinpath(*Path(path).parts[:depth]) for depth in range(len(Path(path).parts) + 1)]
    metadata = [folder / file for folder in ancestors for file in _ALL_METADATA if (folder / file).is_file()]
    group = {str(f.relative_to(root)): _attributes(f) for f in ancestors[:-1]}
    return Stored(
        voxels=ZarrVoxels(array, spatial),
        shape=tuple(array.shape[axis] for axis in spatial),
        dtype=np.dtype(array.dtype),
        chunks=tuple(chunks[axis] for axis in spatial),
        files=(*metadata, node / "c" if (node / "c").is_dir() else node),
        header={
            "format": f"zarr {array.metadata.zarr_format}",
            "key": path,
            "attributes": as_json(attributes),
            "group_attributes": as_json(group),
        },
        order=order,
        voxel_size=geometry.voxel_size,
        unit=geometry.unit,
        offset=geometry.offset,
    )


def _spatial(
    array: zarr.Array[Any], level: Level | None, attributes: Mapping[str, Any], name: str
) -> tuple[tuple[int, ...], tuple[int, int, int] | None, Geometry]:
    """The axes to keep, for z, y, x which of these it is where they are named, and their geometry."""
    if level is None:
        named = getattr(array.metadata, "dimension_names", None) or ()
        return tuple(range(array.ndim)), _order([str(n) for n in named]), geometry_of_attributes(attributes)
    if len(level.axes) != array.ndim:
        raise InputError(
            f"{name}: {level.array!r} has shape {array.shape}, but its OME-Zarr metadata names {len(level.axes)} axes; write the metadata again"
        )
    axes = "".join(axis.name for axis in level.axes)
    for axis, length in zip(level.axes, array.shape, strict=True):
        if axis.kind != "space" and length != 1:
            raise InputError(
                f"{name}: has shape {array.shape} with axes {axes}; expected one channel and one time point, "
                f"but axis {axis.name} is {length}: save one of them alone"
            )
    spatial = tuple(i for i, axis in enumerate(level.axes) if axis.kind == "space")
    if len(spatial) != 3:
        return spatial, None, Geometry()
    size = triple([level.scale[i] for i in spatial], positive=True)
    offset = triple([level.translation[i] for i in spatial])
    units = {known_unit(level.axes[i].unit) for i in spatial}
    unit, factor = units.pop() if len(units) == 1 else (None, 1.0)
    order = _order([level.axes[i].name for i in spatial])
    return spatial, order, Geometry() if size is None else scaled(size, unit, offset, factor)


def _order(names: Sequence[str]) -> tuple[int, int, int] | None:
    lower = [name.lower() for name in names]
    return (lower.index("z"), lower.index("y"), lower.index("x")) if sorted(lower) == ["x", "y", "z"] else None


def _arrays(group: Path, folder: Path) -> dict[str, str]:
    """Every array and multiscale below `group`, by its path in `folder`, with its shape and dtype."""
    found: dict[str, str] = {}
    for current, below, _ in os.walk(group):
        node = Path(current)
        below.sort()
        if not is_zarr(node):
            continue
        name = node.relative_to(folder).as_posix()
        if not _is_group(node):
            below.clear()
            found[name] = _described(node)
        elif node != group and _multiscales(_attributes(node)):
            found[name] = "OME-Zarr image"
            # Its levels are reached through it; labels that belong to it are images of their own.
            below[:] = [b for b in below if b == "labels"]
    return found


def _described(node: Path) -> str:
    try:
        array = zarr.open_array(node, mode="r")
    except Exception:
        # Listed all the same: opening it by its key says what is wrong with it.
        return "not readable"
    return f"{'x'.join(map(str, array.shape))} {array.dtype}"


def _is_group(node: Path) -> bool:
    if (node / ".zgroup").is_file():
        return True
    try:
        metadata = json.loads((node / "zarr.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Metadata that is no JSON is taken for an array's: opening it says what is wrong.
        return False
    return isinstance(metadata, dict) and metadata.get("node_type") == "group"


def _attributes(node: Path) -> dict[str, Any]:
    try:
        return dict(zarr.open_group(node, mode="r", use_consolidated=False).attrs)
    except Exception as error:
        raise InputError(f"{node}: its Zarr metadata cannot be read ({first_line(error)}); it is damaged") from error


def _multiscales(attributes: Mapping[str, Any]) -> list[Any]:
    ome = attributes.get("ome")
    multiscales = (ome if isinstance(ome, Mapping) else attributes).get("multiscales")
    return multiscales if isinstance(multiscales, list) else []


def _level_of_array(root: Path, path: str, name: str) -> Level | None:
    """The level that `path` is of a multiscale above it, if it is one."""
    parts = Path(path).parts
    for depth in range(len(parts) - 1, -1, -1):
        group = "/".join(parts[:depth])
        if _is_group(root / group):
            for level in _levels(root / group, group, name):
                if level.array == path:
                    return level
    return None


def _levels(group: Path, path: str, name: str) -> list[Level]:
    multiscales = _multiscales(_attributes(group))
    if not multiscales:
        return []
    try:
        image = multiscales[0]
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
