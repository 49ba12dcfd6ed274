"""Report on a toy approximation whose students are all trained: a figure, a table, and what became of the findings."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sepvox import markers
from sepvox.errors import StoreError
from sepvox.layout import Layout
from sepvox.report import figures
from sepvox.spread import spread
from sepvox.studies.toy_approximation.figure import Curves, draw_curves
from sepvox.studies.toy_approximation.findings import Outcome, findings
from sepvox.studies.toy_approximation.networks import cost
from sepvox.studies.toy_approximation.run import units
from sepvox.studies.toy_approximation.settings import ACCURACY, LOSS, STUDENTS, Student, ToyStudy
from sepvox.studies.toy_approximation.training import read_history

MEASURED = ("loss", "accuracy", "seconds")


def report_toy(study: ToyStudy, results: Path) -> str:
    """Write report/{curves.png, curves.svg, table.csv, findings.txt, summary.json}; what findings.txt says is returned.

    Raises
    ------
    StoreError
        If a unit is not finished, or its files are damaged.
    """
    layout = Layout(results / study.experiment)
    all_units = units(study, results)
    missing = [unit.model for unit in all_units if not unit.is_done()]
    if missing:
        raise StoreError(
            f"{layout.root}: {len(missing)} of {len(all_units)} trainings are not done with these settings, the first is {missing[0]}; run `sepvox study toy` without --report"
        )
    notes = [markers.read_json(unit.marker, "device", "constant", step="sepvox study toy") for unit in all_units]
    histories = {(unit.student, unit.seed): read_history(unit.history) for unit in all_units}

    def curves(key: str) -> dict[Student, Curves]:
        return {
            student: np.array([[record[key] for record in histories[student, seed]] for seed in study.seeds])
            for student in STUDENTS
        }

    losses, accuracies, seconds = curves("validation_loss"), curves("accuracy"), curves("seconds")
    outcomes = {
        student: Outcome(
            *cost(study, student),
            loss=losses[student][:, -1],
            accuracy=accuracies[student][:, -1],
            seconds=seconds[student].sum(axis=1),
        )
        for student in STUDENTS
    }
    constant = notes[0]["constant"]
    found = findings(outcomes)
    about = _described(study)
    text = "\n".join([*about, *(finding.line(len(study.seeds)) for finding in found)])
    rows = [_row(student, outcome) for student, outcome in outcomes.items()]
    with figures.look():
        figure = draw_curves(losses, accuracies, (constant["loss"], constant["accuracy"]), "\n".join(about))
        _write(layout.study("curves.png"), figures.png(figure))
        _write(layout.study("curves.svg"), figures.svg(figure))
    with markers.replacing(layout.study("table.csv")) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _write(layout.study("findings.txt"), (text + "\n").encode())
    summary = {
        "study": study.model_dump(mode="json"),
        "loss": LOSS,
        "accuracy": ACCURACY,
        "devices": sorted({note["device"] for note in notes}),
        "constant_output": constant,
        "students": rows,
        "findings": [asdict(finding) for finding in found],
    }
    markers.write_json(layout.study("summary.json"), summary)
    return text


def _described(study: ToyStudy) -> list[str]:
    """What was run, in two lines of text."""
    noise = study.noise
    extents = " × ".join(map(str, noise.shape))
    channels = "1 channel" if noise.channels == 1 else f"{noise.channels} channels"
    seeds = "1 seed" if len(study.seeds) == 1 else f"means over {len(study.seeds)} seeds"
    return [
        f"Width {study.width}; {noise.train:,} volumes of {extents} with {channels}, {study.train.epochs} epochs, {noise.validation:,} volumes to validate on, {seeds}.",
        f"Target: a dense network of fixed random weights. Loss: {LOSS}. Accuracy: {ACCURACY}.",
    ]


def _row(student: Student, outcome: Outcome) -> dict[str, Any]:
    """A student's figures; there is a spread where there are several seeds."""
    row: dict[str, Any] = {
        "student": student.label,
        "m": student.m,
        "n": student.n,
        "parameters": outcome.parameters,
        "macs_per_volume": outcome.macs,
        "seeds": len(outcome.loss),
    }
    for key in MEASURED:
        found = spread(getattr(outcome, key).tolist())
        row |= {key: found.mean, f"{key}_spread": found.sd}
    return row


def _write(path: Path, content: bytes) -> None:
    with markers.replacing(path) as temporary:
        temporary.write_bytes(content)
