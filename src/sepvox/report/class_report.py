"""report for classes: from an experiment's files to pictures and one page that holds them all.

It reads files only. Scores are those that score wrote for every subject, pooled over folds as `sepvox.report.classes_scores`
says; outlines are drawn on the prepared grid.
"""

import csv
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sepvox import markers
from sepvox.config import dump
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.base import MAIN
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.nets.describe import Description, describe
from sepvox.nets.settings import NetworkSettings
from sepvox.prepare.subject import open_subject
from sepvox.report import classes_tables, figures, page, tables
from sepvox.report.classes_charts import draw_boxes, draw_trainings
from sepvox.report.classes_overlay import Row, draw_overlays, read_views
from sepvox.report.classes_scores import Pool, Record, best_median_worst, pooled, read_pools, second_look
from sepvox.report.classes_tables import KEYS, over_models
from sepvox.report.comparison import Score, comparison_table, contender, draw_comparison, write_comparison
from sepvox.report.curves import read_metrics
from sepvox.report.machine import hardware, versions
from sepvox.report.page import Section
from sepvox.report.timing import Cost, read_costs

SHOWN = 3


def class_report(experiment: ClassesExperiment, config: Path, results: Path) -> None:
    """Write report/index.html and report/figures/*.png, and the scores over subjects as report/scores.csv and scores.json.

    Networks that are compared are also in report/comparison.csv. Pictures, folds and subjects to look at are those of the first entry of `models` and the first seed; tables and charts
    show all.

    Raises
    ------
    ConfigError
        If no subject is predicted.
    StoreError
        If a step that the report shows has not been run.
    """
    layout = experiment.layout(results)
    if not any(experiment.predicted(model) for model in experiment.predictors()):
        raise ConfigError(f"{config}: subjects: none is validated, tested or applied to, so there is nothing to report")
    pools = read_pools(experiment, layout)
    networks = _networks(experiment, results)
    costs = read_costs(layout.benchmarks())
    first = next((pool for pool in pools if pool.records), None)
    with figures.look():
        sections = [
            _pictures(experiment, layout, first),
            *([_scores(layout, pools, list(experiment.classes))] if first is not None else []),
            *([_comparison(experiment, results, pools, networks, costs)] if len(networks) > 1 else []),
            *([_folds(experiment, pools)] if experiment.folds() and first is not None else []),
            *([_looks(first)] if first is not None else []),
            *([_training(experiment, layout)] if experiment.train is not None else []),
            _clean_up(experiment, layout),
            _network(networks),
            _costs(costs),
            _made_with(experiment, config),
        ]
    rows = pooled(pools, list(experiment.classes))
    if rows:
        markers.write_json(layout.pooled("json"), rows)
        with markers.replacing(layout.pooled("csv")) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    count = len(experiment.people)
    models = len(experiment.runs())
    lead = classes_tables.headline(first, next(iter(networks.values())), count)
    lead += classes_tables.pools_table(pools, list(experiment.classes)) if first is not None else ""
    subtitle = f"{count} subject{'s' * (count > 1)}, {models} model{'s' * (models > 1)}, sepvox {versions()['sepvox']}"
    text = page.page(experiment.experiment, subtitle, lead, sections)
    with markers.replacing(layout.report()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _networks(experiment: ClassesExperiment, results: Path) -> dict[str, Description]:
    """The network of each entry of `models`, as config.json beside the weights of its first model says."""
    found: dict[str, Description] = {}
    for model, run in experiment.runs().items():
        entry = run.entry or MAIN
        if entry in found:
            continue
        path = experiment.model_directory(results, model) / "config.json"
        try:
            found[entry] = describe(NetworkSettings.model_validate(markers.read_json(path, "network")["network"]))
        except ValidationError:
            raise StoreError(f"{path}: describes no network of sepvox; run the step that makes it again") from None
    return found


def _save(layout: Layout, name: str, png: bytes) -> None:
    with markers.replacing(layout.figures() / f"{name}.png") as temporary:
        temporary.write_bytes(png)


def _chart(layout: Layout, name: str, figure: Any, caption: str = "") -> str:
    """A chart inside the page; a PNG of it is saved."""
    _save(layout, name, figures.png(figure))
    width = round(figure.get_size_inches()[0] * figures.DPI)
    return page.chart(figures.inline_svg(figure, name), width, caption)


def _pictures(experiment: ClassesExperiment, layout: Layout, pool: Pool | None) -> Section:
    shown: list[tuple[tuple[str, ...], str, str]]
    ranked = {} if pool is None else best_median_worst(pool.records)
    if pool is not None and ranked:
        shown = [
            ((rank, record["subject"], f"Dice {record['mean']['dice']:.3f}"), record["model"], record["subject"])
            for rank, record in ranked.items()
        ]
        which = f"The {', '.join(lines[0] for lines, _, _ in shown)} of {len(pool.records)} {pool.role} subjects by mean Dice."
    else:
        model = next(model for model in experiment.predictors() if experiment.predicted(model))
        names = experiment.predicted(model)[:SHOWN]
        shown = [((name,), model, name) for name in names]
        missing = "none of those that were predicted has a label map" if pool is None else "no Dice is defined for any"
        which = f"The first subjects; {missing}."
    rows = [
        Row(lines, read_views(layout, model, name, open_subject(layout, name, experiment.classes)))
        for lines, model, name in shown
    ]
    body = page.paragraph(
        f"{which} Planes through the centroid of the labels, in proportions of millimetres; up is superior or anterior, left "
        f"is the subject's left. The image is {experiment.modalities[0]}."
    )
    png = figures.png(draw_overlays(rows, experiment.classes))
    _save(layout, "overlays", png)
    body += page.picture(png, f"Outlines in three planes of {', '.join(name for _, _, name in shown)}")
    return Section("Pictures", body)


def _scores(layout: Layout, pools: Sequence[Pool], classes: Sequence[str]) -> Section:
    groups: dict[str, list[Record]] = {}
    for pool in pools:
        if pool.records:
            groups.setdefault(_group(pool), []).extend(pool.records)
    caption = (
        "Per class over subjects: median, quartiles, whiskers to 1.5 interquartile ranges. Missed and invented classes have the Dice "
        "0 and no distance."
    )
    return Section("Scores", _chart(layout, "scores", draw_boxes(groups, classes), caption))


def _group(pool: Pool) -> str:
    """What seeds of one entry have in common; ensembles keep their name."""
    return pool.name if pool.ensemble else pool.entry


def _comparison(
    experiment: ClassesExperiment,
    results: Path,
    pools: Sequence[Pool],
    networks: Mapping[str, Description],
    costs: Sequence[Cost],
) -> Section:
    layout = experiment.layout(results)
    # Ensembles stand in the table of models: they cost as much as all of their folds.
    own = {entry: [pool for pool in pools if pool.entry == entry and not pool.ensemble] for entry in networks}
    contenders = []
    for entry, network in networks.items():
        models = [model for model, run in experiment.runs().items() if (run.entry or MAIN) == entry]
        names = [name for model in models for name in experiment.predicted(model)]
        voxels = sum(prod(open_subject(layout, name, experiment.classes).shape) for name in names) // len(models)
        scores = [Score(title, digits, over_models(own[entry], key)) for key, title, digits in KEYS]
        contenders.append(contender(experiment, results, entry, models, network, costs, voxels, scores))
    write_comparison(experiment, results, contenders)
    body = page.paragraph(
        "Means ± standard deviation over the models of a network (seeds and folds), each of them its mean over subjects and, "
        "in the first table, classes. Times are those of one model, of training without start and validation; voxels are those of "
        "the prepared scans."
    )
    body += comparison_table(contenders, best="highest")
    if len(experiment.classes) > 1:
        body += classes_tables.networks_table(own, list(experiment.classes))
    if any(pool.records for pool in pools):
        body += _chart(layout, "comparison", draw_comparison(contenders), "Mean Dice against parameters.")
    return Section("Comparison", body)


def _folds(experiment: ClassesExperiment, pools: Sequence[Pool]) -> Section:
    body = page.paragraph(
        "Every subject of a fold is tested by the one model that was not trained on its group. Mean ± standard deviation over the test "
        "subjects of a fold, each of them its mean over the classes."
    )
    crossed = [pool for pool in pools if pool.records and not pool.ensemble]
    for pool in crossed:
        body += page.heading(pool.name) if len(crossed) > 1 else ""
        roles = {model: list(experiment.roles(model).values()) for model in pool.models}
        body += classes_tables.folds_table(pool, roles)
    return Section("Folds", body)


def _looks(pool: Pool) -> Section:
    looks = second_look(pool.records)
    body = page.paragraph(
        f"Of the {len(pool.records)} {pool.role} subjects of {pool.name}: low Dice, large distances, classes that one of truth and "
        "prediction has alone, and volumes unlike the truth. The truth may be what is wrong."
    )
    return Section("Worth a second look", body + classes_tables.looks_table(looks))


def _training(experiment: ClassesExperiment, layout: Layout) -> Section:
    metrics = {model: read_metrics(layout.metrics(model)) for model in experiment.runs()}
    groups = {model: run.entry or model for model, run in experiment.runs().items()}
    caption = "A dot marks the published weights."
    return Section("Training", _chart(layout, "training", draw_trainings(metrics, groups), caption))


def _clean_up(experiment: ClassesExperiment, layout: Layout) -> Section:
    decisions = {
        model: markers.read_json(layout.clean_up(model), "foreground", "classes", mend="run `sepvox choose` again")
        for model in experiment.predictors()
    }
    text = (
        "Classes of which only the largest connected component is kept, and the mean Dice of the subjects it was chosen on, "
        "without and with it."
    )
    return Section(
        "Clean-up", page.paragraph(text) + classes_tables.clean_up_table(decisions, list(experiment.classes))
    )


def _network(networks: Mapping[str, Description]) -> Section:
    body = ""
    for entry, network in networks.items():
        body += page.heading(entry) if len(networks) > 1 else ""
        sizes = (network.receptive_field, network.total_stride)
        field, stride = (tables.times(size) for size in sizes)
        text = f"{network.name}, {network.padding} padding, receptive field {field}, total stride {stride} (z y x)."
        body += page.paragraph(text) + tables.network_table(network)
    return Section("Network", body)


def _costs(costs: Sequence[Cost]) -> Section:
    if not costs:
        return Section("Time and memory", page.paragraph("Not measured: the workflow measures, single verbs do not."))
    text = (
        "Added up over the jobs of a step, which may have run side by side; memory is that of the largest job. Of a job that "
        "ran several times, the last time counts."
    )
    return Section("Time and memory", page.paragraph(text) + tables.costs_table(costs))


def _made_with(experiment: ClassesExperiment, config: Path) -> Section:
    body = page.beside(tables.pairs_table("software", versions()), tables.pairs_table("this machine", hardware()))
    body += page.folded(f"Full configuration ({config.name})", dump(experiment))
    return Section("Configuration and versions", body)
