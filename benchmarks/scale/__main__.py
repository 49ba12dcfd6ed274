"""Measure the segment path on volumes of several sizes, and plan larger ones; prints Markdown and keeps JSON.

sizes    the whole path from given affinities on volumes of rising size: time, memory, bytes, files, VI. With --repeat all
         sizes are measured so many times in turn, and of each step the least times and the highest peak are kept: what
         else a machine does only ever adds.
memory   the peak of every step, predict included, by the edge of the block and of the volume.
graphs   agglomeration of generated graphs part by part.

What is measured is added to the JSON file, in the place of what was measured under the same conditions before. The exit
status is 1 if a check fails.
"""

import argparse
import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.scale import tables
from benchmarks.scale.experiment import TILE, Trial
from benchmarks.scale.measure import FailedError, cost
from benchmarks.scale.path import REPOSITORY, measure_path, stage
from sepvox import markers
from sepvox.errors import SepvoxError
from sepvox.report.machine import hardware

BEGIN, END = "<!-- what `python -m benchmarks.scale --plan` prints -->", "<!-- end of what it prints -->"
PART = 32


def measure_graph(
    prefix: Sequence[str], log: Path, kind: str, source: Path, edge: int, box: int, threshold: float
) -> dict[str, Any]:
    """Agglomerate a graph in a process of its own."""
    program = [*prefix, sys.executable, "-m", "benchmarks.scale.graphs", kind, str(source.resolve())]
    options = {"edge": edge, "box": box, "threshold": threshold}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    spent = cost([*program, *words], REPOSITORY, log)
    return {"cost": asdict(spent), **json.loads(log.read_text().splitlines()[-1])}


def measure_size(trial: Trial, home: Path, tile: Path, prefix: list[str]) -> dict[str, Any]:
    """The path of a trial, and its region graph part by part and as a whole."""
    found = measure_path(trial, home, tile, prefix, predicted=False)
    graph: dict[str, Any] = {"fragments": found.pop("fragments")}
    for name, box in (("parts", trial.cell), ("whole", trial.edge)):
        log = home / "logs" / f"graph-{name}.log"
        graph[name] = measure_graph(prefix, log, "real", home, trial.edge, box, found["threshold"])
    return found | {"graph": graph | {"contacts": graph["whole"]["levels"][0]["given"]}}


