"""Constrained MALIS: the loss that counts pairs of voxels instead of edges.

Voxels are nodes and affinities are *edges* between them. The *maximin edge* of two voxels is the weakest edge of the
strongest path between them: it alone decides at which threshold they end up in one segment, and it is an edge of the
maximum spanning tree (Turaga et al. 2009, "Maximin affinity learning of image segmentation"). Its *pair count* is the
number of pairs it decides.

The constrained form (Funke et al. 2019, "Large scale image segmentation with structured loss based deep learning for
connectome reconstruction") has two *passes*, each with its own spanning tree. With affinities a and truth t:

- the positive pass counts the pairs within one object on edges min(a, t). Edges with t = 0 fall to 0 and have no
  gradient, so only pairs that are connected inside their object count: an object cut in two by the patch asks for no
  bridge.
- the negative pass counts the pairs of different objects on edges max(a, t). All edges with t = 1 come first, so
  objects are whole before they meet, and every counted edge has t = 0.

Unlabelled voxels (label 0) are not part of the graph. Voxels marked `targets.BOUNDARY` are, but form no pairs.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from sepvox.settings import Offset
from sepvox.train.targets import affinities as affinity_targets

Function = TypeVar("Function", bound=Callable[..., Any])
_compiled: Callable[[Function], Function] = numba.njit(cache=True)


def malis_weights(
    affinities: NDArray[np.float32], labels: NDArray[np.integer[Any]], offsets: Sequence[Offset]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Count the pairs that each edge decides, in both passes.

    Parameters
    ----------
    affinities
        Shape (c, z, y, x), between 0 and 1. Equal affinities are taken in the order of the array.
    labels
        Object ids, shape (z, y, x), any integer dtype; 0 unlabelled, `targets.BOUNDARY` no object.
    offsets
        One offset (z, y, x) per channel, from a voxel to its partner.

    Returns
    -------
    positive, negative
        float32, shape (c, z, y, x): the share of the pass's pairs whose maximin edge this is. Each sums to 1, or is 0
        everywhere if the pass has no pair. Positive is 0 on edges with truth 0, negative on edges with truth 1.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if affinities.shape != (len(offsets), *labels.shape):
        expected = (len(offsets), *labels.shape)
        raise ValueError(f"affinities have shape {affinities.shape}, expected {expected} from offsets and labels")
    truth, known = affinity_targets(labels, offsets)
    strengths = affinities.ravel()
    within = np.flatnonzero(truth)
    between = np.flatnonzero(known & (truth == 0))
    within = within[np.argsort(-strengths[within], kind="stable")]
    between = between[np.argsort(-strengths[between], kind="stable")]
    strides = np.array([labels.shape[1] * labels.shape[2], labels.shape[2], 1], np.int64)
    steps = np.array(offsets, np.int64).reshape(-1, 3) @ strides
    objects = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
    objects[labels.ravel() <= 0] = -1
    parents = np.arange(labels.size, dtype=np.int64)
    sizes = np.ones(labels.size, np.int64)
    positive = _count_within(within, steps, parents, sizes, truth.size)
    negative = _count_between(between, steps, parents, sizes, objects, truth.size)
    return _shares(positive).reshape(truth.shape), _shares(negative).reshape(truth.shape)


def malis_loss(logits: torch.Tensor, labels: torch.Tensor, offsets: Sequence[Offset]) -> torch.Tensor:
    """Return the constrained MALIS loss of a batch.

    With a the sigmoid of the logits and p, n the shares of `malis_weights`, held constant, the loss of a patch is
    ``sum(p (1 - a)^2) + sum(n a^2)``: the mean squared error of the maximin affinity over all pairs within objects,
    plus that over all pairs between objects. Its gradient is exact wherever no two edges are equal. The batch is
    averaged.

    Parameters
    ----------
    logits
        Shape (b, c, z, y, x), before the sigmoid, any float dtype and device; computed with in float32.
    labels
        Shape (b, z, y, x), any integer dtype; 0 unlabelled, `targets.BOUNDARY` no object.
    offsets
        One offset (z, y, x) per channel.

    Returns
    -------
    loss
        float32 scalar.
    """
    affinities = torch.sigmoid(logits.float())
    predicted = affinities.detach().cpu().numpy()
    passes = [
        malis_weights(patch, truth, offsets) for patch, truth in zip(predicted, labels.cpu().numpy(), strict=True)
    ]
    positive = torch.from_numpy(np.stack([pair[0] for pair in passes])).to(affinities.device)
    negative = torch.from_numpy(np.stack([pair[1] for pair in passes])).to(affinities.device)
    return (positive * (1 - affinities).square() + negative * affinities.square()).sum() / len(passes)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    return (counts / max(1, int(counts.sum()))).astype(np.float32)


@_compiled
def _root(parents: NDArray[np.int64], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@_compiled
def _count_within(
    edges: NDArray[np.int64],
    steps: NDArray[np.int64],
    parents: NDArray[np.int64],
    sizes: NDArray[np.int64],
    number: int,
) -> NDArray[np.int64]:
    """Join along `edges` in their order, changing `parents` and `sizes`; all pairs that an edge joins count."""
    counts = np.zeros(number, np.int64)
    for edge in edges:
        node = edge % parents.size
        first = _root(parents, node)
        second = _root(parents, node + steps[edge // parents.size])
        if first == second:
            continue
        if sizes[first] < sizes[second]:
            first, second = second, first
        counts[edge] = sizes[first] * sizes[second]
        sizes[first] += sizes[second]
        parents[second] = first
    return counts


@_compiled
def _count_between(
    edges: NDArray[np.int64],
    steps: NDArray[np.int64],
    parents: NDArray[np.int64],
    sizes: NDArray[np.int64],
    objects: NDArray[np.int64],
    number: int,
) -> NDArray[np.int64]:
    """Join whole objects along `edges` in their order; the pairs of different objects that an edge joins count.

    Each root has a sparse histogram of the objects in its tree: a linked list of voxels, one per object, whose counts
    are found under (root, object). The shorter list always moves, so a count moves at most log2(number of trees) times.
    """
    counts = np.zeros(number, np.int64)
    nodes = parents.size
    heads = np.full(nodes, -1, np.int64)
    following = np.full(nodes, -1, np.int64)
    lengths = np.zeros(nodes, np.int64)
    totals = np.zeros(nodes, np.int64)
    histograms = numba.typed.Dict.empty(numba.int64, numba.int64)
    for node in range(nodes):
        if parents[node] == node and objects[node] >= 0:
            heads[node] = node
            lengths[node] = 1
            totals[node] = sizes[node]
            histograms[node * nodes + objects[node]] = sizes[node]
    for edge in edges:
        node = edge % nodes
        first = _root(parents, node)
        second = _root(parents, node + steps[edge // nodes])
        if first == second:
            continue
        if lengths[first] < lengths[second]:
            first, second = second, first
        same = 0
        entry = heads[second]
        while entry >= 0:
            after = following[entry]
            moved = histograms.pop(second * nodes + objects[entry])
            key = first * nodes + objects[entry]
            if key in histograms:
                same += histograms[key] * moved
                histograms[key] += moved
            else:
                histograms[key] = moved
                following[entry] = heads[first]
                heads[first] = entry
                lengths[first] += 1
            entry = after
        counts[edge] = totals[first] * totals[second] - same
        totals[first] += totals[second]
        parents[second] = first
    return counts
