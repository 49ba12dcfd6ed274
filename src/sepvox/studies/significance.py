"""When a difference counts: its p-value, corrected for the number of differences that were looked at, is below `LEVEL`."""

from collections.abc import Sequence

LEVEL = 0.05


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values of several tests, corrected so that one false finding among all is as unlikely as each says (Holm 1979).

    None, of what could not be tested, stays None and does not count.
    """
    tested = [(value, place) for place, value in enumerate(values) if value is not None]
    found: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(sorted(tested)):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        found[place] = highest
    return found


def significant(p: float | None) -> bool:
    """Whether a difference of this p-value counts; one that was not tested does not."""
    return p is not None and p < LEVEL
