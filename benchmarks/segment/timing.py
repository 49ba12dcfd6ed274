"""Commands timed on a number of cores, with the memory of all their processes. Linux only.

cores    a command and its children may run on the first N cores that this process may run on.
memory   the sum over the processes of their proportional set sizes: pages that several share are counted once.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PERIOD = 0.1
LAST_LINES = 20


class CommandError(Exception):
    """A command that failed, with the last lines that it wrote."""


@dataclass(frozen=True)
class Timed:
    """Wall seconds of one command, from its start to its end, and the largest memory seen, in bytes."""

    seconds: float
    memory: int


def timed(command: Sequence[str], folder: Path, cores: int, environment: Mapping[str, str]) -> Timed:
    """Run a command in a folder; what it writes goes to a file there.

    Raises
    ------
    CommandError
        If its exit status is not 0.
    """
    log = folder / "log.txt"
    with log.open("ab") as file:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env=environment)
        # It has hardly begun, and all that it starts inherits it.
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:cores])
        watch = _Watch(process.pid)
        watch.start()
        status = process.wait()
        seconds = time.perf_counter() - begin
        watch.stop()
    if status:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise CommandError("\n".join([f"status {status}: {' '.join(command)}", *lines]))
    return Timed(seconds, watch.largest)


class _Watch(threading.Thread):
    """Looks at the memory of a process and all its descendants again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.largest = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(PERIOD):
            self.largest = max(self.largest, _memory(self._pid))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _memory(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return total
