"""The figure of a study, after Figure 1 of the supplement: validation loss and accuracy of every student by epoch.

Colour says n, line style says m; the dense re-training is black. The colours are of Okabe and Ito (2008), which people with
any colour vision tell apart. With several seeds a line is their mean, and the band around it goes from the least to the most.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from sepvox.report.figures import DPI, INK
from sepvox.studies.toy_approximation.settings import DENSE, STUDENTS, Student

COLOURS: Final = {None: INK, "1": "#0072b2", "2": "#d55e00", "*": "#009e73"}
STYLES: Final = {None: "-", 1: "-", 2: (0, (5, 1.6)), 3: (0, (1.2, 1.4))}
FAINT: Final = "#6b7280"

Curves = NDArray[np.float64]


def draw_curves(
    losses: Mapping[Student, Curves],
    accuracies: Mapping[Student, Curves],
    constant: tuple[float, float],
    note: str,
) -> Any:
    """Validation loss and accuracy against the epoch, side by side.

    Parameters
    ----------
    losses, accuracies : mapping
        By student, float64 (seeds, epochs).
    constant : (float, float)
        Loss and accuracy of the best constant output.
    note : str
        What stands below the panels.
    """
    figure = Figure(figsize=(11.4, 4.6), dpi=1.5 * DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, curves, level in ((left, losses, constant[0]), (right, accuracies, constant[1])):
        _panel(axes, curves)
        axes.axhline(level, color=FAINT, linewidth=0.9, linestyle=(0, (6, 3)))
        axes.annotate(
            "best constant output",
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=FAINT,
        )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(color=INK, alpha=0.12)
        axes.set_axisbelow(True)
    left.set_title("Validation loss")
    shown = np.concatenate([found.ravel() for found in losses.values()])
    if shown.max() > 5 * shown.min() > 0:
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    right.set_title("Validation accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", handlelength=2.6, fontsize=9, labelspacing=0.7)
    figure.supxlabel(note, fontsize=8, color=FAINT, x=0.01, ha="left")
    return figure


def _panel(axes: Any, curves: Mapping[Student, Curves]) -> None:
    """The lines of all students, the dense re-training last and on top."""
    for student in (*(student for student in STUDENTS if student != DENSE), DENSE):
        found = curves[student]
        epochs = np.arange(1, found.shape[1] + 1)
        colour = COLOURS[student.n]
        axes.plot(
            epochs,
            found.mean(axis=0),
            color=colour,
            linestyle=STYLES[student.m],
            linewidth=2.0 if student == DENSE else 1.5,
            marker="o" if len(epochs) == 1 else None,
            label=student.label,
        )
        if len(found) > 1:
            axes.fill_between(epochs, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.12, linewidth=0)
