"""Runs of Snakemake on an experiment in a folder of its own, as the tests of the workflow make them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str, snakefile: Path = REPOSITORY / "Snakefile") -> tuple[int, str]:
    """Status and output of Snakemake on FOLDER/experiment.yaml, with results in FOLDER."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder)]
    ended = subprocess.run(
        [*command, "--configfile", str(folder / "experiment.yaml"), "--cores", "1", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Number of jobs per rule that a run would start."""
    status, output = snakemake(folder, "--dry-run", *arguments)
    assert status == 0, output
    table = output.partition("Job stats:")[2].partition("\ntotal")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


def take_for_done(folder: Path) -> None:
    """Make every output of the experiment, empty as it is, and let Snakemake record its parameters."""
    status, output = snakemake(folder, "--dry-run")
    assert status == 0, output
    for line in re.findall(r"^ +output: (.+)$", output, flags=re.MULTILINE):
        for name in line.split(", "):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")
    status, output = snakemake(folder, "--touch", "--forceall")
    assert status == 0, output


def setting(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one setting of an experiment, whose keys are `path`."""

    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change
