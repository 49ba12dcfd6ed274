"""OME-Zarr 0.5 stores: created, written by whole shards, read with every fault named.

A store is a Zarr 3 group with arrays "0", "1", … of a multiscale pyramid, axes z y x or c z y x. While it is being filled
the group has no metadata, so that nobody takes it for a whole one; `finish` writes it last, as `ome_metadata` words it.
Every chunk carries a checksum, and empty chunks are stored: an absent shard is an error, never background.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from sepvox import markers, ome_metadata, storage
from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.errors import AccessError, StoreError
from sepvox.pyramid import downsample, downsampling, mean_as, mode
from sepvox.remote import reached
from sepvox.storage import Place
from sepvox.world import Geometry

Array = NDArray[Any]


@dataclass(frozen=True)
class Spec:
    """What a store holds.

    `labels` stores are downsampled by the commonest label and carry `image-label` metadata, others by the mean.
    """

    shape: Triple
    dtype: str
    geometry: Geometry
    chunk: Triple
    shard: Triple
    channels: tuple[str, ...] | None = None
    labels: bool = False
    levels: int | None = 1

    def pyramid(self) -> list[tuple[Triple, Geometry]]:
        """Shape and geometry of each level; coarse axes wait until the fine ones have caught up."""
        found = [(self.shape, self.geometry)]
        while self.levels is None or len(found) < self.levels:
            shape, geometry = found[-1]
            if self.levels is None and all(n <= s for n, s in zip(shape, self.shard, strict=True)):
                break
            if max(shape) == 1:
                break
            factors = downsampling(shape, geometry.voxel_size)
            found.append((triple([-(-n // f) for n, f in zip(shape, factors, strict=True)]), geometry.coarser(factors)))
        return found


def create(path: Place, spec: Spec) -> None:
    """Lay out the arrays of a store; the group's metadata is written by `finish`.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    channels = () if spec.channels is None else (len(spec.channels),)
    for level, (shape, _) in enumerate(spec.pyramid()):
        create_array(
            path / str(level),
            channels + shape,
            spec.dtype,
            ["c", "z", "y", "x"][-3 - len(channels) :],
            (1,) * len(channels) + spec.chunk,
            channels + spec.shard,
        )


def create_array(
    path: Place,
    shape: tuple[int, ...],
    dtype: str,
    axes: Sequence[str],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
) -> zarr.Array[Any]:
    """Lay out one array as every array of sepvox: chunks are compressed, carry a checksum, and are stored when empty.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    try:
        with reached(path, writing=True):
            return zarr.create_array(
                store=storage.zarr_store(path, writable=True),
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                compressors=[ZstdCodec(level=3, checksum=True)],
                fill_value=0,
                dimension_names=axes,
                config={"write_empty_chunks": True},
                overwrite=True,
            )
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from None


def finish(
    path: Place, spec: Spec, attributes: dict[str, Any], windows: Sequence[tuple[float, float, float, float]] = ()
) -> None:
    """Fill the coarser levels and write the group's metadata (`complete`)."""
    for level in range(1, len(spec.pyramid())):
        for box in level_blocks(spec, level):
            fill_block(path, spec, level, box)
    complete(path, spec, attributes, windows)


def complete(
    path: Place, spec: Spec, attributes: dict[str, Any], windows: Sequence[tuple[float, float, float, float]] = ()
) -> None:
    """Write the metadata of a store whose levels are filled.

    Parameters
    ----------
    attributes : dict
        Goes under the key `sepvox` of the group.
    windows : sequence of (lowest, black, white, highest)
        How viewers show the channels, each in grey; none for channels that are affinities or probabilities, the first
        three of which are red, green and blue.
    """
    name = path.name.removesuffix(".zarr")
    ome = ome_metadata.described(name, [g for _, g in spec.pyramid()], spec.channels or (), spec.labels, windows)
    # zarr would refuse to write a group over its arrays, or remove them.
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "sepvox": attributes}}
    markers.write_json(path / "zarr.json", group)


def open_level(path: Place, level: int = 0, writable: bool = False) -> zarr.Array[Any]:
    """One array of a store.

    Raises
    ------
    StoreError
        If it is not there or its metadata cannot be read.
    """
    try:
        with reached(path):
            array = zarr.open_array(
                storage.zarr_store(path / str(level), writable), mode="r+" if writable else "r", zarr_format=3
            )
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path}: no readable level {level} ({type(error).__name__}); remove it and run the step that makes it again"
        ) from None
    return array.with_config({"write_empty_chunks": True}) if writable else array


def attributes(path: Place) -> dict[str, Any]:
    """The `sepvox` attributes of a finished store.

    Raises
    ------
    StoreError
        If the store is missing or was not finished.
    """
    try:
        found = dict(json.loads((path / "zarr.json").read_text())["attributes"]["sepvox"])
        found["fingerprint"]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        raise StoreError(f"{path}: missing, unfinished or damaged; run the step that makes it") from None
    return found


