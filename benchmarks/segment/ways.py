"""Ways from stored affinities to a segmentation, each in a folder of its own, as its users run it.

A way writes what configures it, gives the commands that segment at some thresholds, and reads what they left. The
segmentation is written at the last threshold; the sweep can be read after commands with more than one.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
import zarr

from benchmarks.segment.whole_volume import SEGMENTATION, SWEEP
from benchmarks.sweeps import Ids, Sweep
from sepvox import ome_zarr
from sepvox.blocks import Box
from sepvox.layout import Layout
from sepvox.segment.lookup import apply_lookup
from sepvox.segment.settings import AgglomerateSettings, FragmentSettings

CONFIG, VOLUME, MODEL = "experiment.yaml", "v", "main"
SEPVOX = Path(sys.executable).with_name("sepvox")
PEER = Path(__file__).with_name("volara_peer.py")

Commands = dict[str, list[str]]


class Way(Protocol):
    """What the comparison asks of a way.

    Ways of one `kind` differ in their processes alone and take one threshold.
    """

    @property
    def kind(self) -> str: ...

    @property
    def processes(self) -> int: ...

    def commands(self, home: Path, thresholds: Sequence[float]) -> Commands:
        """Configure the empty folder `home`; commands by the name of their step, to be run there one after another."""

    def sweep(self, home: Path, thresholds: Sequence[float]) -> Sweep:
        """All that was segmented."""

    def segmentation(self, home: Path, threshold: float) -> Ids:
        """What was written, uint64 (z, y, x)."""


@dataclass(frozen=True)
class Sepvox:
    """The command line, one verb after another; settings are the defaults but for what is given and the mean scoring."""

    affinities: Path
    backend: str
    processes: int
    cell: int = AgglomerateSettings().cell[0]

    @property
    def kind(self) -> str:
        return f"sepvox, backend {self.backend}"

    def commands(self, home: Path, thresholds: Sequence[float]) -> Commands:
        agglomerate = {
            "backend": self.backend,
            "scoring": "mean",
            "cell": [self.cell] * 3,
            "thresholds": list(thresholds),
        }
        document = {
            "experiment": "benchmark",
            # Neither is read between affinities and segmentation.
            "volumes": {VOLUME: {"role": "apply", "image": "none.npy"}},
            "network": {"weights": "none.safetensors"},
            "segment": {"agglomerate": agglomerate, "processes": self.processes},
        }
        (home / CONFIG).write_text(yaml.safe_dump(document))
        link = Path(str(_layout(home).affinities(MODEL, VOLUME)))
        link.parent.mkdir(parents=True)
        link.symlink_to(self.affinities)
        verbs = ("fragments", "region-graph", "agglomerate", "relabel")
        found = {verb: [str(SEPVOX), verb, CONFIG, "--volume", VOLUME] for verb in verbs}
        found["relabel"] += ["--threshold", str(thresholds[-1])]
        return found

    def sweep(self, home: Path, thresholds: Sequence[float]) -> Sweep:
        layout = _layout(home)
        with np.load(layout.lookup_tables(MODEL, VOLUME)) as tables:
            fragments = _whole(Path(str(layout.fragments(MODEL, VOLUME))))
            rows = np.stack([tables[f"table_{index}"] for index in range(len(thresholds))])
            return Sweep(fragments, tables["fragments"], tables["sizes"], tuple(thresholds), rows)

    def segmentation(self, home: Path, threshold: float) -> Ids:
        return _whole(Path(str(_layout(home).segmentation(MODEL, VOLUME, threshold))))


@dataclass(frozen=True)
class Waterz:
    """waterz on the whole volume, with fragments of sepvox's default method (`distance`) or its own watershed (`own`)."""

    affinities: Path
    watershed: str
    processes: int = 1

    @property
    def kind(self) -> str:
        return "waterz, whole volume" + (", own watershed" if self.watershed == "own" else "")

    def commands(self, home: Path, thresholds: Sequence[float]) -> Commands:  # noqa: ARG002
        program = [sys.executable, "-m", "benchmarks.segment.whole_volume"]
        return {"all": [*program, str(self.affinities), self.watershed, *map(str, thresholds)]}

    def sweep(self, home: Path, thresholds: Sequence[float]) -> Sweep:
        with np.load(home / SWEEP) as found:
            return Sweep(found["fragments"], found["ids"], found["sizes"], tuple(thresholds), found["tables"])

    def segmentation(self, home: Path, threshold: float) -> Ids:  # noqa: ARG002
        return _array(home / SEGMENTATION)


@dataclass(frozen=True)
class Volara:
    """volara in an environment of its own; its block and context are the cell and halo of sepvox's fragments."""

    affinities: Path
    python: Path
    processes: int

    kind = "volara"

    def commands(self, home: Path, thresholds: Sequence[float]) -> Commands:
        job: dict[str, Any] = {
            "affinities": str(self.affinities / "0"),
            "offsets": ome_zarr.attributes(self.affinities)["offsets"],
            "block": FragmentSettings().cell,
            "context": FragmentSettings().halo,
            "workers": self.processes,
            "thresholds": list(thresholds),
        }
        (home / "job.json").write_text(json.dumps(job))
        # The names of the modules beside it are those of packages elsewhere.
        return {"all": [str(self.python), "-P", str(PEER), "job.json"]}

    def sweep(self, home: Path, thresholds: Sequence[float]) -> Sweep:
        fragments = _array(home / "fragments.zarr")
        tables = (_table(home / f"lut-{index}.npz") for index in range(len(thresholds)))
        return Sweep.of_segmentations(fragments, (_mapped(fragments, *table) for table in tables), thresholds)

    def segmentation(self, home: Path, threshold: float) -> Ids:  # noqa: ARG002
        return _array(home / "segments.zarr")


def _layout(home: Path) -> Layout:
    return Layout(home / "results" / "benchmark")


def _whole(store: Path) -> Ids:
    array = ome_zarr.open_level(store)
    return ome_zarr.read(array, Box.of(array.shape))


def _array(path: Path) -> Ids:
    return np.asarray(zarr.open_array(str(path), mode="r")[...], np.uint64)


def _table(path: Path) -> tuple[Ids, Ids]:
    """Fragments in rising order and their segments; volara leaves out fragments without a contact."""
    with np.load(path) as found:
        fragments, segments = found["fragment_segment_lut"].astype(np.uint64)
    order = np.argsort(fragments)
    return fragments[order], segments[order]


def _mapped(fragments: Ids, known: Ids, segments: Ids) -> Ids:
    ids = np.unique(fragments[fragments != 0])
    row = ids.copy()
    row[np.isin(ids, known)] = segments[np.isin(known, ids)]
    return apply_lookup(fragments, ids, row)
