"""Exact mean linkage of a graph that nobody holds as a whole: part by part, level by level.

Names are positions: 1 + the index, in C order, of a voxel or node of a lattice. The *parts* of level 0 are the boxes of a
lattice of boxes, those of each further level have twice their edges, and the last level is one part. At each level every
part is contracted by itself (`sepvox`'s blocks would do so in jobs of their own), then names that have gone are replaced
and parallel contacts added. A contact between two parts belongs to both, and is handed on by the first of the two.

What reaches a level are the contacts of stuck regions. The merges of all levels together are those of the greedy
agglomeration of the whole graph.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.scale.contraction import contracted
from benchmarks.scale.graph import Graph, Index, Merges
from sepvox.blocks import Lattice, Triple, triple


@dataclass(frozen=True)
class Level:
    """What was done at a level.

    Attributes
    ----------
    box : (z, y, x)
        Of a part.
    parts : int
        Parts that had a contact.
    given, left : int
        Contacts of the whole graph before and after.
    largest : int
        Contacts of the largest part, before.
    largest_left : int
        Contacts that were left of one part, at most.
    merges : int
        Of all parts.
    seconds : float
        In one process.
    """

    box: Triple
    parts: int
    given: int
    left: int
    largest: int
    largest_left: int
    merges: int
    seconds: float


@dataclass(frozen=True)
class Parts:
    """The boxes that parts belong to."""

    boxes: Lattice

    def of(self, names: Index) -> Index:
        """Number of the box of each name."""
        position = np.unravel_index(names - 1, self.boxes.shape)
        numbers = [axis // size for axis, size in zip(position, self.boxes.size, strict=True)]
        found: Index = np.ravel_multi_index(numbers, self.boxes.counts).astype(np.int64)
        return found

    def doubled(self) -> "Parts":
        return Parts(Lattice(self.boxes.shape, triple([2 * size for size in self.boxes.size])))

    def split(self, graph: Graph) -> Iterator[tuple[int, Graph]]:
        """Every part that has contacts, with all of them."""
        if not len(graph):
            return
        ends = self.of(graph.edges)
        crossing = np.flatnonzero(ends[:, 0] != ends[:, 1])
        number = np.concatenate([ends[:, 0], ends[crossing, 1]])
        contact = np.concatenate([np.arange(len(graph)), crossing])
        order = np.argsort(number, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(number[order]) != 0])
        for begin, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            yield int(number[order[begin]]), graph[contact[order[begin:end]]]


def hierarchical(
    make: Callable[[int], Graph], boxes: Lattice, limit: float, told: Callable[[Level], None] = lambda _: None
) -> tuple[Merges, list[Level]]:
    """All merges of a graph whose contacts are made box by box.

    Parameters
    ----------
    make : function
        Every contact of the regions in a box, given its number, those that leave the box in full.
    boxes : Lattice
        Boxes of level 0.
    limit : float
        Regions merge while the mean affinity of their contact, 0 to 1, is above it.
    told : function
        Is called after each level.
    """
    parts = Parts(boxes)
    merges, levels = [], []
    source: Iterable[tuple[int, Graph]] = ((number, make(number)) for number in range(len(boxes)))
    while True:
        graph, found, level = _level(source, parts, limit)
        merges.append(found)
        levels.append(level)
        told(level)
        if len(parts.boxes) == 1:
            return Merges.joined(merges), levels
        parts = parts.doubled()
        source = parts.split(graph)


def _level(source: Iterable[tuple[int, Graph]], parts: Parts, limit: float) -> tuple[Graph, Merges, Level]:
    begun = time.perf_counter()
    done, kept, final = [], [], []
    given = largest = largest_left = count = 0
    for number, graph in source:
        if not len(graph):
            continue
        ends = parts.of(graph.edges)
        found = contracted(graph, ends == number, limit)
        first_of_two = parts.of(found.left.edges).min(axis=1) == number
        done.append(found.merges)
        final.append(found.final)
        kept.append(found.left[first_of_two])
        count += 1
        given += int((ends.min(axis=1) == number).sum())
        largest, largest_left = max(largest, len(graph)), max(largest_left, len(found.left))
    merges = Merges.joined(done)
    left = Graph.joined(kept)
    kept.clear()
    gone_for_good = np.concatenate([np.empty(0, np.int64), *final])
    gone_for_good.sort()
    renamed = Graph(merges.renamed(left.edges), left.sums, left.counts, left.first)
    at = np.minimum(np.searchsorted(gone_for_good, renamed.edges), max(len(gone_for_good) - 1, 0))
    open_ended = (gone_for_good[at] != renamed.edges).all(axis=1) if len(gone_for_good) else slice(None)
    graph = renamed[open_ended].merged()
    size = triple([min(s, n) for s, n in zip(parts.boxes.size, parts.boxes.shape, strict=True)])
    level = Level(size, count, given, len(graph), largest, largest_left, len(merges.gone), time.perf_counter() - begun)
    return graph, merges, level
