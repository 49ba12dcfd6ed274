"""Tables of the page of class maps: models, folds, subjects to look at, clean-up, compared networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from sepvox.nets.describe import Description
from sepvox.report.classes_scores import ALL, Look, Pool, Record, of_class, of_mean, ranked, undecided
from sepvox.report.numbers import number, written
from sepvox.report.page import NONE, Column, facts, table
from sepvox.report.tables import times
from sepvox.spread import Spread, spread

KEYS = (("dice", "Dice", 3), ("hd95_mm", "HD95, mm", 2), ("assd_mm", "ASSD, mm", 2))


def headline(pool: Pool | None, network: Description, subjects: int) -> str:
    """Key figures: Dice of the first pool that has scores, its worst subject, and the network's size."""
    items = []
    if pool is not None:
        dice, distance = spread(of_mean(pool.records, "dice")), spread(of_mean(pool.records, "hd95_mm"))
        items.append(("Mean Dice", written(dice, 3), f"{dice.number} {pool.role} subjects, all classes"))
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
    columns += [Column(title, True) for _, title, _ in KEYS] + [Column("missed", True), Column("invented", True)]
    rows: list[list[str]] = []
    strong = []
    for pool in (pool for pool in pools if pool.records):
        title = [pool.name, f"{len(pool.records)} {pool.role}"]
        cases = [undecided(record) for record in pool.records]
        for name in classes:
            scores = [written(spread(of_class(pool.records, name, key)), digits) for key, _, digits in KEYS]
            counts = [sum(case.get(name) == kind for case in cases) for kind in ("missed", "invented")]
            rows.append([*title, name, *scores, *map(str, counts)])
            title = ["", ""]
        scores = [written(spread(of_mean(pool.records, key)), digits) for key, _, digits in KEYS]
        counts = [sum(kind in case.values() for case in cases) for kind in ("missed", "invented")]
        strong.append(len(rows))
        rows.append(["", "", ALL, *scores, *map(str, counts)])
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


def networks_table(pools: Mapping[str, Sequence[Pool]], classes: Sequence[str]) -> str:
    """Scores of each compared network for each class; mean ± sd over its models.

    Parameters
    ----------
    pools : mapping of network to its pools
    """
    columns = [Column("network"), Column("class"), *(Column(title, True) for _, title, _ in KEYS)]
    rows = [
        [
            network if place == 0 else "",
            name,
            *(written(over_models(own, key, name), digits) for key, _, digits in KEYS),
        ]
        for network, own in pools.items()
        for place, name in enumerate(classes)
    ]
    return table(columns, rows)


def over_models(pools: Sequence[Pool], key: str, name: str | None = None) -> Spread:
    """Mean and spread over models of each model's mean over subjects, of one class or of the mean over classes."""
    groups: dict[str, list[Record]] = {}
    for pool in pools:
        for record in pool.records:
            groups.setdefault(record["model"], []).append(record)
    return spread(
        spread(of_mean(records, key) if name is None else of_class(records, name, key)).mean
        for records in groups.values()
    )
