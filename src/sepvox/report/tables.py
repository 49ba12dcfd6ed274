"""The report's tables: scores of volumes, the network, largest errors, costs, versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sepvox.nets.describe import Description
from sepvox.report.errors_figure import Error
from sepvox.report.page import NONE, Column, facts, table
from sepvox.report.slices import UNITS
from sepvox.report.timing import Cost
from sepvox.world import Geometry


@dataclass(frozen=True)
class VolumeSummary:
    """A volume as the headline table shows it; `shape` and `geometry` are None where it was not prepared.

    `threshold` is the content of threshold.json where the volume was segmented, `scores` that of scores.json where it has
    truth.
    """

    name: str
    role: str
    shape: tuple[int, ...] | None
    geometry: Geometry | None
    threshold: dict[str, Any] | None
    scores: dict[str, Any] | None


def volumes_table(volumes: Sequence[VolumeSummary]) -> str:
    """One row per volume, test volumes set off."""
    names = ("volume", "role", "shape z y x", "voxel size z y x", "threshold", "chosen on")
    measures = ("VI split", "VI merge", "VI sum", "ARAND", "CREMI")
    columns = [
        *map(Column, names[:4]),
        Column(names[4], number=True),
        Column(names[5]),
        *(Column(m, True) for m in measures),
    ]
    rows = []
    for volume in volumes:
        chosen = volume.scores["chosen"] if volume.scores else {}
        threshold = volume.threshold or {}
        row = [volume.name, volume.role, times(volume.shape), voxel_size(volume.geometry)]
        row += [f"{threshold['threshold']:g}", str(threshold["chosen_on"])] if threshold else [NONE, NONE]
        keys = ("voi_split", "voi_merge", "voi_sum", "arand", "cremi")
        rows.append([*row, *(f"{chosen[key]:.3f}" if key in chosen else NONE for key in keys)])
    return table(columns, rows, strong=[i for i, volume in enumerate(volumes) if volume.role == "test"])


def headline(volumes: Sequence[VolumeSummary], network: Description) -> str:
    """Key figures: the scores of the first test volume, or else of the first scored one, and the network's size."""
    scored = [volume for volume in volumes if volume.scores]
    best = next((volume for volume in scored if volume.role == "test"), scored[0] if scored else None)
    items = []
    if best is not None and best.scores is not None:
        chosen = best.scores["chosen"]
        items = [
            ("VI sum", f"{chosen['voi_sum']:.3f}", f"bits, {best.name}"),
            ("VI split + merge", f"{chosen['voi_split']:.2f} + {chosen['voi_merge']:.2f}", "bits"),
            ("ARAND", f"{chosen['arand']:.3f}", ""),
            ("CREMI score", f"{chosen['cremi']:.3f}", ""),
        ]
    items.append(("Parameters", f"{network.parameters:,}", network.name))
    items.append(("Receptive field", times(network.receptive_field), "voxels"))
    return facts(items)


def network_table(network: Description) -> str:
    """Levels of the network with channels, kernels, parameters and cost."""
    columns = [
        Column("level", True),
        Column("part"),
        Column("channels", True),
        Column("parameters", True),
        Column("MACs per output voxel", True),
        Column("kernels"),
    ]
    rows = [
        [
            str(level.level),
            level.kind,
            f"{level.channels_in} → {level.channels_out}",
            f"{level.parameters:,}",
            f"{level.macs_per_output_voxel:,.0f}",
            " ".join(level.kernels),
        ]
        for level in network.levels
    ]
    total = ["", "total", "", f"{network.parameters:,}", f"{network.macs_per_output_voxel:,.0f}", ""]
    return table(columns, [*rows, total], strong=[len(rows)])


def errors_table(errors: Sequence[Error]) -> str:
    """Largest errors, one per row, with the ids to look them up in a viewer."""
    columns = [
        Column("error"),
        Column("label", True),
        Column("voxels", True),
        Column("bits", True),
        Column("largest parts, voxels"),
    ]
    rows = []
    for error in errors:
        kind, noun = ("object", "segment") if error.kind == "split" else ("segment", "object")
        parts = ", ".join(f"{noun} {part}: {voxels:,}" for part, voxels in error.parts)
        rows.append(
            [f"{error.kind} {error.rank}", f"{kind} {error.focus}", f"{error.voxels:,}", f"{error.bits:.4f}", parts]
        )
    return table(columns, rows)


def costs_table(costs: Sequence[Cost]) -> str:
    """Time and memory of each step on each volume, with a bar for its share of the longest."""
    columns = [
        Column("step"),
        Column("on"),
        Column("jobs", True),
        Column("largest memory", True),
        Column("processor time", True),
        Column("time"),
    ]
    rows = [
        [
            cost.step,
            cost.subject,
            str(cost.jobs),
            memory(cost.peak_megabytes),
            duration(cost.cpu_seconds),
            duration(cost.seconds),
        ]
        for cost in costs
    ]
    peaks = [cost.peak_megabytes for cost in costs if cost.peak_megabytes is not None]
    total = ["total", "", str(sum(cost.jobs for cost in costs)), memory(max(peaks, default=None))]
    total += [duration(sum(cost.cpu_seconds or 0 for cost in costs)), duration(sum(cost.seconds for cost in costs))]
    longest = max(cost.seconds for cost in costs) or 1.0
    return table(columns, [*rows, total], strong=[len(rows)], bars=[cost.seconds / longest for cost in costs])


def pairs_table(title: str, values: dict[str, str]) -> str:
    """Two columns: name and value."""
    return table([Column(title), Column("")], [list(pair) for pair in values.items()])


def times(shape: Sequence[int] | None) -> str:
    return NONE if shape is None else " × ".join(str(n) for n in shape)


def voxel_size(geometry: Geometry | None) -> str:
    if geometry is None:
        return NONE
    unit = UNITS.get(geometry.unit or "", geometry.unit or "")
    return f"{' × '.join(f'{size:g}' for size in geometry.voxel_size)} {unit}".strip()


def duration(seconds: float | None) -> str:
    """Seconds as people write them."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return (
        f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def memory(megabytes: float | None) -> str:
    if megabytes is None:
        return NONE
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
