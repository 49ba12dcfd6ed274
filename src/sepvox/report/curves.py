"""Charts: scores against the merge threshold, and the course of training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from sepvox.errors import StoreError
from sepvox.report.figures import DPI, INK

SPLIT, MERGE, ACCENT = "#d97a1e", "#3a8ed0", "#3aa37a"
COLUMNS = 3


def draw_voi(scores: list[dict[str, Any]]) -> Any:
    """VI split, merge and sum against the threshold, one panel per volume, the chosen threshold marked.

    Parameters
    ----------
    scores : list of dict
        Contents of the volumes' scores.json.
    """
    columns = min(COLUMNS, len(scores))
    rows = -(-len(scores) // columns)
    figure = Figure(figsize=(max(4.6, 3.8 * columns), 2.9 * rows), dpi=1.5 * DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, volume in zip(grid.flat, scores, strict=False):
        entries, chosen = volume["thresholds"], volume["chosen"]
        thresholds = [entry["threshold"] for entry in entries]
        for key, label, colour in (("split", "split", SPLIT), ("merge", "merge", MERGE), ("sum", "sum", INK)):
            values = [entry[f"voi_{key}"] for entry in entries]
            axes.plot(thresholds, values, ".-", label=label, color=colour, linewidth=1.4, markersize=4)
        axes.axvline(chosen["threshold"], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(chosen["threshold"], chosen["voi_sum"], "o", color=INK, markersize=6)
        # On a dark ground a box would hide the lines; the text stands on the side that has more room.
        right = chosen["threshold"] < np.mean([thresholds[0], thresholds[-1]])
        axes.annotate(
            f"{chosen['voi_sum']:.2f} bits\nat {chosen['threshold']:g}",
            (chosen["threshold"], 1),
            xycoords=("data", "axes fraction"),
            xytext=(5 if right else -5, -2),
            textcoords="offset points",
            va="top",
            ha="left" if right else "right",
            fontsize=8,
        )
        axes.set(title=f"{volume['volume']} ({volume['role']})", xlabel="merge threshold", ylabel="VI, bits")
        axes.set_ylim(bottom=0, top=1.12 * max(max(entry["voi_sum"] for entry in entries), 1e-3))
        _grid(axes)
    for axes in grid.flat[len(scores) :]:
        axes.set_axis_off()
    grid.flat[0].legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, handlelength=1.2, columnspacing=1, borderpad=0
    )
    return figure


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl, one dictionary per line.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    try:
        return [dict(json.loads(line)) for line in path.read_text().splitlines() if line]
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; run train first") from None
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path}: not one JSON object per line ({error}); run train again") from None


def draw_training(metrics: list[dict[str, Any]]) -> Any:
    """Loss and validation loss, validation VI with the published checkpoint, and the learning rate."""
    figure = Figure(figsize=(11.4, 3.0), dpi=1.5 * DPI, layout="constrained")
    loss, voi, rate = figure.subplots(1, 3)
    steps, values = series(metrics, "loss")
    smooth = smoothed(values)
    if len(values) >= 80:
        loss.plot(steps, values, color=SPLIT, linewidth=0.5, alpha=0.35)
    loss.plot(steps, smooth, color=SPLIT, linewidth=1.4, label="training")
    checked, validation = series(metrics, "validation_loss")
    loss.plot(checked, validation, ".-", color=MERGE, linewidth=1.4, markersize=4, label="validation")
    shown = np.concatenate([values, validation])
    if len(shown) and shown.min() > 0 and shown.max() > 5 * shown.min():
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        loss.yaxis.set_minor_locator(NullLocator())
    loss.set(title="Loss", xlabel="iteration")
    loss.legend(fontsize=8, handlelength=1.2)
    checked, values = series(metrics, "validation_voi")
    voi.plot(checked, values, ".-", color=MERGE, linewidth=1.4, markersize=4)
    voi.set(title="VI of the validation crop, bits", xlabel="iteration")
    best = [line for line in metrics if line.get("best")]
    if best:
        last = best[-1]
        voi.plot(last["iteration"], last["validation_voi"], "o", color=INK, markersize=6)
        text = f"published\n{last['validation_voi']:.2f}"
        late = last["iteration"] > 0.6 * max(checked)
        voi.annotate(
            text,
            (last["iteration"], last["validation_voi"]),
            xytext=(-8 if late else 8, 8),
            textcoords="offset points",
            fontsize=8,
            ha="right" if late else "left",
            va="bottom",
        )
        low, high = min(values), max(values)
        voi.set_ylim(max(0.0, low - 0.1 * (high - low) - 0.02), high + 0.3 * (high - low) + 0.05)
    steps, values = series(metrics, "learning_rate")
    rate.plot(steps, values, color=ACCENT, linewidth=1.4)
    rate.set(title="Learning rate", xlabel="iteration")
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    for axes in (loss, voi, rate):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _grid(axes)
    return figure


def _grid(axes: Any) -> None:
    axes.grid(color=INK, alpha=0.12)
    axes.set_axisbelow(True)


def series(metrics: list[dict[str, Any]], key: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Iterations and values of one key of metrics.jsonl."""
    lines = [line for line in metrics if line.get(key) is not None]
    return np.array([line["iteration"] for line in lines], int), np.array([line[key] for line in lines], float)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over a fortieth of the run, over fewer values at its ends."""
    half = len(values) // 80
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    begin, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    smooth: NDArray[np.float64] = (sums[end] - sums[begin]) / np.maximum(end - begin, 1)
    return smooth
