"""Outliers among a few numbers, judged by median and MAD, the median distance from the median."""

from collections.abc import Sequence

import numpy as np

FEWEST = 5
"""Numbers from which on one of them can be an outlier."""


def modified_z(values: Sequence[float], least: float) -> list[float]:
    """Modified z-scores, 0.6745 (x - median) / MAD (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers).

    Parameters
    ----------
    values : sequence of float
        Of fewer than `FEWEST` none is an outlier: all scores are 0.
    least : float
        The MAD is taken as no smaller: of numbers that hardly differ none is an outlier.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < FEWEST:
        return [0.0] * len(numbers)
    middle = np.median(numbers)
    spread = max(float(np.median(np.abs(numbers - middle))), least)
    return [float(z) for z in 0.6745 * (numbers - middle) / spread] if spread else [0.0] * len(numbers)
