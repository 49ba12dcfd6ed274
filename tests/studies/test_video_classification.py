"""Video classification: videos are read and divided as promised, clips are pure functions, units resume, tables say it."""

import csv
import json
import shutil
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from tests.workflow.runs import REPOSITORY, planned

from sepvox.cli import main
from sepvox.errors import InputError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.resnet3d import build_clip_network
from sepvox.studies.video_classification import train as training
from sepvox.studies.video_classification.clips import (
    Clips,
    Distortion,
    clip_frames,
    judged_batches,
    training_batches,
)
from sepvox.studies.video_classification.folder import divide, folder_fingerprint, look_through
from sepvox.studies.video_classification.reader import count_frames, read_frames
from sepvox.studies.video_classification.settings import (
    ClipSettings,
    FolderSettings,
    TrainSettings,
    VideoStudy,
    read_study,
)
from sepvox.studies.video_classification.study import run
from sepvox.studies.video_classification.tables import table
from sepvox.studies.video_classification.videos import open_videos

MNIST = {"images": "digits.npz", "train": 20, "validation": 10, "test": 12, "chunk": 2, "shard": 6}
TINY = {
    "experiment": "tiny",
    "mnist": MNIST,
    "clip": {"frames": 4, "every": 6},
    "networks": {"dense": "resnet18", "p3sc1": "resnet18-pmsc-3-1"},
    "width": 4,
    "train": {"epochs": 2, "batch": 5, "learning_rate": 0.01},
}


