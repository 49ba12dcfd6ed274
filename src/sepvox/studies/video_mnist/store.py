"""A split of Video-MNIST on disk: a Zarr 3 group of `videos`, uint8 (n, t, y, x), and `labels`, uint8 (n,).

A shard holds consecutive videos and is written at once; a chunk, a tenth of it or so, is what is read. As in every store
of sepvox chunks carry a checksum, empty ones are stored, and the group's metadata are written last, so that an unfinished
store is not taken for a whole one.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.errors import StoreError
from sepvox.studies.video_mnist.motions import FRAMES, SIDE

FRAME_AXES = (FRAMES, SIDE, SIDE)
MEND = "remove the store and run the study again"


@dataclass(frozen=True)
class VideoStore:
    """One store: where it is, how many videos it has, and how many are in a chunk and in a shard."""

    path: Path
    count: int
    chunk: int
    shard: int

    def create(self) -> None:
        """Lay out the array of videos; `finish` makes it a store."""
        shape, chunks, shards = ((n, *FRAME_AXES) for n in (self.count, self.chunk, self.shard))
        ome_zarr.create_array(self.path / "videos", shape, "uint8", ["n", "t", "y", "x"], chunks, shards)

    def shard_file(self, number: int) -> Path:
        return self.path / "videos" / "c" / str(number) / "0/0/0"

    def has_shard(self, number: int) -> bool:
        """Whether there is data; a power cut can leave an empty file."""
        file = self.shard_file(number)
        return file.exists() and file.stat().st_size > 0

    def write_shard(self, number: int, videos: NDArray[np.uint8]) -> None:
        """Write the videos, (k, 30, 28, 28), of a whole shard; when this returns they are on disk."""
        file = self.shard_file(number)
        # zarr would read a shard that the last videos do not fill before it replaces it, and fail on a damaged one.
        file.unlink(missing_ok=True)
        array = zarr.open_array(str(self.path / "videos"), mode="r+").with_config({"write_empty_chunks": True})
        begin = number * self.shard
        array[begin : begin + len(videos)] = videos
        _sync(file)

    def finish(self, labels: NDArray[np.uint8], attributes: dict[str, Any]) -> None:
        """Write the labels, (n,), and then the group's metadata; `attributes` go under the key `sepvox`."""
        array = ome_zarr.create_array(self.path / "labels", labels.shape, "uint8", ["n"], labels.shape)
        array[:] = labels
        _sync(self.path / "labels/c/0")
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"sepvox": attributes}}
        markers.write_json(self.path / "zarr.json", group)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def open_videos(path: Path) -> VideoStore:
    """A finished store.

    Raises
    ------
    StoreError
        If it is missing, unfinished or damaged.
    """
    ome_zarr.attributes(path)
    array = _open(path, "videos")
    if array.shape[1:] != FRAME_AXES or array.shards is None:
        raise StoreError(f"{path}: videos has shape {array.shape}, expected (n, {FRAMES}, {SIDE}, {SIDE}); {MEND}")
    return VideoStore(path, array.shape[0], array.chunks[0], array.shards[0])


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The class, uint8 (n,), of every video of a finished store.

    Raises
    ------
    StoreError
        If the store is missing, unfinished or damaged.
    """
    store = open_videos(path)
    if not (path / "labels/c/0").exists():
        raise StoreError(f"{path}: labels are missing; {MEND}")
    try:
        return np.asarray(_open(path, "labels")[: store.count], np.uint8)
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{path}: labels are damaged ({type(error).__name__}: {error}); {MEND}") from None


def read_videos(path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Videos, uint8 (k, 30, 28, 28), in the order of their `indices` (k,).

    Raises
    ------
    StoreError
        If the store is missing or unfinished, or a shard or chunk that is read is missing or damaged.
    """
    store = open_videos(path)
    array = _open(path, "videos")
    found = np.empty((len(indices), *FRAME_AXES), np.uint8)
    chunk_of = np.asarray(indices) // store.chunk
    for chunk in np.unique(chunk_of).tolist():
        begin = chunk * store.chunk
        number = begin // store.shard
        if not store.has_shard(number):
            raise StoreError(f"{path}: shard {store.shard_file(number).relative_to(path)} is missing or empty; {MEND}")
        try:
            videos = np.asarray(array[begin : begin + store.chunk])
        except Exception as error:
            raise StoreError(
                f"{path}: the chunk of videos {begin} to {begin + store.chunk - 1} is damaged ({type(error).__name__}: {error}); {MEND}"
            ) from None
        wanted = chunk_of == chunk
        found[wanted] = videos[np.asarray(indices)[wanted] - begin]
    return found


def _open(path: Path, name: str) -> zarr.Array[Any]:
    try:
        return zarr.open_array(str(path / name), mode="r")
    except (FileNotFoundError, KeyError, ValueError, OSError) as error:
        raise StoreError(f"{path}: no readable {name} ({type(error).__name__}); {MEND}") from None
