"""Two networks compared over the runs of a row: means, standard errors, and whether their difference is one.

Runs are paired: both networks of a run were trained on the same videos and judged on the same. The standard error of a mean
is the sample standard deviation over √n. The test is the two-sided paired t-test (Student 1908; `scipy.stats.ttest_rel`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy import stats

TEST = "two-sided paired t-test over the runs"


@dataclass(frozen=True)
class Mean:
    """A mean over runs and its standard error, None for a single run."""

    mean: float
    error: float | None


@dataclass(frozen=True)
class Comparison:
    """Accuracies of a row.

    Attributes
    ----------
    runs : int
        How many.
    dense, tt : Mean
        Of each network.
    difference : Mean
        3DTT minus dense.
    t, p : float or None
        Of the paired t-test; None where the differences do not vary, as with a single run.
    """

    runs: int
    dense: Mean
    tt: Mean
    difference: Mean
    t: float | None
    p: float | None

    @property
    def sign(self) -> int:
        """1 where 3DTT is better, -1 where dense is, 0 where they are equal."""
        return (self.difference.mean > 0) - (self.difference.mean < 0)


def mean_of(values: Sequence[float]) -> Mean:
    """Mean and standard error of at least one value."""
    return Mean(fmean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else None)


def compare(dense: Sequence[float], tt: Sequence[float]) -> Comparison:
    """Compare accuracies, paired by run.

    Parameters
    ----------
    dense, tt : sequence of float
        Accuracies, one per run, in the same order of runs.
    """
    differences = [ours - theirs for ours, theirs in zip(tt, dense, strict=True)]
    t, p = None, None
    # Where all are equal up to rounding there is nothing to divide by.
    if max(differences) - min(differences) > 1e-9:
        found = stats.ttest_rel(tt, dense)
        t, p = float(found.statistic), float(found.pvalue)
    return Comparison(len(differences), mean_of(dense), mean_of(tt), mean_of(differences), t, p)
