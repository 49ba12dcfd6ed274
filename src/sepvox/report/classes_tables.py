"""Tables of the page of class maps: models, folds, subjects to look at, clean-up, compared networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepvox.nets.describe import Description
from sepvox.report.classes_scores import (
    Look,
    Pool,
    Record,
    Spread,
    of_class,
    of_mean,
    ranked,
    spread,
    undecided,
)
from sepvox.report.page import NONE, Column, facts, table
from sepvox.report.tables import duration, times

_KEYS = (("dice", "Dice", 3), ("hd95_mm", "HD95, mm", 2), ("assd_mm", "ASSD, mm", 2))


@dataclass(frozen=True)
class Contender:
    """One network of a comparison: its description, the pools it was trained for, and what it cost.

    Seconds are means over its models, None where nothing measured them.
    """

    name: str
    network: Description
    pools: tuple[Pool, ...]
    training_seconds: float | None
    prediction_seconds: float | None

    def over_models(self, key: str) -> Spread:
        """Mean and spread over its models of each model's mean over subjects and classes."""
        groups: dict[str, list[Record]] = {}
        for pool in self.pools:
            for record in pool.records:
                groups.setdefault(record["model"], []).append(record)
        return spread(spread(of_mean(records, key)).mean for records in groups.values())


def headline(pool: Pool | None, network: Description, subjects: int) -> str:
    """Key figures: Dice of the first pool that has scores, its worst subject, and the network's size."""
    items = []
    if pool is not None:
        dice, distance = spread(of_mean(pool.records, "dice")), spread(of_mean(pool.records, "hd95_mm"))
        items.append(("Mean Dice", written(dice, 3), f"{dice.count} {pool.role} subjects, all classes"))
        items.append(("Mean HD95", f"{written(distance, 2)} mm" if distance.mean is not None else NONE, pool.name))
        worst = ranked(pool.records)[:1]
        if worst:
            items.append(("Worst subject", f"{worst[0]['mean']['dice']:.3f}", f"Dice, {worst[0]['subject']}"))
    items.append(("Subjects", f"{subjects:,}", ""))
    items.append(("Parameters", f"{network.parameters:,}", network.name))
    items.append(("Receptive field", times(network.receptive_field), "voxels"))
    return facts(items)


def pools_table(pools: Sequence[Pool], classes: Sequence[str]) -> str:
    """Mean ± sd over subjects of Dice, HD95 and ASSD, per class and over them, one row per pool and class."""
    columns = [Column("model"), Column("subjects"), Column("class")]
    columns += [Column(title, True) for _, title, _ in _KEYS] + [Column("missed", True), Column("invented", True)]
    rows: list[list[str]] = []
    strong = []
    for pool in (pool for pool in pools if pool.records):
        title = [pool.name, f"{len(pool.records)} {pool.role}"]
        cases = [undecided(record) for record in pool.records]
        for name in classes:
            scores = [written(spread(of_class(pool.records, name, key)), digits) for key, _, digits in _KEYS]
            counts = [sum(case.get(name) == kind for case in cases) for kind in ("missed", "invented")]
            rows.append([*title, name, *scores, *map(str, counts)])
            title = ["", ""]
        scores = [written(spread(of_mean(pool.records, key)), digits) for key, _, digits in _KEYS]
        counts = [sum(kind in case.values() for case in cases) for kind in ("missed", "invented")]
        strong.append(len(rows))
        rows.append(["", "", "all classes", *scores, *map(str, counts)])
    return table(columns, rows, strong=strong)


def folds_table(pool: Pool, roles: Mapping[str, Sequence[str]]) -> str:
    """One row per fold of a pool: how many subjects it was trained on, validated and tested on, and its scores.

    Parameters
    ----------
    roles : mapping of model to the roles of all subjects
    """
    columns = [Column("model"), *(Column(title, True) for title in ("train", "validate", "test", "Dice", "HD95, mm"))]
    columns += [Column("worst subject"), Column("Dice", True)]
    rows = []
    for model in pool.models:
        own = [record for record in pool.records if record["model"] == model]
        rows.append([model, *(str(list(roles[model]).count(r)) for r in ("train", "validate", "test")), *_scores(own)])
    rows.append(["all", "", "", str(len(pool.records)), *_scores(pool.records)])
    return table(columns, rows, strong=[len(rows) - 1])


def _scores(records: Sequence[Record]) -> list[str]:
    dice, distance = (spread(of_mean(records, key)) for key in ("dice", "hd95_mm"))
    worst = ranked(records)[:1]
    last = [worst[0]["subject"], f"{worst[0]['mean']['dice']:.3f}"] if worst else [NONE, NONE]
    return [written(dice, 3), written(distance, 2), *last]


def looks_table(looks: Sequence[Look]) -> str:
    """Subjects worth a second look, the lowest Dice first."""
    columns = [Column("subject"), Column("model"), Column("role"), Column("Dice", True), Column("HD95, mm", True)]
    rows = []
    for look in looks:
        mean = look.record["mean"]
        cells = [look.record[key] for key in ("subject", "model", "role")]
        rows.append([*cells, number(mean["dice"], 3), number(mean["hd95_mm"], 2), "; ".join(look.reasons)])
    return table([*columns, Column("why")], rows)


def clean_up_table(decisions: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> str:
    """What is reduced to its largest component, by model, with the validation Dice without and with it."""
    columns = [Column("model"), Column("largest component only of"), Column("because"), Column("chosen on", True)]
    columns += [Column(f"Dice of {name}", True) for name in classes]
    rows = []
    for model, decision in decisions.items():
        cleaned = ["all classes together"] if decision["foreground"] else []
        cleaned += decision["classes"]
        dice = decision.get("dice")
        shown = [f"{number(dice['without'][n], 4)} → {number(dice['with'][n], 4)}" if dice else NONE for n in classes]
        reason = str(decision.get("reason", NONE))
        rows.append([model, ", ".join(cleaned) or "nothing", reason, str(len(decision.get("chosen_on", ()))), *shown])
    return table(columns, rows)


def contenders_table(contenders: Sequence[Contender]) -> str:
    """Size, cost and scores of each network; mean ± sd over its models."""
    titles = ("parameters", "MACs per voxel", "models", "training", "prediction", "Dice", "HD95, mm", "ASSD, mm")
    rows = []
    for one in contenders:
        models = {record["model"] for pool in one.pools for record in pool.records}
        rows.append(
            [
                one.name,
                f"{one.network.parameters:,}",
                f"{one.network.macs_per_output_voxel:,.0f}",
                str(len(models)),
                duration(one.training_seconds),
                duration(one.prediction_seconds),
                *(written(one.over_models(key), digits) for key, _, digits in _KEYS),
            ]
        )
    means = [mean for one in contenders if (mean := one.over_models("dice").mean) is not None]
    best = [i for i, one in enumerate(contenders) if means and one.over_models("dice").mean == max(means)]
    return table([Column("network"), *(Column(title, True) for title in titles)], rows, strong=best)


def written(found: Spread, digits: int) -> str:
    """Mean ± standard deviation."""
    if found.mean is None:
        return NONE
    return f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")


def number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
