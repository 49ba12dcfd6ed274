"""Figure 3 of Ras et al. (2019), as found here: accuracy against the number of training videos."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sepvox.report.curves import MERGE, SPLIT
from sepvox.report.figures import DPI, INK
from sepvox.studies.video_mnist.comparison import Comparison, Mean
from sepvox.studies.video_mnist.published import NETWORKS, TABLE_2, TITLES, Network

_COLOURS: dict[Network, str] = {"dense": MERGE, "tt": SPLIT}
_MARKERS: dict[Network, str] = {"dense": "s", "tt": "o"}


def draw_accuracy(rows: Mapping[int, Comparison], title: str) -> Any:
    """Means with their standard errors, filled and joined, beside the published means, hollow.

    Parameters
    ----------
    rows : mapping
        Comparisons by number of training videos.
    title : str
        What the accuracies were measured on.
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=1.5 * DPI, layout="constrained")
    axes = figure.subplots()
    counts = sorted(rows)
    for network in NETWORKS:
        found = [_of(rows[count], network) for count in counts]
        style: dict[str, Any] = {"color": _COLOURS[network], "marker": _MARKERS[network], "markersize": 5}
        axes.errorbar(
            counts,
            [each.mean for each in found],
            yerr=[each.error or 0.0 for each in found],
            label=f"{TITLES[network]}, here",
            linewidth=1.4,
            capsize=2.5,
            **style,
        )
        published = [count for count in counts if count in TABLE_2]
        if published:
            accuracies = [TABLE_2[count].accuracy[network] for count in published]
            axes.plot(
                published,
                accuracies,
                linestyle="none",
                fillstyle="none",
                label=f"{TITLES[network]}, published",
                **style,
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(title=title, xlabel="training videos", ylabel="accuracy")
    axes.grid(color=INK, alpha=0.12)
    axes.set_axisbelow(True)
    axes.legend(loc="best", fontsize=8)
    return figure


def _of(row: Comparison, network: Network) -> Mean:
    return row.dense if network == "dense" else row.tt
