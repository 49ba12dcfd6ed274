"""Make what a trial begins with: `python -m benchmarks.scale.make STAGE FOLDER …`, each stage a process of its own.

tile         the tile, and how strong the noise must be for the VI that is asked for: tile.npz.
source       image and labels, block by block: source/.
affinities   the stored affinities, as if predict had written them.
network      weights of a small network that has not learnt anything: network/.
"""

import argparse
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.scale import volume
from benchmarks.scale.experiment import CONFIG, LAYOUT, MODEL, SOURCES, TILE, VOLUME, WEIGHTS
from benchmarks.scale.volume import Tile
from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.blockwise import finished, processes
from sepvox.errors import ConfigError
from sepvox.ome_zarr import Spec
from sepvox.score.contingency import contingency, relabel
from sepvox.score.metrics import variation_of_information
from sepvox.segment.contacts import contacts
from sepvox.segment.lookup import mean_lookup_tables
from sepvox.segment.settings import AgglomerateSettings, FragmentSettings
from sepvox.segment.watershed import fragments_of_cell
from sepvox.settings import NEAREST_OFFSETS
from sepvox.world import Geometry

STRENGTHS = tuple(0.25 * step for step in range(2, 33))


def information(tile: Tile, edge: int, strength: float, seed: int) -> float:
    """VI of a small volume at its best threshold, in bits."""
    box = Box.of((edge,) * 3)
    spoilt = volume.affinities(tile, box, strength, seed)
    fragments = fragments_of_cell(spoilt, box.slices, (0, 0, 0), box.shape, FragmentSettings())
    ids, sizes = np.unique(fragments[fragments > 0], return_counts=True)
    thresholds = AgglomerateSettings().thresholds
    tables = mean_lookup_tables(ids, sizes, contacts(spoilt, fragments, box), thresholds)
    counted = contingency(fragments, volume.labels(tile, box))
    return min(sum(variation_of_information(relabel(counted, ids, row))) for row in tables)


def make_tile(home: Path, edge: int, least: float, seed: int) -> None:
    """Write the tile and the least strength of the noise with which the VI of a tile is `least` bits."""
    tile = Tile.of_phantom(edge, seed)
    for strength in STRENGTHS:
        bits = information(tile, min(edge, 128), strength, seed)
        print(f"noise {strength}: {bits:.3f} bits", file=sys.stderr)
        if bits >= least:
            break
    else:
        raise ConfigError(
            f"--least {least}: noise of {STRENGTHS[-1]} causes a VI of {bits:.3f} bits only; ask for less"
        )
    markers.write_arrays(home / TILE, **vars(tile), strength=strength, bits=bits)


@lru_cache(maxsize=1)
def _tile(home: Path) -> Tile:
    """Read by a process once, for it is larger than a block."""
    with np.load(home / TILE) as archive:
        return Tile(archive["labels"], archive["field"], archive["touches"])


def make_source(home: Path, shape: Triple, shard: Triple, chunk: Triple, count: int, seed: int) -> None:
    """Write image and labels as two OME-Zarr stores of one level."""
    specs = {
        name: Spec(shape, dtype, Geometry(), chunk, shard) for name, dtype in (("image", "uint8"), ("labels", "uint64"))
    }
    for name, spec in specs.items():
        ome_zarr.create(home / SOURCES[name], spec)
    boxes = enumerate(Lattice(shape, shard))
    with processes(count) as executor:
        for _ in finished(partial(_write_source, home, seed), boxes, executor, "source"):
            pass
    for name, spec in specs.items():
        ome_zarr.finish(home / SOURCES[name], spec, {"fingerprint": ""})


def _write_source(home: Path, seed: int, box: Box) -> None:
    tile = _tile(home)
    found: dict[str, NDArray[Any]] = {"image": volume.image(tile, box, seed), "labels": volume.labels(tile, box)}
    for name, data in found.items():
        ome_zarr.write(ome_zarr.open_level(home / SOURCES[name], writable=True), box, data)


def make_affinities(home: Path, shape: Triple, shard: Triple, chunk: Triple, count: int, seed: int) -> None:
    """Write affinities.zarr of the experiment."""
    store = home / str(LAYOUT.affinities(MODEL, VOLUME))
    channels = tuple("affinity " + " ".join(map(str, offset)) for offset in NEAREST_OFFSETS)
    spec = Spec(shape, "uint8", Geometry(), chunk, shard, channels)
    ome_zarr.create(store, spec)
    with np.load(home / TILE) as archive:
        strength = float(archive["strength"])
    boxes = enumerate(Lattice(shape, shard))
    with processes(count) as executor:
        for _ in finished(partial(_write_affinities, home, store, strength, seed), boxes, executor, "affinities"):
            pass
    described = {"offsets": [list(offset) for offset in NEAREST_OFFSETS], "weights": "", "convention": "made of truth"}
    made = markers.fingerprint(shape, seed, strength, markers.file_fingerprint(home / TILE))
    ome_zarr.finish(store, spec, described | {"fingerprint": made})


def _write_affinities(home: Path, store: Path, strength: float, seed: int, box: Box) -> None:
    found = volume.affinities(_tile(home), box, strength, seed)
    ome_zarr.write(ome_zarr.open_level(store, writable=True), box, found)


def make_network(home: Path) -> None:
    """Write weights of a U-Net of 4 channels and one pooling."""
    import torch

    from sepvox.nets import weights
    from sepvox.nets.build import build
    from sepvox.nets.model_config import write_model_config
    from sepvox.nets.settings import NetworkSettings

    network = NetworkSettings(width=4, depth=1)
    torch.manual_seed(0)
    weights.save(home / WEIGHTS, build(network).state_dict(), {})
    write_model_config((home / WEIGHTS).with_name("config.json"), network, {})


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.scale.make")
    parser.add_argument("stage", choices=("tile", "source", "affinities", "network"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tile", type=int, default=volume.EDGE, help="voxels of the tile along each axis")
    parser.add_argument("--least", type=float, default=0.35, help="VI that the noise shall cause in one tile, in bits")
    parser.add_argument("--edge", type=int, help="voxels of the volume along each axis")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.stage == "tile":
        make_tile(given.folder, given.tile, given.least, given.seed)
    elif given.stage == "network":
        make_network(given.folder)
    else:
        document = yaml.safe_load((given.folder / CONFIG).read_text())
        layout = (triple(document["prepare"]["shard"]), triple(document["prepare"]["chunk"]))
        make = make_source if given.stage == "source" else make_affinities
        make(given.folder, (given.edge,) * 3, *layout, document["segment"]["processes"], given.seed)


if __name__ == "__main__":
    main()
