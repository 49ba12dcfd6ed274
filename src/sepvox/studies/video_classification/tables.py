"""What came out: one row per network as CSV and JSON, and a chart of the course of training and of the accuracies.

Over several seeds there are means, and the standard error of the accuracy.
"""

import csv
import io
from collections.abc import Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sepvox.report.figures import DPI, INK
from sepvox.studies.video_mnist.comparison import mean_of

COLOURS = ("#3a8ed0", "#d97a1e", "#3aa37a", "#9d5bc2", "#c2475b", "#7a8793")


def table(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per network, in the order of the results.

    Parameters
    ----------
    results : sequence of dict
        Contents of the units' result.json.
    """
    return [_row([each for each in results if each["label"] == label]) for label in _labels(results)]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows with a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def draw_accuracy(results: Sequence[dict[str, Any]], metrics: Sequence[Sequence[dict[str, Any]]]) -> Any:
    """Validation accuracy over the epochs, a line per unit, and test accuracy against parameters, MACs and seconds.

    Parameters
    ----------
    results, metrics : sequence
        result.json and the lines of metrics.jsonl of every unit, in the same order.
    """
    labels = _labels(results)
    colour = {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}
    figure = Figure(figsize=(12.4, 3.2), dpi=1.5 * DPI, layout="constrained")
    course, *panels = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1))
    for result, lines in zip(results, metrics, strict=True):
        epochs = [line["epoch"] for line in lines]
        accuracies = [line["validation_accuracy"] for line in lines]
        course.plot(epochs, accuracies, ".-", color=colour[result["label"]], linewidth=1.2, markersize=4)
    course.set(title="Validation accuracy", xlabel="epoch")
    course.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes, (key, name, unit) in zip(
        panels,
        (
            ("parameters", "million parameters", 1e6),
            ("macs_per_clip", "million MACs per clip", 1e6),
            ("training_seconds", "seconds of training", 1),
        ),
        strict=True,
    ):
        for result in results:
            axes.plot(result[key] / unit, result["accuracy"], "o", color=colour[result["label"]], markersize=6)
        axes.set(title="Test accuracy", xlabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(0, 1.1 * max(result[key] for result in results) / unit)
    for axes in (course, *panels):
        axes.set_ylim(0, 1.02)
        axes.grid(color=INK, alpha=0.12)
        axes.set_axisbelow(True)
    for label in labels:
        course.plot([], [], ".-", color=colour[label], label=label)
    course.legend(loc="lower right", fontsize=8, handlelength=1.2)
    return figure


def _labels(results: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(result["label"] for result in results))


def _row(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first, accuracy = results[0], mean_of([result["accuracy"] for result in results])
    return {
        "label": first["label"],
        "network": first["network"],
        "width": first["width"],
        "runs": len(results),
        "accuracy": accuracy.mean,
        "standard_error": accuracy.error,
        "test_videos": first["test_videos"],
        "parameters": first["parameters"],
        "macs_per_clip": first["macs_per_clip"],
        "epochs": first["epochs"],
        "training_seconds": mean(result["training_seconds"] for result in results),
        "seconds_per_1000_clips": mean(result["seconds_per_1000_clips"] for result in results),
        "device": first["device"],
        "threads": first["threads"],
    }
