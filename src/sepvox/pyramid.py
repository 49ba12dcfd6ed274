"""Coarser copies of an array: which axes are halved, and how several voxels become one.

Images take the mean, labels the commonest value. Axes whose voxels are coarse wait until the others have caught up.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.blocks import Triple, triple

Array = NDArray[Any]


def downsampling(shape: Sequence[int], voxel_size: Sequence[float]) -> Triple:
    """Factor 2 on the axes whose voxels are less than twice the smallest voxel, among axes that have two voxels."""
    smallest = min(s for s, n in zip(voxel_size, shape, strict=True) if n > 1)
    return triple([2 if n > 1 and s < 2 * smallest else 1 for n, s in zip(shape, voxel_size, strict=True)])


def downsample(array: Array, factors: Sequence[int], reduce: Callable[[Array], Array]) -> Array:
    """Reduce the voxels of each `factors` box (last three axes) to one; boxes at the far faces repeat the last voxel.

    `reduce` takes an array with the samples on its last axis.
    """
    pad = [(0, 0)] * (array.ndim - 3) + [(0, -n % f) for n, f in zip(array.shape[-3:], factors, strict=True)]
    padded = np.pad(array, pad, mode="edge")
    leading = padded.shape[:-3]
    fz, fy, fx = factors
    z, y, x = (n // f for n, f in zip(padded.shape[-3:], factors, strict=True))
    split = padded.reshape(*leading, z, fz, y, fy, x, fx)
    k = len(leading)
    samples = np.moveaxis(split, (k + 1, k + 3, k + 5), (-3, -2, -1)).reshape(*leading, z, y, x, fz * fy * fx)
    return reduce(samples)


def mean_as(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    """The mean along the last axis, rounded for integers and brought to `dtype`."""

    def mean(samples: Array) -> Array:
        average: Array = samples.mean(axis=-1, dtype=np.float64)
        return np.asarray(np.rint(average) if dtype.kind in "iu" else average, dtype=dtype)

    return mean


def mode(samples: Array) -> Array:
    """The commonest value along the last axis; among equals the one that comes first."""
    counts = np.zeros(samples.shape, dtype=np.uint8)
    for index in range(samples.shape[-1]):
        counts += samples == samples[..., index : index + 1]
    return np.take_along_axis(samples, counts.argmax(axis=-1)[..., None], axis=-1)[..., 0]
