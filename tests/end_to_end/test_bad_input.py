"""Bad input is one clear line, exit status 2, and nothing left behind that a later run would take for data."""

import json
import shutil
import subprocess

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from tests.end_to_end.conftest import EXPERIMENT, sepvox, write

IMAGE = np.random.default_rng(0).integers(0, 255, (20, 24, 28), dtype=np.uint8)
LABELS = np.ones(IMAGE.shape, np.uint32)


def refused(*arguments, cwd, says: str) -> None:
    done = sepvox(*arguments, cwd=cwd, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip() and "voxel/s" not in line]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert says in lines[0]
    assert not list((cwd / "results").rglob("zarr.json")) if (cwd / "results").exists() else True


def volume(tmp_path, **changes):
    """An experiment of one volume to apply to."""
    np.save(tmp_path / "image.npy", IMAGE)
    np.save(tmp_path / "labels.npy", LABELS)
    weights = tmp_path / "weights/best.safetensors"
    settings = {"role": "test", "image": "image.npy", "labels": "labels.npy"} | changes
    document = {"experiment": "bad", "volumes": {"v": settings}, "network": {"weights": str(weights)}}
    return write(tmp_path, document | {"prepare": EXPERIMENT["prepare"]})


def truncated_tiff(path):
    tifffile.imwrite(path, IMAGE)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": "absent.h5", "key": "raw"}, "absent.h5"),
        ({"image": "data.h5", "key": "wrong"}, "raw"),
        ({"image": "flat.npy"}, "2D image of shape (20, 24)"),
        ({"image": "nan.npy"}, "NaN"),
        ({"labels": "small.npy"}, "19"),
        ({"labels": "negative.npy"}, "negative"),
        ({"labels": "float.npy"}, "float32"),
        ({"image": "cut.tif"}, "cut.tif"),
        ({"image": "image.xyz"}, ".xyz"),
        ({"image": "a" * 300 + ".npy"}, "(File name too long); check its name"),
        ({"mask": "nan.npy"}, "volumes.v.mask"),
        ({"region": [[0, 20], [0, 24], [0, 40]]}, "region"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_volumes_are_refused_and_leave_nothing(tmp_path, changes, says):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["raw"] = IMAGE
    np.save(tmp_path / "flat.npy", IMAGE[:, :, 0])
    bad = IMAGE.astype(np.float32)
    bad[19, 23, 27] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    np.save(tmp_path / "small.npy", LABELS[:19])
    np.save(tmp_path / "negative.npy", -LABELS.astype(np.int32))
    np.save(tmp_path / "float.npy", LABELS.astype(np.float32))
    truncated_tiff(tmp_path / "cut.tif")
    (tmp_path / "image.xyz").touch()
    refused("prepare", volume(tmp_path, **changes), "--volume", "v", cwd=tmp_path, says=says)


def test_want_of_memory_is_one_line(tmp_path):
    document = yaml.safe_load(volume(tmp_path).read_text())
    config = write(tmp_path, document | {"prepare": {"chunk": [10**6] * 3, "shard": [10**6] * 3}})
    one_line(sepvox("prepare", config, "--volume", "v", cwd=tmp_path, check=False), "out of memory")


def test_bad_configuration_is_refused(tmp_path):
    refused(
        "prepare",
        write(tmp_path, EXPERIMENT | {"segmet": {}}),
        "--volume",
        "learn",
        cwd=tmp_path,
        says="did you mean `segment`",
    )
    refused(
        "config", write(tmp_path, EXPERIMENT | {"segment": {"threshold": 3}}), cwd=tmp_path, says="segment.threshold"
    )
    train = EXPERIMENT["train"] | {"patch": [24, 24, 96]}
    refused(
        "train",
        write(tmp_path, EXPERIMENT | {"train": train}),
        cwd=tmp_path,
        says="larger than the 64 voxels of volume learn",
    )
    refused("prepare", write(tmp_path, EXPERIMENT), "--volume", "nowhere", cwd=tmp_path, says="choose, judge, learn")


def copied(small, tmp_path, **changes):
    _, _, layout = small
    for name in ("volumes", "models", "outputs", "done"):
        shutil.copytree(layout.root / name, tmp_path / "results/small" / name)
    return write(tmp_path, EXPERIMENT | changes), tmp_path / "results/small"


def one_line(done, says) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip() and "voxel/s" not in line]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]


def test_weights_of_another_network_are_refused(small, tmp_path):
    config, root = copied(small, tmp_path)
    model = json.loads((root / "models/main/config.json").read_text())
    model["network"]["width"] = 6
    (root / "models/main/config.json").write_text(json.dumps(model))
    one_line(sepvox("predict", config, "--volume", "judge", "--restart", cwd=tmp_path, check=False), "best.safetensors")


def test_exact_mode_with_instance_norm_is_refused_with_the_reason(small, tmp_path):
    config, root = copied(small, tmp_path)
    model = json.loads((root / "models/main/config.json").read_text())
    model["network"]["norm"] = "instance"
    (root / "models/main/config.json").write_text(json.dumps(model))
    one_line(sepvox("predict", config, "--volume", "judge", "--restart", cwd=tmp_path, check=False), "mode: blend")


def test_affinities_with_other_offsets_are_refused(small, tmp_path):
    config, root = copied(small, tmp_path)
    group = zarr.open_group(str(root / "outputs/main/judge/affinities.zarr"), mode="r+")
    group.attrs["sepvox"] = dict(group.attrs["sepvox"]) | {"offsets": [[0, 0, 1], [0, 1, 0], [1, 0, 0]]}
    one_line(sepvox("fragments", config, "--volume", "judge", "--restart", cwd=tmp_path, check=False), "offsets")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 300 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs the rights of root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path, small_disk):
    document = yaml.safe_load(write(tmp_path, EXPERIMENT).read_text())
    config = write(tmp_path, document)
    results = small_disk / "results"
    one_line(
        sepvox("prepare", config, "--volume", "learn", "--results", results, cwd=tmp_path, check=False), "No space left"
    )
    assert not list(results.glob("small/done/prepare/learn.json"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    sepvox("prepare", config, "--volume", "learn", "--results", results, cwd=tmp_path)


def test_read_only_disk_is_one_line(tmp_path, small_disk):
    config = write(tmp_path, EXPERIMENT)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = sepvox(
        "prepare", config, "--volume", "learn", "--results", small_disk / "results", cwd=tmp_path, check=False
    )
    one_line(done, "Read-only file system")


def test_a_volume_prepared_from_another_file_is_not_predicted_as_this_one(small, tmp_path):
    _, _, layout = small
    config = volume(tmp_path)
    document = yaml.safe_load(config.read_text()) | {"network": {"weights": str(layout.weights("main"))}}
    sepvox("prepare", write(tmp_path, document), "--volume", "v", cwd=tmp_path)
    np.save(tmp_path / "other.npy", IMAGE[::-1])
    document["volumes"]["v"]["image"] = "other.npy"
    done = sepvox("predict", write(tmp_path, document), "--volume", "v", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "prepared from other files" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "results").rglob("affinities.zarr"))
    # A source that was deleted to save space cannot have changed.
    (tmp_path / "other.npy").unlink()
    sepvox("predict", config, "--volume", "v", cwd=tmp_path)
