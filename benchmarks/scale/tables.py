"""The tables and checks of the benchmark, as Markdown, from what was measured."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.scale.path import SEGMENTATION
from benchmarks.scale.plan import ALONE, GROWING, ONE_JOB, Result, exponent, files_of, hours, left_of_a_part, rates

MEGA, GIGA = 1e6, 1e9
LEAST_INFORMATION, MOST_MEMORY, MOST_EXPONENT, MOST_FILES, SAME_PEAK = 0.3, 4 * GIGA, 1.03, 100_000, 1.1
# Threads of prediction meet otherwise in each run, and its peak varies by a fifth.
SAME_PEAK_OF_PREDICT = 1.25
PLANS = {"1 teravoxel": 1e12, "1 petavoxel": 1e15}
NODE, MACHINE = 1e12, 64
MAKING = ("source", "affinities")
STEADY = ("prepare", "predict", "fragments", "region-graph")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    """With so many significant digits, thousands apart."""
    if value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def edges(sizes: Sequence[Result]) -> list[str]:
    return [f"{size['trial']['edge']}³" for size in sizes]


def spent(size: Result, steps: Iterable[str], clock: str = "processor") -> float:
    """Seconds of these steps, of processors or on the clock (`seconds`)."""
    return float(sum(size["steps"][step][clock] for step in steps))


def path_steps(size: Result) -> list[str]:
    return [step for step in size["steps"] if step not in MAKING]


def times(sizes: Sequence[Result]) -> str:
    """Seconds of every step at every size, and the exponent of processor time against voxels."""
    voxels = [size["voxels"] for size in sizes]
    several = len(sizes) > 1

    def row(name: str, steps: Sequence[str]) -> list[str]:
        values = [spent(size, steps) for size in sizes]
        clock = [spent(size, steps, "seconds") for size in sizes]
        found = [name, *(f"{c:.0f} / {v:.1f}" for c, v in zip(clock, values, strict=True))]
        if several:
            found += [f"{exponent(voxels, values):.2f}", f"{exponent(voxels[-2:], values[-2:]):.2f}"]
        return found

    rows = [row(step, [step]) for step in sizes[0]["steps"]]
    rows.append(row("**the path**", path_steps(sizes[0])))
    header = ["seconds on the clock / of processors", *edges(sizes)]
    return table([*header, *(["exponent, all", "the last two"] if several else [])], rows)


def peaks(sizes: Sequence[Result]) -> str:
    """Megabytes of the largest process of every step at every size."""
    rows = [
        [step, *(number(size["steps"][step]["peak"] / MEGA, 3) for size in sizes)] for step in list(sizes[0]["steps"])
    ]
    return table(["MB of the largest process", *edges(sizes)], rows)


def held(sizes: Sequence[Result]) -> str:
    """Bytes per voxel and files of every store, fragments, contacts and VI."""
    rows = []
    for store in sizes[0]["stores"]:
        found = [size["stores"][store] | {"voxels": size["voxels"]} for size in sizes]
        rows.append([store, *(f"{each['bytes'] / each['voxels']:.2f} / {each['files']:,}" for each in found)])
    for name in ("fragments", "contacts"):
        rows.append([f"number of {name}", *(f"{size['graph'][name]:,}" for size in sizes)])
    rows.append(["VI at the chosen threshold (bits)", *(f"{size['voi']:.2f}" for size in sizes)])
    return table(["bytes per voxel / files", *edges(sizes)], rows)


def checks(sizes: Sequence[Result]) -> list[tuple[str, bool]]:
    """What was promised and whether it was kept."""
    found = []
    for size, edge in zip(sizes, edges(sizes), strict=True):
        peak = max(size["steps"][step]["peak"] for step in path_steps(size))
        making, segmenting = spent(size, MAKING), spent(size, SEGMENTATION)
        all_files = size["stores"]["all"]["files"]
        counted = {name: store["files"] for name, store in size["stores"].items()}
        found += [
            (f"{edge}: VI {size['voi']:.2f} bits, at least {LEAST_INFORMATION}", size["voi"] >= LEAST_INFORMATION),
            (f"{edge}: largest process {peak / GIGA:.2f} GB, at most {MOST_MEMORY / GIGA:.0f}", peak <= MOST_MEMORY),
            (f"{edge}: {all_files:,} files, at most {MOST_FILES:,}", all_files <= MOST_FILES),
            (f"{edge}: as many files of each store as the formula says", counted == size["files"]),
            (f"{edge}: made in {making:.0f} processor seconds, segmented in {segmenting:.0f}", making < segmenting),
        ]
        same = size["graph"]["whole"]["digest"] == size["graph"]["parts"]["digest"]
        found.append((f"{edge}: the merges part by part are those of the whole graph", same))
    if len(sizes) > 1:
        last = sizes[-2:]
        slope = exponent([size["voxels"] for size in last], [spent(size, path_steps(size)) for size in last])
        name = f"{edges(last)[0]} to {edges(last)[1]}: exponent of processor time {slope:.3f}, at most {MOST_EXPONENT}"
        found.append((name, slope <= MOST_EXPONENT))
    return found + same_peaks(sizes)


def same_peaks(trials: Sequence[Result]) -> list[tuple[str, bool]]:
    """Whether a volume 64 times larger has the same peak in the steps that work on blocks.

    The smaller one must have a block that is surrounded by others: at the volume's faces there is no halo to be read.
    """
    found = []
    by_cut = {(trial["trial"]["edge"], trial["trial"]["block"]): trial for trial in trials}
    for (edge, block), small in by_cut.items():
        large = by_cut.get((4 * edge, block))
        if large is None or edge < 3 * block:
            continue
        for step in STEADY:
            if step in small["steps"]:
                ratio = large["steps"][step]["peak"] / small["steps"][step]["peak"]
                most = SAME_PEAK_OF_PREDICT if step == "predict" else SAME_PEAK
                name = f"{edge}³ to {4 * edge}³, block {block}³: peak of {step} times {ratio:.2f}, at most {most}"
                found.append((name, ratio <= most))
    return found


def blocks(trials: Sequence[Result]) -> str:
    """Megabytes of every step by the volume and the edge of shards, cells and blocks."""
    rows = [
        [step, *(number(trial["steps"][step]["peak"] / MEGA, 3) for trial in trials)] for step in path_steps(trials[0])
    ]
    header = [f"{trial['trial']['edge']}³, block {trial['trial']['block']}³" for trial in trials]
    return table(["MB of the largest process", *header], rows)


def graphs(found: Sequence[dict[str, Any]]) -> str:
    """Every level of the agglomerations part by part."""
    rows = []
    for graph in found:
        for level in graph["parts"]["levels"]:
            left = level["left"] / graph["contacts"]
            rows.append(
                [
                    f"{graph['name']}, {graph['contacts']:,} contacts",
                    " × ".join(map(str, level["box"])),
                    f"{level['parts']:,}",
                    f"{level['given']:,}",
                    f"{level['left']:,} ({100 * left:.1f} %)",
                    f"{level['largest']:,}",
                    f"{level['seconds']:.1f}",
                ]
            )
    header = ["graph", "box of a part", "parts", "contacts before", "after (of all)", "of the largest part, before", "s"]
    return table(header, rows)


def graphs_compared(found: Sequence[dict[str, Any]]) -> str:
    """Cost of each graph part by part, and as a whole where it was."""
    rows = []
    for graph in found:
        whole, parts = graph.get("whole"), graph["parts"]
        own = [f"{parts['cost']['seconds']:.1f}", number(parts["cost"]["peak"] / MEGA, 3)]
        other = [f"{whole['cost']['seconds']:.1f}", number(whole["cost"]["peak"] / MEGA, 3)] if whole else ["", ""]
        same = ("equal" if whole["digest"] == parts["digest"] else "**different**") if whole else "not held as a whole"
        rows.append([f"{graph['name']}, {graph['contacts']:,} contacts", *own, *other, same])
    return table(["graph", "parts: s", "MB", "whole: s", "MB", "merges"], rows)


def plan(sizes: Sequence[Result], found: Sequence[dict[str, Any]], cores: int) -> str:
    """What a teravoxel and a petavoxel would cost, and which step breaks first."""
    steps, last = rates(sizes), sizes[-1]
    per_voxel = {name: last["graph"][name] / last["voxels"] for name in ("fragments", "contacts")}
    rows = []
    for rate in steps:
        grows = ""
        if rate.growing > 0:
            unit = GROWING[rate.step]
            grows = f" + {rate.growing / per_voxel[unit]:.0f} B per {unit.removesuffix('s')}"
        known = rate.step not in GROWING or rate.growing > 0
        row = [rate.step, number(1e9 * rate.seconds), f"{rate.fixed / MEGA:.0f} MB{grows}"]
        for voxels in PLANS.values():
            memory = number(rate.memory(voxels) / GIGA) if known else "not known"
            row.append(f"{number(rate.hours(voxels))} / {memory}")
        largest = rate.largest(NODE)
        limit = "no limit" if largest == float("inf") else f"{largest:.1e}"
        rows.append([*row, limit if known else "not known"])
    header = ["step", "processor seconds per 10⁹ voxels", "memory of a process"]
    header += [f"{name}: processor hours / GB" for name in PLANS]
    text = [table([*header, f"largest volume with {NODE / GIGA:,.0f} GB, voxels"], rows)]
    rows = [
        ["fragments; contacts", *(" ; ".join(f"{v * per_voxel[n]:.1e}" for n in per_voxel) for v in PLANS.values())]
    ]
    per_byte = last["stores"]["all"]["bytes"] / last["voxels"]
    rows.append(["terabytes of all stores", *(number(voxels * per_byte / 1e12) for voxels in PLANS.values())])
    for block in (128, 256, 512, 1024):
        rows.append([f"files, shards of {block}³", *(f"{files_of(voxels, block):,}" for voxels in PLANS.values())])
    taken = [hours(steps, voxels, cores, MACHINE) for voxels in PLANS.values()]
    for where, name in (
        ("cluster", f"hours of the other steps on a cluster of {cores:,} cores"),
        ("machine", f"hours of {' and '.join(ONE_JOB)} on one machine of {MACHINE} cores"),
        ("process", f"hours of {' and '.join(ALONE)} in one process"),
    ):
        rows.append([name, *(number(each[where]) for each in taken)])
    for graph in found:
        # A power law needs two levels besides the last.
        if len(graph["parts"]["levels"]) > 2 and all(level["left"] for level in graph["parts"]["levels"][:-1]):
            size = graph.get("voxels_per_fragment", 1 / per_voxel["fragments"])
            levels = graph["parts"]["levels"]
            top = (8 * left_of_a_part(levels, size, voxels / 8) for voxels in PLANS.values())
            rows.append([f"contacts of the last level, as for {graph['name']}", *(f"{each:.1e}" for each in top)])
    text.append(table(["", *PLANS], rows))
    growing = sorted((rate for rate in steps if rate.growing > 0), key=lambda rate: rate.largest(NODE))
    if growing:
        first = growing[0]
        text.append(
            f"With {NODE / GIGA:,.0f} GB in one machine `{first.step}` is the first step that breaks, at {first.largest(NODE):.1e} voxels."
        )
    return "\n\n".join(text)
