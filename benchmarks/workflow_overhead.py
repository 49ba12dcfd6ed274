"""What a run of the workflow costs beyond its steps: from Snakemake's log of the run, one Markdown table.

python -m benchmarks.workflow_overhead .snakemake/log/RUN.snakemake.log

gaps      seconds in which no job ran: reading files, planning, starting and finishing jobs. The log is exact to a second.
starting  jobs times the seconds that a process takes to import what a training imports, measured here; other steps import
          less, and jobs start side by side, so this is more than what it costs.
"""

import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

TIME = re.compile(r"\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]")
IMPORTS = "import sepvox.cli, sepvox.train.classes"


def intervals(log: str) -> list[tuple[float, float]]:
    """Begin and end of every job that finished, in seconds."""
    begun: dict[str, float] = {}
    found = []
    now = 0.0
    for line in log.splitlines():
        if at := TIME.fullmatch(line.strip()):
            now = datetime.strptime(at[1], "%a %b %d %H:%M:%S %Y").timestamp()
        elif job := re.fullmatch(r" +jobid: (\d+)", line):
            begun[job[1]] = now
        elif job := re.match(r"Finished jobid: (\d+)", line):
            found.append((begun[job[1]], now))
    return sorted(found)


def covered(jobs: list[tuple[float, float]]) -> float:
    """Seconds in which at least one job ran."""
    total, until = 0.0, jobs[0][0]
    for begin, end in jobs:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def started(file: Path) -> float:
    """When a run began: Snakemake names the log by it."""
    return datetime.strptime(file.name.split(".")[0], "%Y-%m-%dT%H%M%S").timestamp()


def start_seconds() -> float:
    """Seconds that a process takes to start, the fastest of three."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main(file: Path) -> None:
    jobs = intervals(file.read_text())
    wall = max(end for _, end in jobs) - started(file)
    gaps = wall - covered(jobs)
    start = start_seconds()
    print("| wall, s | jobs | gaps, s | starting, s | overhead, s |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| {wall:.0f} | {len(jobs)} | {gaps:.0f} | {start * len(jobs):.0f} | {gaps + start * len(jobs):.0f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
