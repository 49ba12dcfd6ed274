"""What a command costs: seconds, processor time, the memory of its largest process, and what it leaves on disk.

peak   the largest resident memory of any process among the command and the workers that it waited for, as the kernel
       counts it (getrusage(2), ru_maxrss): nothing is sampled, and nothing between two samples is missed. A process
       begins with what its parent had when it was started, so this module is imported by small processes only.
"""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRESS = re.compile(r"voxel/s|s/voxel|it/s|s/it")


class FailedError(Exception):
    """A command that failed."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of processors, and bytes of the largest process."""

    seconds: float
    processor: float
    peak: int


@dataclass(frozen=True)
class Held:
    """What is on disk: bytes of files, and files."""

    bytes: int
    files: int


def cost(command: Sequence[str], folder: Path, log: Path) -> Cost:
    """Run a command in a folder; what it prints goes to `log`.

    Raises
    ------
    FailedError
        If its status is not 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode:
        said = [line for line in log.read_text().splitlines() if line.strip() and not PROGRESS.search(line)]
        last = said[-1] if said else "nothing"
        raise FailedError(f"{' '.join(command)}: status {process.returncode}, {last}; see {log}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def held(place: Path) -> Held:
    """Bytes and number of the files in a folder."""
    sizes = [(Path(folder) / name).stat().st_size for folder, _, names in os.walk(place) for name in names]
    return Held(sum(sizes), len(sizes))
