"""report: from an experiment's files to pictures and one page that holds them all.

It reads files only, and of a volume no more than the planes and crops that are shown.
"""

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
from sepvox.report.curves import draw_training, draw_voi, read_metrics
from sepvox.report.errors_figure import draw_errors, largest_errors, read_error_views
from sepvox.report.machine import hardware, versions
from sepvox.report.overview import draw_overview, read_views
from sepvox.report.page import Section
from sepvox.report.slices import WINDOW
from sepvox.report.tables import VolumeSummary
from sepvox.report.timing import read_costs

MODEL = "main"
ERRORS = 3


def report(experiment: NeuronsExperiment, config: Path, results: Path) -> None:
    """Write report/index.html and report/figures/*.png.

    The figures are those of the first test volume, or else of the first segmented one; the page shows all volumes.

    Raises
    ------
    ConfigError
        If no volume of the experiment is segmented.
    StoreError
        If a step that the report shows has not been run.
    """
    layout = Layout(results / experiment.experiment)
    if not experiment.predicted():
        raise ConfigError(f"{config}: volumes: none of role validate, test or apply, so there is nothing to report")
    volumes = [_summary(experiment, layout, name) for name in experiment.volumes]
    network = describe(resolved(experiment.network))
    with figures.look():
        sections = [
            _pictures(experiment, layout),
            *(_scored(experiment, layout, volumes) if experiment.labelled() else []),
            *([_training(layout)] if experiment.train is not None else []),
            _network(network),
            _costs(layout),
            _made_with(experiment, config),
        ]
    lead = tables.headline(volumes, network) + tables.volumes_table(volumes)
    subtitle = f"{len(volumes)} volume{'s' * (len(volumes) > 1)}, model {MODEL}, sepvox {versions()['sepvox']}"
    text = page.page(experiment.experiment, subtitle, lead, sections)
    with markers.replacing(layout.report()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _summary(experiment: NeuronsExperiment, layout: Layout, name: str) -> VolumeSummary:
    role = experiment.volumes[name].role
    volume = open_volume(layout, name) if (layout.image(name) / "zarr.json").exists() else None
    return VolumeSummary(
        name=name,
        role=role,
        shape=None if volume is None else volume.shape,
        geometry=None if volume is None else volume.geometry,
        threshold=markers.read_json(layout.threshold(MODEL)) if name in experiment.predicted() else None,
        scores=markers.read_json(layout.scores(MODEL, name)) if name in experiment.labelled() else None,
    )


def _first_shown(experiment: NeuronsExperiment, names: list[str]) -> str:
    return next((name for name in names if name in experiment.named("test")), names[0])


def _save(layout: Layout, name: str, png: bytes) -> None:
    with markers.replacing(layout.figures() / f"{name}.png") as temporary:
        temporary.write_bytes(png)


def _pictures(experiment: NeuronsExperiment, layout: Layout) -> Section:
    names = experiment.predicted()
    body = page.paragraph(
        "Planes through the centre, at most "
        f"{WINDOW} of the smallest voxels wide. Affinities along z, y and x are red, green and blue. A segment has the colour "
        "of the object that it overlaps most; further segments of the same object have lighter or darker tones of it."
    )
    for name in sorted(names, key=lambda name: experiment.volumes[name].role != "test"):
        png = figures.png(draw_overview(read_views(layout, MODEL, name, open_volume(layout, name))))
        if name == _first_shown(experiment, names):
            _save(layout, "overview", png)
        body += page.heading(f"{name} ({experiment.volumes[name].role})")
        body += page.picture(png, f"Raw, affinities, fragments, segmentation and truth of {name} in three planes")
    return Section("Pictures", body)


def _scored(experiment: NeuronsExperiment, layout: Layout, volumes: list[VolumeSummary]) -> list[Section]:
    """VI against the threshold, and the largest errors."""
    scores: dict[str, dict[str, Any]] = {volume.name: volume.scores for volume in volumes if volume.scores}
    chart = draw_voi(list(scores.values()))
    _save(layout, "voi", figures.png(chart))
    width = round(chart.get_size_inches()[0] * figures.DPI)
    chosen_on = next(iter(scores.values()))["chosen"]["chosen_on"]
    body = page.chart(
        figures.inline_svg(chart, "voi"),
        width,
        f"Variation of information against ground truth. The dashed line is the threshold, chosen on: {chosen_on}.",
    )
    errors = ""
    for name in sorted(scores, key=lambda name: scores[name]["role"] != "test"):
        largest = largest_errors(scores[name], ERRORS)
        png = figures.png(draw_errors(read_error_views(largest, layout, MODEL, name, open_volume(layout, name))))
        if name == _first_shown(experiment, list(scores)):
            _save(layout, "errors", png)
        errors += page.heading(f"{name} ({scores[name]['role']})") + page.picture(png, f"Largest errors in {name}")
        errors += tables.errors_table(largest) if largest else ""
    explained = page.paragraph(
        "What costs most bits of VI: objects cut into several segments, and segments that cover several objects. The label in "
        "question is yellow where it is drawn and outlined in white; its largest parts are blue, red and green."
    )
    return [Section("Threshold", body), Section("Largest errors", explained + errors)]


def _training(layout: Layout) -> Section:
    chart = draw_training(read_metrics(layout.metrics(MODEL)))
    _save(layout, "training", figures.png(chart))
    width = round(chart.get_size_inches()[0] * figures.DPI)
    return Section("Training", page.chart(figures.inline_svg(chart, "training"), width))


def _network(network: Description) -> Section:
    sizes = (network.receptive_field, network.total_stride, network.halo)
    field, stride, halo = (tables.times(size) for size in sizes)
    text = f"{network.name}, {network.padding} padding, receptive field {field}, total stride {stride}, halo {halo} (z y x)."
    return Section("Network", page.paragraph(text) + tables.network_table(network))


def _costs(layout: Layout) -> Section:
    costs = read_costs(layout.benchmarks())
    if not costs:
        return Section("Time and memory", page.paragraph("Not measured: the workflow measures, single verbs do not."))
    text = "Added up over the jobs of a step, which may have run side by side; memory is that of the largest job."
    return Section("Time and memory", page.paragraph(text) + tables.costs_table(costs))


def _made_with(experiment: NeuronsExperiment, config: Path) -> Section:
    body = page.beside(tables.pairs_table("software", versions()), tables.pairs_table("this machine", hardware()))
    body += page.folded(f"Full configuration ({config.name})", dump(experiment))
    return Section("Configuration and versions", body)
