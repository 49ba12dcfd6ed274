"""Stores at an address hold the bytes that they hold on a disk, whenever the connection was cut, and keep what is finished."""

import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.end_to_end.conftest import predict, relabel, segment, write
from tests.remote.conftest import Proxy, fresh, objects, upload

from sepvox import cli, markers, ome_zarr, storage
from sepvox.blocks import Box, Lattice, Part
from sepvox.blockwise import Blockwise
from sepvox.config import load
from sepvox.errors import AccessError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.ome_zarr import Spec
from sepvox.predict import job
from sepvox.predict.predict import predict_slice
from sepvox.prepare.prepare import prepare
from sepvox.score.choose import choose
from sepvox.score.score import score_chosen, score_sweep
from sepvox.segment import fragments
from sepvox.subjectwise import Subjectwise
from sepvox.view.layers import layers_of
from sepvox.world import Geometry

NETWORK = NetworkSettings(width=2, depth=1)
SHAPE, CHUNK, SHARD = (16, 16, 48), (8, 16, 16), (16, 16, 16)
STORES = ("image.zarr", "labels.zarr", "affinities.zarr", "fragments.zarr", "segmentation.zarr")


def document(**volume) -> dict:
    return {
        "experiment": "far",
        "volumes": {"v": {"role": "validate"} | volume},
        "prepare": {"chunk": list(CHUNK), "shard": list(SHARD)},
        "network": {"weights": "best.safetensors"},
        "segment": {
            "fragments": {"cell": list(SHARD), "halo": [4, 4, 4], "seed_distance": 2, "minimum_size": 5},
            "agglomerate": {"cell": list(SHARD), "context": 4, "thresholds": [0.3, 0.5, 0.7]},
        },
    }


def experiment_in(folder: Path, content: dict):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    weights.save(folder / "best.safetensors", build(NETWORK).state_dict(), {})
    write_model_config(folder / "config.json", NETWORK, {})
    return load(write(folder, content)), folder / "results"


