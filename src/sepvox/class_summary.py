"""Tables of class scores over subjects: their spread, the worst subject, and one CSV row per subject and class.

A *record* is what `class_scores` returns for one subject with three keys more: `subject`, `model` and `role`. A score
that is not defined is None and takes no part in any figure, so that each figure says over how many subjects it is; how
often a class was *absent*, *missed* or *invented* (class_metrics.py defines the words) stands beside it.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sepvox.errors import InputError
from sepvox.spread import spread

Record = Mapping[str, Any]

SCORES = (
    "dice",
    "hd95_mm",
    "assd_mm",
    "volume_mm3",
    "true_volume_mm3",
    "volume_difference_mm3",
    "volume_difference_percent",
    "sensitivity",
    "precision",
)
VOI = ("voi_split", "voi_merge", "voi_sum")
CASES = ("absent", "missed", "invented")
COLUMNS = ("model", "role", "subject", "class", "case", *SCORES, *VOI)


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Summarise the scores of several subjects.

    All records weigh the same, whatever their model and role: give those that belong together, such as the test
    subjects of all folds.

    Returns
    -------
    dict
        Only of dict, list, str, int, float and None, so that it can be written as JSON.

        subjects : number of records; models, roles : what they come from, sorted.
        classes : by class name, `scores` with {"mean", "sd", "median", "number"} of each score, where sd is that of a
            sample (n - 1; None below two values) and number counts the values; `absent`, `missed` and `invented`, the
            numbers of subjects of these cases; `worst`, the {"model", "subject", "dice"} of the lowest Dice, the
            first of equals, None without any.
        mean : the same over each subject's mean over its classes; the three cases are summed over the classes.
        voi : {"mean", "sd", "median", "number"} of voi_split, voi_merge and voi_sum.

    Raises
    ------
    InputError
        If there are no records, two are of the same model and subject, or their classes differ.
    """
    names = _class_names(records)
    classes = {
        name: _over_subjects(records, [record["classes"][name] for record in records])
        | _cases(record["classes"][name] for record in records)
        for name in names
    }
    return {
        "subjects": len(records),
        "models": sorted({record["model"] for record in records}),
        "roles": sorted({record["role"] for record in records}),
        "classes": classes,
        "mean": _over_subjects(records, [record["mean"] for record in records])
        | {case: sum(found[case] for found in classes.values()) for case in CASES},
        "voi": {key: asdict(spread(record[key] for record in records)) for key in VOI},
    }


def as_csv(records: Sequence[Record]) -> str:
    """Table with the columns `COLUMNS` and one row per subject and class, in the order of the records.

    Numbers have nine significant digits, a score that is not defined is an empty cell, and `case` is absent, missed,
    invented or empty. Variation of information is of the whole map, and so the same in all rows of a subject.

    Raises
    ------
    InputError
        As `summary`.
    """
    names = _class_names(records)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in records:
        for name in names:
            scores = record["classes"][name]
            numbers = [*(scores[key] for key in SCORES), *(record[key] for key in VOI)]
            cells = ["" if number is None else f"{number:.9g}" for number in numbers]
            table.writerow([record["model"], record["role"], record["subject"], name, case_of(scores) or "", *cells])
    return text.getvalue()


def case_of(scores: Mapping[str, float | None]) -> str | None:
    """Tell whether a class was absent, missed or invented in one subject; None where both maps have it."""
    predicted, true = scores["volume_mm3"], scores["true_volume_mm3"]
    if predicted and true:
        return None
    return "invented" if predicted else "missed" if true else "absent"


def _class_names(records: Sequence[Record]) -> list[str]:
    if not records:
        raise InputError("scores: there are no subjects to summarise; score some, or check the roles that were chosen")
    names = list(records[0]["classes"])
    seen = set()
    for record in records:
        key = (record["model"], record["subject"])
        if key in seen:
            raise InputError(f"scores: subject {key[1]} of model {key[0]} comes twice; give each subject its own name")
        seen.add(key)
        if set(record["classes"]) != set(names):
            raise InputError(
                f"scores: subject {key[1]} of model {key[0]} has the classes {', '.join(record['classes'])} where "
                f"{records[0]['subject']} has {', '.join(names)}; score all with the same classes"
            )
    return names


def _over_subjects(records: Sequence[Record], scores: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    known = [
        (found["dice"], record) for found, record in zip(scores, records, strict=True) if found["dice"] is not None
    ]
    dice, worst = min(known, key=lambda pair: pair[0], default=(None, None))
    return {
        "scores": {key: asdict(spread(found[key] for found in scores)) for key in SCORES},
        "worst": {"model": worst["model"], "subject": worst["subject"], "dice": dice} if worst else None,
    }


def _cases(scores: Iterable[Mapping[str, float | None]]) -> dict[str, int]:
    found = [case_of(one) for one in scores]
    return {case: found.count(case) for case in CASES}
