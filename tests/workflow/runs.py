"""Runs of Snakemake on an experiment in a folder of its own, as the tests of the workflow make them."""

import atexit
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
# A start of Python and Snakemake takes longer than what most of these tests ask of it: one process imports them for all.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["snakemake.cli", "sepvox.config"])


def snakemake(folder: Path, *arguments: str, snakefile: Path = REPOSITORY / "Snakefile") -> tuple[int, str]:
    """Status and output of Snakemake on FOLDER/experiment.yaml, with results in FOLDER."""
    given = ["--snakefile", str(snakefile), "--directory", str(folder)]
    given += ["--configfile", str(folder / "experiment.yaml"), "--cores", "1", *arguments]
    with tempfile.NamedTemporaryFile() as output:
        run = PROCESSES.Process(target=_run, args=(folder, given, dict(os.environ), output.name))
        run.start()
        run.join(120)
        if run.exitcode is None:
            run.kill()
            raise TimeoutError(Path(output.name).read_text())
        return run.exitcode, Path(output.name).read_text()


def _run(folder: Path, arguments: Sequence[str], environment: Mapping[str, str], output: str) -> None:
    """Become `snakemake ARGUMENTS` in a folder, with all that it prints in a file."""
    from snakemake.cli import main

    with Path(output).open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # Where a script would have its folder, a module that is run as a program has the working one.
    sys.path[0] = str(folder)
    sys.argv = ["snakemake", *arguments]
    try:
        main(list(arguments))
    finally:
        # A forked process ends without what was to be done at its exit.
        atexit._run_exitfuncs()


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
