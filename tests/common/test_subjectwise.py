"""A step over many subjects resumes where it stopped, never reuses what is stale, and marks only what is whole."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from sepvox import blockwise, markers, storage
from sepvox.blocks import Part
from sepvox.errors import InputError, StaleError, StoreError
from sepvox.subjectwise import Subjectwise

NAMES = ("a", "b", "c", "d", "e")
ALL = Part(0, 1)


def made(folder: Path, name: str) -> list[Path]:
    return [folder / name / "image", folder / name / "labels.json"]


def step(folder: Path, version: int = 1, names=NAMES, **other) -> Subjectwise:
    prints = {name: f"{name}-{version}" for name in names} | other
    return Subjectwise("measure", folder / "done", prints, partial(made, folder))


class Work:
    """Writes a folder and a file per subject, and remembers whose turn it was; refuses some."""

    def __init__(self, folder: Path, refuses=()) -> None:
        self.folder, self.refuses, self.did = folder, refuses, []

    def __call__(self, name: str) -> None:
        image, labels = made(self.folder, name)
        image.mkdir(parents=True, exist_ok=True)
        (image / "half").write_text(name)
        if name in self.refuses:
            raise InputError(f"subject {name}: is bad")
        labels.write_text(name)
        (image / "whole").write_text(name)
        self.did.append(name)


def done(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "done/subjects").glob("*.json"))


def slices(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "done").glob("*.json"))


def test_all_subjects_are_done_once(tmp_path):
    work = Work(tmp_path)
    step(tmp_path).run(ALL, work)
    assert work.did == list(NAMES)
    assert (done(tmp_path), slices(tmp_path)) == (list(NAMES), ["0-1.json"])
    step(tmp_path).check_done()
    step(tmp_path).run(ALL, work)
    assert work.did == list(NAMES)


def test_another_number_of_slices_does_nothing_again(tmp_path):
    work = Work(tmp_path)
    for index in range(3):
        step(tmp_path).run(Part(index, 3), work)
    assert sorted(work.did) == list(NAMES)
    for index in range(9):
        step(tmp_path).run(Part(index, 9), work)
    assert len(work.did) == len(NAMES)
    assert len(slices(tmp_path)) == 3 + 9


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_leaves_no_marker_of_the_subject_and_none_of_the_slice(tmp_path, threads):
    bad = Work(tmp_path, refuses=("c",))
    with ThreadPoolExecutor(threads or 1) as executor, pytest.raises(InputError, match="subject c: is bad"):
        step(tmp_path).run(ALL, bad, executor if threads else None)
    assert "c" not in done(tmp_path)
    assert slices(tmp_path) == []
    with pytest.raises(
        StoreError, match=r"^[^\n]*measure of \d of 5 subjects .* the first is [a-e]; run `sepvox measure`"
    ):
        step(tmp_path).check_done()
    before = done(tmp_path)
    good = Work(tmp_path)
    step(tmp_path).run(ALL, good)
    assert sorted([*before, *good.did]) == list(NAMES)
    step(tmp_path).check_done()


def test_what_a_stopped_run_left_is_removed_before_the_subject_is_done_anew(tmp_path):
    leftovers = made(tmp_path, "b")
    leftovers[0].mkdir(parents=True)
    (leftovers[0] / "old").touch()
    leftovers[1].write_text("labels that are no longer given")
    seen = []
    step(tmp_path).run(ALL, lambda name: seen.append([path.exists() for path in made(tmp_path, name)]))
    assert seen == [[False, False]] * len(NAMES)


def test_stale_results_are_refused_and_with_restart_set_aside(tmp_path):
    step(tmp_path).run(ALL, Work(tmp_path))
    work = Work(tmp_path)
    changed = step(tmp_path, b="b-2")
    with pytest.raises(StaleError, match=r"^[^\n]*b/image: made with other settings[^\n]*--restart[^\n]*$"):
        changed.run(ALL, work)
    assert work.did == []
    assert (tmp_path / "b/image/whole").exists()
    changed.run(ALL, work, restart=True)
    assert work.did == ["b"]
    assert (tmp_path / "b/image.stale/whole").exists()
    assert (tmp_path / "b/labels.json.stale").exists()
    assert not (tmp_path / "a/image.stale").exists()
    changed.check_done()
    with pytest.raises(StoreError, match="1 of 5 subjects"):
        step(tmp_path).check_done()


def test_a_slice_that_failed_is_not_taken_for_the_finished_one_of_before(tmp_path):
    step(tmp_path).run(ALL, Work(tmp_path))
    with pytest.raises(InputError):
        step(tmp_path, version=2).run(ALL, Work(tmp_path, refuses=("a",)), restart=True)
    assert slices(tmp_path) == []
    assert done(tmp_path) == []


@pytest.mark.parametrize("part", ["image", "labels.json"])
def test_results_of_which_a_part_was_removed_are_made_again_whatever_their_marker_says(tmp_path, part):
    step(tmp_path).run(ALL, Work(tmp_path))
    storage.remove(tmp_path / "d" / part)
    work = Work(tmp_path)
    assert not step(tmp_path).is_done("d")
    step(tmp_path).run(ALL, work)
    assert work.did == ["d"]
    assert not list(tmp_path.rglob("*.stale"))
    step(tmp_path).check_done()


def test_what_some_subjects_have_not_is_not_missed(tmp_path):
    seen = []

    def work(name):
        seen.append(name)
        made(tmp_path, name)[0].mkdir(parents=True)

    for _ in range(2):
        step(tmp_path).run(ALL, work)
    assert seen == list(NAMES)


def test_subjects_come_and_go_without_touching_the_others(tmp_path):
    step(tmp_path).run(ALL, Work(tmp_path))
    work = Work(tmp_path)
    step(tmp_path, names=("e", "a", "new")).run(ALL, work)
    assert work.did == ["new"]
    marker = (tmp_path / "done/0-1.json").read_text()
    step(tmp_path, names=("e", "a")).run(ALL, work)
    assert (tmp_path / "done/0-1.json").read_text() != marker


def test_more_slices_than_subjects_and_no_subject_at_all(tmp_path):
    work = Work(tmp_path)
    for index in range(4):
        step(tmp_path, names=("a",)).run(Part(index, 4), work)
    step(tmp_path / "none", names=()).run(ALL, work)
    step(tmp_path / "none", names=()).check_done()
    assert work.did == ["a"]


def test_a_slice_is_done_by_one_process_at_a_time(tmp_path):
    program = (
        "import sys; from pathlib import Path; from sepvox import markers\n"
        "with markers.locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / "done/lock"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        work = Work(tmp_path)
        with pytest.raises(StoreError, match="another sepvox process is writing here"):
            step(tmp_path).run(ALL, work)
        assert work.did == []
        other.stdin.close()
    step(tmp_path).run(ALL, work)
    assert work.did == list(NAMES)


def write_own_process(folder: Path, name: str) -> None:
    image = made(folder, name)[0]
    markers.write_json(image, os.getpid())


def be_killed(folder: Path, name: str) -> None:
    if name == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    write_own_process(folder, name)


def test_subjects_are_shared_out_to_processes(tmp_path):
    with blockwise.processes(2) as executor:
        step(tmp_path).run(ALL, partial(write_own_process, tmp_path), executor)
    found = {markers.read_json(made(tmp_path, name)[0]) for name in NAMES}
    assert os.getpid() not in found
    assert done(tmp_path) == list(NAMES)


def test_a_killed_worker_is_one_line_and_the_next_run_goes_on(tmp_path):
    with (
        pytest.raises(StoreError, match=r"^measure: a worker process was killed[^\n]*fewer processes[^\n]*$"),
        blockwise.processes(2) as executor,
    ):
        step(tmp_path).run(ALL, partial(be_killed, tmp_path), executor)
    assert "c" not in done(tmp_path)
    assert slices(tmp_path) == []
    step(tmp_path).run(ALL, partial(write_own_process, tmp_path))
    step(tmp_path).check_done()
