"""A scan that cannot be used is one line that names subject, file and mend; nothing of that subject is left behind."""

import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.end_to_end.conftest import sepvox, write

from sepvox.cli import main
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings

SHAPE = (12, 14, 10)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
CLASSES = {"csf": 1, "grey": 2}


def ball(shape=SHAPE) -> np.ndarray:
    """1 in the middle, 0 at the border."""
    grid = np.indices(shape) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    return ((grid**2).sum(axis=0) < 16).astype(np.uint8)


def image(seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(100, 5, SHAPE)
    return (noise * ball()).astype(np.float32)


def save(path: Path, data: np.ndarray, affine=AFFINE) -> None:
    nib.save(nib.Nifti1Image(data, affine), path)


def experiment(folder: Path, *rows: str, **changes) -> Path:
    """An experiment of two sound subjects, or of those of the rows."""
    for name in ("good", "bad"):
        for modality in ("T1w", "FLAIR"):
            save(folder / f"{name}_{modality}.nii.gz", image())
        save(folder / f"{name}_seg.nii.gz", ball())
    rows = rows or tuple(f"{name},{name}_T1w.nii.gz,{name}_FLAIR.nii.gz,{name}_seg.nii.gz," for name in ("good", "bad"))
    (folder / "table.csv").write_text("\n".join(["subject,image_T1w,image_FLAIR,labels,split", *rows]) + "\n")
    document = {
        "experiment": "heads",
        "task": "classes",
        "subjects": {"table": "table.csv"},
        "classes": CLASSES,
        "prepare": {"chunk": [8, 8, 8], "shard": [16, 16, 16]},
        "network": {"width": 4, "depth": 1},
        "train": {"iterations": 2, "patch": [8, 8, 8], "batch": 1},
    }
    return write(folder, document | changes)


def messages(stderr: str) -> list[str]:
    """The lines on standard error, less those of progress bars."""
    lines = [line for line in re.split(r"[\n\r]", stderr) if line.strip()]
    return [line for line in lines if not re.search(r"(subject/s|s/subject)\]$", line)]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a verb in this process; its status and the lines on standard error, less those of progress bars."""

    def verb(*arguments) -> tuple[int, list[str]]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["sepvox", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), messages(capsys.readouterr().err)

    return verb


def left(folder: Path, name: str = "bad") -> list[Path]:
    """What there is of a subject in the results: stores, files and markers."""
    return [path for path in (folder / "results").rglob("*") if path.name.split(".")[0] == name]


def test_sound_scans_are_prepared(tmp_path, run):
    assert run("prepare", experiment(tmp_path)) == (0, [])
    assert (tmp_path / "results/heads/done/prepare/0-1.json").exists()
    assert {path.name for path in (tmp_path / "results/heads/volumes/bad").iterdir()} == {
        "image.zarr",
        "labels.zarr",
        "class_voxels.npz",
    }


def flat(folder):
    save(folder / "bad_FLAIR.nii.gz", image()[:, :, 0])


def missing(folder):
    (folder / "bad_FLAIR.nii.gz").unlink()


def missing_truth(folder):
    (folder / "bad_seg.nii.gz").unlink()


def other_shape(folder):
    save(folder / "bad_seg.nii.gz", ball((12, 14, 11)))


def other_place(folder):
    affine = AFFINE.copy()
    affine[0, 3] = 3
    save(folder / "bad_seg.nii.gz", ball(), affine)


def other_grid_of_a_modality(folder):
    save(folder / "bad_FLAIR.nii.gz", image(), np.diag([2, 2, 2.5, 1]))


def undeclared(folder):
    save(folder / "bad_seg.nii.gz", ball() * np.uint8(7))


def fractions(folder):
    save(folder / "bad_seg.nii.gz", ball().astype(np.float32) * 0.5)


def nan_labels(folder):
    data = ball().astype(np.float32)
    data[3, 4, 5] = np.nan
    save(folder / "bad_seg.nii.gz", data)


def nan(folder):
    data = image()
    data[3, 4, 5] = np.nan
    save(folder / "bad_FLAIR.nii.gz", data)


def zero(folder):
    save(folder / "bad_FLAIR.nii.gz", np.zeros(SHAPE, np.int16))


def truncated(folder):
    path = folder / "bad_FLAIR.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def truncated_labels(folder):
    path = folder / "bad_seg.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])


def empty(folder):
    (folder / "bad_T1w.nii.gz").write_bytes(b"")


def series(folder):
    save(folder / "bad_T1w.nii.gz", np.stack([image(), image()], axis=-1))


FAULTS = [
    (flat, "FLAIR", ["12x14, a 2-D image", "stack the sections"]),
    (missing, "FLAIR", ["does not exist; check the path"]),
    (missing_truth, "labels", ["does not exist; check the path"]),
    (other_shape, "labels", ["12x14x11 voxels", "12x14x10", "resample it onto that grid"]),
    (other_place, "labels", ["3 mm apart", "resample it onto that grid"]),
    (other_grid_of_a_modality, "FLAIR", ["its affine", "resample it onto that grid"]),
    (undeclared, "labels", ["holds the values 7, which are no declared class", "expected 0 and 1, 2", "declare them"]),
    (fractions, "labels", ["values that are not whole, such as 0.5"]),
    (nan_labels, "labels", ["values that are not whole, such as nan"]),
    (nan, "FLAIR", ["1 of 1680 voxels are NaN", "(3, 4, 5)", "write the image again"]),
    (zero, "FLAIR", ["every voxel is 0", "write it again"]),
    (truncated, "FLAIR", ["truncated", "copy it again"]),
    (truncated_labels, "labels", ["truncated", "copy it again"]),
    (empty, "T1w", ["truncated, damaged or of another format"]),
    (series, "T1w", ["several volumes; expected one"]),
]


@pytest.mark.parametrize(("spoil", "what", "says"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_bad_scan_is_one_line_and_the_mended_one_goes_on(tmp_path, run, spoil, what, says):
    config = experiment(tmp_path)
    sound = {path: path.read_bytes() for path in tmp_path.glob("bad_*")}
    spoil(tmp_path)
    status, lines = run("prepare", config)
    assert status == 2
    assert len(lines) == 1, lines
    file = {"labels": "bad_seg"}.get(what, f"bad_{what}")
    assert lines[0].startswith(f"sepvox: subject bad: {what}: {tmp_path / file}.nii.gz: ")
    for text in says:
        assert text in lines[0]
    assert not left(tmp_path)
    assert not (tmp_path / "results/heads/done/prepare/0-1.json").exists()
    good = tmp_path / "results/heads/volumes/good/image.zarr/zarr.json"
    before = good.stat().st_mtime_ns
    for path, content in sound.items():
        path.write_bytes(content)
    assert run("prepare", config) == (0, [])
    assert left(tmp_path)
    assert good.stat().st_mtime_ns == before, "the sound subject was prepared again"


def test_a_scan_that_went_bad_leaves_what_was_made_of_the_good_one_aside_only(tmp_path, run):
    config = experiment(tmp_path)
    assert run("prepare", config) == (0, [])
    nan(tmp_path)
    status, lines = run("prepare", config)
    assert status == 2
    assert "made with other settings or from other files; run again with --restart" in lines[0]
    status, lines = run("prepare", config, "--restart")
    assert status == 2
    assert "are NaN" in lines[0]
    volume = tmp_path / "results/heads/volumes/bad"
    assert {path.name for path in volume.iterdir()} == {
        "image.zarr.stale",
        "labels.zarr.stale",
        "class_voxels.npz.stale",
    }
    assert not (tmp_path / "results/heads/done/prepare/subjects/bad.json").exists()
    assert not (tmp_path / "results/heads/done/prepare/0-1.json").exists()


def test_several_processes_end_with_the_same_one_line(tmp_path):
    config = experiment(tmp_path, prepare={"chunk": [8, 8, 8], "shard": [16, 16, 16], "processes": 2})
    zero(tmp_path)
    done = sepvox("prepare", config, cwd=tmp_path, check=False)
    lines = messages(done.stderr)
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"sepvox: subject bad: FLAIR: {tmp_path / 'bad_FLAIR.nii.gz'}: every voxel is 0")
    assert not left(tmp_path)


GOOD = "good,good_T1w.nii.gz,good_FLAIR.nii.gz,good_seg.nii.gz"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([GOOD + ",", GOOD + ","], "subject good stands in 2 lines; give each scan a name of its own"),
        ([GOOD + ",train", GOOD + ",test"], "subject good stands in 2 lines, in the splits test and train;"),
        (
            [GOOD + ",", "bad,bad_T1w.nii.gz,,bad_seg.nii.gz,"],
            "line 3: subject bad has no FLAIR; give the file in column",
        ),
        ([GOOD + ",", "bad,bad_T1w.nii.gz"], "line 3: has 2 cells, but the first line has 5; correct it"),
    ],
)
@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_bad_table_is_one_line_before_anything_is_written(tmp_path, run, verb, rows, says):
    status, lines = run(verb, experiment(tmp_path, *rows))
    assert status == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"sepvox: subjects.table: {tmp_path / 'table.csv'}")
    assert says in lines[0]
    assert not (tmp_path / "results").exists()


def test_a_missing_scan_of_a_pattern_is_one_line(tmp_path, run):
    images = {modality: f"*_{modality}.nii.gz" for modality in ("T1w", "FLAIR")}
    config = experiment(tmp_path, subjects={"images": images, "labels": "*_seg.nii.gz"})
    missing(tmp_path)
    status, (line,) = run("prepare", config)
    assert status == 2
    assert line.startswith(
        f"sepvox: subjects.images.FLAIR: subject bad has no file {tmp_path / 'bad_FLAIR.nii.gz'}; add"
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": {"csf": 1, "white": 2}}, "classes: csf 1, grey 2, but {} was trained for csf 1, white 2; use"),
        ({"classes": {"csf": 1, "grey": 3}}, "was trained for csf 1, grey 3"),
        ({"modalities": ["FLAIR", "T1w"]}, "images are T1w, FLAIR, but {} was trained on FLAIR, T1w; name and order"),
        (
            {"prepare": {"spacing": [2, 2, 2]}},
            "prepare.spacing: None, but {} was trained with [2.0, 2.0, 2.0]; set it so",
        ),
    ],
)
def test_weights_that_were_trained_otherwise_are_one_line(tmp_path, run, changes, says):
    weights = tmp_path / "best.safetensors"
    weights.touch()
    record = {
        "classes": CLASSES,
        "modalities": ["T1w", "FLAIR"],
        "prepare": {},
        "patch": [8] * 3,
        "mirror": [False] * 3,
    }
    network = NetworkSettings(width=4, depth=1, norm="instance", in_channels=2, out_channels=3)
    write_model_config(tmp_path / "config.json", network, record | changes)
    config = experiment(tmp_path, network={"weights": str(weights)}, train=None)
    status, lines = run("predict", config)
    assert status == 2
    assert len(lines) == 1, lines
    assert says.format(weights) in lines[0]
    assert not list(tmp_path.rglob("probabilities.zarr"))


def test_what_is_not_there_yet_says_which_step_makes_it(tmp_path, run):
    config = experiment(tmp_path, "a,good_T1w.nii.gz,good_FLAIR.nii.gz,good_seg.nii.gz,train")
    status, (line,) = run("train", config)
    assert status == 2
    assert line.endswith("volumes/a/image.zarr: missing, unfinished or damaged; run the step that makes it")
    status, (line,) = run("predict", config)
    assert status == 2
    assert "best.safetensors: no such weights; train the model first" in line
    status, (line,) = run("train", config, "--model", "fold0")
    assert (status, line) == (2, "sepvox: --model fold0: the experiment has main")
