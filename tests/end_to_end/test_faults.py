"""Whatever happens to the segment path ends in the right bytes or in one line, with nothing lost."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sepvox import ome_zarr
from sepvox.blocks import Box, Lattice, Part
from sepvox.blockwise import Blockwise
from sepvox.errors import StoreError
from sepvox.ome_zarr import Spec
from sepvox.world import Geometry

ROOT = Path(__file__).parents[2]
WITHOUT_CHECKSUMS = """
import sys
from benchmarks.faults.__main__ import main
from sepvox import ome_zarr

class Codec(ome_zarr.ZstdCodec):
    def __init__(self, level, checksum):
        super().__init__(level=level, checksum=False)

ome_zarr.ZstdCodec = Codec
sys.exit(main())
"""
LATTICE = Lattice((4, 4, 4), (2, 2, 2))
SHAPE, CHUNK, SHARD = (12, 16, 16), (4, 4, 4), (8, 8, 8)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_fault_ends_in_the_right_bytes_or_in_one_line():
    done = run("-m", "benchmarks.faults", "--kills", "2", "--others", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 11
    assert all(ended.startswith(("same bytes", "one line", "skipped")) for _, _, ended in rows)


@pytest.mark.slow
def test_the_program_tells_when_damage_goes_unnoticed():
    done = run("-c", WITHOUT_CHECKSUMS, "--only", "flipped byte in a chunk", "--others", "5")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed" in done.stdout


@pytest.fixture
def store(tmp_path):
    """A store of ones, and the level as an array that can be written."""
    path = tmp_path / "labels.zarr"
    ome_zarr.create(path, Spec(SHAPE, "uint64", Geometry(), CHUNK, SHARD, labels=True))
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(SHAPE, SHARD):
        ome_zarr.write(array, box, np.ones(box.shape, np.uint64))
    return path, array


@pytest.mark.parametrize("kept", [0, 1, 50])
def test_a_shard_cut_short_by_a_power_cut_is_refused_and_can_be_written_again(store, kept):
    path, array = store
    shard = path / "0/c/1/1/1"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(StoreError, match="c/1/1/1 is missing or empty" if not kept else "damaged"):
        ome_zarr.read(array, Box.of(SHAPE))
    box = Box((8, 8, 8), SHAPE)
    ome_zarr.write(array, box, np.ones(box.shape, np.uint64))
    assert (ome_zarr.read(array, Box.of(SHAPE)) == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_shard_at_the_edge_can_be_written_again(tmp_path, seed):
    # zarr decodes the chunks that reach over the edge before it replaces them.
    shape, rng = (10, 13, 14), np.random.default_rng(seed)
    path = tmp_path / "labels.zarr"
    ome_zarr.create(path, Spec(shape, "uint64", Geometry(), CHUNK, SHARD, labels=True))
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(shape, SHARD):
        ome_zarr.write(array, box, rng.integers(0, 9, box.shape).astype(np.uint64))
    box = Box((8, 8, 8), shape)
    shard = path / "0/c/1/1/1"
    content = bytearray(shard.read_bytes())
    for place in rng.integers(0, len(content), 1 + 20 * seed):
        content[place] ^= 255
    shard.write_bytes(content)
    ome_zarr.write(array, box, np.ones(box.shape, np.uint64))
    assert (ome_zarr.read(array, box) == 1).all()


def test_metadata_that_is_lost_can_be_made_again_as_the_line_says(store):
    path, _ = store
    (path / "0/zarr.json").unlink()
    with pytest.raises(StoreError, match="remove it and run the step"):
        ome_zarr.open_level(path)


def test_new_data_never_stands_under_the_marker_of_other_settings(tmp_path):
    first, second = (Blockwise("test", LATTICE, tmp_path / "done", fingerprint) for fingerprint in ("one", "two"))
    first.run(Part(0, 1), lambda _: None)

    def killed_after_its_data(_: Box) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        second.run(Part(0, 1), killed_after_its_data)
    assert 0 in first.unfinished(Part(0, 1))


def test_a_store_is_finished_by_one_process_at_a_time(tmp_path):
    blockwise = Blockwise("test", LATTICE, tmp_path / "done", "one")
    blockwise.run(Part(0, 1), lambda _: None)
    hold = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX); print(); sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path / "done/lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        with pytest.raises(StoreError, match="another sepvox process is writing here"):
            blockwise.finish(lambda: None)
        holder.stdin.close()
    blockwise.finish(lambda: None)
