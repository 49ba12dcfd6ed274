"""Networks of one experiment side by side: size, cost and scores, as a table, a chart and a file.

A *contender* is one entry of `models`; its models differ in seed and fold only. Scores are means over these models, each
of them its own mean over volumes or subjects, and the spread between models is their sample standard deviation.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from sepvox import markers
from sepvox.errors import StaleError, StoreError
from sepvox.experiments.base import Experiment
from sepvox.nets.describe import Description
from sepvox.report.curves import read_metrics
from sepvox.report.figures import DPI, INK, colour
from sepvox.report.numbers import number, written
from sepvox.report.page import Column, table
from sepvox.report.tables import duration
from sepvox.report.timing import Cost
from sepvox.spread import Spread, spread
from sepvox.versions import VERSIONS


@dataclass(frozen=True)
class Score:
    """One score of a contender over its models; `digits` are those that are worth writing."""

    title: str
    digits: int
    spread: Spread


@dataclass(frozen=True)
class Contender:
    """One network of a comparison.

    Attributes
    ----------
    models : int
        How many models it was trained as.
    training_seconds, prediction_seconds : float or None
        Of one model, means over its models; None where nothing measured them. Training is the time in which it saw its
        patches, by its own log, over all attempts.
    voxels : int
        How many voxels one model predicts.
    scores : tuple of Score
        The first is what contenders are ranked by.
    """

    name: str
    network: Description
    models: int
    training_seconds: float | None
    prediction_seconds: float | None
    voxels: int
    scores: tuple[Score, ...]

    @property
    def seconds_per_million(self) -> float | None:
        """Seconds of prediction per million voxels."""
        return (
            None if self.prediction_seconds is None or not self.voxels else self.prediction_seconds / self.voxels * 1e6
        )


def contender(
    experiment: Experiment,
    results: Path,
    entry: str,
    models: Sequence[str],
    network: Description,
    costs: Sequence[Cost],
    voxels: int,
    scores: Sequence[Score],
) -> Contender:
    """One network with what its models cost."""
    predicted: dict[str, float] = {}
    for cost in costs:
        # "MODEL" where one job predicts many subjects, "MODEL, VOLUME" where volumes have jobs of their own.
        model = cost.subject.partition(", ")[0]
        if cost.step == "predict" and model in models:
            predicted[model] = predicted.get(model, 0.0) + cost.seconds
    return Contender(
        name=entry,
        network=network,
        models=len(models),
        # A workflow's measurement is that of the last job, which may have found its work done.
        training_seconds=spread(logged_seconds(experiment, results, model) for model in models).mean,
        prediction_seconds=spread(predicted.values()).mean,
        voxels=voxels,
        scores=tuple(scores),
    )


def logged_seconds(experiment: Experiment, results: Path, model: str) -> float | None:
    """Seconds in which a model saw its patches, validation left out; None for weights that were not trained here."""
    if experiment.train is None:
        return None
    folder = experiment.model_directory(results, model)
    record = markers.read_json(folder / "config.json", "training")["training"]
    # Where the batch was planned, settings do not say it.
    batch = record["batch"] if "batch" in record else record["settings"]["batch"]
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if line.get("patches_per_second")]
    before = [0, *(line["iteration"] for line in lines)]
    steps = (line["iteration"] - start for start, line in zip(before, lines, strict=False))
    return float(sum(count * batch / line["patches_per_second"] for count, line in zip(steps, lines, strict=True)))


def comparison_table(contenders: Sequence[Contender], best: Literal["highest", "lowest"]) -> str:
    """Size, cost and scores of each contender, the best by its first score set off."""
    titles = ["parameters", "MACs per voxel", "models", "training", "prediction", "s per million voxels"]
    titles += [score.title for score in contenders[0].scores]
    rows = [
        [
            one.name,
            f"{one.network.parameters:,}",
            f"{one.network.macs_per_output_voxel:,.0f}",
            str(one.models),
            duration(one.training_seconds),
            duration(one.prediction_seconds),
            number(one.seconds_per_million, 2),
            *(written(score.spread, score.digits) for score in one.scores),
        ]
        for one in contenders
    ]
    means = [one.scores[0].spread.mean for one in contenders]
    known = [mean for mean in means if mean is not None]
    limit = None if not known else max(known) if best == "highest" else min(known)
    strong = [place for place, mean in enumerate(means) if limit is not None and mean == limit]
    return table([Column("network"), *(Column(title, True) for title in titles)], rows, strong=strong)


def _as_csv(contenders: Sequence[Contender]) -> str:
    """What the table shows, unrounded: one row per contender, a mean and an sd for every score."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    titles = [score.title for score in contenders[0].scores]
    costs = ["training_seconds", "prediction_seconds", "voxels"]
    lines.writerow(
        [
            "network",
            "parameters",
            "macs_per_voxel",
            "models",
            *costs,
            *(f"{t} {k}" for t in titles for k in ("mean", "sd")),
        ]
    )
    for one in contenders:
        found = [value for score in one.scores for value in (score.spread.mean, score.spread.sd)]
        size = [one.network.parameters, one.network.macs_per_output_voxel, one.models]
        lines.writerow([one.name, *size, one.training_seconds, one.prediction_seconds, one.voxels, *found])
    return text.getvalue()


