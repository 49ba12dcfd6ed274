"""Affinities made of labels and degraded, where there is no network to predict any.

Inside of objects they are near 1. Towards a border they are less and less sure, and across it they are low. Noise is added,
and the upper half of a smooth field that all channels share: where it is high, membranes have gaps.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from sepvox import ome_zarr
from sepvox.blocks import Lattice, Triple, triple
from sepvox.ome_zarr import Spec
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.settings import EMPhantomSettings
from sepvox.settings import NEAREST_OFFSETS, Offset
from sepvox.storage import Place
from sepvox.symmetries import partners
from sepvox.world import Geometry

# Those of configs/demo.yaml.
OFFSETS: tuple[Offset, ...] = (*NEAREST_OFFSETS, (-5, 0, 0), (0, -5, 0), (0, 0, -5))
DOUBT_AT_BORDER, ACROSS = 0.45, 0.1
NOISE_WIDTH, FIELD_WIDTH = 1.0, 4.0


def phantom(shape: Triple, seed: int) -> NDArray[np.uint32]:
    """Labels of the EM phantom with its default settings, uint32 (z, y, x), without background."""
    return em_phantom(EMPhantomSettings(shape=shape, seed=seed), (0, 0, 0), shape)[1]


def borders(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The voxels with a 6-neighbour of another label, bool (z, y, x)."""
    found = np.zeros(labels.shape, np.bool_)
    for axis in range(3):
        a, b = np.moveaxis(labels, axis, 0), np.moveaxis(found, axis, 0)
        differs = a[1:] != a[:-1]
        b[1:] |= differs
        b[:-1] |= differs
    return found


def degraded(
    labels: NDArray[np.integer], offsets: tuple[Offset, ...], seed: int, noise: float = 0.05, gaps: float = 0.2
) -> NDArray[np.uint8]:
    """Make affinities of labels.

    Parameters
    ----------
    labels : integer (z, y, x)
        Objects, from 1.
    offsets : c offsets
        What is added to a voxel, z y x, to reach its partner.
    seed : int
        Of noise and field.
    noise, gaps : float
        Standard deviations of the noise and of the whole field.

    Returns
    -------
    uint8 (c, z, y, x)
        In steps of 1/255. Where a partner lies outside, that of the inside of an object.
    """
    rng = np.random.default_rng(seed)

    def smooth(width: float, deviation: float) -> NDArray[np.float32]:
        found: NDArray[np.float32] = gaussian_filter(rng.standard_normal(labels.shape, np.float32), width)
        return found * np.float32(deviation / found.std())

    field = smooth(FIELD_WIDTH, gaps).clip(0)
    doubt = np.float32(DOUBT_AT_BORDER) * np.exp(-distance_transform_edt(~borders(labels)).astype(np.float32))
    found = np.empty((len(offsets), *labels.shape), np.uint8)
    for offset, stored in zip(offsets, found, strict=True):
        sure = np.ones(labels.shape, np.float32)
        here, there = partners(labels.shape, offset)
        same = labels[here] == labels[there]
        sure[here] = np.where(same, 1 - np.maximum(doubt[here], doubt[there]), np.float32(ACROSS))
        stored[...] = np.rint(255 * (sure + smooth(NOISE_WIDTH, noise) + field).clip(0, 1))
    return found


def save(
    path: Place,
    found: NDArray[np.uint8],
    offsets: tuple[Offset, ...],
    fingerprint: str,
    chunk: Triple,
    shard: Triple,
    geometry: Geometry | None = None,
) -> None:
    """Write affinities as `sepvox predict` does, but for the name of the weights."""
    channels = tuple("affinity " + " ".join(map(str, offset)) for offset in offsets)
    spec = Spec(triple(found.shape[1:]), "uint8", geometry or Geometry(), chunk, shard, channels)
    ome_zarr.create(path, spec)
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(spec.shape, shard):
        ome_zarr.write(array, box, found[:, *box.slices])
    described = {"offsets": [list(offset) for offset in offsets], "weights": "", "convention": "made of labels"}
    ome_zarr.finish(path, spec, described | {"fingerprint": fingerprint})
