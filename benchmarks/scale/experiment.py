"""The experiment that is measured: a volume of one edge, stores and cells of another, given affinities or predicted ones.

What it takes from this benchmark is in the folder beside its results: `source/`, the image and labels that prepare reads,
and `network/`, weights for predict.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sepvox.blocks import Lattice, Triple
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.settings import PrepareSettings
from sepvox.world import Geometry

NAME, VOLUME, MODEL = "scale", "v", "main"
CONFIG = "experiment.yaml"
ROOT = Path("results") / NAME
LAYOUT = Layout(ROOT)
SOURCES = {"image": Path("source/image.zarr"), "labels": Path("source/labels.zarr")}
WEIGHTS = Path("network/best.safetensors")
TILE = Path("tile.npz")
# Markers that a step with create, slices and finish leaves beside those of its blocks: create, slice, finish, the store's,
# and a lock; a step of slices only has its slice and a lock.
MARKERS, SLICE_MARKERS = 5, 2


@dataclass(frozen=True)
class Trial:
    """One volume and how it is cut.

    Attributes
    ----------
    edge : int
        Voxels of the volume along each axis.
    block : int
        Voxels along each axis of a shard, a cell of fragments, and a block.
    cell : int
        Voxels along each axis of a cell of the region graph, a multiple of `block`.
    processes : int
        Of each step that has several.
    """

    edge: int
    block: int = 128
    cell: int = 256
    processes: int = 2

    @property
    def shape(self) -> Triple:
        return self.edge, self.edge, self.edge

    @property
    def voxels(self) -> int:
        return self.edge**3

    @property
    def chunk(self) -> Triple:
        edge = math.gcd(*PrepareSettings().chunk, self.block)
        return edge, edge, edge

    @property
    def shard(self) -> Triple:
        return self.block, self.block, self.block

    def document(self) -> dict[str, Any]:
        """The experiment's file."""
        return {
            "experiment": NAME,
            "volumes": {VOLUME: {"role": "validate", **{name: str(path) for name, path in SOURCES.items()}}},
            "prepare": {"chunk": list(self.chunk), "shard": list(self.shard), "processes": self.processes},
            "network": {"weights": str(WEIGHTS)},
            "segment": {
                "fragments": {"cell": list(self.shard)},
                "agglomerate": {"cell": [self.cell] * 3, "backend": "mean"},
                "processes": self.processes,
            },
            "score": {"processes": self.processes},
        }

    def write(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / CONFIG).write_text(yaml.safe_dump(self.document()))


def stores() -> dict[str, Path]:
    """What the path leaves behind, by name; `all` is everything."""
    found = {
        "image": LAYOUT.image(VOLUME),
        "labels": LAYOUT.labels(VOLUME),
        "affinities": LAYOUT.affinities(MODEL, VOLUME),
        "fragments": LAYOUT.fragments(MODEL, VOLUME),
        "region graph": LAYOUT.region_graph(MODEL, VOLUME),
        "segmentation": LAYOUT.segmentation(MODEL, VOLUME),
        "markers": ROOT / "done",
        "all": ROOT,
    }
    return {name: Path(str(place)) for name, place in found.items()}


def files(trial: Trial) -> dict[str, int]:
    """How many files the path leaves behind, store by store, computed from shape, shard and cell."""
    spec = Spec(trial.shape, "uint8", Geometry(), trial.chunk, trial.shard, levels=None)
    # A level is its shards and one file of metadata, and the group has one more.
    levels = [len(Lattice(shape, trial.shard)) + 1 for shape, _ in spec.pyramid()]
    blocks, cells = len(Lattice(trial.shape, trial.shard)), len(Lattice(trial.shape, (trial.cell,) * 3))
    whole, finest = sum(levels) + 1, levels[0] + 1
    found = {
        "image": whole,
        "labels": whole,
        "affinities": finest,
        "fragments": finest,
        "region graph": cells + 1,
        "segmentation": whole,
        # Two stores of prepare, fragments and relabel have blocks; the volume has one marker more.
        "markers": 4 * (blocks + MARKERS) + cells + SLICE_MARKERS + 1,
    }
    # made.json and the lock of the volume; sweep, counts and scores; the threshold.
    return found | {"all": sum(found.values()) + 2 + 3 + 1}
