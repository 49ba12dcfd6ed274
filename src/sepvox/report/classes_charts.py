"""Charts of class maps: scores per class, and the course of several trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sepvox.report.classes_scores import Record, of_class
from sepvox.report.curves import series, smoothed
from sepvox.report.figures import DPI, INK, colour

_POINTS = 80
# Names of so many classes stand side by side.
_LEVEL = 6

Metrics = list[dict[str, Any]]


def draw_boxes(groups: Mapping[str, Sequence[Record]], classes: Sequence[str]) -> Any:
    """Dice and HD95 of each class over subjects: quartiles as boxes, whiskers to 1.5 interquartile ranges, all subjects.

    Parameters
    ----------
    groups : mapping of str to records
        One box per class and group; a legend names groups where there are several.
    """
    room = len(groups) + 0.6
    figure = Figure(figsize=(11.4, 3.4), dpi=1.5 * DPI, layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, key, title in zip(panels, ("dice", "hd95_mm"), ("Dice", "HD95, mm"), strict=True):
        for place, name in enumerate(classes):
            for number, records in enumerate(groups.values()):
                values = [value for value in of_class(records, name, key) if value is not None]
                if values:
                    _box(axes, place * room + number, values, colour(number))
        axes.set(title=title, xlim=(-0.8, len(classes) * room - 0.8))
        middle = (len(groups) - 1) / 2
        turned = {"rotation": 30, "ha": "right"} if len(classes) > _LEVEL else {}
        axes.set_xticks([place * room + middle for place in range(len(classes))], classes, **turned)
        axes.tick_params(axis="x", length=0)
        axes.grid(color=INK, alpha=0.12, axis="y")
        axes.set_axisbelow(True)
    panels[1].set_ylim(bottom=0)
    if len(groups) > 1:
        marks = [panels[1].plot([], [], "s", color=colour(number))[0] for number in range(len(groups))]
        panels[1].legend(marks, groups, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _box(axes: Any, place: float, values: list[float], shade: str) -> None:
    line = {"color": shade, "linewidth": 1.1}
    axes.boxplot(
        [values],
        positions=[place],
        widths=0.62,
        showfliers=len(values) > _POINTS,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": shade + "33", "edgecolor": shade, "linewidth": 1.1},
        medianprops={"color": shade, "linewidth": 2.2},
        whiskerprops=line,
        capprops=line,
        flierprops={"marker": ".", "markersize": 3, "markerfacecolor": shade, "markeredgecolor": "none"},
    )
    if len(values) <= _POINTS:
        # A fixed pattern keeps equal values apart and the picture the same.
        offsets = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.45
        axes.plot(place + offsets, values, ".", color=shade, markersize=4, markeredgewidth=0, alpha=0.75)


def draw_trainings(metrics: Mapping[str, Metrics], groups: Mapping[str, str]) -> Any:
    """Training loss, validation loss and validation Dice of all models, published checkpoints marked.

    Parameters
    ----------
    metrics : mapping of model to the lines of its metrics.jsonl
    groups : mapping of model to what it is coloured and named by
    """
    figure = Figure(figsize=(11.4, 3.1), dpi=1.5 * DPI, layout="constrained")
    loss, checked, dice = figure.subplots(1, 3)
    names = list(dict.fromkeys(groups[model] for model in metrics))
    for model, lines in metrics.items():
        style = {"color": colour(names.index(groups[model])), "linewidth": 1.2, "alpha": 0.85}
        steps, values = series(lines, "loss")
        loss.plot(steps, smoothed(values), **style)
        steps, values = series(lines, "validation_loss")
        checked.plot(steps, values, ".-", markersize=3, **style)
        steps, values = validation_dice(lines)
        dice.plot(steps, values, ".-", markersize=3, **style)
        published = [line["iteration"] for line in lines if line.get("best")]
        if published:
            dice.plot(published[-1], values[steps == published[-1]], "o", color=style["color"], markersize=5)
    for axes, title in ((loss, "Training loss"), (checked, "Validation loss"), (dice, "Validation Dice")):
        axes.set(title=title, xlabel="iteration")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color=INK, alpha=0.12)
        axes.set_axisbelow(True)
        if not any(len(line.get_xdata()) for line in axes.lines):
            axes.text(0.5, 0.5, "no validation subjects", transform=axes.transAxes, ha="center", fontsize=8)
            axes.set(xticks=[], yticks=[])
    if len(names) > 1:
        marks = [loss.plot([], [], color=colour(number))[0] for number in range(len(names))]
        dice.legend(marks, names, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def validation_dice(lines: Metrics) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Iterations and mean validation Dice; metrics.jsonl has the error, 1 - Dice, since smaller is better there."""
    steps, errors = series(lines, "validation_dice_error")
    return steps, 1 - errors
