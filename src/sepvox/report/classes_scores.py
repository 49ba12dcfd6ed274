"""Scores of class maps, gathered for the page.

A *record* is the scores.json of one subject under one model. A *pool* is what models that differ only in their fold say
together: with cross-validation every subject is in the test part of exactly one of them. An ensemble is a pool of its own.
Figures are over the test subjects of a pool; where it has none, over those that it was validated on, which the page says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sepvox import markers
from sepvox.class_summary import case_of, summary
from sepvox.experiments.base import MAIN, Run
from sepvox.experiments.classes import ClassesExperiment
from sepvox.inspect.outliers import modified_z
from sepvox.layout import Layout

Record = dict[str, Any]

VOLUME_Z = 3.5
# Subjects named for their Dice, and for their distance to a class where that is so many times the median.
_EXTREMES = 3
_FAR = 1.5
_LEAST_PERCENT = 3.0
ALL = "all classes"


@dataclass(frozen=True)
class Pool:
    """Models of one entry and seed, or an ensemble, and the records that count.

    `entry` is that of `models`, or main; `role` is that of the records, empty where there are none.
    """

    name: str
    entry: str
    models: tuple[str, ...]
    ensemble: bool
    role: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Look:
    """A subject that is worth a second look, and why."""

    record: Record
    reasons: tuple[str, ...]


def read_pools(experiment: ClassesExperiment, layout: Layout) -> list[Pool]:
    """All pools, ensembles last.

    Raises
    ------
    StoreError
        If a subject with a label map was predicted but not scored.
    """
    members: dict[Run, list[str]] = {}
    for model, run in experiment.runs().items():
        members.setdefault(Run(run.entry, run.seed, None), []).append(model)
    found = [_pool(experiment, layout, run.model, run.entry, models) for run, models in members.items()]
    for name, models in experiment.ensembles().items():
        entry = experiment.runs()[models[0]].entry
        found.append(_pool(experiment, layout, name, entry, [name]))
    return found


def _pool(experiment: ClassesExperiment, layout: Layout, name: str, entry: str | None, models: Sequence[str]) -> Pool:
    by_role: dict[str, list[Record]] = {"test": [], "validate": []}
    for model in models:
        roles = experiment.roles(model)
        for subject in experiment.predicted(model):
            if roles[subject] in by_role and experiment.has_truth(subject):
                by_role[roles[subject]].append(markers.read_json(layout.scores(model, subject), "classes", "mean"))
    role = next((role for role, records in by_role.items() if records), "")
    ensemble = experiment.is_ensemble(models[0])
    return Pool(name, entry or MAIN, tuple(models), ensemble, role, tuple(by_role.get(role, ())))


def of_class(records: Iterable[Record], name: str, key: str) -> list[float | None]:
    """One score of one class over records."""
    return [record["classes"][name][key] for record in records]


def of_mean(records: Iterable[Record], key: str) -> list[float | None]:
    """One score over records, each the mean over its classes."""
    return [record["mean"][key] for record in records]


def undecided(record: Record) -> dict[str, str]:
    """Classes that were missed (only in the truth) or invented (only in the prediction), by name."""
    cases = {name: case_of(scores) for name, scores in record["classes"].items()}
    return {name: case for name, case in cases.items() if case in ("missed", "invented")}


def ranked(records: Sequence[Record]) -> list[Record]:
    """Records with a Dice, the lowest first."""
    known = [record for record in records if record["mean"]["dice"] is not None]
    return sorted(known, key=lambda record: record["mean"]["dice"])


def pooled(pools: Iterable[Pool], classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per pool and class, and one over all classes: mean and standard deviation over subjects, and the worst subject.

    Keys are model, role, subjects, class, {dice, hd95_mm, assd_mm}_{mean, sd}, worst_subject and worst_dice.
    """
    rows = []
    for pool in (pool for pool in pools if pool.records):
        over = summary(pool.records)
        for name in (*classes, ALL):
            figures = over["mean"] if name == ALL else over["classes"][name]
            row = {"model": pool.name, "role": pool.role, "subjects": over["subjects"], "class": name}
            for key in ("dice", "hd95_mm", "assd_mm"):
                row |= {f"{key}_{measure}": figures["scores"][key][measure] for measure in ("mean", "sd")}
            worst = figures["worst"] or {"subject": None, "dice": None}
            rows.append(row | {"worst_subject": worst["subject"], "worst_dice": worst["dice"]})
    return rows


def best_median_worst(records: Sequence[Record]) -> dict[str, Record]:
    """The records of these ranks; of equal ones only the first of the three names is kept."""
    order = ranked(records)
    if not order:
        return {}
    chosen = {"best": len(order) - 1, "median": len(order) // 2, "worst": 0}
    found: dict[int, str] = {}
    for name, index in chosen.items():
        found.setdefault(index, name)
    return {name: order[index] for index, name in found.items()}


def second_look(records: Sequence[Record]) -> list[Look]:
    """Subjects with missed or invented classes, the lowest Dice, the largest distances, or volumes unlike the truth.

    A volume difference is an outlier by its modified z-score among the subjects. Sorted by Dice, the lowest first.
    """
    reasons: dict[int, list[str]] = {id(record): [] for record in records}
    for record in records:
        reasons[id(record)] += [f"{name} {kind}" for name, kind in undecided(record).items()]
    order = ranked(records)
    for place, record in enumerate(order[:_EXTREMES]):
        reasons[id(record)].append("lowest Dice" if place == 0 else f"Dice is number {place + 1} from below")
    names = list(records[0]["classes"]) if records else []
    for name in names:
        far = sorted(of_class(records, name, "hd95_mm"), key=lambda value: -1.0 if value is None else value)[
            -_EXTREMES:
        ]
        usual = float(np.median([value for value in of_class(records, name, "hd95_mm") if value is not None] or [0.0]))
        for record in records:
            distance = record["classes"][name]["hd95_mm"]
            if distance is not None and distance in far and distance > _FAR * usual:
                reasons[id(record)].append(f"HD95 of {name} is {distance:.3g} mm, {usual:.3g} mm is usual")
    for name in names:
        known = [record for record in records if record["classes"][name]["volume_difference_percent"] is not None]
        percent = [record["classes"][name]["volume_difference_percent"] for record in known]
        for record, value, z in zip(known, percent, modified_z(percent, _LEAST_PERCENT), strict=True):
            if abs(z) > VOLUME_Z:
                usual = float(np.median(percent))
                reasons[id(record)].append(f"volume of {name} is {value:+.0f} % off, {usual:+.0f} % is usual")
    unsorted = [Look(record, tuple(reasons[id(record)])) for record in records if reasons[id(record)]]
    return sorted(unsorted, key=lambda look: -1.0 if (dice := look.record["mean"]["dice"]) is None else dice)
