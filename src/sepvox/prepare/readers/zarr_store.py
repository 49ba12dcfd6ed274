"""Zarr 2 and 3 folders, on disks and at addresses: arrays, arrays within groups, and OME-Zarr images.

A *node* is a group or array, a folder with metadata of its own. It is found by its key, opened on a disk or at an address,
and read by boxes. Of an OME-Zarr image the first level is read; what its metadata says is understood by `multiscale`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from sepvox import storage
from sepvox.errors import AccessError, DeniedError, InputError
from sepvox.prepare.readers.header import Geometry, as_json, geometry_of_attributes
from sepvox.prepare.readers.keys import choose_key, key_setting, refuse_key
from sepvox.prepare.readers.multiscale import Level, axes_kept, levels_of, multiscales, order_of
from sepvox.prepare.readers.stored import Box, Stored, first_line
from sepvox.remote import Remote, reached
from sepvox.storage import Place

METADATA = ("zarr.json", ".zgroup", ".zarray")
_ALL_METADATA = (*METADATA, ".zattrs")


@dataclass(frozen=True)
class ZarrVoxels:
    """Box reader of a Zarr array, of which `spatial` are the axes that are kept; the others have length 1."""

    array: zarr.Array[Any]
    spatial: tuple[int, ...]

    def read(self, box: Box) -> NDArray[Any]:
        selection: list[slice | int] = [0] * self.array.ndim
        for axis, span in zip(self.spatial, box, strict=True):
            selection[axis] = span
        with reached(storage.place_of(self.array)):
            return np.asarray(self.array[tuple(selection)])


def is_zarr(folder: Place) -> bool:
    """Whether `folder` is a Zarr node."""
    return bool(metadata(folder, 1))


def metadata(folder: Place, most: int = len(_ALL_METADATA)) -> dict[str, bytes]:
    """The files that make `folder` a Zarr node, by their names, the first `most` of them; empty where it is none.

    Raises
    ------
    AccessError: an address cannot be reached, or none of these files may be read.
    """
    found: dict[str, bytes] = {}
    denied: DeniedError | None = None
    for name in _ALL_METADATA:
        if len(found) == most:
            break
        try:
            found[name] = (folder / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        except DeniedError as error:
            # Who may not list a bucket is denied what is not there.
            denied = error
    if denied is not None and not found:
        raise denied
    return found if found.keys() & set(METADATA) else {}


def _is_node(folder: Place) -> bool:
    """`is_zarr`, where what may not be read is none."""
    try:
        return is_zarr(folder)
    except DeniedError:
        return False


def open_zarr(folder: Place, key: str | None, what: str) -> Stored:
    """The array or image `key` of a Zarr folder; the folder itself, or its only array, where no key is given.

    Raises
    ------
    InputError: no such node, an array that this Zarr cannot decode, or channels or time points beyond one.
    """
    name = f"{what}: {folder}"
    root = folder.resolve()
    while root.parent != root and _is_node(root.parent):
        root = root.parent
    path = _below(root, _resolved(folder.resolve(), key, str(folder), what))
    levels = levels_of(_attributes(root / path), path, name) if _is_group(root / path) else []
    level = levels[0] if levels else _level_of_array(root, path, name)
    return _stored(root, level.array if level else path, level, name)


def _resolved(folder: Place, key: str | None, path: str, what: str) -> Place:
    """The array or multiscale that `key` means in the node `folder`."""
    if not _is_group(folder):
        refuse_key(key, "a Zarr array", path, what)
        return folder
    name = (key or "").strip("/")
    node = folder / name
    if ".." in PurePosixPath(name).parts or not _is_node(node):
        return folder / choose_key(key, _arrays(folder, folder, path, what), path, what)
    if _is_group(node) and not multiscales(_attributes(node)):
        return folder / choose_key(None, _arrays(node, folder, path, what), path, what)
    return node


def _below(root: Place, node: Place) -> str:
    """The path of a node in `root`; empty for `root` itself."""
    path = PurePosixPath(str(node).removeprefix(str(root)).lstrip("/")).as_posix()
    return "" if path == "." else path


def _stored(root: Place, path: str, level: Level | None, name: str) -> Stored:
    node = root / path
    try:
        with reached(node):
            array = _array(node)
        _check_ranges(array, node, name)
    except (AccessError, InputError):
        raise
    except Exception as error:
        # zarr's errors have no common type: unknown codecs, damaged metadata, unsupported types.
        raise InputError(
            f"{name}: the array {path or '.'!r} cannot be opened as Zarr ({first_line(error)}); it is damaged or uses an unknown codec"
        ) from error
    attributes = dict(array.attrs)
    spatial, order, geometry = _spatial(array, level, attributes, name)
    chunks = array.chunks
    parts = PurePosixPath(path).parts
    ancestors = [root / "/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    group = {_below(root, f) or ".": _attributes(f) for f in ancestors[:-1]}
    return Stored(
        voxels=ZarrVoxels(array, spatial),
        shape=tuple(array.shape[axis] for axis in spatial),
        dtype=np.dtype(array.dtype),
        chunks=tuple(chunks[axis] for axis in spatial),
        files=_files(ancestors),
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


def _array(node: Place) -> zarr.Array[Any]:
    return zarr.open_array(storage.zarr_store(node), mode="r", zarr_format=_version(node))


def _version(node: Place) -> Literal[2, 3]:
    return 3 if "zarr.json" in metadata(node, 1) else 2


def _files(nodes: Sequence[Place]) -> tuple[Path, ...]:
    """Metadata of nodes, of which the last is the array, and the folder of its chunks; of those at an address none."""
    folders = [node for node in nodes if isinstance(node, Path)]
    found = [
        folder / file for folder in folders for file in (*_ALL_METADATA, ".zmetadata") if (folder / file).is_file()
    ]
    chunks = [folder / "c" if (folder / "c").is_dir() else folder for folder in folders[-1:]]
    return (*found, *chunks)


def _check_ranges(array: zarr.Array[Any], node: Place, name: str) -> None:
    """Refuse shards at a server that sends whole objects only: parts of them would be read from the wrong place."""
    if array.shards is None or not isinstance(node, Remote):
        return
    if len((node / "zarr.json").read_range(0, 1)) != 1:
        raise InputError(
            f"{name}: its chunks lie in shards, but the server sends no parts of files; use one that answers Range requests, or copy the data"
        )


def _spatial(
    array: zarr.Array[Any], level: Level | None, attributes: Mapping[str, Any], name: str
) -> tuple[tuple[int, ...], tuple[int, int, int] | None, Geometry]:
    """The axes to keep, for z, y, x which of these it is where they are named, and their geometry."""
    if level is None:
        named = getattr(array.metadata, "dimension_names", None) or ()
        return tuple(range(array.ndim)), order_of([str(n) for n in named]), geometry_of_attributes(attributes)
    return axes_kept(level, array.shape, name)


def _arrays(group: Place, folder: Place, path: str, what: str) -> dict[str, str]:
    """Every array and multiscale below `group`, by its path in `folder`, with its shape and dtype."""
    if isinstance(group, Remote) and not group.lists:
        raise InputError(
            f"{what}: {path}: is a group in which {key_setting(what)} names no array or image, and {group.scheme}:// cannot be asked for names; set {key_setting(what)} to the path of one"
        )
    found: dict[str, str] = {}
    waiting = [group]
    while waiting:
        node = waiting.pop(0)
        name = _below(folder, node)
        if is_zarr(node) and not _is_group(node):
            found[name] = _described(node)
            continue
        below = storage.folders(node)
        if node != group and is_zarr(node) and multiscales(_attributes(node)):
            found[name] = "OME-Zarr image"
            # Its levels are reached through it; labels that belong to it are images of their own.
            below = [inner for inner in below if inner.name == "labels"]
        waiting[:0] = below
    return found


def _described(node: Place) -> str:
    try:
        array = _array(node)
    except Exception:
        # Listed all the same: opening it by its key says what is wrong with it.
        return "not readable"
    return f"{'x'.join(map(str, array.shape))} {array.dtype}"


def _is_group(node: Place) -> bool:
    files = metadata(node, 1)
    if ".zgroup" in files:
        return True
    try:
        described = json.loads(files["zarr.json"])
    except (KeyError, ValueError):
        # Metadata that is no JSON is taken for an array's: opening it says what is wrong.
        return False
    return isinstance(described, dict) and described.get("node_type") == "group"


def _attributes(node: Place) -> dict[str, Any]:
    try:
        with reached(node):
            store = storage.zarr_store(node)
            return dict(zarr.open_group(store, mode="r", zarr_format=_version(node), use_consolidated=False).attrs)
    except AccessError:
        raise
    except Exception as error:
        raise InputError(f"{node}: its Zarr metadata cannot be read ({first_line(error)}); it is damaged") from error


def _level_of_array(root: Place, path: str, name: str) -> Level | None:
    """The level that `path` is of a multiscale above it, if it is one."""
    parts = PurePosixPath(path).parts
    for depth in range(len(parts) - 1, -1, -1):
        group = "/".join(parts[:depth])
        if _is_group(root / group):
            for level in levels_of(_attributes(root / group), group, name):
                if level.array == path:
                    return level
    return None
