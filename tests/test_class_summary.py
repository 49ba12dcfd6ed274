"""Tables of class scores over subjects."""

import csv
import io
import json
import statistics
from typing import Any

import numpy as np
import pytest

from sepvox.class_summary import COLUMNS, as_csv, case_of, summary
from sepvox.errors import InputError
from sepvox.score.class_metrics import SCORES, class_scores

CLASSES = {"grey": 1, "white": 2}


def subject(name: str, flips: float, model: str = "fold0", role: str = "test", **absent: bool) -> dict[str, Any]:
    """Record of a subject with two slabs, of which a share is predicted wrongly.

    `no_truth` and `no_prediction` take white matter from one of the maps.
    """
    rng = np.random.default_rng(sum(name.encode()))
    truth = np.zeros((6, 8, 8), np.uint8)
    truth[:, 1:4], truth[:, 4:7] = 1, 2
    predicted = np.where(rng.random(truth.shape) < flips, 3 - truth, truth).astype(np.uint8) * (truth > 0)
    if absent.get("no_truth"):
        truth[truth == 2] = 0
    if absent.get("no_prediction"):
        predicted[predicted == 2] = 0
    return {"subject": name, "model": model, "role": role, **class_scores(predicted, truth, CLASSES, (1.0, 1.0, 1.0))}


def rows(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(records))))


def test_spread_is_that_of_the_standard_library() -> None:
    records = [subject(name, flips) for name, flips in (("a", 0.1), ("b", 0.3), ("c", 0.2), ("d", 0.05))]
    found = summary(records)
    for part, source in (("grey", lambda r: r["classes"]["grey"]), ("white", lambda r: r["classes"]["white"])):
        for key in SCORES:
            values = [source(record)[key] for record in records]
            assert found["classes"][part]["scores"][key] == pytest.approx(
                {
                    "mean": statistics.mean(values),
                    "sd": statistics.stdev(values),
                    "median": statistics.median(values),
                    "number": 4,
                }
            )
    dice = [record["mean"]["dice"] for record in records]
    assert found["mean"]["scores"]["dice"]["mean"] == pytest.approx(statistics.mean(dice))
    assert found["mean"]["scores"]["dice"]["sd"] == pytest.approx(statistics.stdev(dice))
    assert found["voi"]["voi_sum"]["median"] == pytest.approx(statistics.median(r["voi_sum"] for r in records))
    assert found["subjects"] == 4


def test_worst_subject_is_the_lowest_dice_and_names_its_model() -> None:
    records = [subject("a", 0.1), subject("b", 0.4, "fold1"), subject("c", 0.0, no_prediction=True)]
    found = summary(records)
    assert found["classes"]["grey"]["worst"] == {
        "model": "fold1",
        "subject": "b",
        "dice": records[1]["classes"]["grey"]["dice"],
    }
    assert found["classes"]["white"]["worst"] == {"model": "fold0", "subject": "c", "dice": 0.0}
    assert found["mean"]["worst"]["subject"] == "c"
    assert found["models"] == ["fold0", "fold1"]


def test_empty_cases_are_counted_and_take_no_part_in_distances() -> None:
    records = [
        subject("a", 0.1),
        subject("b", 0.1, no_truth=True),
        subject("c", 0.1, no_prediction=True),
        subject("d", 0.1, no_truth=True, no_prediction=True),
        subject("e", 0.2, no_prediction=True),
    ]
    found = summary(records)
    white = found["classes"]["white"]
    assert (white["absent"], white["missed"], white["invented"]) == (1, 2, 1)
    assert [case_of(record["classes"]["white"]) for record in records] == [
        None,
        "invented",
        "missed",
        "absent",
        "missed",
    ]
    assert white["scores"]["dice"]["number"] == 4
    assert white["scores"]["dice"]["mean"] == pytest.approx(records[0]["classes"]["white"]["dice"] / 4)
    assert white["scores"]["hd95_mm"] == {
        "mean": records[0]["classes"]["white"]["hd95_mm"],
        "sd": None,
        "median": records[0]["classes"]["white"]["hd95_mm"],
        "number": 1,
    }
    assert [found["mean"][case] for case in ("absent", "missed", "invented")] == [1, 2, 1]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_class_that_no_subject_has_is_summarised_without_figures() -> None:
    white = summary([subject(name, 0.1, no_truth=True, no_prediction=True) for name in "ab"])["classes"]["white"]
    assert white["scores"]["dice"] == {"mean": None, "sd": None, "median": None, "number": 0}
    assert white["worst"] is None
    assert white["absent"] == 2


def test_csv_has_one_row_per_subject_and_class_with_stable_columns() -> None:
    records = [subject("b", 0.1, role="validate"), subject("a", 0.2, no_prediction=True)]
    assert as_csv(records).splitlines()[0] == ",".join(COLUMNS)
    assert ",".join(COLUMNS) == (
        "model,role,subject,class,case,dice,hd95_mm,assd_mm,volume_mm3,true_volume_mm3,volume_difference_mm3,"
        "volume_difference_percent,sensitivity,precision,voi_split,voi_merge,voi_sum"
    )
    table = rows(records)
    assert [(row["subject"], row["role"], row["class"], row["case"]) for row in table] == [
        ("b", "validate", "grey", ""),
        ("b", "validate", "white", ""),
        ("a", "test", "grey", ""),
        ("a", "test", "white", "missed"),
    ]
    assert table[3]["hd95_mm"] == ""
    assert float(table[3]["dice"]) == 0
    for row, record in zip(table, (records[0], records[0], records[1], records[1]), strict=True):
        for key in SCORES:
            value = record["classes"][row["class"]][key]
            assert row[key] == "" if value is None else float(row[key]) == pytest.approx(value, rel=1e-8)
        assert float(row["voi_sum"]) == pytest.approx(record["voi_sum"], rel=1e-8)


def test_csv_quotes_names_and_keeps_the_class_order_of_the_first_subject() -> None:
    first, second = subject('odd, "name"', 0.1), subject("b", 0.1)
    second["classes"] = dict(reversed(second["classes"].items()))
    table = rows([first, second])
    assert table[0]["subject"] == 'odd, "name"'
    assert [row["class"] for row in table] == ["grey", "white", "grey", "white"]


@pytest.mark.parametrize("table", [summary, as_csv])
def test_records_that_do_not_belong_together_are_refused(table) -> None:
    with pytest.raises(InputError, match="no subjects"):
        table([])
    with pytest.raises(InputError, match="subject a of model fold0 comes twice"):
        table([subject("a", 0.1), subject("a", 0.2)])
    other = subject("b", 0.1)
    del other["classes"]["white"]
    with pytest.raises(InputError, match="subject b of model fold0 has the classes grey where a has grey, white"):
        table([subject("a", 0.1), other])
