"""What a volume of any size would cost, from what was measured on small ones.

marginal    cost of one more voxel: the difference between the two largest measured volumes over the difference of their
            voxels, which start-up does not touch. Of one measured volume, its cost over its voxels.
fixed       memory of a process that does not grow with the volume: what is left of the peak at the largest volume
            without the marginal part, which is taken where the smaller volume is at least two of the largest cells wide:
            below that cells, and what coarser levels are made from, are not whole, and grow with it.

Times are of processors, so that they do not depend on how busy the machine was. What is divided over how many cores:
those of `ALONE` are one process, those of `ONE_JOB` have the cores of one machine, all others those of a cluster. Memory of
those of `GROWING` grows with the volume; the others keep to `fixed`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scale.experiment import Trial, files

# What memory grows with.
GROWING = {"agglomerate": "contacts", "score --sweep": "fragments", "relabel": "fragments", "score": "fragments"}
ALONE, ONE_JOB = ("agglomerate", "score"), ("prepare", "score --sweep")
PLANNED = ("prepare", "fragments", "region-graph", "agglomerate", "score --sweep", "relabel", "score")

Result = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """Cost of a step: processor seconds per voxel, bytes of the largest process that stay, and those per voxel."""

    step: str
    seconds: float
    fixed: float
    growing: float

    def hours(self, voxels: float) -> float:
        return self.seconds * voxels / 3600

    def memory(self, voxels: float) -> float:
        return self.fixed + self.growing * voxels

    def largest(self, memory: float) -> float:
        """Voxels of the largest volume that fits into memory."""
        return (memory - self.fixed) / self.growing if self.growing > 0 else math.inf


def exponent(voxels: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of the line of least squares through the logarithms."""
    x, y = [math.log(v) for v in voxels], [math.log(s) for s in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((v - mean_x) ** 2 for v in x)
    return sum((v - mean_x) * (s - mean_y) for v, s in zip(x, y, strict=True)) / spread


def rates(sizes: Sequence[Result]) -> list[Rate]:
    """Rates of all steps, from results of `measure_path` in rising order of size."""
    last, before = sizes[-1], sizes[-2] if len(sizes) > 1 else None
    found = []
    for step in PLANNED:
        here = last["steps"][step]
        seconds, growing = here["processor"] / last["voxels"], 0.0
        if before is not None:
            there, voxels = before["steps"][step], last["voxels"] - before["voxels"]
            seconds = max(here["processor"] - there["processor"], 0.0) / voxels
            if step in GROWING and before["trial"]["edge"] >= 2 * before["trial"]["cell"]:
                growing = max(here["peak"] - there["peak"], 0.0) / voxels
        found.append(Rate(step, seconds, here["peak"] - growing * last["voxels"], growing))
    return found


def hours(found: Sequence[Rate], voxels: float, cluster: int, machine: int) -> dict[str, float]:
    """Hours of what a cluster of so many cores does, of what one machine of so many does, and of what one process does."""
    cores = {"cluster": cluster, "machine": machine, "process": 1}
    total = dict.fromkeys(cores, 0.0)
    for rate in found:
        where = "process" if rate.step in ALONE else "machine" if rate.step in ONE_JOB else "cluster"
        total[where] += rate.hours(voxels) / cores[where]
    return total


def files_of(voxels: float, block: int) -> int:
    """Files of a cube of about these voxels with shards, cells and blocks of `block`."""
    edge = round(voxels ** (1 / 3))
    return files(Trial(edge, block, max(block, 256)))["all"]


def left_of_a_part(levels: Sequence[dict[str, Any]], voxels_per_fragment: float, voxels: float) -> float:
    """Contacts left of a part of so many voxels, continued as a power law through the two largest parts but the whole."""
    inner = levels[-3:-1]
    sizes = [math.prod(level["box"]) * voxels_per_fragment for level in inner]
    left = [level["largest_left"] for level in inner]
    return float(left[-1] * (voxels / sizes[-1]) ** exponent(sizes, left))
