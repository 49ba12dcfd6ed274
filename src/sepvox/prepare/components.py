"""Connected components of a label store, block by block: ground truth cut by a region gets one label per piece.

Components are face-connected voxels of one label; 0 stays 0. Inside a block a component's id is 1 + the C-order index in
the volume of its first voxel. Ids that touch across a block's face are then joined, and the smallest id of each
component is kept, so that the result does not depend on the blocks.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from sepvox.blocks import Box, Triple

Labels = NDArray[np.uint64]


def components_of_block(labels: NDArray[Any], box: Box, shape: Triple) -> Labels:
    """Face-connected components of one block, with ids from position in a volume of `shape`."""
    pieces = label(labels, background=0, connectivity=1)
    _, first = np.unique(pieces, return_index=True)
    z, y, x = np.unravel_index(first, labels.shape)
    position = ((z + box.begin[0]) * shape[1] + y + box.begin[1]) * shape[2] + x + box.begin[2]
    ids = (position + 1).astype(np.uint64)
    if (pieces == 0).any():
        ids[0] = 0
    return np.asarray(ids[pieces - (0 if (pieces == 0).any() else 1)])


def touching(
    ids_low: Labels, ids_high: Labels, labels_low: NDArray[Any], labels_high: NDArray[Any]
) -> NDArray[np.uint64]:
    """Pairs of ids (k, 2) that meet with the same label across a face between two blocks."""
    same = (labels_low == labels_high) & (labels_low != 0)
    return np.unique(np.stack([ids_low[same], ids_high[same]], axis=-1), axis=0)


def joined(pairs: Iterable[NDArray[np.uint64]]) -> tuple[Labels, Labels]:
    """Sorted ids that have a smaller partner or equal, and the smallest id of each one's component."""
    found = np.concatenate([np.zeros((0, 2), np.uint64), *pairs])
    ids, index = np.unique(found, return_inverse=True)
    index = index.reshape(-1, 2)
    graph = coo_array((np.ones(len(index), bool), (index[:, 0], index[:, 1])), shape=(len(ids), len(ids)))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(component.max(initial=-1) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, component, ids)
    return ids, smallest[component]


def replaced(block: Labels, ids: Labels, roots: Labels) -> Labels:
    """The block with every id of `ids` replaced by its root; other values stay."""
    if not len(ids):
        return block
    where = np.minimum(np.searchsorted(ids, block), len(ids) - 1)
    return np.where(ids[where] == block, roots[where], block)


def faces(boxes: Iterable[Box]) -> Iterator[tuple[Box, Box]]:
    """For every block and axis, the one-voxel layer at its lower face and the layer below it, where there is one."""
    for box in boxes:
        for axis in range(3):
            if box.begin[axis] == 0:
                continue
            begin, end = list(box.begin), list(box.end)
            end[axis] = begin[axis] + 1
            upper = Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
            step = [0, 0, 0]
            step[axis] = -1
            yield upper.shift(step), upper
