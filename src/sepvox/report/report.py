"""report: from an experiment's files to pictures and one page that holds them all.

It reads files only, and of a volume no more than the planes and crops that are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from sepvox import markers
from sepvox.config import dump
from sepvox.errors import ConfigError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.nets.describe import Description, describe
from sepvox.nets.model_config import resolved
from sepvox.prepare.volume import open_volume
from sepvox.report import figures, page, tables
from sepvox.report.comparison import Score, comparison_table, contender, draw_comparison, write_comparison
from sepvox.report.curves import draw_training, draw_voi, read_metrics
from sepvox.report.errors_figure import draw_errors, largest_errors, read_error_views
from sepvox.report.machine import hardware, versions
from sepvox.report.overview import draw_overview, read_views
from sepvox.report.page import Section
from sepvox.report.slices import WINDOW
from sepvox.report.tables import VolumeSummary
from sepvox.report.timing import Cost, read_costs
from sepvox.spread import spread

ERRORS = 3


@dataclass(frozen=True)
class _Model:
    """One model of the experiment; the figures beside the page are those of the first one."""

    name: str
    network: Description
    volumes: list[VolumeSummary]
    first: bool
    alone: bool

    def title(self, text: str = "") -> str:
        """A heading that names the model where there are several."""
        if self.alone:
            return page.heading(text) if text else ""
        return page.heading(f"{self.name}: {text}" if text else self.name)

    def anchor(self, name: str) -> str:
        return name if self.alone else f"{name}-{self.name}"


def report(experiment: NeuronsExperiment, config: Path, results: Path) -> None:
    """Write report/index.html and report/figures/*.png; of several networks also report/comparison.csv.

    The figures are those of the first model and of the first test volume, or else of the first segmented one; the page
    shows all models and volumes.

    Raises
    ------
    ConfigError
        If no volume of the experiment is segmented.
    StoreError
        If a step that the report shows has not been run.
    """
    layout = experiment.layout(results)
    if not experiment.predicted():
        raise ConfigError(f"{config}: volumes: none of role validate, test or apply, so there is nothing to report")
    models = _models(experiment, layout)
    costs = read_costs(layout.benchmarks())
    with figures.look():
        sections = [
            _pictures(experiment, layout, models),
            *([_comparison(experiment, results, models, costs)] if len(experiment.models) > 1 else []),
            *(_scored(experiment, layout, models) if experiment.labelled() else []),
            *([_training(layout, models)] if experiment.train is not None else []),
            _network(models),
            _costs(costs),
            _made_with(experiment, config),
        ]
    lead = "".join(
        model.title() + tables.headline(model.volumes, model.network) + tables.volumes_table(model.volumes)
        for model in models
    )
    count, names = len(experiment.volumes), ", ".join(model.name for model in models)
    subtitle = (
        f"{count} volume{'s' * (count > 1)}, model{'s' * (len(models) > 1)} {names}, sepvox {versions()['sepvox']}"
    )
    text = page.page(experiment.experiment, subtitle, lead, sections)
    with markers.replacing(layout.report()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _models(experiment: NeuronsExperiment, layout: Layout) -> list[_Model]:
    runs = list(experiment.runs())
    return [
        _Model(
            name=run,
            network=describe(resolved(experiment.variant(run).network)),
            volumes=[_summary(experiment, layout, run, volume) for volume in experiment.volumes],
            first=run == runs[0],
            alone=len(runs) == 1,
        )
        for run in runs
    ]


def _summary(experiment: NeuronsExperiment, layout: Layout, model: str, name: str) -> VolumeSummary:
    role = experiment.volumes[name].role
    volume = open_volume(layout, name) if (layout.image(name) / "zarr.json").exists() else None
    scores = None
    if name in experiment.labelled():
        scores = markers.read_json(layout.scores(model, name), "volume", "role", "thresholds", "chosen", "errors")
    return VolumeSummary(
        name=name,
        role=role,
        shape=None if volume is None else volume.shape,
        geometry=None if volume is None else volume.geometry,
        threshold=markers.read_json(layout.threshold(model)) if name in experiment.predicted() else None,
        scores=scores,
    )


def _first_shown(experiment: NeuronsExperiment, names: list[str]) -> str:
    return next((name for name in names if name in experiment.named("test")), names[0])


def _save(layout: Layout, model: _Model, name: str, png: bytes) -> None:
    if not model.first:
        return
    with markers.replacing(layout.figures() / f"{name}.png") as temporary:
        temporary.write_bytes(png)


def _pictures(experiment: NeuronsExperiment, layout: Layout, models: list[_Model]) -> Section:
    names = experiment.predicted()
    body = page.paragraph(
        "Planes through the centre, at most "
        f"{WINDOW} of the smallest voxels wide. Affinities along z, y and x are red, green and blue. A segment has the colour "
        "of the object that it overlaps most; further segments of the same object have lighter or darker tones of it."
    )
    tested_first = sorted(names, key=lambda name: experiment.volumes[name].role != "test")
    for model, name in product(models, tested_first):
        png = figures.png(draw_overview(read_views(layout, model.name, name, open_volume(layout, name))))
        if name == _first_shown(experiment, names):
            _save(layout, model, "overview", png)
        body += model.title(f"{name} ({experiment.volumes[name].role})")
        body += page.picture(png, f"Raw, affinities, fragments, segmentation and truth of {name} in three planes")
    return Section("Pictures", body)


def _comparison(experiment: NeuronsExperiment, results: Path, models: list[_Model], costs: Sequence[Cost]) -> Section:
    """Networks side by side: entries of `models`, each over its seeds."""
    layout = experiment.layout(results)
    judged = [
        name for name in experiment.labelled() if experiment.volumes[name].role == "test"
    ] or experiment.labelled()
    contenders = []
    for entry in experiment.models:
        own = [model for model in models if experiment.runs()[model.name].entry == entry]
        chosen = [
            [volume.scores["chosen"] for volume in model.volumes if volume.scores and volume.name in judged]
            for model in own
        ]
        scores = [
            Score(title, 3, spread(spread(found[key] for found in volumes).mean for volumes in chosen))
            for key, title in (
                ("voi_sum", "VI sum, bits"),
                ("voi_split", "VI split"),
                ("voi_merge", "VI merge"),
                ("arand", "ARAND"),
            )
        ]
        voxels = sum(
            prod(volume.shape) for volume in own[0].volumes if volume.shape and volume.name in experiment.predicted()
        )
        names = [model.name for model in own]
        contenders.append(contender(experiment, results, entry, names, own[0].network, costs, voxels, scores))
    write_comparison(experiment, results, contenders)
    scored_on = f", each of them its mean over {', '.join(judged)} at its chosen threshold" if judged else ""
    body = page.paragraph(
        f"Means ± standard deviation over the models of a network (seeds){scored_on}. Times are those of one model, of training without start and validation."
    )
    body += comparison_table(contenders, best="lowest")
    if judged:
        chart = draw_comparison(contenders)
        with markers.replacing(layout.figures() / "comparison.png") as temporary:
            temporary.write_bytes(figures.png(chart))
        width = round(chart.get_size_inches()[0] * figures.DPI)
        body += page.chart(figures.inline_svg(chart, "comparison"), width, "VI against parameters; lower is better.")
    return Section("Comparison", body)


def _scored(experiment: NeuronsExperiment, layout: Layout, models: list[_Model]) -> list[Section]:
    """VI against the threshold, and the largest errors."""
    explained = page.paragraph(
        "What costs most bits of VI: objects cut into several segments, and segments that cover several objects. The label in "
        "question is yellow where it is drawn and outlined in white; its largest parts are blue, red and green."
    )
    thresholds = "".join(_threshold(layout, model) for model in models)
    errors = "".join(_errors(experiment, layout, model) for model in models)
    return [Section("Threshold", thresholds), Section("Largest errors", explained + errors)]


def _scores_of(model: _Model) -> dict[str, dict[str, Any]]:
    return {volume.name: volume.scores for volume in model.volumes if volume.scores}


def _threshold(layout: Layout, model: _Model) -> str:
    scores = _scores_of(model)
    chart = draw_voi(list(scores.values()))
    _save(layout, model, "voi", figures.png(chart))
    chosen_on = next(iter(scores.values()))["chosen"]["chosen_on"]
    return model.title() + page.chart(
        figures.inline_svg(chart, model.anchor("voi")),
        round(chart.get_size_inches()[0] * figures.DPI),
        f"Variation of information against ground truth. The dashed line is the threshold, chosen on: {chosen_on}.",
    )


def _errors(experiment: NeuronsExperiment, layout: Layout, model: _Model) -> str:
    scores = _scores_of(model)
    errors = ""
    for name in sorted(scores, key=lambda name: scores[name]["role"] != "test"):
        largest = largest_errors(scores[name], ERRORS)
        png = figures.png(draw_errors(read_error_views(largest, layout, model.name, name, open_volume(layout, name))))
        if name == _first_shown(experiment, list(scores)):
            _save(layout, model, "errors", png)
        errors += model.title(f"{name} ({scores[name]['role']})") + page.picture(png, f"Largest errors in {name}")
        errors += tables.errors_table(largest) if largest else ""
    return errors


def _training(layout: Layout, models: list[_Model]) -> Section:
    body = ""
    for model in models:
        chart = draw_training(read_metrics(layout.metrics(model.name)))
        _save(layout, model, "training", figures.png(chart))
        width = round(chart.get_size_inches()[0] * figures.DPI)
        body += model.title() + page.chart(figures.inline_svg(chart, model.anchor("training")), width)
    return Section("Training", body)


def _network(models: list[_Model]) -> Section:
    body = ""
    for model in models:
        network = model.network
        sizes = (network.receptive_field, network.total_stride, network.halo)
        field, stride, halo = (tables.times(size) for size in sizes)
        text = f"{network.name}, {network.padding} padding, receptive field {field}, total stride {stride}, halo {halo} (z y x)."
        body += model.title() + page.paragraph(text) + tables.network_table(network)
    return Section("Network", body)


def _costs(costs: Sequence[Cost]) -> Section:
    if not costs:
        return Section("Time and memory", page.paragraph("Not measured: the workflow measures, single verbs do not."))
    text = (
        "Added up over the jobs of a step, which may have run side by side; memory is that of the largest job. Of a job that "
        "ran several times, the last time counts."
    )
    return Section("Time and memory", page.paragraph(text) + tables.costs_table(costs))


def _made_with(experiment: NeuronsExperiment, config: Path) -> Section:
    body = page.beside(tables.pairs_table("software", versions()), tables.pairs_table("this machine", hardware()))
    body += page.folded(f"Full configuration ({config.name})", dump(experiment))
    return Section("Configuration and versions", body)
