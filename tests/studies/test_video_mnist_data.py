"""The videos of a study are the same however they are made, survive a kill, and come from whole input only."""

import multiprocessing
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sepvox import markers, ome_zarr
from sepvox.cli import main
from sepvox.errors import StaleError, StoreError
from sepvox.layout import Layout
from sepvox.studies.video_mnist.clips import SPLITS, clip, clip_seed
from sepvox.studies.video_mnist.contact_sheet import GAP, LEFT, TOP, ZOOM
from sepvox.studies.video_mnist.digits import read_digits
from sepvox.studies.video_mnist.make import make_videos
from sepvox.studies.video_mnist.settings import VideoMnistStudy, read_study
from sepvox.studies.video_mnist.store import read_labels, read_videos
from sepvox.studies.video_mnist.subsets import balanced

COUNTS = {"train": 45, "validation": 10, "test": 20}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    images = np.zeros((80, 28, 28), np.uint8)
    images[:, 6:22, 8:20] = rng.integers(0, 256, (80, 16, 12))
    labels = np.arange(80, dtype=np.uint8) % 10
    return {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:], "y_test": labels[60:]}


@pytest.fixture
def folder(tmp_path):
    np.savez_compressed(tmp_path / "digits.npz", **arrays())
    return tmp_path


def make(study: VideoMnistStudy, results: Path, **options) -> None:
    make_videos(study.videos, Layout(results / study.experiment), **options)


def written(folder: Path, **videos) -> Path:
    path = folder / "study.yaml"
    chosen = {"images": "digits.npz", "chunk": 2, "shard": 6} | COUNTS | videos
    path.write_text(yaml.safe_dump({"experiment": "small", "videos": chosen}))
    return path


