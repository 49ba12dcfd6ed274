"""A volume prepared by several processes is the one that a single process prepares, byte by byte."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from sepvox.blockwise import processes as processes_of
from sepvox.config import load
from sepvox.errors import InputError, StoreError
from sepvox.layout import Layout
from sepvox.prepare import prepare as step
from sepvox.prepare.prepare import prepare
from sepvox.prepare.volume import open_prepared

LAYOUT = Layout(Path("results/divided"))


def image_of(dtype: type) -> np.ndarray:
    return np.random.default_rng(3).normal(100, 20, (36, 44, 52)).astype(dtype)


def prepared(folder: Path, processes: int, volume: dict) -> None:
    document = {
        "experiment": "divided",
        "volumes": {"v": {"role": "apply", **volume}},
        "prepare": {"chunk": [8, 8, 8], "shard": [16, 16, 16], "context": 6, "processes": processes},
        "network": {"weights": "none.safetensors"},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document))
    prepare(load(folder / "experiment.yaml"), "v", folder / "results", restart=True)


def stored(folder: Path) -> dict[str, bytes]:
    root = folder / str(LAYOUT.image("v").parent)
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def files(folder: Path, dtype: type) -> dict:
    """Image, labels and mask on disk; the labels have objects in several pieces."""
    np.save(folder / "image.npy", image_of(dtype))
    z, y, x = np.indices((36, 44, 52))
    np.save(folder / "labels.npy", ((z // 12 + y // 9 + x // 20) % 3).astype(np.uint16))
    np.save(folder / "mask.npy", (z + y < 60).astype(np.uint8))
    return {
        **{name: str(folder / f"{name}.npy") for name in ("image", "labels", "mask")},
        "split_labels": True,
        "region": [[4, 30], [0, 44], [10, 52]],
    }


@pytest.mark.parametrize("source", [np.uint8, np.float32, "phantom"])
def test_processes_change_no_byte(tmp_path, source, monkeypatch):
    asked = []
    monkeypatch.setattr(step, "processes", lambda count: asked.append(count) or processes_of(count))
    volume = {"phantom": {"shape": [36, 44, 52], "seed": 5}} if source == "phantom" else files(tmp_path, source)
    made = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        prepared(folder, processes, volume)
        made[processes] = stored(folder)
    assert asked == [1, 2]
    assert made[1] == made[2]
    stores = {name.partition("/")[0] for name in made[1]} - {"made.json", ".lock", "blocks"}
    assert stores >= ({"image.zarr", "labels.zarr"} | (set() if source == "phantom" else {"mask.zarr"}))


def test_a_voxel_that_cannot_be_used_is_named_by_the_process_that_meets_it(tmp_path):
    image = image_of(np.float32)
    image[20, 30, 40] = np.nan
    np.save(tmp_path / "image.npy", image)
    with pytest.raises(InputError, match=r"volumes.v.image: .*image.npy.* NaN"):
        prepared(tmp_path, 2, {"image": str(tmp_path / "image.npy")})
    assert not (tmp_path / str(LAYOUT.image("v"))).exists()


def test_a_source_that_changed_in_the_meantime_is_opened_anew(tmp_path):
    for dtype in (np.uint8, np.float32):
        np.save(tmp_path / "image.npy", image_of(dtype))
        prepared(tmp_path, 1, {"image": str(tmp_path / "image.npy")})
        assert f'"{np.dtype(dtype).name}"'.encode() in stored(tmp_path)["image.zarr/0/zarr.json"]


@pytest.mark.parametrize("store", ["labels", "mask"])
def test_a_store_that_the_volume_should_have_is_missed_and_made_again(tmp_path, store):
    prepared(tmp_path, 1, files(tmp_path, np.uint8))
    before, experiment = stored(tmp_path), load(tmp_path / "experiment.yaml")
    layout = experiment.layout(tmp_path / "results")
    shutil.rmtree(getattr(layout, store)("v"))
    with pytest.raises(StoreError, match=rf"{store}\.zarr: missing; run `sepvox prepare` again"):
        open_prepared(experiment, layout, "v")
    prepare(experiment, "v", tmp_path / "results")
    open_prepared(experiment, layout, "v")
    assert stored(tmp_path) == before


@pytest.mark.parametrize("store", ["labels", "image"])
def test_a_lost_store_of_a_phantom_is_made_again(tmp_path, store):
    prepared(tmp_path, 1, {"phantom": {"shape": [36, 44, 52], "seed": 5}})
    before, experiment = stored(tmp_path), load(tmp_path / "experiment.yaml")
    shutil.rmtree(getattr(experiment.layout(tmp_path / "results"), store)("v"))
    prepare(experiment, "v", tmp_path / "results")
    # What was left of it is kept beside.
    assert {name: content for name, content in stored(tmp_path).items() if ".stale/" not in name} == before
