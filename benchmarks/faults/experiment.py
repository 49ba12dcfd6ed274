"""The experiment: a small phantom with its truth, and affinities made from the truth and spoilt by noise."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice
from sepvox.config import load_neurons
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.prepare import prepare
from sepvox.prepare.volume import open_volume
from sepvox.settings import NEAREST_OFFSETS

SHAPE, CHUNK, SHARD = (24, 24, 40), (8, 16, 16), (16, 16, 16)
EXPERIMENT: dict[str, Any] = {
    "experiment": "faults",
    "volumes": {
        "v": {
            "role": "validate",
            "phantom": {"shape": list(SHAPE), "seed": 1, "neurite_spacing": 9.0, "membrane_width": 2.0},
        }
    },
    "prepare": {"chunk": list(CHUNK), "shard": list(SHARD)},
    "network": {"weights": "none.safetensors"},
    "segment": {
        "fragments": {"cell": list(SHARD), "halo": [4, 4, 4], "seed_distance": 3, "minimum_size": 20},
        "agglomerate": {"cell": list(SHARD), "context": 4, "thresholds": [0.3, 0.5, 0.7]},
    },
}
# Each makes other results from another step on: from fragments, region-graph and agglomerate.
CHANGES: tuple[dict[str, Any], ...] = (
    {"fragments": EXPERIMENT["segment"]["fragments"] | {"seed_distance": 1, "minimum_size": 200}},
    {"agglomerate": EXPERIMENT["segment"]["agglomerate"] | {"scoring": "mean"}},
    {"minimum_size": 50},
)
CONFIG, ROOT = "experiment.yaml", Path("results/faults")
LAYOUT = Layout(ROOT)
GIVEN = tuple(Path(str(store)) for store in (LAYOUT.affinities("main", "v"), LAYOUT.labels("v"), LAYOUT.image("v")))
MADE = tuple(Path(str(store)) for store in (LAYOUT.fragments("main", "v"), LAYOUT.segmentation("main", "v")))


def configure(home: Path, changes: dict[str, Any]) -> None:
    """Write the experiment with some keys of `segment` changed."""
    segment = EXPERIMENT["segment"] | changes
    (home / CONFIG).write_text(yaml.safe_dump(EXPERIMENT | {"segment": segment}))


def make_inputs(seed: int) -> None:
    """Prepare the phantom and write its affinities into the working folder."""
    experiment = load_neurons(CONFIG, "fragments")
    prepare(experiment, "v", Path("results"))
    volume = open_volume(LAYOUT, "v")
    truth = volume.labels_box(Box.of(SHAPE))
    channels = tuple("affinity " + " ".join(map(str, offset)) for offset in NEAREST_OFFSETS)
    store, spec = GIVEN[0], Spec(SHAPE, "uint8", volume.geometry, CHUNK, SHARD, channels)
    ome_zarr.create(store, spec)
    array, data = ome_zarr.open_level(store, writable=True), affinities(truth, seed)
    for box in Lattice(SHAPE, SHARD):
        ome_zarr.write(array, box, data[:, *box.slices])
    described = {"offsets": [list(offset) for offset in NEAREST_OFFSETS], "weights": "", "convention": "made of truth"}
    ome_zarr.finish(store, spec, described | {"fingerprint": markers.fingerprint(seed, SHAPE)})


def affinities(truth: NDArray[Any], seed: int) -> NDArray[np.uint8]:
    """The three nearest affinities of labels, blurred and with noise: uint8 (3, z, y, x), 255 for the same object."""
    noise = np.random.default_rng(seed)
    found = np.empty((3, *truth.shape), np.uint8)
    for axis in range(3):
        same = np.ones(truth.shape)
        moved = [np.moveaxis(volume, axis, 0) for volume in (same, truth)]
        moved[0][1:] = moved[1][1:] == moved[1][:-1]
        spoilt = gaussian_filter(same + noise.normal(0, 0.3, truth.shape), 0.6)
        found[axis] = np.rint(255 * spoilt.clip(0, 1))
    return found
