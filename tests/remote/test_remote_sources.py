"""Zarr at an address is read as it would be from a disk, and what cannot be read is known in one line within seconds."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr
from tests.remote.conftest import BUCKET, Quiet, Ranges, fresh, http, upload

from sepvox import remote
from sepvox.config import load
from sepvox.errors import ConfigError, InputError
from sepvox.prepare.readers.source import open_source

WHAT = "volumes.v.image"
ROOT = Path(__file__).parents[2]


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (10, 12, 14), dtype=np.uint8)


def multiscale(name: str) -> dict:
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    scale = {"type": "scale", "scale": [40.0, 4.0, 4.0]}
    return {"version": name, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}


def write(folder: Path) -> None:
    """An array of Zarr 2, one of Zarr 3 in shards, OME-Zarr 0.4 and 0.5, and a group of two arrays."""
    data = volume()
    zarr.create_array(folder / "two.zarr", data=data, chunks=(5, 6, 7), zarr_format=2)
    zarr.create_array(folder / "three.zarr", data=data, chunks=(5, 6, 7), shards=(10, 12, 14))
    for name, version, path in (("ome4.zarr", 2, "0.4"), ("ome5.zarr", 3, "0.5")):
        group = zarr.open_group(folder / name, mode="w", zarr_format=version)
        group.create_array("0", data=data, chunks=(5, 6, 7))
        found = {"multiscales": [multiscale(path)]}
        group.attrs.update(found if version == 2 else {"ome": {"version": "0.5"} | found})
    group = zarr.open_group(folder / "group.zarr", mode="w")
    for name in ("raw", "other"):
        group.create_array(f"volumes/{name}", data=data, chunks=(5, 6, 7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("stores")
    write(found)
    return found


def refusal(address: str, key: str | None = None) -> str:
    """The one line with which an address is refused, soon."""
    begun = time.monotonic()
    with pytest.raises(InputError) as caught:
        open_source(address, key, "zyx", WHAT)
    assert time.monotonic() - begun < 60
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{WHAT}: {address}")
    return message


STORES = [
    ("two.zarr", None),
    ("three.zarr", None),
    ("ome4.zarr", None),
    ("ome5.zarr", None),
    ("group.zarr", "volumes/raw"),
]


def check_same(folder: Path, address: str) -> None:
    for name, key in STORES:
        local = open_source(str(folder / name), key, "zyx", WHAT)
        far = open_source(f"{address}/{name}", key, "zyx", WHAT)
        np.testing.assert_array_equal(far.array[2:9, 1:, 3:].compute(), volume()[2:9, 1:, 3:])
        assert (far.voxel_size, far.unit, far.header) == (local.voxel_size, local.unit, local.header), name
        assert far.files == ()


def test_stores_at_s3_are_read_as_from_a_disk(folder: Path, s3: str) -> None:
    upload(folder, s3)
    check_same(folder, s3)
    level = open_source(f"{s3}/ome5.zarr/0/", None, "zyx", WHAT)
    assert level.voxel_size == (40.0, 4.0, 4.0)
    message = refusal(f"{s3}/group.zarr", "volumes/rwa")
    assert "did you mean 'volumes/raw'?" in message
    assert "volumes/other (10x12x14 uint8)" in message
    assert "holds 2 arrays and volumes.v.key is not set" in refusal(f"{s3}/group.zarr")
    assert "there is no Zarr store (no zarr.json" in refusal(f"{s3}/none.zarr")
    assert "there is no Zarr store" in refusal(f"s3://no-such-{BUCKET}/a.zarr")


def test_stores_at_http_are_read_as_from_a_disk(folder: Path) -> None:
    with http(folder, Ranges) as address:
        check_same(folder, address)
        assert "http:// cannot be asked for names; set volumes.v.key" in refusal(f"{address}/group.zarr")
        assert "http:// cannot be asked for names" in refusal(f"{address}/group.zarr", "volumes/rwa")
        assert "there is no Zarr store" in refusal(f"{address}/none.zarr")
    with http(folder, Quiet) as address:
        whole = open_source(f"{address}/two.zarr", None, "zyx", WHAT)
        np.testing.assert_array_equal(whole.array.compute(), volume())
        assert "the server sends no parts of files" in refusal(f"{address}/three.zarr")
    assert "cannot be reached" in refusal(f"{address}/two.zarr")


def test_a_server_that_asks_for_a_login_is_named(folder: Path) -> None:
    class Locked(Quiet):
        def do_GET(self) -> None:  # noqa: N802
            self.send_error(401)

    with http(folder, Locked) as address:
        assert "access denied" in refusal(f"{address}/two.zarr")


@pytest.mark.parametrize(
    "changed",
    [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "AKIAWRONGWRONGWRONG0"}],
    ids=["secret", "key"],
)
def test_wrong_credentials_are_refused(s3: str, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    fresh()
    message = refusal(f"{s3}/a.zarr")
    assert "access denied" in message
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in message


def test_without_credentials_requests_carry_no_signature_and_an_unknown_profile_is_one_line(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not remote.filesystem("s3", asynchronous=False).anon
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    fresh()
    assert remote.filesystem("s3", asynchronous=False).anon
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    fresh()
    assert "access denied (The config profile (nobody)" in refusal(f"{s3}/a.zarr")


def test_an_endpoint_that_is_not_there_is_known_soon(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    fresh()
    message = refusal(f"{s3}/a.zarr")
    assert "cannot be reached (Could not connect" in message
    assert "check the address, AWS_ENDPOINT_URL and the network" in message


def test_a_package_that_is_missing_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"needs the package s3fs, .*pip install -e '\.\[remote\]'"):
        open_source(f"{s3}/a.zarr", None, "zyx", WHAT)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("image", "ftp://host/a.zarr", "image: ftp://host/a.zarr: addresses begin with s3://, http://, https://"),
        ("image", "s3://", "names no bucket"),
        ("image", "s3://bucket/a*.zarr", "has one of * ? [ ] #"),
        ("stores", "https://host/path", "stores: https://host/path: is read only"),
        ("stores", "gs://bucket/path", "stores: gs://bucket/path: addresses begin with"),
    ],
)
def test_impossible_addresses_are_refused_with_the_configuration(
    tmp_path: Path, key: str, value: str, expected: str
) -> None:
    document = {
        "experiment": "e",
        "volumes": {"v": {"role": "apply", "image": "a.npy"}},
        "network": {"weights": "w.safetensors"},
    }
    changed = document["volumes"]["v"] if key == "image" else document
    changed[key] = value
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load(tmp_path / "e.yaml")


def test_the_workflow_refuses_an_address_before_any_job(folder: Path, tmp_path: Path) -> None:
    for name in ("w.safetensors", "config.json"):
        (tmp_path / name).touch()
    with http(folder) as address:
        document = {
            "experiment": "e",
            "volumes": {"v": {"role": "apply", "image": f"{address}/none.zarr"}},
            "network": {"weights": "w.safetensors"},
            "segment": {"threshold": 0.5},
        }
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(document))
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("snakemake")),
                *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)),
                *("--configfile", str(tmp_path / "e.yaml"), "--cores", "1"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(r"error: .*volumes\.v\.image: http://.*none\.zarr: there is no Zarr store", last)
    assert not (tmp_path / "results").exists()
