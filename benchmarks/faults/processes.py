"""Verbs in processes: how they are started, killed, and how they end.

path   the commands from affinities to scores, one verb after another, each in a process group of its own.
line   how sepvox reports a fault: exit status 2 and one line on standard error.

Processes are forked from this one, which has imported the package and loaded its compiled parts, but has opened no
store: that spares the start of an interpreter and nothing more. Linux only.
"""

import contextlib
import math
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.experiment import CONFIG, ROOT
from sepvox import cli
from sepvox.errors import SepvoxError
from sepvox.score import choose, score  # noqa: F401, the verbs import them when they begin
from sepvox.score.contingency import contingency
from sepvox.segment import agglomerate, fragments, region_graph, relabel  # noqa: F401, likewise
from sepvox.segment.lookup import apply_lookup, lookup_tables
from sepvox.segment.merge_scores import merge_scores

VOLUME = ("--volume", "v")
PATH = (
    ("fragments", CONFIG, *VOLUME),
    ("region-graph", CONFIG, *VOLUME),
    ("agglomerate", CONFIG, *VOLUME),
    ("score", CONFIG, *VOLUME, "--sweep"),
    ("choose", CONFIG),
    ("relabel", CONFIG, *VOLUME),
    ("score", CONFIG, *VOLUME),
)
CAN_RESTART = ("fragments", "relabel")


class WrongEndError(Exception):
    """A case that ended neither in the right bytes nor in one line."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status, lines on standard error but for progress bars, processor time in seconds."""

    name: str
    code: int
    lines: tuple[str, ...]
    seconds: float

    def check(self) -> None:
        """WrongEndError unless it ended well."""
        if self.code:
            raise WrongEndError(f"{self.name}: status {self.code}, {' / '.join(self.lines)}")

    def line(self) -> str:
        """The one line of a reported fault, or WrongEndError."""
        if self.code != 2 or len(self.lines) != 1 or not self.lines[0].startswith("sepvox: "):
            last = self.lines[-1] if self.lines else "no word"
            raise WrongEndError(f"{self.name}: status {self.code}, {len(self.lines)} lines, the last: {last}")
        return self.lines[0].removeprefix("sepvox: ").replace(f"{ROOT}/", "")


@dataclass(frozen=True)
class Running:
    """A process that was started; `errors` is the file descriptor of what it writes on standard error."""

    name: str
    pid: int
    errors: int

    def kill_after(self, seconds: float) -> None:
        """Kill its group after seconds of processor time, if it does not end before."""
        # What clock_getcpuclockid(3) gives for another process.
        clock = (~self.pid << 3) | 2
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.clock_gettime(clock) >= seconds:
                os.killpg(self.pid, signal.SIGKILL)
                break
            time.sleep(0.0005)

    def end(self) -> Ended:
        """Wait for its end."""
        _, status, usage = os.wait4(self.pid, 0)
        with os.fdopen(self.errors) as file:
            file.seek(0)
            text = file.read()
        lines = tuple(line for line in text.splitlines() if line.strip() and not re.search("voxel/s|s/voxel", line))
        return Ended(self.name, os.waitstatus_to_exitcode(status), lines, usage.ru_utime + usage.ru_stime)


def warm() -> None:
    """Load what is compiled, once for all verbs."""
    ids = np.arange(1, 9, dtype=np.uint64).reshape(2, 2, 2)
    edges, scores = merge_scores(np.full((3, 2, 2, 2), 128, np.uint8), ids, None, "mean")
    table = lookup_tables(ids.ravel(), np.ones(ids.size, np.int64), edges, scores, [0.5])
    apply_lookup(ids, ids.ravel(), table[0])
    contingency(ids, ids)


def start(home: Path, name: str, job: Callable[[], object]) -> Running:
    """Fork a process, leader of its own group, that does `job` in the folder `home`."""
    errors = os.memfd_create(name)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        return Running(name, pid, errors)
    code: Any = 1
    try:
        os.setpgid(0, 0)
        os.dup2(errors, 2)
        os.chdir(home)
        job()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except SepvoxError as error:
        print(f"sepvox: {error}", file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def verb(arguments: Sequence[str]) -> None:
    """What the command `sepvox` does with these arguments."""
    sys.argv = ["sepvox", *arguments]
    cli.main()


def walk(home: Path, restart: bool = False, moment: float = math.inf) -> list[Ended]:
    """Do the path in `home` up to the first verb that fails; kill it after `moment` seconds of processor time."""
    found: list[Ended] = []
    for name, *arguments in PATH:
        options = ["--restart"] if restart and name in CAN_RESTART else []
        running = start(home, name, partial(verb, [name, *arguments, *options]))
        if moment < math.inf:
            running.kill_after(moment - sum(ended.seconds for ended in found))
        found.append(running.end())
        if found[-1].code:
            break
    return found
