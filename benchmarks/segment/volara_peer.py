"""volara, as its README joins the steps; run by a Python that has volara, which need not have sepvox.

    python volara_peer.py --versions
    python volara_peer.py JOB.json

JOB.json has `affinities`, an array of Zarr, c z y x, of uint8; `offsets` of its channels, in voxels, the nearest three
first; `block` and `context` in voxels; `workers`; and `thresholds`, on 1 - affinity. The working folder gets
fragments.zarr, one lookup table lut-I.npz for each threshold, and segments.zarr at the last.

Fragments are a mutex watershed with the README's biases. A threshold t becomes a bias of t - 1 on the mean of the nearest
affinities of two fragments: they attract each other where it is above 1 - t, as they merge there elsewhere. Long-range
affinities get a bias that is as much lower as in the README.
"""

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from funlib.geometry import Coordinate
from volara.blockwise import AffAgglom, ExtractFrags, GraphMWS, Relabel
from volara.datasets import Affs, Labels
from volara.dbs import SQLite
from volara.lut import LUT

PACKAGES = ("volara", "daisy", "funlib.persistence", "mwatershed", "zarr", "numpy", "numba")
NEAREST_BIAS, LONG_RANGE_BIAS = -0.4, -0.7


def versions() -> dict[str, str]:
    """Versions of Python and the packages."""
    return {"python": sys.version.split()[0]} | {package: metadata.version(package) for package in PACKAGES}


def pipeline(job: dict[str, Any]) -> list[Any]:
    """The tasks in the order of their running."""
    home = Path.cwd()
    offsets = [Coordinate(offset) for offset in job["offsets"]]
    nearest, far = offsets[:3], offsets[3:]
    block, context = Coordinate(job["block"]), Coordinate(job["context"])
    scores = {"adj_weight": nearest} | ({"lr_weight": far} if far else {})
    affinities = Affs(
        store=Path(job["affinities"]), neighborhood=offsets, voxel_size=Coordinate(1, 1, 1), writable=False
    )
    fragments = Labels(store=home / "fragments.zarr")
    database = SQLite(path=home / "graph.sqlite", edge_attrs=dict.fromkeys(scores, "float"))
    region = affinities.array("r").roi
    tasks = [
        ExtractFrags(
            db=database,
            affs_data=affinities,
            frags_data=fragments,
            block_size=block,
            context=context,
            bias=[NEAREST_BIAS] * len(nearest) + [LONG_RANGE_BIAS] * len(far),
            num_workers=job["workers"],
        ),
        AffAgglom(
            db=database,
            affs_data=affinities,
            frags_data=fragments,
            block_size=block,
            context=context,
            scores=scores,
            num_workers=job["workers"],
        ),
    ]
    for index, threshold in enumerate(job["thresholds"]):
        bias = threshold - 1
        biases = {"adj_weight": bias, "lr_weight": max(bias + LONG_RANGE_BIAS - NEAREST_BIAS, -1.0)}
        table = LUT(path=home / f"lut-{index}.npz")
        weights = {name: (1.0, biases[name]) for name in scores}
        tasks.append(GraphMWS(db=database, lut=table, weights=weights, roi=[region.get_begin(), region.get_shape()]))
    tasks.append(
        Relabel(
            frags_data=fragments,
            seg_data=Labels(store=home / "segments.zarr"),
            lut=table,
            block_size=block,
            num_workers=job["workers"],
        )
    )
    return tasks


def main() -> int:
    """Run the job; 1 if a block was not done, which volara prints but does not raise."""
    if sys.argv[1] == "--versions":
        print(json.dumps(versions()))
        return 0
    first, *others = tasks = pipeline(json.loads(Path(sys.argv[1]).read_text()))
    sum(others, start=first).run_blockwise()
    undone = [task.task_name for task in tasks if not np.all(zarr.open_array(task.block_ds, mode="r")[:])]
    if undone:
        print(f"blocks were not done: {', '.join(undone)}", file=sys.stderr)
    return int(bool(undone))


if __name__ == "__main__":
    sys.exit(main())
