"""Mean linkage: the pair of regions with the highest mean affinity over its whole contact is merged next.

Once a pair's score, 1 - affinity, is not below the threshold, merging ends. As no merge ever lowers the lowest score, the
segmentation at a higher threshold goes on from that at a lower one, on the graph of its regions.
"""

from collections.abc import Sequence

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.agglomeration import GaspClusterPolicy
from numpy.typing import NDArray

from sepvox.segment.contacts import Contacts, added

Index = NDArray[np.int64]


def mean_linkage(count: int, contacts: Contacts, thresholds: Sequence[float]) -> Index:
    """Merge the nodes of a graph at several thresholds.

    Parameters
    ----------
    count : int
        Nodes.
    contacts : Contacts
        Between nodes 0, 1, … instead of fragments.
    thresholds : sequence of t floats
        In any order.

    Returns
    -------
    int64 (t, count)
        For each threshold the lowest node of each node's region.
    """
    region = np.arange(count)
    lowest = np.arange(count)
    found = np.empty((len(thresholds), count), np.int64)
    for row in np.argsort(np.asarray(thresholds), kind="stable"):
        merged = _merged(len(lowest), contacts, thresholds[row])
        region = merged[region]
        least = np.full(int(merged.max(initial=-1)) + 1, count)
        np.minimum.at(least, merged, lowest)
        lowest = least
        contacts = _between(contacts, merged)
        found[row] = lowest[region]
    return found


def _merged(count: int, contacts: Contacts, threshold: float) -> Index:
    """Region number of each node, from 0 without gaps."""
    if not len(contacts.edges):
        return np.arange(count)
    graph = UndirectedGraph.from_unique_edges(count, contacts.edges)
    # Signed weights: above 0 is a score below the threshold.
    weights = contacts.means - (1 - threshold)
    regions = GaspClusterPolicy(linkage="mean").optimize(graph, weights, edge_sizes=contacts.counts.astype(np.float64))
    _, numbers = np.unique(regions, return_inverse=True)
    return numbers.astype(np.int64)


def _between(contacts: Contacts, merged: Index) -> Contacts:
    """The contacts of regions."""
    edges = np.sort(merged[contacts.edges.astype(np.int64)], axis=1).astype(np.uint64)
    outer = edges[:, 0] != edges[:, 1]
    columns = contacts.as_arrays() | {"edges": edges}
    return added([Contacts.from_arrays({name: column[outer] for name, column in columns.items()})])