def chain(experiment, results: Path) -> Layout:
    prepare(experiment, "v", results)
    predict(experiment, results, "v")
    segment(experiment, results, "v")
    score_sweep(experiment, "main", "v", results)
    choose(experiment, "main", results)
    relabel(experiment, results, "v")
    score_chosen(experiment, "main", "v", results)
    return experiment.layout(results)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The whole chain of a phantom on a disk; its image and labels are the sources of the others."""
    folder = tmp_path_factory.mktemp("local")
    phantom = {"shape": list(SHAPE), "seed": 1, "neurite_spacing": 9.0, "membrane_width": 2.0}
    return chain(*experiment_in(folder, document(phantom=phantom)))


def arrays_in(layout: Layout) -> dict[str, bytes]:
    """Every file of every array, by its path below the stores; groups carry fingerprints, which differ with the source."""
    stores = layout.stores
    if isinstance(stores, Path):
        found = {str(file.relative_to(stores)): file for file in stores.rglob("*.zarr/[0-9]/**/*") if file.is_file()}
        return {name: file.read_bytes() for name, file in found.items()}
    return {
        name: content
        for name, content in objects(str(stores)).items()
        if ".zarr/" in name and not name.endswith(".zarr/zarr.json")
    }


def far(tmp_path: Path, local: Layout, s3: str):
    """The experiment whose sources and stores are at an address."""
    for name in ("image", "labels"):
        upload(local.volume("v") / f"{name}.zarr", f"{s3}/sources/{name}.zarr")
    content = document(image=f"{s3}/sources/image.zarr", labels=f"{s3}/sources/labels.zarr")
    return experiment_in(tmp_path / "far", content | {"stores": f"{s3}/stores"})


def test_the_whole_chain_at_an_address_makes_the_bytes_of_a_disk(local: Layout, tmp_path: Path, s3: str) -> None:
    experiment, results = far(tmp_path, local, s3)
    layout = chain(experiment, results)
    expected, found = arrays_in(local), arrays_in(layout)
    assert {name.split(".zarr")[0].split("/")[-1] + ".zarr" for name in expected} == set(STORES)
    assert found == expected
    assert layout.scores("main", "v").read_bytes() == local.scores("main", "v").read_bytes()

    assert not list(layout.root.rglob("*.zarr")), "stores on the disk"
    there = objects(f"{s3}/stores/far/done")
    assert {
        f"{step}/blocks/{index}.json" for step in ("predict/main/v", "prepare/v/image") for index in range(3)
    } <= set(there)
    assert not list(layout.step("predict", "main", "v").glob("blocks/[0-9]*.json"))
    assert {layer.name for layer in layers_of(layout.root, "main", "v")} == {
        "image", "affinities", "fragments", "truth", "segmentation"
    }  # fmt: skip
    one = fragments._job(experiment, "main", "v", results)
    assert pickle.loads(pickle.dumps(one)) == one, "other processes cannot be given it"


def test_a_cut_connection_is_one_line_and_what_is_finished_is_kept(
    local: Layout, tmp_path: Path, s3: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    experiment, results = far(tmp_path, local, s3)
    layout = experiment.layout(results)
    command = ["sepvox", "prepare", str(tmp_path / "far/experiment.yaml"), "--volume", "v", "--results", str(results)]
    monkeypatch.setattr(sys, "argv", command)
    proxy.cut_after(30_000)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(rf"sepvox: (volumes\.v\.\w+: )?{re.escape(s3)}/", last)
    assert "cannot be reached" in last
    assert "then run the same command again" in last
    proxy.mend()
    prepare(experiment, "v", results)

    job.create(experiment, "main", "v", results, restart=True)
    made, seen, lines = job.predict_job(experiment, "main", "v", results), [], []
    for count in range(25_000, 400_000, 35_000):
        proxy.cut_after(count)
        try:
            predict_slice(experiment, "main", "v", results, Part(0, 1))
        except AccessError as error:
            lines.append(str(error))
        proxy.mend()
        missing = made.step.unfinished(Part(0, 1))
        seen.append(len(missing))
        array = ome_zarr.open_level(made.store)
        for index in {0, 1, 2}.difference(missing):
            ome_zarr.read(array, made.step.lattice.box(index))
        if not missing:
            break
    assert seen[0] > seen[-1] == 0
    assert len(lines) == len(seen) - 1
    assert not [line for line in lines if "\n" in line]
    assert seen == sorted(seen, reverse=True)
    job.finish(experiment, "main", "v", results)
    expected = {
        name: content
        for name, content in arrays_in(local).items()
        if "labels" in name or "image" in name or "affinities" in name
    }
    assert arrays_in(layout) == expected


def test_stores_that_may_not_be_written_are_refused(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "image.npy", np.zeros(SHAPE, np.uint8))
    content = document(image=str(tmp_path / "image.npy"), role="apply")
    experiment, results = experiment_in(tmp_path, content | {"stores": f"{s3}/stores"})
    missing, _ = experiment_in(tmp_path, content | {"stores": "s3://no-such-bucket/stores"})
    with pytest.raises(AccessError, match=r"s3://no-such-bucket/stores/.*make the bucket, or correct the address"):
        prepare(missing, "v", results)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    fresh()
    with pytest.raises(AccessError, match=r"s3://bucket/.*: access denied .*check AWS_ACCESS_KEY_ID"):
        prepare(experiment, "v", results)


def store_at(place: storage.Place, value: int) -> None:
    spec = Spec(SHAPE, "uint8", Geometry(), CHUNK, SHARD)
    ome_zarr.create(place, spec)
    array = ome_zarr.open_level(place, writable=True)
    for box in Lattice(SHAPE, SHARD):
        ome_zarr.write(array, box, np.full(box.shape, value, np.uint8))
    ome_zarr.finish(place, spec, {"fingerprint": "f"})


def value_at(place: storage.Place) -> int:
    found = np.unique(ome_zarr.read(ome_zarr.open_level(place), Box.of(SHAPE)))
    assert len(found) == 1
    return int(found[0])


def test_a_store_of_other_settings_is_moved_aside_whole_even_when_moving_was_cut(tmp_path: Path, s3: str) -> None:
    store, blocks = storage.place(f"{s3}/a.zarr"), storage.place(f"{s3}/done/blocks")
    one, two = (Blockwise("test", Lattice(SHAPE, SHARD), tmp_path, name, blocks) for name in ("one", "two"))
    one.create(store, lambda: store_at(store, 1), restart=False)
    one.run(Part(0, 1), lambda _: None)
    with pytest.raises(StaleError, match=r"a\.zarr: made with other settings.*--restart"):
        two.create(store, lambda: store_at(store, 2), restart=False)
    two.create(store, lambda: store_at(store, 2), restart=True)
    stale = store.with_name("a.zarr.stale")
    assert (value_at(store), value_at(stale)) == (2, 1)
    assert two.unfinished(Part(0, 1)).tolist() == [0, 1, 2]

    # As a kill leaves it after everything was copied and removing had begun.
    storage.move(store, stale)
    for name in ("zarr.json", "0/c/0/0/0", "0/c/0/0/1"):
        (store / name).write_bytes((stale / name).read_bytes())
    storage.move(store, stale)
    assert not store.exists()
    assert value_at(stale) == 2


def test_damaged_and_missing_objects_are_named(s3: str) -> None:
    store = storage.place(f"{s3}/a.zarr")
    store_at(store, 7)
    shard = store / "0/c/0/0/1"
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"a\.zarr/0: the chunk at z y x = \(0, 0, 16\) is damaged"):
        value_at(store)
    storage.remove(shard)
    with pytest.raises(StoreError, match=r"a\.zarr/0: shard c/0/0/1 is missing"):
        value_at(store)


def test_subjects_at_an_address_are_done_once_and_moved_aside(tmp_path: Path, s3: str) -> None:
    store, seen = storage.place(f"{s3}/a.zarr"), []

    def work(name: str) -> None:
        seen.append(name)
        store_at(store, len(seen))

    def step(fingerprint: str) -> Subjectwise:
        return Subjectwise("test", tmp_path, {"a": fingerprint}, lambda _: [store])

    for _ in range(2):
        step("one").run(Part(0, 1), work)
    assert seen == ["a"]
    with pytest.raises(StaleError):
        step("two").run(Part(0, 1), work)
    step("two").run(Part(0, 1), work, restart=True)
    assert (value_at(store), value_at(store.with_name("a.zarr.stale"))) == (2, 1)
    storage.remove(store)
    assert not step("two").is_done("a")


def test_stores_in_another_folder(local: Layout, tmp_path: Path) -> None:
    shutil.copytree(local.volume("v") / "image.zarr", tmp_path / "image.zarr")
    content = document(image=str(tmp_path / "image.zarr"), role="apply") | {"stores": "disk"}
    experiment, results = experiment_in(tmp_path, content)
    prepare(experiment, "v", results)
    layout = Layout.noted(results / "far")
    assert layout == experiment.layout(results)
    assert layout.image("v") == tmp_path / "disk/far/volumes/v/image.zarr"
    assert markers.is_done(layout.made("v"), ome_zarr.attributes(layout.image("v"))["fingerprint"])
    assert not (results / "far/volumes/v/image.zarr").exists()
    assert os.listdir(layout.blocks("prepare", "v", "image"))  # noqa: PTH208