def geometry(path: Place) -> Geometry:
    """Geometry of level 0 of a finished store."""
    try:
        return ome_metadata.geometry(json.loads((path / "zarr.json").read_text())["attributes"]["ome"])
    except (FileNotFoundError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise StoreError(f"{path}: missing, unfinished or damaged; run the step that makes it") from None


def levels(path: Place) -> list[zarr.Array[Any]]:
    """All arrays of a finished store, the finest first.

    Raises
    ------
    StoreError
        As `attributes` and `open_level`.
    """
    attributes(path)
    multiscale = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    return [open_level(path, level) for level in range(len(multiscale["datasets"]))]


def read(array: zarr.Array[Any], box: Box, channels: int | None = None) -> Array:
    """The voxels of `box`, all channels or only the first `channels`, after checking that every shard is there.

    Raises
    ------
    StoreError
        If a shard is missing or damaged; the message names the store and the chunk.
    """
    leading = (slice(channels),) * (array.ndim - 3)
    folder, shards = storage.place_of(array), _shards(array, box)
    for shard, size in zip(shards, storage.sizes(folder, shards), strict=True):
        # A power cut can leave an empty file, which zarr would take for a shard of nothing but background.
        if not size:
            raise StoreError(
                f"{folder}: shard {shard} is missing or empty; remove {folder.parent} and run the step that makes it again"
            )
    try:
        with reached(folder):
            return np.asarray(array[(*leading, *box.slices)])
    except (AccessError, OSError):
        # It is the disk or the network that fails; the data may be whole.
        raise
    except Exception as error:
        where = _damaged(array, box, channels)
        if where is None:
            # Piece by piece it can be read: what is wrong is elsewhere, as where memory does not suffice for all at once.
            raise
        raise StoreError(
            f"{folder}: {where} is damaged ({type(error).__name__}: {error}); remove {folder.parent} and run the step that makes it again"
        ) from None


def write(array: zarr.Array[Any], box: Box, data: Array) -> None:
    """Write whole shards.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    sizes = (array.shards or array.chunks)[-3:]
    for axis, begin, end, size, total in zip("zyx", box.begin, box.end, sizes, array.shape[-3:], strict=True):
        whole = begin % size == 0 and (end % size == 0 or end == total)
        assert whole, f"axis {axis}: [{begin}, {end}) is not a whole number of shards of {size}"
    leading = (slice(None),) * (array.ndim - 3)
    folder, shards = storage.place_of(array), _shards(array, box)
    try:
        with reached(folder, writing=True):
            try:
                array[(*leading, *box.slices)] = data
            except (AccessError, MemoryError, OSError):
                raise
            except Exception:
                # zarr reads a shard before it replaces it, and fails on one that is damaged.
                for shard in shards:
                    storage.remove(folder / shard)
                array[(*leading, *box.slices)] = data
            # A marker must not survive a power cut that its data does not.
            storage.keep(folder, shards)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror}); free space or check permissions, then run again"
        ) from None


def _shards(array: zarr.Array[Any], box: Box) -> list[str]:
    shard = (array.shards or array.chunks)[-3:]
    ranges = [range(b // s, -(-e // s)) for b, e, s in zip(box.begin, box.end, shard, strict=True)]
    prefix = ["c"] + ["0"] * (array.ndim - 3)
    return ["/".join([*prefix, str(z), str(y), str(x)]) for z, y, x in product(*ranges)]


def _damaged(array: zarr.Array[Any], box: Box, channels: int | None) -> str | None:
    """The first chunk that cannot be read; None where all can."""
    leading = (slice(channels),) * (array.ndim - 3)
    shape = array.shape[-3:]
    for chunk in Lattice(triple(shape), triple(array.chunks[-3:])):
        part = chunk.clip(box)
        if part.size:
            try:
                array[(*leading, *part.slices)]
            except Exception:
                return f"the chunk at z y x = {chunk.begin}"
    return None


def level_blocks(spec: Spec, level: int) -> Lattice:
    """What `fill_block` takes, one at a time: the shards of a level."""
    return Lattice(spec.pyramid()[level][0], spec.shard)


def fill_block(path: Place, spec: Spec, level: int, box: Box) -> None:
    """Fill one shard of a coarser level from the level below it, which is filled.

    One shard of the finer level is read at a time, so that no more is held.
    """
    fine, coarse = open_level(path, level - 1), open_level(path, level, writable=True)
    factors = triple([-(-f // c) for f, c in zip(fine.shape[-3:], coarse.shape[-3:], strict=True)])
    reduce: Callable[[Array], Array] = mode if spec.labels else mean_as(np.dtype(spec.dtype))
    filled = np.empty((*coarse.shape[:-3], *box.shape), coarse.dtype)
    size = triple([s // f if s % f == 0 else s for s, f in zip(spec.shard, factors, strict=True)])
    for part in Lattice(triple(coarse.shape[-3:]), size).within(box):
        source = Box(
            triple([b * f for b, f in zip(part.begin, factors, strict=True)]),
            triple([e * f for e, f in zip(part.end, factors, strict=True)]),
        ).clip(Box.of(fine.shape[-3:]))
        filled[..., *part.inside(box).slices] = downsample(read(fine, source), factors, reduce)
    write(coarse, box, filled)
