"""Time and memory per step, from the benchmark files that the workflow writes.

A job is one rule's run, with one file, which the rule's next run replaces; what it worked on is a model, a volume, or both.
Jobs that are parts of one step on one volume (`create`, `3-16`, `finish`) are added up; of slices into several numbers of
parts those of the last number count.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ORDER = (
    "prepare",
    "train",
    "predict",
    "fragments",
    "region-graph",
    "agglomerate",
    "sweep",
    "choose",
    "classify",
    "score",
    "relabel",
)
PART = re.compile(r"create|finish|\d+-\d+")
SLICE = re.compile(r"\d+-(\d+)")


@dataclass(frozen=True)
class Cost:
    """What one step cost on one volume or model.

    Attributes
    ----------
    step, subject : str
        `subject` is the model, the volume, or both.
    jobs : int
    seconds : float
        Wall clock, added over the jobs; less passed where jobs ran side by side.
    cpu_seconds : float or None
    peak_megabytes : float or None
        Resident memory of the largest job.
    """

    step: str
    subject: str
    jobs: int
    seconds: float
    cpu_seconds: float | None
    peak_megabytes: float | None


def read_costs(folder: Path) -> list[Cost]:
    """Read every benchmark file below a folder, in the order of the steps; none where there are no files."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    files = sorted(folder.glob("*/**/*.tsv"))
    last: dict[Path, tuple[int, str]] = {}
    for file in files:
        if number := _parts(file):
            last[file.parent] = max(last.get(file.parent, (0, "")), (file.stat().st_mtime_ns, number))
    for file in files:
        if (number := _parts(file)) and number != last[file.parent][1]:
            continue
        step, *names = file.relative_to(folder).with_suffix("").parts
        if step != "report":
            subject = names[:-1] if PART.fullmatch(names[-1]) and len(names) > 1 else names
            with file.open(newline="") as lines:
                groups.setdefault((step, ", ".join(subject)), []).extend(csv.DictReader(lines, delimiter="\t"))
    costs = [
        Cost(
            step=step,
            subject=subject,
            jobs=len(rows),
            seconds=sum(_numbers(rows, "s")),
            cpu_seconds=sum(_numbers(rows, "cpu_time")) if any(_numbers(rows, "cpu_time")) else None,
            peak_megabytes=max(_numbers(rows, "max_rss"), default=None),
        )
        for (step, subject), rows in groups.items()
    ]
    return sorted(costs, key=lambda c: (ORDER.index(c.step) if c.step in ORDER else len(ORDER), c.step, c.subject))


def _parts(file: Path) -> str:
    """Into how many slices a step was cut whose slice this file is of; empty for other files."""
    found = SLICE.fullmatch(file.stem)
    return found[1] if found else ""


def _numbers(rows: list[dict[str, str]], column: str) -> Iterator[float]:
    """The values of a column; short jobs have "-" or "NA" where nothing was measured."""
    for row in rows:
        try:
            yield float(row.get(column, ""))
        except (TypeError, ValueError):
            continue
