"""Many subjects in one job: a step that handles each subject by itself, resumable and cut into slices.

A subject is done when its marker carries the fingerprint of everything its result depends on, and all that the marker says
was made is there. A result of another fingerprint is moved aside, what a stopped run left or a user removed in part is
removed, and neither is ever reused. The marker of
a slice, which the workflow declares, is written last.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sepvox import markers, storage
from sepvox.blocks import Part
from sepvox.blockwise import finished
from sepvox.errors import StoreError
from sepvox.storage import Place


@dataclass(frozen=True)
class Subjectwise:
    """One step over the subjects of an experiment.

    Attributes
    ----------
    step : str
        Name, for messages and the progress bar.
    done : Path
        Folder of this step's markers.
    fingerprints : mapping
        By subject, in the order in which slices are cut.
    made : callable
        What a subject's work may write, by subject: files or folders, each of another name.
    """

    step: str
    done: Path
    fingerprints: Mapping[str, str]
    made: Callable[[str], list[Place]]

    def run(
        self, part: Part, work: Callable[[str], Any], executor: Executor | None = None, restart: bool = False
    ) -> None:
        """Do the unfinished subjects of a part; `work` must have written its results when it returns.

        Raises
        ------
        StaleError
            If there are results of other settings or files and `restart` is false.
        StoreError
            If another process works on this part, or a worker process was killed.
        """
        names = list(self.fingerprints)
        indices = part.of(len(names))
        mine = [names[index] for index in indices]
        with markers.locked(self.done / "lock", indices):
            slice_marker = self.done / f"{part.index}-{part.count}.json"
            open_ = [name for name in mine if not self.is_done(name)]
            if open_:
                slice_marker.unlink(missing_ok=True)
            for name in open_:
                self._clear(name, restart)
            with tqdm(
                total=len(mine), initial=len(mine) - len(open_), unit="subject", desc=self.step, mininterval=1, delay=2
            ) as bar:
                for name in finished(work, ((name, name) for name in open_), executor, self.step):
                    there = [path.name for path in self.made(name) if path.exists()]
                    markers.mark(self._marker(name), self.fingerprints[name], made=there)
                    bar.update()
            markers.mark(slice_marker, markers.fingerprint(mine, dict(self.fingerprints)))

    def is_done(self, name: str) -> bool:
        """Whether a subject's result is there and was made with these settings from this input."""
        if not self._is_marked(name):
            return False
        made = markers.read_json(self._marker(name)).get("made", ())
        return bool(made) and all(path.exists() for path in self.made(name) if path.name in made)

    def check_done(self) -> None:
        """Raise StoreError unless every subject is done."""
        missing = [name for name in self.fingerprints if not self.is_done(name)]
        if missing:
            raise StoreError(
                f"{self.done}: {self.step} of {len(missing)} of {len(self.fingerprints)} subjects is missing or was made with other settings, the first is {missing[0]}; run `sepvox {self.step}` first"
            )

    def _clear(self, name: str, restart: bool) -> None:
        """Move results of another fingerprint aside, and remove what a stopped run left."""
        stale = self._marker(name).exists() and not self._is_marked(name)
        for path in self.made(name):
            if path.exists() and stale:
                markers.set_aside(path, restart, "made with other settings or from other files")
            else:
                storage.remove(path)
        self._marker(name).unlink(missing_ok=True)

    def _is_marked(self, name: str) -> bool:
        return markers.is_done(self._marker(name), self.fingerprints[name])

    def _marker(self, name: str) -> Path:
        return self.done / "subjects" / f"{name}.json"
