"""What a run of the workflow on scans costs beyond its steps: from Snakemake's log of the run, one Markdown table.

python -m benchmarks.workflow_overhead .snakemake/log/RUN.snakemake.log

gaps      seconds in which no job ran: reading files, planning, starting and finishing jobs. The log is exact to a second.
starting  seconds that the jobs' processes take to start and import what their step needs, measured here, one at a time,
          and added up over the jobs; some of it passes side by side.
"""

import re
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

TIME = re.compile(r"\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]")
IMPORTS = {
    "prepare_subjects": "sepvox.prepare.subjects",
    "train": "sepvox.train.classes",
    "predict_subjects": "sepvox.predict.classes",
    "choose_clean_up": "sepvox.score.class_choose",
    "classify": "sepvox.segment.classify",
    "score_subjects": "sepvox.score.class_score",
    "summarise": "sepvox.score.class_tables",
    "report": "sepvox.report.class_report",
}


def rules(log: str) -> Counter[str]:
    """How many jobs of each rule finished, but for `all`, which is none."""
    return Counter(name for name in re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", log) if name != "all")


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


def start_seconds(rule: str) -> float:
    """Seconds that a process of a rule takes to start, the fastest of three."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import sepvox.cli, {IMPORTS[rule]}"], check=True)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main(file: Path) -> None:
    log = file.read_text()
    jobs = intervals(log)
    wall = max(end for _, end in jobs) - started(file)
    gaps = wall - covered(jobs)
    starting = sum(start_seconds(rule) * count for rule, count in rules(log).items())
    print("| wall, s | jobs | gaps, s | starting, s | overhead, s |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| {wall:.0f} | {len(jobs)} | {gaps:.0f} | {starting:.0f} | {gaps + starting:.0f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
