"""Mean, spread and median of figures that are not all defined."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Over the values that are defined.

    Attributes
    ----------
    mean, median : float or None
        None without any.
    sd : float or None
        Standard deviation of a sample (n - 1), None below two values.
    number : int
        How many there are.
    """

    mean: float | None
    sd: float | None
    median: float | None
    number: int


def spread(values: Iterable[float | None]) -> Spread:
    """Summarise values, of which None is one that is not defined."""
    known = [value for value in values if value is not None]
    return Spread(
        mean=float(np.mean(known)) if known else None,
        sd=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        median=float(np.median(known)) if known else None,
        number=len(known),
    )
