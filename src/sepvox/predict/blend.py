"""Blended tiles: overlapping tiles averaged with Gaussian weights; cheaper than exact ones where the halo is large.

The tiles lie on a lattice anchored at the volume's first voxel, so that the result depends on the tile, not on the block.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from monai.data.utils import compute_importance_map

from sepvox.blocks import Box, Triple, triple
from sepvox.predict.tiles import Forward, Read, Tiler, Volume
from sepvox.symmetries import apply, undo_on_affinities

# Relative standard deviation of the weights, as in nnU-Net's sliding window (Isensee et al. 2021).
SIGMA = 0.125


def blend(tiler: Tiler, read: Read, box: Box, shape: Triple, tile: Triple, overlap: float, forward: Forward) -> Volume:
    """Probabilities (c, z, y, x) of a box of a volume of `shape`.

    Parameters
    ----------
    tile : (int, int, int)
        Input of the network, raised to the next shape that it takes.
    overlap : float
        Fraction of a tile's output that its neighbour covers too.
    """
    size = tiler.net.admissible(tile)
    out = tiler.net.output_shape(size)
    crop = [(n - o) // 2 for n, o in zip(size, out, strict=True)]
    step = [max(s, int(o * (1 - overlap)) // s * s) for o, s in zip(out, tiler.net.total_stride, strict=True)]
    weights = compute_importance_map(out, mode="gaussian", sigma_scale=SIGMA).numpy().astype(np.float64)
    total = np.zeros((len(tiler.offsets), *box.shape), np.float64)
    norm = np.zeros(box.shape, np.float64)
    for begin in product(*map(_starts, shape, out, step, box.begin, box.end)):
        covered = Box(triple(begin), triple([b + o for b, o in zip(begin, out, strict=True)]))
        inner = covered.clip(box)
        outer = triple([b - c for b, c in zip(begin, crop, strict=True)])
        image = read(Box(outer, triple([b + n for b, n in zip(outer, size, strict=True)])))
        predicted = _averaged(tiler, image, forward)
        where, source = inner.inside(box).slices, inner.inside(covered).slices
        total[:, *where] += predicted[:, *source] * weights[source]
        norm[where] += weights[source]
    return (total / norm).astype(np.float32)


def _averaged(tiler: Tiler, image: Volume, forward: Forward) -> Volume:
    """Mean over the symmetries; a tile's outermost voxels, unknown to a mirrored affinity, take their neighbour's."""
    total = np.zeros(1, np.float32)
    for symmetry in tiler.symmetries:
        predicted = forward(np.ascontiguousarray(apply(symmetry, image)))
        if len(tiler.symmetries) > 1:
            predicted, known = undo_on_affinities(symmetry, predicted, tiler.offsets)
            _fill_unknown(predicted, known)
        total = total + predicted
    mean: Volume = total / np.float32(len(tiler.symmetries))
    return mean


def _fill_unknown(predicted: Volume, known: Sequence[tuple[slice, slice, slice]]) -> None:
    """Where a turned affinity is unknown, at a tile's outermost voxels, put its neighbour's value."""
    for channel, region in enumerate(known):
        for axis, part in enumerate(region):
            index = np.clip(np.arange(predicted.shape[1 + axis]), part.start, part.stop - 1)
            predicted[channel] = np.take(predicted[channel], index, axis=axis)


def _starts(size: int, out: int, step: int, begin: int, end: int) -> range:
    """Begins of the tiles that meet [begin, end): tiles of `out` voxels every `step`, until an axis of `size` is covered."""
    count = 1 + max(0, -(-(size - out) // step))
    first = max(0, (begin - out) // step + 1)
    return range(first * step, min(count, -(-end // step)) * step, step)
