"""The Markdown tables of a comparison: medians, with the range in brackets."""

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.segment.comparison import Measured, Run
from benchmarks.sweeps import Errors

GIGABYTE = 1e9


def measured_table(measured: Sequence[Measured]) -> str:
    """Seconds, memory and errors of every way."""
    lines = [
        "| way | processes | threshold | seconds | memory, GB | VI to waterz, split + merge | VI to truth, split + merge |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        cells = [
            one.way.kind,
            str(one.way.processes),
            f"{one.threshold:g}",
            spread([run.seconds for run in one.runs], 1),
            spread([run.memory / GIGABYTE for run in one.runs], 2),
            _errors(one, lambda run: run.to_waterz),
            _errors(one, lambda run: run.to_truth),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio_table(measured: Sequence[Measured]) -> str:
    """How many times as fast as the others each way of sepvox was, in the same repetition."""
    own = [one for one in measured if one.way.kind.startswith("sepvox")]
    others = [one for one in measured if one not in own]
    heads = [f"{one.way.kind}, {one.way.processes}" for one in others]
    lines = [f"| times as fast as | {' | '.join(heads)} |", "|---" * (len(others) + 1) + "|"]
    for one in own:
        cells = [f"{one.way.kind}, {one.way.processes}"]
        for other in others:
            pairs = zip(one.runs, other.runs, strict=True)
            cells.append(spread([theirs.seconds / ours.seconds for ours, theirs in pairs], 2))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def step_table(measured: Sequence[Measured]) -> str:
    """Seconds of every step of the ways that have several."""
    several = [one for one in measured if len(one.runs[0].steps) > 1]
    steps = list(dict.fromkeys(step for one in several for step in one.runs[0].steps))
    lines = [f"| seconds of | {' | '.join(steps)} |", "|---" * (len(steps) + 1) + "|"]
    for one in several:
        cells = [f"{one.way.kind}, {one.way.processes}"]
        cells += [spread([run.steps[step].seconds for run in one.runs], 1) for step in steps]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and the range where there is one."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _errors(one: Measured, kind: Callable[[Run], Errors | None]) -> str:
    found = [errors for errors in map(kind, one.runs) if errors is not None]
    if not found:
        return "not known"
    return " + ".join(spread(values, 3) for values in zip(*found, strict=True))