def study(folder: Path, **videos) -> VideoMnistStudy:
    return read_study(written(folder, **videos))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of the digits and of finished results."""
    folder = tmp_path_factory.mktemp("finished")
    np.savez_compressed(folder / "digits.npz", **arrays())
    make(study(folder, seed=3), folder / "results")
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of them, to do harm to."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def everything(results: Path) -> dict[str, np.ndarray]:
    layout = Layout(results / "small")
    return {split: read_videos(layout.videos(split), np.arange(COUNTS[split])) for split in SPLITS}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stored_videos_are_the_clips_of_their_digits_in_order(finished):
    digits = read_digits(str(finished / "digits.npz"))
    layout = Layout(finished / "results/small")
    for split, videos in everything(finished / "results").items():
        labels = digits[split].labels[: COUNTS[split]]
        np.testing.assert_array_equal(read_labels(layout.videos(split)), labels)
        for index, (video, label) in enumerate(zip(videos, labels, strict=True)):
            expected = clip(digits[split].images[index], int(label), clip_seed(3, split, index))
            np.testing.assert_array_equal(video, expected)
    attributes = ome_zarr.attributes(layout.videos("train"))
    assert attributes["seed"] == 3
    assert attributes["source"] == str(finished / "digits.npz")
    assert attributes["classes"][3] == "rotates clockwise"
    order = np.array([30, 2, 44, 2])
    videos = read_videos(layout.videos("train"), order)
    np.testing.assert_array_equal(videos, everything(finished / "results")["train"][order])


def test_chunks_change_no_byte_of_a_video(finished, tmp_path):
    make(study(finished, seed=3, chunk=5, shard=20), tmp_path)
    one, other = everything(finished / "results"), everything(tmp_path)
    for split in SPLITS:
        assert one[split].tobytes() == other[split].tobytes()


def test_two_processes_write_the_bytes_of_one(finished, tmp_path):
    make(study(finished, seed=3, processes=2), tmp_path)
    assert tree(tmp_path / "small/videos") == tree(finished / "results/small/videos")


def test_smaller_set_is_the_beginning_of_a_larger_one(finished, tmp_path):
    make(study(finished, seed=3, train=13), tmp_path)
    few = read_videos(Layout(tmp_path / "small").videos("train"), np.arange(13))
    assert few.tobytes() == everything(finished / "results")["train"][:13].tobytes()


def _make_until_killed(chosen: VideoMnistStudy, results: Path, shards: int) -> None:
    marked = markers.mark

    def mark(path: Path, value: str) -> None:
        nonlocal shards
        if path.parent.name == "blocks" and path.stem.isdigit():
            shards -= 1
            if shards < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        marked(path, value)

    markers.mark = mark
    make(chosen, results)


def test_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(finished, tmp_path):
    chosen = study(finished, seed=3)
    run = multiprocessing.get_context("spawn").Process(target=_make_until_killed, args=(chosen, tmp_path, 3))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    train = Layout(tmp_path / "small").videos("train")
    with pytest.raises(StoreError, match="unfinished"):
        read_videos(train, np.arange(2))
    made = [train / f"videos/c/{number}/0/0/0" for number in range(3)]
    before = [path.stat().st_mtime_ns for path in made]
    make(chosen, tmp_path)
    assert [path.stat().st_mtime_ns for path in made] == before, "finished shards were made again"
    assert tree(tmp_path / "small/videos") == tree(finished / "results/small/videos")


def test_videos_of_other_settings_or_digits_are_refused_or_moved_aside(copied):
    before = tree(copied / "results/small/videos")
    with pytest.raises(StaleError, match="--restart"):
        make(study(copied, seed=1), copied / "results")
    assert tree(copied / "results/small/videos") == before
    changed = arrays()
    changed["x_test"][0, 10, 10] ^= 1
    np.savez_compressed(copied / "digits.npz", **changed)
    with pytest.raises(StaleError, match=r"test\.zarr"):
        make(study(copied, seed=3), copied / "results")
    make(study(copied, seed=3), copied / "results", restart=True)
    after = tree(copied / "results/small/videos")
    assert any(name.startswith("test.zarr.stale/") for name in after)
    assert not any(name.startswith("train.zarr.stale/") for name in after)


def test_lost_shard_is_an_error_and_is_made_again(copied):
    train = Layout(copied / "results/small").videos("train")
    whole = everything(copied / "results")["train"]
    (train / "videos/c/2/0/0/0").unlink()
    with pytest.raises(StoreError, match="shard videos/c/2/0/0/0 is missing"):
        read_videos(train, np.arange(45))
    make(study(copied, seed=3), copied / "results")
    np.testing.assert_array_equal(read_videos(train, np.arange(45)), whole)


def test_every_flipped_byte_of_a_chunk_is_found_and_the_chunk_is_named(copied):
    train = Layout(copied / "results/small").videos("train")
    shard = train / "videos/c/1/0/0/0"
    sound = shard.read_bytes()
    for at in range(20, len(sound), len(sound) // 7):
        damaged = bytearray(sound)
        damaged[at] ^= 16
        shard.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"chunk of videos (6 to 7|8 to 9|10 to 11) is damaged"):
            read_videos(train, np.arange(6, 12))


def test_contact_sheet_shows_every_frame_of_the_first_video_of_each_class(finished):
    sheet = np.asarray(Image.open(Layout(finished / "results/small").contact_sheet()).convert("L"))
    pitch = ZOOM * 28 + GAP
    for label, video in enumerate(everything(finished / "results")["train"][:10]):
        for frame, expected in enumerate(video):
            top, left = TOP + label * pitch, LEFT + frame * pitch
            shown = sheet[top : top + ZOOM * 28 : ZOOM, left : left + ZOOM * 28 : ZOOM]
            np.testing.assert_array_equal(shown, expected)


def damage(path: Path, kind: str) -> None:
    found = arrays()
    if kind == "text":
        path.write_text("no archive")
        return
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
        return
    if kind == "flipped":
        damaged = bytearray(path.read_bytes())
        damaged[2000] ^= 16
        path.write_bytes(damaged)
        return
    if kind == "key":
        del found["y_test"]
    elif kind == "shape":
        found["x_train"] = found["x_train"].reshape(60, 784)
    elif kind == "float":
        found["x_train"] = found["x_train"] / np.float32(255)
    elif kind == "length":
        found["y_train"] = found["y_train"][:-1]
    elif kind == "class":
        found["y_test"][3] = 10
    elif kind == "one-hot":
        found["y_train"] = np.eye(10)[found["y_train"]]
    np.savez_compressed(path, **found)


def refused(config: Path, monkeypatch, capsys) -> str:
    """The one line with which the command line refuses a study."""
    results = config.parent / "results"
    monkeypatch.setattr(
        sys, "argv", ["sepvox", "study", "video-mnist", "videos", str(config), "--results", str(results)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert not results.exists(), "something was left behind"
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "digits.npz: cannot be read as .npz"),
        ("truncated", "digits.npz: cannot be read as .npz"),
        ("flipped", "digits.npz: cannot be read as .npz"),
        ("key", "has no y_test, only x_train, y_train, x_test"),
        ("shape", "x_train is uint8 of shape (60, 784); expected uint8 of shape (n, 28, 28)"),
        ("float", "x_train is float32"),
        ("length", "y_train is uint8 of shape (59,); expected whole numbers of shape (60,)"),
        ("class", "y_test goes from 0 to 10; expected classes 0 to 9"),
        ("one-hot", "y_train is float64 of shape (60, 10)"),
    ],
)
def test_damaged_digits_are_refused_in_one_line(folder, monkeypatch, capsys, kind, says):
    damage(folder / "digits.npz", kind)
    assert says in refused(written(folder), monkeypatch, capsys)


@pytest.mark.parametrize(
    ("videos", "says"),
    [
        ({"train": 51}, "videos.train: 51 videos were asked for, but"),
        ({"validation": 11}, "has only 10 digits for this split; ask for at most 10"),
        ({"test": 10_000}, "videos.test: 10000 videos were asked for"),
        ({"test": 0}, "videos.test: Input should be greater than 0, got 0"),
        ({"images": "absent.npz"}, "absent.npz: no such file"),
        ({"images": "."}, "cannot be read as .npz (IsADirectoryError"),
        ({"images": "${NO_SUCH_FOLDER}/mnist.npz"}, "environment variable NO_SUCH_FOLDER is not set"),
        ({"shard": 7}, "shard: 7 is not a multiple of the chunk's 2"),
        ({"trian": 5}, "videos.trian: unknown key; did you mean `train`?"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_impossible_requests_are_refused_in_one_line(folder, monkeypatch, capsys, videos, says):
    assert says in refused(written(folder, **videos), monkeypatch, capsys)


def test_stand_in_is_divided_like_mnist():
    digits = read_digits(None)
    assert {split: len(found) for split, found in digits.items()} == {"train": 1285, "validation": 256, "test": 256}
    for found in digits.values():
        assert found.images.shape[1:] == (28, 28)
        assert found.images.max() == 255
        assert not found.images[:, :4].any()
        assert set(found.labels.tolist()) == set(range(10))


@pytest.mark.skipif("SEPVOX_DATA" not in os.environ, reason="needs MNIST: SEPVOX_DATA is not set")
def test_mnist_has_the_standard_split_and_room_for_the_papers_training_sets():
    digits = read_digits(f"{os.environ['SEPVOX_DATA']}/mnist/mnist.npz")
    assert {split: len(found) for split, found in digits.items()} == {
        "train": 50_000,
        "validation": 10_000,
        "test": 10_000,
    }
    assert digits["train"].labels[:5].tolist() == [5, 0, 4, 1, 9]
    for count in (10, 20, 30, 40, 50, 100, 500, 1000, 2000, 5000):
        chosen = balanced(digits["train"].labels, count, seed=0)
        assert np.bincount(digits["train"].labels[chosen]).tolist() == [count // 10] * 10


def test_verb_makes_a_study_from_its_file(folder, monkeypatch):
    results = folder / "results"
    monkeypatch.setattr(
        sys, "argv", ["sepvox", "study", "video-mnist", "videos", str(written(folder)), "--results", str(results)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    names = {re.sub("/.*", "", name) for name in tree(results / "small/videos")}
    assert names == {"train.zarr", "validation.zarr", "test.zarr", "contact-sheet.png"}
