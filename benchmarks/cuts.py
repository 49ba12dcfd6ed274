"""What it costs to cut a volume into cells: `python -m benchmarks.cuts [AFFINITIES] [--labels LABELS]`.

Three tables, in bits of variation of information:

- the waterz backend against waterz on the whole volume, by `agglomerate.context`, on the same fragments;
- the mean backend against waterz's `OneMinus<MeanAffinity>` on the whole volume, on stored affinities and on the same as
  floats without equal values, and waterz against itself with the fragments' ids permuted;
- fragments of cells, and their mean linkage, against fragments of the whole volume, each against the truth.

AFFINITIES and LABELS are affinities.zarr and labels.zarr of a finished run, and the volume has to fit into memory several
times; without them a phantom is made and its exact affinities are degraded.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import volumes
from benchmarks.segment.whole_volume import numbered, sweep
from benchmarks.sweeps import Errors, Ids, Sweep, best, errors
from sepvox import ome_zarr
from sepvox.blocks import Box, Lattice, Triple
from sepvox.errors import SepvoxError
from sepvox.segment.affinities import Affinities, nearest_as_float
from sepvox.segment.contacts import contacts
from sepvox.segment.lookup import lookup_tables, mean_lookup_tables
from sepvox.segment.merge_scores import merge_scores
from sepvox.segment.settings import AgglomerateSettings, FragmentSettings
from sepvox.segment.watershed import fragments_of_cell
from sepvox.settings import NEAREST_OFFSETS

CONTEXTS = (1, 16, 32, 64)
SCORINGS = ("mean", "histogram-quantile50")
PERMUTATIONS = 3


@dataclass(frozen=True)
class Pieces:
    """Fragments of a volume, uint64 (z, y, x), their ids in rising order, and the voxels of each."""

    fragments: Ids
    ids: Ids
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, fragments: Ids) -> "Pieces":
        ids, sizes = np.unique(fragments, return_counts=True)
        kept = ids != 0
        return cls(fragments, ids[kept], sizes[kept])

    def sweep(self, thresholds: Sequence[float], tables: Ids) -> Sweep:
        return Sweep(self.fragments, self.ids, self.sizes, tuple(thresholds), tables)


def fragments_of_cells(affinities: Affinities, settings: FragmentSettings) -> Ids:
    """Fragments as `sepvox fragments` makes them, cell by cell."""
    shape: Triple = affinities.shape[1:]
    found = np.empty(shape, np.uint64)
    for cell in Lattice(shape, settings.cell):
        outer = cell.grow(settings.halo).clip(Box.of(shape))
        part = affinities[:, *outer.slices]
        found[cell.slices] = fragments_of_cell(part, cell.inside(outer).slices, cell.begin, shape, settings)
    return found


def waterz_backend(
    affinities: Affinities, pieces: Pieces, cell: Triple, context: int, scoring: str, thresholds: Sequence[float]
) -> Sweep:
    """The segmentations of the waterz backend; every fragment has to lie in one cell."""
    whole = Box.of(pieces.fragments.shape)
    edges, scores = [], []
    for box in Lattice(whole.shape, cell):
        outer = box.grow((context,) * 3).clip(whole)
        own = np.unique(pieces.fragments[box.slices])
        found = merge_scores(affinities[:, *outer.slices], pieces.fragments[outer.slices], own[own != 0], scoring)
        edges.append(found[0])
        scores.append(found[1])
    tables = lookup_tables(pieces.ids, pieces.sizes, np.concatenate(edges), np.concatenate(scores), thresholds)
    return pieces.sweep(thresholds, tables)


def mean_backend(affinities: Affinities, pieces: Pieces, thresholds: Sequence[float]) -> Sweep:
    """The segmentations of the mean backend, which no cut changes."""
    found = contacts(affinities, pieces.fragments, Box.of(pieces.fragments.shape))
    return pieces.sweep(thresholds, mean_lookup_tables(pieces.ids, pieces.sizes, found, thresholds))


def waterz_itself(
    affinities: Affinities, pieces: Pieces, thresholds: Sequence[float], permuted: int | None = None
) -> Sweep:
    """waterz's segmentations of the whole volume, with the ids permuted by a generator of that seed."""
    count = len(pieces.ids)
    order = np.arange(count) if permuted is None else np.random.default_rng(permuted).permutation(count)
    names = np.r_[0, order + 1].astype(np.uint64)
    nearest = nearest_as_float(affinities, pieces.fragments.shape)
    found = sweep(nearest, thresholds, names[numbered(pieces.fragments)])
    return pieces.sweep(thresholds, found.tables[:, order])


