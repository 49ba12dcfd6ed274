"""Intensity statistics of a volume, gathered block by block, and the normalisation that networks see.

Integer images of up to 16 bits keep an exact histogram. Of other images every `stride`-th voxel along
each axis is kept, so that memory stays bounded; percentiles do not depend on how the image is cut into blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Voxels of an image of a wide type that are kept, about; thin images keep a few times as many.
SAMPLES = 4_000_000
PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)


@dataclass(frozen=True)
class Statistics:
    """Count, range, mean, standard deviation and percentiles of intensities."""

    count: int
    minimum: float
    maximum: float
    mean: float
    std: float
    percentiles: dict[str, float]


class Accumulator:
    """Sums over the blocks of one image.

    Parameters
    ----------
    dtype : numpy dtype of the image
    total : int
        Voxels of the whole image, from which the sampling stride of wide types follows.
    """

    def __init__(self, dtype: np.dtype[Any], total: int) -> None:
        self._exact = dtype.kind in "iu" and dtype.itemsize <= 2
        info = np.iinfo(dtype) if self._exact else None
        self._lowest = int(info.min) if info else 0
        self._histogram = np.zeros(int(info.max) - self._lowest + 1 if info else 0, dtype=np.int64)
        self._stride = math.ceil((total / SAMPLES) ** (1 / 3))
        self._samples: list[NDArray[np.float64]] = []
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self._minimum, self._maximum = np.inf, -np.inf

    def add(self, block: NDArray[Any], begin: Sequence[int]) -> None:
        """Add a block (z, y, x) whose first voxel is `begin` of the image."""
        values = block.ravel()
        if self._exact:
            self._histogram += np.bincount(values.astype(np.int64) - self._lowest, minlength=len(self._histogram))
            return
        wide = values.astype(np.float64)
        self._count += wide.size
        self._sum += float(wide.sum())
        self._squares += float(np.square(wide).sum())
        self._minimum, self._maximum = min(self._minimum, float(wide.min())), max(self._maximum, float(wide.max()))
        # Voxels of a lattice of the image, so that they are the same however it is cut.
        taken = tuple(slice(-first % self._stride, None, self._stride) for first in begin)
        self._samples.append(block[taken].astype(np.float64).ravel())

    def merge(self, other: "Accumulator") -> None:
        """Add what another one gathered in other blocks of the same image."""
        self._histogram += other._histogram
        self._samples += other._samples
        self._count, self._sum, self._squares = (
            self._count + other._count,
            self._sum + other._sum,
            self._squares + other._squares,
        )
        self._minimum, self._maximum = min(self._minimum, other._minimum), max(self._maximum, other._maximum)

    def result(self) -> Statistics:
        if self._exact:
            levels = np.arange(len(self._histogram)) + self._lowest
            count = int(self._histogram.sum())
            mean = float((levels * self._histogram).sum() / count)
            std = float(np.sqrt((np.square(levels - mean) * self._histogram).sum() / count))
            present = levels[self._histogram > 0]
            cumulative = np.cumsum(self._histogram)
            found = [float(levels[np.searchsorted(cumulative, q / 100 * count)]) for q in PERCENTILES]
            minimum, maximum = float(present[0]), float(present[-1])
        else:
            count, mean = self._count, self._sum / self._count
            std = float(np.sqrt(max(self._squares / count - mean * mean, 0.0)))
            found = [float(v) for v in np.percentile(np.concatenate(self._samples), PERCENTILES)]
            minimum, maximum = self._minimum, self._maximum
        percentiles = {str(q): value for q, value in zip(PERCENTILES, found, strict=True)}
        return Statistics(count, minimum, maximum, mean, std, percentiles)


def normalise(image: NDArray[Any], percentiles: dict[str, float]) -> NDArray[np.float32]:
    """Intensities mapped so that the 0.5th percentile is 0 and the 99.5th is 1, clipped to [0, 1].

    Parameters
    ----------
    image : any shape and real dtype
    percentiles : dict
        `Statistics.percentiles` of the volume.
    """
    low, high = percentiles["0.5"], percentiles["99.5"]
    if image.dtype.itemsize > 4 or (image.dtype.kind in "iu" and image.dtype.itemsize > 2):
        # float32 would round large numbers before their difference is taken.
        scaled = ((image.astype(np.float64) - low) / max(high - low, 1e-6)).astype(np.float32)
    else:
        scaled = (image.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0, 1, out=scaled)
