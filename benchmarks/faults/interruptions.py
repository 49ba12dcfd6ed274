"""Faults that stop the path on its way: kills, a full disk, a second run. Each returns the line it ended in, or ""."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.faults.bench import Case
from benchmarks.faults.experiment import CHANGES, configure
from benchmarks.faults.processes import WrongEndError, start, walk

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = "size=64m"


class ImpossibleError(Exception):
    """A fault that cannot be made on this machine."""


def kill(case: Case) -> str:
    case.killed()
    return case.settle()


def kill_and_change_times(case: Case) -> str:
    case.killed()
    for path in case.home.rglob("*"):
        when = time.time() + case.rng.uniform(-1, 1) * 10 * 365 * 86400
        os.utime(path, (when, when))
    return case.settle()


def kill_and_change_settings(case: Case) -> str:
    """Kill, change the settings, go on; after a refusal every other time the old settings go on."""
    number = case.number % len(CHANGES)
    wanted, line = case.bench.changed(number), ""
    case.killed()
    configure(case.home, CHANGES[number])
    found = case.walk()
    if found.code:
        line = found.line()
        if "--restart" not in line:
            raise WrongEndError(f"the line does not name --restart: {line}")
        if case.rng.random() < 0.5:
            configure(case.home, {})
            wanted, found = case.bench.reference, case.walk()
        else:
            found = case.walk(restart=True)
    found.check()
    case.same(wanted)
    return line


def kill_and_change_back(case: Case) -> str:
    """Kill while finished results are made again with other settings; go on with those of before."""
    case.killed(finished=True, changes=CHANGES[case.number % len(CHANGES)])
    configure(case.home, {})
    return case.settle(lambda line: "--restart" in line, restart=True)


def full_disk(case: Case) -> str:
    """Do the path on a file system that is too small, and make it larger."""
    mount = ["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", str(case.home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise ImpossibleError("mounting a small file system needs the rights of root")
    try:
        case.begin()
        usage = os.statvfs(case.home)
        used = usage.f_blocks - usage.f_bfree
        wanted = sum(-(-len(content) // PAGE) for content in case.bench.reference.values())
        pages = int(case.rng.integers(used + 1, max(wanted, used + 2)))
        remount = ["mount", "-o", f"remount,size={pages * PAGE}", str(case.home)]
        subprocess.run(remount, check=True)
        mend = partial(subprocess.run, [*remount[:2], f"remount,{ROOMY}", str(case.home)], check=True)
        return case.settle(lambda line: "No space left" in line, mend)
    finally:
        subprocess.run(["umount", "-l", str(case.home)], check=True)


def two_runs(case: Case) -> str:
    """Start the path twice, the second a little later; at least one must go through."""
    case.begin()
    running = []
    for name in ("first run", "second run"):
        running.append(start(case.home, name, partial(end_as_the_path, case.home)))
        time.sleep(case.rng.choice([0.0, case.rng.uniform(0, case.bench.seconds)]))
    found = [run.end() for run in running]
    refused = [run.line() for run in found if run.code]
    if len(refused) == len(found):
        raise WrongEndError(f"neither run went through: {refused}")
    case.same()
    return case.settle() or "".join(refused)


def end_as_the_path(home: Path) -> None:
    """Do the path, and end with the status and the lines of its last verb."""
    last = walk(home)[-1]
    print(*last.lines, sep="\n", file=sys.stderr)
    sys.exit(last.code)