def without_ties(affinities: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """The affinities spread over their steps: float32, 0 to 1."""
    # Not up to the next step, to which a float would be rounded.
    within = np.float32(0.999) * np.random.default_rng(seed).random(affinities.shape, np.float32)
    spread: NDArray[np.float32] = np.divide(affinities + within, np.float32(256), dtype=np.float32)
    return spread


def context_table(affinities: Affinities, pieces: Pieces, cell: Triple, thresholds: Sequence[float], at: int) -> str:
    """The waterz backend's errors against waterz on the whole volume, at threshold number `at` and at the worst one."""
    lines = [f"| scoring | context | at {thresholds[at]:g}, split + merge | at the worst threshold |", "|---" * 4 + "|"]
    for scoring in SCORINGS:
        whole = waterz_backend(affinities, pieces, affinities.shape[1:], 0, scoring, thresholds)
        for context in CONTEXTS:
            found = waterz_backend(affinities, pieces, cell, context, scoring, thresholds).to(whole)
            lines.append(f"| {scoring} | {context} | {plus(found[at])} | {plus(worst(found))} |")
    return "\n".join(lines)


def backend_table(affinities: NDArray[np.uint8], pieces: Pieces, thresholds: Sequence[float], at: int) -> str:
    """The mean backend's errors against waterz on the whole volume, and waterz's own against itself."""
    kinds: dict[str, Affinities] = {"stored, uint8": affinities, "floats without ties": without_ties(affinities, 0)}
    head = f"at {thresholds[at]:g}, split + merge | at the worst threshold"
    lines = [f"| affinities | against waterz | {head} |", "|---" * 4 + "|"]
    for kind, values in kinds.items():
        reference = waterz_itself(values, pieces, thresholds)
        found = mean_backend(values, pieces, thresholds).to(reference)
        lines.append(f"| {kind} | backend mean | {plus(found[at])} | {plus(worst(found))} |")
        for seed in range(PERMUTATIONS):
            found = waterz_itself(values, pieces, thresholds, seed).to(reference)
            lines.append(f"| {kind} | waterz, permuted ids | {plus(found[at])} | {plus(worst(found))} |")
    return "\n".join(lines)


def cell_table(
    affinities: Affinities, truth: volumes.Labels, cells: Sequence[Triple], thresholds: Sequence[float]
) -> str:
    """Errors against the truth of fragments and their mean linkage, by the cell of the fragments; the first is the whole volume."""
    lines = [
        "| cell | fragments | VI of fragments, split + merge | threshold | VI of segments, split + merge | sum, less that of the whole volume |",
        "|---" * 6 + "|",
    ]
    least = None
    for cell in ((affinities.shape[1:]), *cells):
        pieces = Pieces.of(fragments_of_cells(affinities, FragmentSettings(cell=cell)))
        found = mean_backend(affinities, pieces, thresholds).to_truth(truth)
        chosen = best(found)
        least = least or found[chosen]
        cells_of_row = [
            " x ".join(map(str, cell)),
            str(len(pieces.ids)),
            plus(errors(pieces.fragments, truth)),
            f"{thresholds[chosen]:g}",
            plus(found[chosen]),
            f"{found[chosen].sum - least.sum:+.4f}",
        ]
        lines.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join(lines)


def worst(found: Sequence[Errors]) -> Errors:
    return max(found, key=lambda one: one.sum)


def plus(found: Errors) -> str:
    return f"{found.split:.4f} + {found.merge:.4f}"


def main() -> int:
    """Print the tables; 2 with one line for what was given wrong."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.cuts", description="What it costs to cut a volume into cells."
    )
    volumes.add_arguments(parser)
    parser.add_argument("--cells", type=int, nargs="+", default=(64, 96, 128), help="edges of fragments.cell")
    parser.add_argument("--cell", type=int, default=FragmentSettings().cell[0], help="edge of both cells otherwise")
    given = parser.parse_args()
    try:
        run(given)
    except SepvoxError as error:
        print(f"benchmarks.cuts: {error}", file=sys.stderr)
        return 2
    return 0


def run(given: argparse.Namespace) -> None:
    volumes.check(given)
    truth: volumes.Labels | None
    if given.affinities is None:
        affinities, truth = volumes.made(given, NEAREST_OFFSETS)
    else:
        array = ome_zarr.open_level(given.affinities)
        affinities, truth = ome_zarr.read(array, Box.of(array.shape[1:]), channels=3), volumes.stored_labels(given)
    thresholds = AgglomerateSettings().thresholds
    print(volumes.described(given), flush=True)
    cell = (given.cell,) * 3
    pieces = Pieces.of(fragments_of_cells(affinities, FragmentSettings(cell=cell)))
    at = thresholds.index(0.5)
    if truth is not None:
        at = best(mean_backend(affinities, pieces, thresholds).to_truth(truth))
        cells = [(edge,) * 3 for edge in given.cells]
        print(f"\n{cell_table(affinities, truth, cells, thresholds)}", flush=True)
    print(f"\n{backend_table(affinities, pieces, thresholds, at)}", flush=True)
    print(f"\ncells of {given.cell}\n\n{context_table(affinities, pieces, cell, thresholds, at)}")


if __name__ == "__main__":
    sys.exit(main())
