"""Agglomerate a large graph part by part: `python -m benchmarks.scale.graphs KIND …`, one JSON object on standard output.

generated   a lattice of fragments, each in contact with 14 others as in a tessellation of space, made box by box and never
            held as a whole. The objects are those of the phantom at every PITCH-th voxel; a contact within an object has a
            high mean affinity, one between two objects a low one, both with noise.
real        the region graph of a trial that went its path with the mean backend.

With `--box` as large as the graph there is one part, and it is the greedy agglomeration of the whole graph. Equal digests
are equal merges: the same regions, with the same sums and counts.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.scale.experiment import LAYOUT, MODEL, VOLUME
from benchmarks.scale.graph import Graph, Index, Merges
from benchmarks.scale.hierarchy import Level, Parts, hierarchical
from benchmarks.scale.volume import Tile, labels_at
from sepvox import markers
from sepvox.blocks import Box, Lattice, Triple
from sepvox.prepare.phantoms.noise import hashed, normal
from sepvox.score.contingency import Contingency, merge
from sepvox.score.metrics import variation_of_information
from sepvox.segment.contacts import Contacts, added

PITCH = 8
# Half of the 14 neighbours in Freudenthal's triangulation of a lattice; the others are the opposite ones.
NEIGHBOURS = np.array([(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
# Log-odds of the mean affinity of a contact within and between objects, and their standard deviation.
WITHIN, BETWEEN, SPREAD = 1.8, -1.6, 1.2


def generated(objects_at: Any, boxes: Lattice, seed: int, number: int) -> Graph:
    """Every contact of the nodes in box `number` of a lattice of fragments.

    Parameters
    ----------
    objects_at : function
        Objects of a box of nodes, integers of its shape.
    boxes : Lattice
        Of nodes.
    """
    box = boxes.box(number)
    grown = box.grow((1, 1, 1)).clip(Box.of(boxes.shape))
    inner = box.inside(grown)
    objects = np.ascontiguousarray(objects_at(grown))
    edges, sums, counts, first = _contacts(
        objects, grown.begin, boxes.shape, np.array([inner.begin, inner.end]), NEIGHBOURS, seed
    )
    return Graph(edges, sums, counts, first)


def objects_of(tile: Tile, box: Box) -> NDArray[np.uint64]:
    """Objects of the phantom at every PITCH-th voxel."""
    z, y, x = (PITCH * np.arange(begin, end) for begin, end in zip(box.begin, box.end, strict=True))
    return labels_at(tile, (z, y, x))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _contacts(
    objects: NDArray[np.uint64], begin: Triple, shape: Triple, inner: Index, neighbours: Index, seed: int
) -> tuple[Index, Index, Index, Index]:
    most = objects.size * len(neighbours)
    edges, columns = np.empty((most, 2), np.int64), np.empty((3, most), np.int64)
    count = 0
    for i in range(objects.shape[0]):
        for j in range(objects.shape[1]):
            for k in range(objects.shape[2]):
                for n in range(len(neighbours)):
                    z, y, x = i + neighbours[n, 0], j + neighbours[n, 1], k + neighbours[n, 2]
                    if z >= objects.shape[0] or y >= objects.shape[1] or x >= objects.shape[2]:
                        continue
                    if not (_within(i, j, k, inner) or _within(z, y, x, inner)):
                        continue
                    low = ((i + begin[0]) * shape[1] + j + begin[1]) * shape[2] + k + begin[2]
                    high = ((z + begin[0]) * shape[1] + y + begin[1]) * shape[2] + x + begin[2]
                    odds = WITHIN if objects[i, j, k] == objects[z, y, x] else BETWEEN
                    odds += SPREAD * normal(seed, low, n, 0)
                    faces = 10 + np.int64(hashed(seed + 1, low, n, 0) % np.uint64(140))
                    edges[count, 0], edges[count, 1] = low + 1, high + 1
                    columns[0, count] = np.int64(255.0 * faces / (1.0 + np.exp(-odds)) + 0.5)
                    columns[1, count] = faces
                    columns[2, count] = low * len(neighbours) + n
                    count += 1
    columns = columns[:, :count].copy()
    return edges[:count].copy(), columns[0], columns[1], columns[2]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _within(z: int, y: int, x: int, box: Index) -> bool:
    return bool(box[0, 0] <= z < box[1, 0] and box[0, 1] <= y < box[1, 1] and box[0, 2] <= x < box[1, 2])


def real(home: Path) -> Graph:
    """The region graph of a trial."""
    cells = sorted((home / str(LAYOUT.region_graph(MODEL, VOLUME)) / "cells").iterdir())
    names = ("edges", "sums", "counts", "minima", "maxima")
    found = added([Contacts.from_arrays(markers.read_arrays(cell, "the path", *names)) for cell in cells])
    return Graph(found.edges.astype(np.int64), found.sums, found.counts, np.arange(len(found.edges)))


def of_box(contacts: dict[int, Graph], number: int) -> Graph:
    return contacts.get(number, Graph.joined([]))


def digest(merges: Merges) -> str:
    """SHA-256 of all merges, by the name that goes."""
    found = hashlib.sha256()
    for column in (merges.gone, merges.kept, merges.sums, merges.counts):
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


def difference(home: Path, merges: Merges, threshold: float) -> float:
    """VI between these merges and the lookup table of a trial, in bits, over the voxels of its fragments."""
    path = home / str(LAYOUT.lookup_tables(MODEL, VOLUME))
    found = markers.read_arrays(path, "the path", "fragments", "sizes", "thresholds")
    row = f"table_{np.argmin(np.abs(found['thresholds'] - threshold))}"
    segments = markers.read_arrays(path, "the path", row)[row]
    own = merges.renamed(found["fragments"].astype(np.int64), 1 - threshold).astype(np.uint64)
    table = merge([Contingency(own, segments, found["sizes"].astype(np.int64))])
    return sum(variation_of_information(table))


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.scale.graphs")
    parser.add_argument("kind", choices=("generated", "real"))
    parser.add_argument("source", type=Path, help="generated: tile.npz; real: folder of the trial")
    parser.add_argument("--edge", type=int, required=True, help="fragments, or voxels, along each axis")
    parser.add_argument("--box", type=int, required=True, help="those of a part of level 0")
    parser.add_argument("--threshold", type=float, default=0.5, help="regions merge below it")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    boxes = Lattice((given.edge,) * 3, (min(given.box, given.edge),) * 3)
    if given.kind == "generated":
        with np.load(given.source) as archive:
            tile = Tile(archive["labels"], archive["field"], archive["touches"])
        make = partial(generated, partial(objects_of, tile), boxes, given.seed)
    else:
        make = partial(of_box, dict(Parts(boxes).split(real(given.source))))

    def tell(level: Level) -> None:
        print(asdict(level), file=sys.stderr, flush=True)

    merges, levels = hierarchical(make, boxes, 1 - given.threshold, tell)
    found: dict[str, Any] = {"digest": digest(merges), "levels": [asdict(level) for level in levels]}
    if given.kind == "real":
        found["difference"] = difference(given.source, merges, given.threshold)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
