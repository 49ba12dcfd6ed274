"""Numbers as tables write them."""

from sepvox.report.page import NONE
from sepvox.spread import Spread


def written(found: Spread, digits: int) -> str:
    """Mean ± standard deviation."""
    if found.mean is None:
        return NONE
    return f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")


def number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
