"""Means with their spread, and numbers as tables write them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sepvox.report.page import NONE


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of the values that are defined; None for too few."""

    mean: float | None
    sd: float | None
    count: int


def spread(values: Iterable[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    return Spread(
        float(np.mean(known)) if known else None, float(np.std(known, ddof=1)) if len(known) > 1 else None, len(known)
    )


def written(found: Spread, digits: int) -> str:
    """Mean ± standard deviation."""
    if found.mean is None:
        return NONE
    return f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")


def number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
