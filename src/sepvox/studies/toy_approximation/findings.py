"""What a study found: figures of each student over the seeds, and whether the paper's three findings hold.

An *outcome* is what one student reached after the last epoch, one value per seed. A *measure* is the validation loss or the
accuracy. The paper reads its findings off the curves of Figure 1; here each is a rule on the means over the seeds, and the
same rule on every seed by itself says in how many it holds. Seeds are few, so this is a count and no test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sepvox.studies.toy_approximation.settings import CHAINS, DENSE, STREAMS, Student

Measure = Literal["loss", "accuracy"]
MEASURES: Final[tuple[Measure, ...]] = ("loss", "accuracy")
LITTLE: Final = 0.5

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a student costs, in parameters and in multiply-accumulates per volume, and what it reached, float64 (seeds,)."""

    parameters: int
    macs: int
    loss: Values
    accuracy: Values
    seconds: Values


@dataclass(frozen=True)
class Finding:
    """One of the paper's findings by one measure; `seeds` is the number of seeds in which it holds by themselves."""

    finding: str
    measure: Measure
    holds: bool
    seeds: int
    figures: str

    def line(self, count: int) -> str:
        """The finding as a line of text; `count` is the number of all seeds."""
        says = "holds" if self.holds else "does not hold"
        alone = f" (by itself in {self.seeds} of {count} seeds)" if count > 1 else " in this one seed"
        return f"{self.finding}, by {self.measure}: {says}{alone}. {self.figures}"


def findings(outcomes: Mapping[Student, Outcome]) -> list[Finding]:
    """The three findings by both measures, from the outcomes of all students."""
    return [
        rule(outcomes, measure) for measure in MEASURES for rule in (_streams_matter_little, _one_is_best, _all_beat)
    ]


def _streams_matter_little(outcomes: Mapping[Student, Outcome], measure: Measure) -> Finding:
    """Along m the measure ranges less than half as far as along n, on average."""
    values, _ = _values(outcomes, measure)
    over_m, over_n = (float(found[0]) for found in _ranges(values.mean(axis=2, keepdims=True)))
    alone_m, alone_n = _ranges(values)
    return Finding(
        finding="m matters little",
        measure=measure,
        holds=over_m < LITTLE * over_n,
        seeds=int((alone_m < LITTLE * alone_n).sum()),
        figures=(
            f"Between m = 1, 2, 3 the {measure} differs by {over_m:.3g} on average, between n = 1, 2, * by {over_n:.3g}; "
            f"little is less than {LITTLE:g} of that."
        ),
    )


def _one_is_best(outcomes: Mapping[Student, Outcome], measure: Measure) -> Finding:
    """For every m, n = 1 is better than n = 2 and n = *."""
    values, _ = _values(outcomes, measure)
    worse = _worse(values, measure)
    best = worse.mean(axis=2).argmin(axis=1)
    winners = ", ".join(Student(m, CHAINS[index]).label for m, index in zip(STREAMS, best, strict=True))
    return Finding(
        finding="n = 1 approximates best",
        measure=measure,
        holds=bool((best == 0).all()),
        seeds=int((worse.argmin(axis=1) == 0).all(axis=0).sum()),
        figures=f"The best of each m: {winners}.",
    )


def _all_beat(outcomes: Mapping[Student, Outcome], measure: Measure) -> Finding:
    """Every P_mSC_n is better than the dense re-training."""
    values, dense = _values(outcomes, measure)
    better = _worse(values, measure) < _worse(dense, measure)
    mean_better = _worse(values.mean(axis=2), measure) < _worse(dense.mean(), measure)
    names = [Student(m, n).label for i, m in enumerate(STREAMS) for j, n in enumerate(CHAINS) if mean_better[i, j]]
    who = f": {', '.join(names)}" if 0 < len(names) < mean_better.size else ""
    return Finding(
        finding="all beat the dense re-training",
        measure=measure,
        holds=bool(mean_better.all()),
        seeds=int(better.all(axis=(0, 1)).sum()),
        figures=f"The dense re-training has {dense.mean():.4g}; {len(names)} of {mean_better.size} are better{who}.",
    )


def _values(outcomes: Mapping[Student, Outcome], measure: Measure) -> tuple[Values, Values]:
    """The measure of all P_mSC_n, (m, n, seeds), and of the dense re-training, (seeds,)."""

    def of(student: Student) -> Values:
        found: Values = getattr(outcomes[student], measure)
        return found

    return np.array([[of(Student(m, n)) for n in CHAINS] for m in STREAMS]), of(DENSE)


def _ranges(values: Values) -> tuple[Values, Values]:
    """How far values (m, n, seeds) range along m and along n, on average over the other one: (seeds,) each."""
    return np.ptp(values, axis=0).mean(axis=0), np.ptp(values, axis=1).mean(axis=0)


def _worse(values: Values, measure: Measure) -> Values:
    """Values of which less is better."""
    return -values if measure == "accuracy" else values
