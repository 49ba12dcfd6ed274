"""Create, slices, finish: how a step fills a store block by block, resumable and cut into jobs.

create   lays out the store; one whose fingerprint is the same keeps its finished blocks, another is moved aside.
slice    does the blocks of its part that have no marker yet, in one process or several.
finish   checks that every block is there and writes the store's metadata last.
"""

import contextlib
import multiprocessing
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from sepvox import markers, ome_zarr, storage
from sepvox.blocks import Box, Lattice, Part
from sepvox.errors import StoreError
from sepvox.ome_zarr import Spec
from sepvox.storage import Place

K = TypeVar("K")
R = TypeVar("R")
T = TypeVar("T")

# Items given to processes at one time, enough for all of them to have the next: memory does not depend on the volume.
AHEAD = 256
# Markers asked for at one time.
WINDOW = 16_384


@dataclass(frozen=True)
class Blockwise:
    """One step over the blocks of one volume.

    Attributes
    ----------
    step : str
        Name, for messages and the progress bar.
    lattice : Lattice
        The blocks.
    done : Path
        Folder of this step's markers and lock.
    fingerprint : str
        Of everything the blocks depend on.
    elsewhere : Place or None
        Folder of the blocks' markers, where their data is; by default in `done`.
    """

    step: str
    lattice: Lattice
    done: Path
    fingerprint: str
    elsewhere: Place | None = None

    @property
    def blocks(self) -> Place:
        """Folder of the blocks' markers."""
        return self.elsewhere or self.done / "blocks"

    def create(self, store: Place, lay_out: Callable[[], None], restart: bool) -> None:
        """Lay out `store` unless it is there with this fingerprint.

        What the store was made with is remembered among the block markers, where a workflow manager that deletes its
        declared outputs before an attempt does not reach it.
        """
        made_with = self.blocks / "store.json"
        with markers.locked(self._lock):
            if not (markers.is_done(made_with, self.fingerprint) and store.exists()):
                if store.exists() and (made_with.exists() or (store / "zarr.json").exists()):
                    markers.set_aside(store, restart, "made with other settings or from other input")
                self.forget()
                lay_out()
                markers.mark(made_with, self.fingerprint)
            markers.mark(self.done / "create.json", self.fingerprint)

    def forget(self) -> None:
        """Remove every marker of this step."""
        for folder in (self.blocks, self.done / "blocks"):
            storage.remove(folder)
        for old in self.done.glob("*.json"):
            old.unlink()

    def check_created(self) -> None:
        """Raise StoreError unless `create` has run with this fingerprint."""
        if not markers.is_done(self.blocks / "store.json", self.fingerprint):
            raise StoreError(
                f"{self.done}: {self.step} was not created with these settings; run it with `--part create` first"
            )

    def run(
        self,
        part: Part,
        work: Callable[[Box], Any],
        executor: Executor | None = None,
        is_there: Callable[[Box], bool] = lambda _: True,
    ) -> None:
        """Do the unfinished blocks of a part; `work` must write its block before it returns.

        Blocks run in this thread, or side by side in `executor`. One whose data `is_there` does not find is done again.
        """
        with markers.locked(self._lock, part.of(len(self.lattice))):
            if (self.blocks / "store.json").exists():
                # It may have been laid out for other settings since the caller looked.
                self.check_created()
            for index in part.of(len(self.lattice)):
                if not is_there(self.lattice.box(index)):
                    self.forget_block(index)
            left = self.unfinished(part)
            # Else a kill between data and marker would leave new data under the marker of other settings.
            for window in _windows(left):
                markers_of_others = storage.sizes(self.blocks, [self._name(index) for index in window])
                for index, size in zip(window, markers_of_others, strict=True):
                    if size:
                        self.forget_block(index)
            total = sum(self.lattice.box(index).size for index in left)
            boxes = ((index, self.lattice.box(index)) for index in left)
            with tqdm(total=total, unit="voxel", unit_scale=True, desc=self.step, mininterval=1) as bar:
                for index in finished(work, boxes, executor, self.step):
                    markers.mark(self.blocks / self._name(index), self.fingerprint)
                    bar.update(self.lattice.box(index).size)
            markers.mark(self.done / f"{part.index}-{part.count}.json", self.fingerprint)

    def unfinished(self, part: Part) -> "array[int]":
        """The blocks of a part that are not done with this fingerprint: 8 bytes for each."""
        found = array("q")
        for window in _windows(part.of(len(self.lattice))):
            done = markers.are_done(self.blocks, [self._name(index) for index in window], self.fingerprint)
            found.extend(index for index, is_done in zip(window, done, strict=True) if not is_done)
        return found

    def finish(self, complete: Callable[[], None]) -> None:
        """Check that every block is done, complete the store and mark the step as finished."""
        behind = len(self.lattice)
        with markers.locked(self._lock, range(behind, behind + 1)):
            self.check_done()
            complete()
            markers.mark(self.done / "finish.json", self.fingerprint)

    def check_done(self) -> None:
        """Raise StoreError unless every block was done with this fingerprint."""
        missing = self.unfinished(Part(0, 1))
        if missing:
            raise StoreError(
                f"{self.done}: {len(missing)} of {len(self.lattice)} blocks of {self.step} are not done with these settings; run its slices first"
            )

    def forget_block(self, index: int) -> None:
        """Let a block be done again."""
        storage.remove(self.blocks / self._name(index))

    @property
    def _lock(self) -> Path:
        """The lock of all blocks and, behind them, of `finish`."""
        return self.done / "lock"

    def _name(self, index: int) -> str:
        return f"{index}.json"