def quickest(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last of several measurements of one size, with the least times and the highest peak of each step."""
    choose = {"seconds": min, "processor": min, "peak": max}
    steps = {
        step: {name: of(run["steps"][step][name] for run in runs) for name, of in choose.items()}
        for step in runs[-1]["steps"]
    }
    return runs[-1] | {"steps": steps, "runs": len(runs)}


def measure_generated(edge: int, whole: bool, folder: Path, tile: Path, prefix: list[str]) -> dict[str, Any]:
    """A generated graph part by part, and as a whole where it is asked for."""
    found: dict[str, Any] = {"edge": edge, "name": f"generated {edge}³"}
    for name, box in (("parts", min(PART, math.ceil(edge / 2))), *((("whole", edge),) if whole else ())):
        log = folder / "logs" / f"graph-{edge}-{name}.log"
        found[name] = measure_graph(prefix, log, "generated", tile, edge, box, 0.5)
    return found | {"contacts": found["parts"]["levels"][0]["given"]}


def page(data: dict[str, Any], cores: int) -> tuple[str, bool]:
    """All tables and checks as Markdown, and whether every check held."""
    text = []
    sizes = sorted(data.get("sizes", []), key=lambda size: size["voxels"])
    # The boxes of a volume's graph are in voxels, those of a generated one in fragments.
    real = [
        size["graph"] | {"name": f"volume of {size['trial']['edge']}³", "voxels_per_fragment": 1.0} for size in sizes
    ]
    found = real + sorted(data.get("graphs", []), key=lambda graph: graph["edge"])
    machine = data["machine"]
    text.append(f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['memory']}.")
    if sizes:
        text += [tables.times(sizes), tables.peaks(sizes), tables.held(sizes)]
    cuts = sorted(data.get("memory", []), key=lambda trial: (trial["trial"]["block"], trial["voxels"]))
    if cuts:
        text.append(tables.blocks(cuts))
    kept = tables.checks(sizes) + tables.same_peaks(cuts)
    if kept:
        text.append(tables.table(["check", ""], [[name, "pass" if held else "**fail**"] for name, held in kept]))
    if found:
        text += [tables.graphs(found), tables.graphs_compared(found)]
    if sizes:
        text.append(tables.plan(sizes, found, cores))
    return "\n\n".join(text), all(held for _, held in kept)


def replaced(document: str, text: str) -> str:
    """A page with its tables replaced."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def keep(output: Path, section: str, result: dict[str, Any], key: Callable[[dict[str, Any]], Any]) -> None:
    """Put a result into the JSON file in the place of an older one with the same key."""
    data = json.loads(output.read_text()) if output.exists() else {}
    others = [older for older in data.get(section, []) if key(older) != key(result)]
    markers.write_json(output, data | {"machine": hardware(), section: [*others, result]})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description="Measure the path at several sizes.")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], metavar="EDGE", help="volumes of EDGE³ voxels")
    parser.add_argument("--repeat", type=int, default=1, help="measurements of each of --sizes")
    parser.add_argument("--memory", type=int, nargs="*", default=[], metavar="EDGE", help="peak by block, as --sizes")
    parser.add_argument("--blocks", type=int, nargs="+", default=[32, 64, 128], help="edges of blocks for --memory")
    parser.add_argument("--graphs", type=int, nargs="*", default=[], metavar="EDGE", help="graphs of EDGE³ fragments")
    parser.add_argument("--whole", type=int, default=64, help="largest edge of a graph that is held as a whole, too")
    parser.add_argument("--block", type=int, default=128, help="edge of shards, cells and blocks for --sizes")
    parser.add_argument("--cell", type=int, default=256, help="edge of the region graph's cells for --sizes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.35, help="VI that the noise shall cause in one tile, in bits")
    parser.add_argument("--tile", type=int, default=160, help="voxels of the phantom's tile along each axis")
    parser.add_argument("--prefix", default="", help="what every command begins with, such as 'nice -n 19'")
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="for volumes and logs")
    parser.add_argument("--keep", action="store_true", help="do not remove a volume after it was measured")
    parser.add_argument("--output", type=Path, default=Path("scale/measured.json"), help="JSON file")
    parser.add_argument("--plan", type=Path, help="measure nothing, print what this JSON file holds")
    parser.add_argument("--page", type=Path, help="with --plan: a Markdown page whose tables are replaced")
    parser.add_argument("--cores", type=int, default=1000, help="of the cluster that is planned for")
    return parser.parse_args()


def measure(given: argparse.Namespace) -> None:
    """Measure what is asked for, each in a new folder."""
    prefix = shlex.split(given.prefix)
    given.folder.mkdir(parents=True, exist_ok=True)
    tile = given.folder / TILE
    if not tile.exists():
        stage(prefix, given.folder, "tile", "--tile", str(given.tile), "--least", str(given.least))
    runs: dict[int, list[dict[str, Any]]] = {edge: [] for edge in sorted(given.sizes)}
    for _, edge in product(range(given.repeat), runs):
        trial = Trial(edge, given.block, given.cell, given.processes)
        home = fresh(given.folder / f"size-{edge}")
        runs[edge].append(measure_size(trial, home, tile, prefix))
        keep(given.output, "sizes", quickest(runs[edge]), lambda result: result["voxels"])
        if not given.keep:
            shutil.rmtree(home)
    for edge, block in product(sorted(given.memory), sorted(given.blocks)):
        trial = Trial(edge, block, block, given.processes)
        home = fresh(given.folder / f"size-{edge}-block-{block}")
        result = measure_path(trial, home, tile, prefix, predicted=True)
        keep(given.output, "memory", result, lambda result: (result["voxels"], result["trial"]["block"]))
        if not given.keep:
            shutil.rmtree(home)
    for edge in sorted(given.graphs):
        found = measure_generated(edge, edge <= given.whole, given.folder, tile, prefix)
        keep(given.output, "graphs", found, lambda result: result["edge"])


def fresh(home: Path) -> Path:
    if home.exists():
        shutil.rmtree(home)
    home.mkdir()
    return home


def main() -> int:
    """Measure or plan; 1 if a check failed, 2 if a command did."""
    given = arguments()
    try:
        if given.plan is None:
            measure(given)
        text, good = page(json.loads((given.plan or given.output).read_text()), given.cores)
    except (FailedError, SepvoxError) as error:
        print(f"benchmarks.scale: {error}", file=sys.stderr)
        return 2
    if given.page is not None:
        given.page.write_text(replaced(given.page.read_text(), text))
    print(text)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
