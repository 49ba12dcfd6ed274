"""The volume that a benchmark segments: stores of a finished run, or the EM phantom with degraded affinities."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.degraded import degraded, phantom
from sepvox import ome_zarr
from sepvox.blocks import Box, triple
from sepvox.errors import InputError
from sepvox.settings import Offset

Labels = NDArray[np.integer]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which volume."""
    parser.add_argument("affinities", type=Path, nargs="?", help="affinities.zarr; a degraded phantom by default")
    parser.add_argument("--labels", type=Path, help="labels.zarr of the same volume")
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 256, 256), help="of the phantom, z y x")
    parser.add_argument("--seed", type=int, default=0, help="of the phantom")
    parser.add_argument("--gaps", type=float, default=0.2, help="how far the phantom's affinities are degraded")


def described(given: argparse.Namespace) -> str:
    """The volume in words."""
    if given.affinities is not None:
        return str(given.affinities)
    return f"phantom of {' x '.join(map(str, given.shape))} voxels, seed {given.seed}, gaps {given.gaps:g}"


def made(given: argparse.Namespace, offsets: tuple[Offset, ...]) -> tuple[NDArray[np.uint8], Labels]:
    """Degraded affinities of the phantom, uint8 (c, z, y, x), and its labels."""
    labels = phantom(triple(given.shape), given.seed)
    return degraded(labels, offsets, given.seed, gaps=given.gaps), labels


def stored_labels(given: argparse.Namespace) -> Labels | None:
    """The labels beside stored affinities, where they are given.

    Raises
    ------
    InputError
        If they are not those of the affinities' volume.
    """
    if given.labels is None:
        return None
    array: Any = ome_zarr.open_level(given.labels)
    shape = ome_zarr.open_level(given.affinities).shape[1:]
    if array.shape != shape:
        raise InputError(
            f"{given.labels}: shape {array.shape} where the affinities have {shape}; give labels of the same volume"
        )
    return ome_zarr.read(array, Box.of(shape))


def check(given: argparse.Namespace) -> None:
    """Raise InputError for labels without affinities."""
    if given.labels is not None and given.affinities is None:
        raise InputError(f"--labels {given.labels}: belong to no affinities; give both stores, or neither")
