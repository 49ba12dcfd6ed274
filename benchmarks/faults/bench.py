"""Results of the path, undisturbed and in a case.

reference   the results of a path that nothing disturbed.
case        one repetition of a fault: fresh results, the fault, and the path again.
"""

import re
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.experiment import CHANGES, ROOT, configure, make_inputs
from benchmarks.faults.processes import Ended, WrongEndError, start, walk, warm

# What a killed process leaves beside its files, and what is set aside: nothing ever reads it.
LEFT_OVER = re.compile(r"\.tmp$|\.partial$|/locks/|/\.?lock$|\.stale/")

Files = dict[str, bytes]


def files(home: Path) -> Files:
    """Every file of the results and its bytes, but for what is left over."""
    root = home / ROOT
    found = {path: path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for path, name in found.items() if not LEFT_OVER.search(f"/{name}")}


def copied(source: Path, home: Path) -> None:
    shutil.copytree(source, home, copy_function=shutil.copyfile, dirs_exist_ok=True)


@dataclass(frozen=True)
class Bench:
    """What all cases share: a folder with inputs and finished results, the reference, the path's processor time."""

    folder: Path
    reference: Files
    seconds: float

    def changed(self, number: int) -> Files:
        """The files of an undisturbed path with changed settings, made when they are first asked for."""
        home = self.folder / f"changed-{number}"
        if not home.exists():
            copied(self.folder / "inputs", home)
            configure(home, CHANGES[number])
            walk(home)[-1].check()
        found = files(home)
        if all(found[name] == self.reference[name] for name in found if "segmentation.zarr/0/c/" in name):
            raise WrongEndError(f"{CHANGES[number]} makes no other segmentation")
        return found


def set_up(folder: Path, seed: int) -> Bench:
    """Make the inputs and the reference."""
    warm()
    inputs, finished = folder / "inputs", folder / "finished"
    inputs.mkdir()
    configure(inputs, {})
    start(inputs, "inputs", partial(make_inputs, seed)).end().check()
    copied(inputs, finished)
    verbs = walk(finished)
    verbs[-1].check()
    return Bench(folder, files(finished), sum(verb.seconds for verb in verbs))


@dataclass(frozen=True)
class Case:
    """One repetition of a fault, in a folder of its own."""

    bench: Bench
    home: Path
    rng: np.random.Generator
    number: int

    @property
    def root(self) -> Path:
        return self.home / ROOT

    def begin(self, finished: bool = False) -> None:
        """Put inputs, or finished results, into the folder."""
        copied(self.bench.folder / ("finished" if finished else "inputs"), self.home)

    def killed(self, finished: bool = False, changes: dict[str, Any] | None = None) -> None:
        """Begin the path, on inputs or on finished results with other settings, and kill it at a random moment.

        The moment is drawn from the processor time of the undisturbed path, so that kills fall everywhere in it however
        busy the machine is.
        """
        while True:
            self.begin(finished)
            configure(self.home, changes or {})
            last = walk(self.home, restart=finished, moment=self.rng.uniform(0, self.bench.seconds))[-1]
            if last.code == -signal.SIGKILL:
                return
            last.check()
            shutil.rmtree(self.home)

    def walk(self, restart: bool = False) -> Ended:
        return walk(self.home, restart)[-1]

    def pick(self, paths: Iterable[Path]) -> Path:
        ordered = sorted(paths)
        return ordered[int(self.rng.integers(len(ordered)))]

    def same(self, reference: Files | None = None) -> None:
        """WrongEndError unless all files are those of the reference."""
        wanted, found = reference or self.bench.reference, files(self.home)
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if wrong:
            raise WrongEndError(f"{len(wrong)} files differ from the reference, the first: {wrong[0]}")

    def settle(
        self,
        says: Callable[[str], bool] = lambda _: False,
        mend: Callable[[], object] = lambda: None,
        restart: bool = False,
        restore: Callable[[], object] = lambda: None,
    ) -> str:
        """Do the path; after a line that `says` what it should, mend and do it again. The line, or "" without one.

        `restore` undoes, before files are compared, what the fault changed and nothing reads.
        """
        found, line = self.walk(), ""
        if found.code:
            line = found.line()
            if not says(line):
                raise WrongEndError(f"the line does not say what and where: {line}")
            mend()
            found = self.walk(restart)
        found.check()
        restore()
        self.same()
        return line