def _windows(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    """Indices in pieces, whose markers are asked for at one time."""
    for begin in range(0, len(indices), WINDOW):
        yield indices[begin : begin + WINDOW]


def fill_pyramid(step: Blockwise, store: Place, spec: Spec, executor: Executor | None = None) -> None:
    """Fill the coarser levels of a step's store, whose blocks are done; it goes on where it was interrupted."""
    for level in range(1, len(spec.pyramid())):
        filling = _of_level(step, store, spec, level)
        filling.run(Part(0, 1), partial(ome_zarr.fill_block, store, spec, level), executor)


def forget_pyramid(step: Blockwise, store: Place, spec: Spec) -> None:
    """Remove the markers of `fill_pyramid`: a store that is completed once more is read and filled once more."""
    for level in range(1, len(spec.pyramid())):
        filling = _of_level(step, store, spec, level)
        storage.remove(filling.blocks)
        storage.remove(filling.done)


def _of_level(step: Blockwise, store: Place, spec: Spec, level: int) -> Blockwise:
    name = f"{store.name}-{level}"
    blocks = ome_zarr.level_blocks(spec, level)
    return Blockwise(step.step, blocks, step.done / name, step.fingerprint, step.blocks / name)


def processes(count: int) -> contextlib.AbstractContextManager[Executor | None]:
    """An executor of `count` processes, or None for one.

    They are spawned, not forked: zarr keeps an event-loop thread, which a fork would leave in an unknown state.
    """
    if count == 1:
        return contextlib.nullcontext()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_end_with, initargs=(os.getpid(),))


def _end_with(parent: int) -> None:
    """End this worker soon after its parent, whose lock no longer protects what the worker writes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def finished(
    work: Callable[[T], Any], items: Iterable[tuple[K, T]], executor: Executor | None, step: str
) -> Iterator[K]:
    """Keys of items as their work ends; the first error stops what has not begun."""
    if executor is None:
        for key, item in items:
            work(item)
            yield key
        return
    begun: dict[Future[Any], K] = {}
    left = iter(items)
    with _told(step, begun):
        while True:
            for key, item in islice(left, AHEAD - len(begun)):
                begun[executor.submit(work, item)] = key
            if not begun:
                return
            ended, _ = wait(begun, return_when=FIRST_COMPLETED)
            # What has ended well counts, whatever became of the others.
            for future in sorted(ended, key=lambda one: one.exception() is not None):
                key = begun.pop(future)
                future.result()
                yield key


def in_order(work: Callable[[T], R], items: Iterable[T], executor: Executor | None, step: str) -> Iterator[R]:
    """What `work` makes of items, in their order; the first error stops what has not begun."""
    if executor is None:
        yield from map(work, items)
        return
    begun: dict[Future[R], None] = {}
    left = iter(items)
    with _told(step, begun):
        while True:
            for item in islice(left, AHEAD - len(begun)):
                begun[executor.submit(work, item)] = None
            if not begun:
                return
            first = next(iter(begun))
            yield first.result()
            del begun[first]


@contextlib.contextmanager
def _told(step: str, begun: Iterable[Future[Any]]) -> Iterator[None]:
    """A worker that is killed as an error of the step; at the end what has not begun never does."""
    try:
        yield
    except BrokenProcessPool:
        raise StoreError(
            f"{step}: a worker process was killed, most likely for want of memory; use fewer processes or smaller blocks, then run the same command again"
        ) from None
    finally:
        for future in begun:
            future.cancel()
