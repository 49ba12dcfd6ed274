"""Blocks are done once, kept over restarts with the same settings, and never mixed with those of other settings."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

import pytest

from sepvox import blockwise as blockwise_module
from sepvox import markers
from sepvox.blocks import Lattice, Part
from sepvox.blockwise import Blockwise, finished, in_order, processes
from sepvox.errors import StaleError, StoreError

LATTICE = Lattice((4, 4, 4), (2, 2, 2))


def step(folder: Path, fingerprint: str = "one") -> Blockwise:
    return Blockwise("test", LATTICE, folder / "done", fingerprint)


def lay_out(folder: Path):
    def make() -> None:
        (folder / "store").mkdir(exist_ok=True)

    return make


def touch(folder: Path, box) -> None:
    (folder / ("-".join(map(str, box.begin)))).touch()


def test_interrupted_slice_goes_on_where_it_was(tmp_path):
    blockwise, seen = step(tmp_path), []
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=False)

    def fail_at_third(box):
        seen.append(box)
        if len(seen) == 3:
            raise StoreError("disk full")

    with pytest.raises(StoreError, match="disk full"):
        blockwise.run(Part(0, 1), fail_at_third)
    with pytest.raises(StoreError, match="6 of 8 blocks"):
        blockwise.finish(lambda: None)
    blockwise.run(Part(0, 1), seen.append)
    assert len(seen) == 9
    assert len(set(seen)) == 8
    blockwise.finish(lambda: None)
    assert markers.is_done(tmp_path / "done/finish.json", "one")


def test_other_number_of_slices_finds_all_blocks_done(tmp_path):
    blockwise, seen = step(tmp_path), []
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=False)
    for index in range(3):
        blockwise.run(Part(index, 3), seen.append)
    for index in range(5):
        blockwise.run(Part(index, 5), seen.append)
    assert sorted(seen, key=lambda box: box.begin) == list(LATTICE)


def test_same_settings_keep_blocks_even_when_the_marker_of_create_was_deleted(tmp_path):
    blockwise, seen = step(tmp_path), []
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=True)
    blockwise.run(Part(0, 1), seen.append)
    (tmp_path / "done/create.json").unlink()
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=True)
    blockwise.run(Part(0, 1), seen.append)
    assert len(seen) == 8


def test_other_settings_are_refused_or_moved_aside_never_mixed(tmp_path):
    step(tmp_path).create(tmp_path / "store", lay_out(tmp_path), restart=False)
    step(tmp_path).run(Part(0, 1), lambda _: None)
    (tmp_path / "store/old").touch()
    changed, seen = step(tmp_path, "two"), []
    with pytest.raises(StaleError, match="--restart"):
        changed.create(tmp_path / "store", lay_out(tmp_path), restart=False)
    assert (tmp_path / "store/old").exists()
    changed.create(tmp_path / "store", lay_out(tmp_path), restart=True)
    assert (tmp_path / "store.stale/old").exists()
    changed.run(Part(0, 1), seen.append)
    assert len(seen) == 8


def test_blocks_whose_data_is_gone_are_done_again(tmp_path):
    blockwise, seen = step(tmp_path), []
    store = tmp_path / "store"
    blockwise.create(store, lay_out(tmp_path), restart=False)
    blockwise.run(Part(0, 1), partial(touch, store))
    (store / "2-0-2").unlink()
    blockwise.run(Part(0, 1), seen.append, is_there=lambda box: (store / "-".join(map(str, box.begin))).exists())
    assert [box.begin for box in seen] == [(2, 0, 2)]


def _hold(path: Path, ready, release) -> None:
    with markers.locked(path):
        ready.set()
        release.wait(30)


def test_second_process_on_the_same_slice_is_refused(tmp_path):
    blockwise = step(tmp_path)
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=False)
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "done/lock", ready, release))
    holder.start()
    try:
        assert ready.wait(30)
        markers.mark(tmp_path / "done/blocks/0.json", "one")
        with pytest.raises(StoreError, match="another sepvox process is writing here"):
            blockwise.run(Part(0, 1), lambda _: None, is_there=lambda _: False)
        assert (tmp_path / "done/blocks/0.json").exists(), "a refused run changed something"
        with pytest.raises(StoreError, match="another sepvox process is writing here"):
            blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=True)
    finally:
        release.set()
        holder.join()


def _hold_blocks(path: Path, blocks: range, ready, release) -> None:
    with markers.locked(path, blocks):
        ready.set()
        release.wait(30)


def test_slices_of_another_count_that_share_a_block_are_refused_and_others_run_side_by_side(tmp_path):
    blockwise = step(tmp_path)
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=False)
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    held = Part(1, 4).of(len(LATTICE))
    holder = context.Process(target=_hold_blocks, args=(tmp_path / "done/lock", held, ready, release))
    holder.start()
    try:
        assert ready.wait(30)
        with pytest.raises(StoreError, match="another sepvox process is writing here"):
            blockwise.run(Part(0, 2), lambda _: None)
        blockwise.run(Part(1, 2), lambda _: None)
        assert sorted(blockwise.unfinished(Part(0, 1))) == list(Part(0, 2).of(len(LATTICE)))
    finally:
        release.set()
        holder.join()


def test_blocks_run_in_several_processes(tmp_path):
    blockwise = step(tmp_path)
    blockwise.create(tmp_path / "store", lay_out(tmp_path), restart=False)
    with processes(2) as executor:
        blockwise.run(Part(0, 1), partial(touch, tmp_path / "store"), executor)
    assert len(list((tmp_path / "store").iterdir())) == 8
    blockwise.finish(lambda: None)


def _work_for_ever(folder: Path) -> None:
    with processes(2) as executor:
        assert executor is not None
        for index in range(2):
            executor.submit(_say_and_sleep, folder / str(index))
        while True:
            time.sleep(1)


def _say_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the state of processes from /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    parent = multiprocessing.get_context("spawn").Process(target=_work_for_ever, args=(tmp_path,))
    parent.start()
    deadline = time.monotonic() + 60
    while len([path for path in tmp_path.iterdir() if path.read_text()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, workers))


def test_marker_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "marker.json"
    markers.mark(path, "one")

    def fail_half_way() -> None:
        with markers.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert markers.is_done(path, "one")
    assert [file.name for file in tmp_path.iterdir()] == ["marker.json"]
    path.write_text('{"finger')
    assert not markers.is_done(path, "one")


def number(item: int) -> int:
    return item * item


def die_at_three(item: int) -> None:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 2])
def test_more_items_than_are_given_at_one_time_are_all_done_and_in_order(count, monkeypatch):
    monkeypatch.setattr(blockwise_module, "AHEAD", 4)
    with processes(count) as executor:
        assert list(in_order(number, range(50), executor, "test")) == [item * item for item in range(50)]
        assert sorted(finished(number, ((item, item) for item in range(50)), executor, "test")) == list(range(50))


class Given(Executor):
    """An executor that does an item when it is given, and counts how many results nobody has taken yet."""

    def __init__(self) -> None:
        self.waiting, self.most = 0, 0

    def submit(self, work, *items):
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        done = Future()
        done.set_result(work(*items))
        return done


def test_no_more_items_are_given_than_the_window_holds(monkeypatch):
    monkeypatch.setattr(blockwise_module, "AHEAD", 4)
    for run in (in_order, lambda work, items, *rest: finished(work, ((item, item) for item in items), *rest)):
        executor = Given()
        for _ in run(number, range(50), executor, "test"):
            executor.waiting -= 1
        assert executor.most == 4


def test_a_worker_that_is_killed_while_items_are_still_given_is_one_line(monkeypatch):
    monkeypatch.setattr(blockwise_module, "AHEAD", 2)
    for run in (in_order, lambda work, items, *rest: finished(work, ((item, item) for item in items), *rest)):
        with processes(2) as executor, pytest.raises(StoreError, match="test: a worker process was killed"):
            list(run(die_at_three, range(50), executor, "test"))