def write_comparison(experiment: Experiment, results: Path, contenders: Sequence[Contender]) -> None:
    """Write report/comparison.csv, and beside it of which settings it is."""
    layout = experiment.layout(results)
    layout.comparison_marker().unlink(missing_ok=True)
    with markers.replacing(layout.comparison()) as temporary:
        temporary.write_text(_as_csv(contenders), encoding="utf-8")
    markers.mark(layout.comparison_marker(), comparison_fingerprint(experiment))


def read_comparison(experiment: Experiment, results: Path) -> dict[str, dict[str, str]]:
    """Rows of report/comparison.csv by network, their cells by title.

    Raises
    ------
    StoreError
        If it was not written.
    StaleError
        If it is of other settings.
    """
    layout = experiment.layout(results)
    path = layout.comparison()
    if not path.is_file():
        raise StoreError(f"{path}: missing; run the experiment first: snakemake --cores N --configfile CONFIG")
    if not markers.is_done(layout.comparison_marker(), comparison_fingerprint(experiment)):
        raise StaleError(
            f"{path}: is of other settings than the experiment has; run it again: snakemake --cores N --configfile CONFIG"
        )
    with path.open(newline="", encoding="utf-8") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def comparison_fingerprint(experiment: Experiment) -> str:
    """Of the settings that a comparison is of."""
    return markers.fingerprint("comparison", VERSIONS["report"], experiment.model_dump(mode="json"))


def draw_comparison(contenders: Sequence[Contender]) -> Any:
    """First score against parameters, one point per contender that has one, with the standard deviation over its models."""
    figure = Figure(figsize=(6.4, 3.6), dpi=1.5 * DPI, layout="constrained")
    axes = figure.subplots()
    shown = [(one, score.mean, score.sd) for one in contenders if (score := one.scores[0].spread).mean is not None]
    for place, (one, mean, sd) in enumerate(shown):
        size = one.network.parameters
        axes.errorbar(size, mean, sd or None, fmt="o", color=colour(place), markersize=6, capsize=3)
        above = (size, mean + (sd or 0))
        axes.annotate(one.name, above, xytext=(0, 6), textcoords="offset points", fontsize=8, ha="center")
    # Room for the highest name.
    axes.margins(y=0.12)
    axes.set_xscale("log")
    counts = sorted(one.network.parameters for one in contenders)
    axes.set_xlim(counts[0] / 1.3, counts[-1] * 1.3)
    apart = [count for place, count in enumerate(counts) if place == 0 or count > 1.12 * counts[place - 1]]
    axes.set_xticks(apart)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shortened(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set(xlabel="parameters", ylabel=contenders[0].scores[0].title)
    axes.grid(color=INK, alpha=0.12)
    axes.set_axisbelow(True)
    return figure


def shortened(count: float) -> str:
    """A count with three digits: 950, 28.4k, 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"