def pictures(count: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Frames in colour, uint8 (t, y, x, 3), of which number i is 8 i bright, red on the left and green on the right."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, : width // 2, 0] = frame[:, width // 2 :, 1] = 8 * number
    return frames


def write_gif(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(frame) for frame in pictures(count))
    first.save(path, save_all=True, append_images=others)


def write_frames(path: Path, count: int) -> None:
    path.mkdir(parents=True)
    for number, frame in enumerate(pictures(count)):
        Image.fromarray(frame).save(path / f"frame{number}.png")


@pytest.fixture
def folder(tmp_path):
    """Two classes of four videos."""
    for label, name in enumerate(("walk", "run")):
        for number in range(3):
            write_gif(tmp_path / "videos" / name / f"clip{number}.gif", 5 + number + label)
        write_frames(tmp_path / "videos" / name / "clip3", 12)
    return tmp_path / "videos"


def written(where: Path, **changes) -> Path:
    path = where / "study.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (TINY | changes).items() if value is not None}))
    images, labels = np.random.default_rng(0).integers(0, 256, (80, 28, 28), np.uint8), np.arange(80) % 10
    np.savez(where / "digits.npz", x_train=images[:60], y_train=labels[:60], x_test=images[60:], y_test=labels[60:])
    return path


def study(where: Path, **changes) -> VideoStudy:
    return read_study(written(where, **changes))


# Reading


@pytest.mark.parametrize("suffix", ["gif", "", "mp4", "avi"])
def test_frames_come_in_order_in_the_asked_size_and_as_often_as_wanted(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}" if suffix else tmp_path / "clip"
    if suffix == "gif":
        write_gif(path, 12)
    elif suffix == "":
        write_frames(path, 12)
    else:
        codec = "libx264" if suffix == "mp4" else "mpeg4"
        iio.imwrite(path, pictures(12, 48, 64), plugin="pyav", codec=codec, fps=10)
    assert count_frames(path) == 12
    numbers = np.array([11, 2, 10, 2, 0])
    found = read_frames(path, numbers, (12, 12), colour=True)
    assert (found.shape, found.dtype) == ((3, 5, 12, 12), np.uint8)
    # Codecs lose a little. The frame is wider than what is asked for, so that its middle is seen.
    tolerance = 12 if suffix in ("mp4", "avi") else 1
    for column, channel in ((1, 0), (10, 1)):
        np.testing.assert_allclose(found[channel, :, 6, column], 8 * numbers, atol=tolerance)
        np.testing.assert_allclose(found[2, :, 6, column], 0, atol=tolerance)
    assert read_frames(path, numbers, (6, 8), colour=False).shape == (1, 5, 6, 8)


def test_frames_of_a_folder_are_counted_as_people_count(tmp_path):
    write_frames(tmp_path / "clip", 12)
    found = read_frames(tmp_path / "clip", np.arange(12), (24, 32), colour=True)
    np.testing.assert_array_equal(found, np.moveaxis(pictures(12), -1, 0))


def test_a_video_that_became_shorter_is_an_error(tmp_path):
    write_gif(tmp_path / "clip.gif", 3)
    with pytest.raises(InputError, match=r"clip\.gif: frame 7 was there"):
        read_frames(tmp_path / "clip.gif", np.array([1, 7]), (8, 8), colour=True)


# Folders


def test_index_has_every_video_with_its_class_frames_and_split(folder):
    index = look_through(FolderSettings(path=str(folder)))
    assert index.classes == ("run", "walk")
    frames = {video.path: video.frames for video in index.videos}
    assert frames == {
        f"{name}/clip{number}{'' if number == 3 else '.gif'}": 12 if number == 3 else 5 + number + (name == "run")
        for name in ("run", "walk")
        for number in range(4)
    }
    assert all(index.classes[video.label] == video.path.partition("/")[0] for video in index.videos)
    for label in (0, 1):
        splits = [video.split for video in index.videos if video.label == label]
        assert sorted(splits) == ["test", "train", "train", "validation"]


def test_division_depends_on_the_seed_alone_and_keeps_the_shares():
    found = {name: [f"{name}/{number}.avi" for number in range(100)] for name in ("a", "b")}
    settings = FolderSettings(path="", test_share=0.3, validation_share=0.1)
    splits = divide(found, settings)
    assert splits == divide(found, settings)
    assert splits != divide(found, settings.model_copy(update={"seed": 1}))
    for videos in found.values():
        assert [[splits[video] for video in videos].count(s) for s in ("train", "validation", "test")] == [63, 7, 30]


def test_cuts_of_one_recording_are_in_one_split():
    found = {name: [f"{name}/v_{name}_g{g:02}_c{c:02}.avi" for g in range(20) for c in range(5)] for name in ("a", "b")}
    settings = FolderSettings(path="", test_share=0.3, validation_share=0.1, recording="_g[0-9]+_")
    splits = divide(found, settings)
    for videos in found.values():
        assert [[splits[video] for video in videos].count(s) for s in ("train", "validation", "test")] == [60, 10, 30]
        for first in range(0, 100, 5):
            assert len({splits[video] for video in videos[first : first + 5]}) == 1
    apart = divide(found, settings.model_copy(update={"recording": None}))
    assert any(len({apart[video] for video in found["a"][first : first + 5]}) > 1 for first in range(0, 100, 5))
    with pytest.raises(InputError, match=r"folder\.recording: _h is nowhere in a/v_a_g00_c00\.avi"):
        divide(found, settings.model_copy(update={"recording": "_h"}))
    with pytest.raises(ValidationError, match=r"recording\n.*\(: is no regular expression"):
        FolderSettings(path="", recording="(")


def test_a_list_of_test_videos_names_recordings_as_a_whole(tmp_path):
    found = {name: [f"{name}/v_g{g:02}_c{c:02}.avi" for g in range(4) for c in range(3)] for name in ("a", "b")}
    listed = tmp_path / "test.txt"
    settings = FolderSettings(path="", test_list=str(listed), recording="_g[0-9]+_")
    listed.write_text("\n".join(videos[cut] for videos in found.values() for cut in range(3)))
    splits = divide(found, settings)
    assert [video for video in splits if splits[video] == "test"] == found["a"][:3] + found["b"][:3]
    listed.write_text("\n".join(videos[0] for videos in found.values()))
    with pytest.raises(
        InputError, match=r"test\.txt: names a/v_g00_c00\.avi but not a/v_g00_c01\.avi, of one recording by"
    ):
        divide(found, settings)


def test_a_frame_that_was_exchanged_makes_it_another_folder(folder):
    settings = FolderSettings(path=str(folder))
    before = folder_fingerprint(settings)
    assert folder_fingerprint(settings) == before
    frame = folder / "run/clip3/frame7.png"
    frame.write_bytes((folder / "run/clip3/frame8.png").read_bytes())
    assert folder_fingerprint(settings) != before


def test_listed_videos_are_tested_and_no_others(folder, tmp_path):
    (tmp_path / "list.txt").write_text("run/clip1.gif\n\nwalk/clip3\nwalk/clip0.gif\n")
    index = look_through(FolderSettings(path=str(folder), test_list=str(tmp_path / "list.txt")))
    tested = {video.path for video in index.videos if video.split == "test"}
    assert tested == {"run/clip1.gif", "walk/clip3", "walk/clip0.gif"}


def refused(config: Path, monkeypatch, capsys) -> str:
    """The one line with which the command line refuses a study."""
    results = config.parent / "results"
    monkeypatch.setattr(sys, "argv", ["sepvox", "study", "video", str(config), "--results", str(results)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert not list(results.rglob("*.*")), "something was left behind"
    (line,) = capsys.readouterr().err.splitlines()
    return line


def spoil(folder: Path, kind: str) -> None:
    if kind == "no frames":
        (folder / "run/empty").mkdir()
    elif kind == "no picture":
        (folder / "run/clip3/frame7.png").write_text("no picture")
    elif kind == "no video":
        (folder / "run/clip1.gif").write_bytes(b"GIF89a")
    elif kind == "truncated":
        path = folder / "walk/clip2.gif"
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "empty file":
        (folder / "walk/clip2.gif").write_bytes(b"")
    elif kind == "one class":
        (folder / "run").rename(folder.parent / "elsewhere")
    elif kind == "no class":
        (folder / "run").rename(folder.parent / "elsewhere")
        (folder / "walk").rename(folder.parent / "elsewhere too")
    elif kind == "class without videos":
        (folder / "stand").mkdir()
        (folder / "stand/notes.txt").write_text("none yet")
    elif kind == "few videos":
        for number in (0, 1):
            (folder / f"run/clip{number}.gif").unlink()
    elif kind == "no folder":
        folder.rename(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no frames", "run/empty: has no frames; remove it"),
        ("no picture", "run/clip3: cannot be read as a video (UnidentifiedImageError"),
        ("no video", "run/clip1.gif: cannot be read as a video"),
        ("truncated", "walk/clip2.gif: cannot be read as a video"),
        ("empty file", "walk/clip2.gif: cannot be read as a video"),
        ("one class", "videos: has only one class, walk; expected two or more folders"),
        ("no class", "videos: has no folders of classes"),
        ("class without videos", "stand: has no videos; expected files .avi, .gif, .mp4"),
        ("few videos", "class run has 2 videos, 1 of them to test on"),
        ("no folder", "videos: no such folder"),
    ],
)
def test_folders_that_are_not_as_expected_are_refused_in_one_line(folder, monkeypatch, capsys, kind, says):
    spoil(folder, kind)
    assert says in refused(written(folder.parent, mnist=None, folder={"path": "videos"}), monkeypatch, capsys)


@pytest.mark.parametrize(("content", "says"), [(b"", "cannot be read as a video"), (b"RIFF" * 9, "cannot be read")])
def test_damaged_files_are_refused_in_one_line(folder, monkeypatch, capsys, content, says):
    (folder / "run/clip9.avi").write_bytes(content)
    line = refused(written(folder.parent, mnist=None, folder={"path": "videos"}), monkeypatch, capsys)
    assert f"run/clip9.avi: {says}" in line


def test_a_file_with_sound_but_without_frames_is_refused_in_one_line(folder, monkeypatch, capsys):
    import av

    with av.open(str(folder / "run/clip9.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    line = refused(written(folder.parent, mnist=None, folder={"path": "videos"}), monkeypatch, capsys)
    assert "run/clip9.mp4: cannot be read as a video" in line


def test_a_missing_decoder_is_named(folder, monkeypatch, capsys):
    for module in ("av", "imageio.plugins.pyav"):
        monkeypatch.setitem(sys.modules, module, None)
    (folder / "run/clip9.mp4").write_bytes(b"")
    line = refused(written(folder.parent, mnist=None, folder={"path": "videos"}), monkeypatch, capsys)
    assert "clip9.mp4: .mp4 is decoded with PyAV, which is not installed; install sepvox[video]" in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mnist": None}, "give one of `mnist` and `folder`"),
        ({"folder": {"path": "videos"}}, "give one of `mnist` and `folder`"),
        ({"networks": {}}, "networks: Dictionary should have at least 1 item"),
        ({"networks": {"a": "resnet20"}}, "networks.a: resnet20 is none of resnet18, resnet34, resnet50, densenet121"),
        ({"networks": {"a": "resnet50-pmsc-2-2"}}, "networks.a: network resnet50-pmsc-2-2: n is 2"),
        ({"networks": {"a": "resnet18-pmsc-3-1"}, "width": 2}, "networks.a: network resnet18-pmsc-3-1: width 2 leaves"),
        ({"networks": {"a": "densenet121"}}, "networks.a: network densenet121: clips have 4 frames of 28x28"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] has one twice"),
        ({"train": {"batch": 1}}, "train.batch: Input should be greater than or equal to 2, got 1"),
        ({"mnist": MNIST | {"train": 1}}, "mnist.train: 1 video is no training set"),
        ({"mnist": MNIST | {"test": 257}}, "mnist.test: 257 videos were asked for, but"),
        ({"clip": {"frame": 3}}, "clip.frame: unknown key; did you mean `frames`?"),
        ({"mnist": None, "folder": {"path": "${NO_SUCH}/a"}}, "folder.path: environment variable NO_SUCH is not set"),
        ({"mnist": None, "folder": {"path": "a", "test_list": "b", "size": [0, 9]}}, "folder.size.0: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_requests_are_refused_in_one_line(tmp_path, monkeypatch, capsys, changes, says):
    assert says in refused(written(tmp_path, **changes), monkeypatch, capsys)


@pytest.mark.parametrize(
    ("text", "says"), [("run/clip9.gif", "names run/clip9.gif, which is not there"), (None, "cannot be read as text")]
)
def test_a_list_that_names_others_or_is_missing_is_refused_in_one_line(folder, monkeypatch, capsys, text, says):
    if text is not None:
        (folder.parent / "list.txt").write_text(text)
    chosen = {"path": "videos", "test_list": "list.txt"}
    assert says in refused(written(folder.parent, mnist=None, folder=chosen), monkeypatch, capsys)


# Clips


@given(
    length=st.integers(1, 60),
    frames=st.integers(1, 20),
    every=st.integers(1, 4),
    jitter=st.none() | st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_a_clip_lies_inside_its_video_and_begins_as_far_from_the_middle_as_it_may(length, frames, every, jitter, seed):
    settings = ClipSettings(frames=frames, every=every, jitter=jitter)
    middle, moved = (clip_frames(length, settings, rng) for rng in (None, np.random.default_rng(seed)))
    for found in (middle, moved):
        assert found.shape == (frames,)
        assert found.min() >= 0
        assert found.max() < length
        np.testing.assert_array_equal(np.diff(found) % length, every % length)
    span = (frames - 1) * every + 1
    if span <= length:
        assert middle[0] == (length - span) // 2
        assert moved[-1] - moved[0] == span - 1
        assert jitter is None or abs(moved[0] - middle[0]) <= jitter
    else:
        assert middle[0] == moved[0] == 0


def test_every_beginning_is_drawn():
    settings = ClipSettings(frames=4, jitter=2)
    begins = {int(clip_frames(20, settings, np.random.default_rng(seed))[0]) for seed in range(99)}
    assert begins == {6, 7, 8, 9, 10}


def test_frames_and_channels_of_a_clip_are_distorted_alike_and_within_the_strengths():
    settings = TrainSettings(shift=0.25, shear=0.0, zoom=0.0)
    clip = torch.zeros(3, 4, 40, 40)
    clip[..., 20, 20] = 1
    seen = set()
    for seed in range(30):
        changed = Distortion(settings, (40, 40))(clip, np.random.default_rng(seed))
        assert changed.shape == clip.shape
        assert all(torch.equal(changed[0, 0], frame) for channel in changed for frame in channel)
        y, x = divmod(int(changed[0, 0].argmax()), 40)
        seen.add((y, x))
        assert abs(y - 20) <= 11
        assert abs(x - 20) <= 11
    assert len(seen) > 20


@pytest.mark.parametrize("strength", ["shear", "zoom"])
def test_a_distortion_changes_what_it_is_named_for(strength):
    """A square that is sheared is skewed; one that is zoomed is larger or smaller; neither is both."""
    square = torch.zeros(1, 1, 41, 41)
    square[..., 14:27, 14:27] = 1
    areas, skews = set(), set()
    for seed in range(20):
        settings = TrainSettings(**{"shift": 0, "shear": 0, "zoom": 0} | {strength: 0.3})
        (changed,) = Distortion(settings, (41, 41))(square, np.random.default_rng(seed))[0].double()
        y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
        areas.add(round(float(changed.sum()) / 169, 1))
        skews.add(round(float((changed * y * x).sum() / (changed * (y * y + x * x)).sum()), 1))
    assert (len(areas) > 5) == (strength == "zoom")
    assert (len(skews) > 3) == (strength == "shear")


def test_strength_0_changes_nothing():
    clip = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    changed = Distortion(TrainSettings(shift=0, shear=0, zoom=0), (12, 10))(clip, np.random.default_rng(0))
    torch.testing.assert_close(changed, clip, atol=1e-5, rtol=0)


def test_batches_hold_every_video_of_an_epoch_once_and_begin_where_they_are_asked_to():
    keys = list(training_batches(23, 5, seed=3, begin=0, end=3))
    assert len(keys) == 12
    for epoch in range(3):
        batches = keys[4 * epoch : 4 * epoch + 4]
        assert {key[0] for batch in batches for key in batch} == {epoch}
        assert len({key[1] for batch in batches for key in batch}) == 20
    assert [key[1] for key in keys[0]] != [key[1] for key in keys[4]]
    assert list(training_batches(23, 5, seed=3, begin=1, end=3)) == keys[4:]
    assert list(training_batches(3, 5, seed=0, begin=0, end=1)) == [
        [(0, index) for index in np.random.default_rng((0, 5, 1)).permutation(3).tolist()]
    ]
    assert [index for batch in judged_batches(23, 5) for _, index in batch] == list(range(23))


# The study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a study and its finished results."""
    folder = tmp_path_factory.mktemp("finished")
    run(study(folder), folder / "results")
    return folder


def test_every_unit_has_weights_that_do_what_its_result_says(finished):
    chosen, layout = study(finished), Layout(finished / "results/tiny")
    data = open_videos(chosen, layout)
    assert list(chosen.units()) == ["dense-seed0", "p3sc1-seed0"]
    for unit, (label, _) in chosen.units().items():
        network = build_clip_network(chosen.network(label, 10)).eval()
        weights.load_into(network, layout.weights(unit))
        clips = Clips(data.splits["test"], chosen.clip)
        with torch.no_grad():
            right = [int(network(clips[0, i]["clip"][None]).argmax()) == int(clips[0, i]["label"]) for i in range(12)]
        found = json.loads(layout.result(unit).read_text())
        assert found["accuracy"] == np.mean(right)
        lines = [json.loads(line) for line in layout.metrics(unit).read_text().splitlines()]
        assert [(line["epoch"], line["iteration"]) for line in lines] == [(1, 4), (2, 8)]
        assert found["validation_accuracy"] == max(line["validation_accuracy"] for line in lines)
        assert lines[1]["learning_rate"] == pytest.approx(0.01 / (1 + 7e-6), rel=1e-9)
        assert found["parameters"] == sum(each.numel() for each in network.parameters())
        assert found["training_seconds"] > 0


def test_tables_and_figures_are_those_of_the_results(finished):
    layout = Layout(finished / "results/tiny")
    found = json.loads(layout.study("table.json").read_text())
    assert [row["label"] for row in found["networks"]] == ["dense", "p3sc1"]
    rows = list(csv.DictReader(layout.study("table.csv").read_text().splitlines()))
    for row, run_ in zip(rows, found["runs"], strict=True):
        assert float(row["accuracy"]) == run_["accuracy"]
        assert int(row["parameters"]) == run_["parameters"]
        assert row["standard_error"] == ""
    for path in (layout.figures() / "accuracy.png", layout.streams("dense"), layout.streams("p3sc1")):
        assert len(np.unique(np.asarray(Image.open(path)))) > 20, f"{path} is empty"


def test_several_seeds_become_mean_and_standard_error(finished):
    found = json.loads(Layout(finished / "results/tiny").result("dense-seed0").read_text())
    (row,) = table([found | {"accuracy": value} for value in (0.5, 0.7, 0.9)])
    assert (row["runs"], row["accuracy"]) == (3, pytest.approx(0.7))
    assert row["standard_error"] == pytest.approx(0.2 / 3**0.5)


def test_a_finished_study_is_left_as_it_is(finished, monkeypatch):
    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(training._Training, "result", never)
    run(study(finished), finished / "results", part="dense-seed0")
    run(study(finished), finished / "results", part="videos")


def test_killed_training_goes_on_to_the_same_weights_and_metrics(finished, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    save = training._Training._save

    def killed(self) -> None:
        save(self)
        raise Killed

    run(study(tmp_path), tmp_path / "results", part="videos")
    with monkeypatch.context() as patch:
        patch.setattr(training._Training, "_save", killed)
        with pytest.raises(Killed):
            run(study(tmp_path), tmp_path / "results", part="p3sc1-seed0")
    layout, whole = Layout(tmp_path / "results/tiny"), Layout(finished / "results/tiny")
    assert not layout.result("p3sc1-seed0").exists()
    run(study(tmp_path), tmp_path / "results", part="p3sc1-seed0")
    for path in ("best.safetensors", "metrics.jsonl", "config.json"):
        assert (layout.model("p3sc1-seed0") / path).read_bytes() == (whole.model("p3sc1-seed0") / path).read_bytes()
    with pytest.raises(StoreError, match="run study video CONFIG --part dense-seed0 first"):
        run(study(tmp_path), tmp_path / "results", part="tables")


def test_training_of_other_settings_is_refused_or_moved_aside(tmp_path):
    chosen = study(tmp_path, train=TINY["train"] | {"epochs": 1})
    results = tmp_path / "results"
    run(chosen, results, part="videos")
    run(chosen, results, part="dense-seed0")
    other = study(tmp_path, train=TINY["train"] | {"epochs": 1, "learning_rate": 0.02})
    with pytest.raises(StaleError, match=r"dense-seed0/state: holds a training with other settings.*--restart"):
        run(other, results, part="dense-seed0")
    run(other, results, part="dense-seed0", restart=True)
    assert (results / "tiny/models/dense-seed0/state.stale").is_dir()


def test_results_of_other_settings_or_videos_are_not_tabulated(finished, tmp_path):
    results = Path(shutil.copytree(finished / "results", tmp_path / "results"))
    before = Layout(results / "tiny").study("table.csv").read_bytes()
    other = study(tmp_path, train=TINY["train"] | {"learning_rate": 0.02})
    with pytest.raises(
        StoreError, match=r"dense-seed0/result\.json: of other settings or videos; run `sepvox study video"
    ):
        run(other, results, part="tables")
    moved = study(tmp_path, mnist=MNIST | {"seed": 9})
    for part in ("tables", "dense-seed0"):
        with pytest.raises(StaleError, match=r"train\.zarr: made with other digits or another section mnist"):
            run(moved, results, part=part)
    assert Layout(results / "tiny").study("table.csv").read_bytes() == before


def test_videos_of_a_folder_are_trained_on_and_looked_through_once(folder, monkeypatch):
    results = folder.parent / "results"
    chosen = {"path": "videos", "size": [16, 20]}
    config = written(folder.parent, mnist=None, folder=chosen, networks={"tt": "resnet18-tt"}, seeds=[3])
    arguments = ["sepvox", "study", "video", str(config), "--results", str(results)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    layout = Layout(results / "tiny")
    found = json.loads(layout.result("tt-seed3").read_text())
    assert (found["network"], found["test_videos"]) == ("resnet18-tt", 2)
    assert json.loads(layout.model_config("tt-seed3").read_text())["network"]["clip"] == [3, 4, 16, 20]
    assert layout.streams("tt").exists()
    # What was looked through is not looked through again; settings that it depends on are.
    before = layout.video_index().stat().st_mtime_ns
    same = read_study(config)
    run(same, results, part="videos")
    assert layout.video_index().stat().st_mtime_ns == before
    other = study(folder.parent, mnist=None, folder=chosen | {"seed": 1})
    with pytest.raises(StaleError, match=r"index\.json: made of other videos or with other settings"):
        run(other, results, part="videos")
    with pytest.raises(StaleError, match=r"run `sepvox study video CONFIG --part videos --restart`"):
        run(other, results, part="dense-seed0")
    # So are videos that came later, were exchanged, or are tested on by another list.
    write_gif(folder / "run/clip9.gif", 6)
    with pytest.raises(StaleError, match=r"index\.json: made of other videos"):
        run(same, results, part="tables")
    run(same, results, part="videos", restart=True)
    assert len(json.loads(layout.video_index().read_text())["videos"]) == 9
    write_gif(folder / "run/clip9.gif", 7)
    with pytest.raises(StaleError, match=r"index\.json: made of other videos"):
        run(same, results, part="videos")


def test_parts_that_are_none_are_refused(tmp_path):
    with pytest.raises(Exception, match="--part sense-seed0: the study has videos, dense-seed0, p3sc1-seed0, tables"):
        run(study(tmp_path), tmp_path / "results", part="sense-seed0")


@pytest.mark.parametrize(("name", "units"), [("video", 9), ("video-published", 12)])
def test_both_configurations_are_valid_and_the_workflow_plans_their_units(tmp_path, monkeypatch, name, units):
    monkeypatch.setenv("SEPVOX_DATA", str(tmp_path))
    chosen = read_study(REPOSITORY / f"configs/studies/{name}.yaml")
    assert (chosen.experiment, len(chosen.units())) == (name, units)
    (tmp_path / "experiment.yaml").write_text((REPOSITORY / "configs/demo.yaml").read_text())
    monkeypatch.setenv("SEPVOX_STUDY_VIDEO", str(REPOSITORY / f"configs/studies/{name}.yaml"))
    plan = {"video_videos": 1, "video_unit": units, "video_tables": 1, "study_video": 1}
    assert planned(tmp_path, "study_video") == plan
