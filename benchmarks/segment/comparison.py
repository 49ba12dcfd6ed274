"""The comparison: a threshold for every way, then repetitions in rotated order.

Every kind of way segments once at all thresholds, untimed, and takes the one of the least error against the truth: the
best of the sweep on the volume that is scored, for all alike. Then every way is timed at its threshold alone, all of them
once per *repetition*, each repetition beginning with another way.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.segment.timing import Timed, timed
from benchmarks.segment.ways import Way
from benchmarks.sweeps import Errors, Sweep, best, errors

WITHOUT_TRUTH = 0.5


@dataclass(frozen=True)
class Run:
    """One way in one repetition: its steps, and its errors against waterz on the whole volume and the truth."""

    steps: dict[str, Timed]
    to_waterz: Errors
    to_truth: Errors | None

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps.values())

    @property
    def memory(self) -> int:
        return max(step.memory for step in self.steps.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "steps": {name: vars(step) for name, step in self.steps.items()},
            "to_waterz": self.to_waterz._asdict(),
            "to_truth": None if self.to_truth is None else self.to_truth._asdict(),
        }


@dataclass(frozen=True)
class Measured:
    """All repetitions of one way."""

    way: Way
    threshold: float
    runs: list[Run] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        runs = [run.as_json() for run in self.runs]
        return {"way": self.way.kind, "processes": self.way.processes, "threshold": self.threshold, "runs": runs}


@dataclass(frozen=True)
class Bench:
    """What all ways share: the folder they work in, the variables of their commands, and the truth, if it is known."""

    folder: Path
    environment: Mapping[str, str]
    truth: NDArray[np.integer] | None

    @contextlib.contextmanager
    def done(self, way: Way, thresholds: Sequence[float]) -> Iterator[tuple[Path, dict[str, Timed]]]:
        """The folder in which a way has segmented, and its steps; the folder is removed in the end.

        Raises
        ------
        CommandError
            If one of its commands fails.
        """
        home = self.folder / "work"
        home.mkdir()
        try:
            commands = way.commands(home, thresholds)
            yield home, {name: timed(c, home, way.processes, self.environment) for name, c in commands.items()}
        finally:
            shutil.rmtree(home)

    def sweep(self, way: Way, thresholds: Sequence[float]) -> Sweep:
        with self.done(way, thresholds) as (home, _):
            return way.sweep(home, thresholds)

    def run(self, way: Way, threshold: float, reference: Sweep) -> Run:
        with self.done(way, [threshold]) as (home, steps):
            found = way.segmentation(home, threshold)
        to_truth = None if self.truth is None else errors(found, self.truth)
        return Run(steps, reference.nearest(found), to_truth)


def compare(
    bench: Bench, ways: Sequence[Way], reference: Way, thresholds: Sequence[float], repeat: int
) -> list[Measured]:
    """Choose thresholds and time all ways, in their order.

    Parameters
    ----------
    ways, reference
        What to time; the one among them that stands for waterz on the whole volume.
    thresholds : sequence of float
        What is swept, rising. Without truth nothing is chosen, and all take 0.5.
    repeat : int
        Repetitions.

    Raises
    ------
    CommandError
        If a way fails.
    """
    swept = bench.sweep(reference, thresholds)
    chosen: dict[str, float] = {}
    for way in ways:
        if way.kind in chosen:
            continue
        chosen[way.kind] = WITHOUT_TRUTH
        if bench.truth is not None:
            found = swept if way is reference else bench.sweep(way, thresholds)
            chosen[way.kind] = thresholds[best(found.to_truth(bench.truth))]
        _tell(f"{way.kind}: threshold {chosen[way.kind]:g}")
    measured = [Measured(way, chosen[way.kind]) for way in ways]
    for repetition in range(repeat):
        first = repetition % len(ways)
        for one in (*measured[first:], *measured[:first]):
            one.runs.append(bench.run(one.way, one.threshold, swept))
            _tell(f"{repetition + 1} of {repeat}: {one.way.kind}, {one.way.processes}: {one.runs[-1].seconds:.1f} s")
    return measured


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
