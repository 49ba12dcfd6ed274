"""Faults that the path finds in its files: wrong bytes, data or markers that are gone. Each returns its line, or ""."""

import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.bench import Case
from benchmarks.faults.experiment import GIVEN, LAYOUT, MADE, ROOT, SHAPE, SHARD
from benchmarks.faults.processes import Ended, WrongEndError, start
from sepvox import ome_zarr
from sepvox.blocks import Lattice, triple

STORES = (*GIVEN, *MADE)


def flip(path: Path, rng: np.random.Generator) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(content))


def truncate(path: Path, rng: np.random.Generator) -> None:
    """Cut a file short; every third time nothing of it is left, as after a power cut."""
    size = path.stat().st_size
    os.truncate(path, 0 if rng.random() < 1 / 3 else int(rng.integers(1, size)))


def remove(path: Path, _: np.random.Generator) -> None:
    path.unlink()


def read(case: Case, store: Path) -> Ended:
    """Read a store in a process of its own, as the report and the viewer do."""
    return start(case.home, "read", partial(print_digest, store)).end()


def print_digest(store: Path) -> None:
    """Read every level of a store shard by shard and tell its digest as a line."""
    digest = hashlib.sha256()
    for level in sorted(path.name for path in store.iterdir() if path.name.isdigit()):
        array = ome_zarr.open_level(store, int(level))
        for box in Lattice(triple(array.shape[-3:]), SHARD):
            digest.update(ome_zarr.read(array, box).tobytes())
    print(digest.hexdigest(), file=sys.stderr)


def names(line: str, shard: Path) -> bool:
    """Whether a line names the store, and the shard or a chunk in it."""
    array, position = str(shard).split("/c/")
    if not line.startswith(f"{Path(array).relative_to(ROOT)}: "):
        return False
    if f"shard c/{position} is " in line:
        return True
    found = re.search(r"the chunk at z y x = \((\d+), (\d+), (\d+)\) is damaged", line)
    inside = [int(begin) // size for begin, size in zip(found.groups(), SHARD, strict=True)] if found else None
    return inside == [int(part) for part in position.split("/")[-3:]]


def damaged_shard(case: Case, store: Path, damage: Callable[[Path, np.random.Generator], None]) -> str:
    """Damage a shard of a store, read the store, and do the path."""
    case.begin(finished=store != GIVEN[0])
    shard = case.pick(path for path in (case.home / store).rglob("c/**/*") if path.is_file())
    content, inside = shard.read_bytes(), shard.relative_to(case.home)
    whole = read(case, store).lines
    damage(shard, case.rng)
    found = read(case, store)
    line = "" if found.code == 0 and found.lines == whole else found.line()
    if line and not names(line, inside):
        raise WrongEndError(f"the line does not name {inside}: {line}")

    def mend() -> None:
        # What another step made is put back; the path makes the rest again.
        if store in GIVEN:
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.write_bytes(content)
        else:
            shutil.rmtree(case.home / store)

    # The path reads neither the image nor what is coarser than level 0.
    if store in GIVEN and (store == LAYOUT.image("v") or not inside.is_relative_to(store / "0")):
        mend()
    return case.settle(lambda told: names(told, inside), mend) or line


def flipped_byte(case: Case) -> str:
    return damaged_shard(case, STORES[case.number % len(STORES)], flip)


def truncated_shard(case: Case) -> str:
    return damaged_shard(case, STORES[case.number % len(STORES)], truncate)


def flipped_byte_in_a_table(case: Case) -> str:
    case.begin(finished=True)
    cell = case.pick((case.home / LAYOUT.region_graph("main", "v") / "cells").iterdir())
    content = cell.read_bytes()
    flip(cell, case.rng)
    unread = has_arrays(cell, content)

    def restore() -> None:
        if unread:
            cell.write_bytes(content)

    return case.settle(lambda line: line.startswith(str(cell.relative_to(case.root))), cell.unlink, restore=restore)


def has_arrays(path: Path, content: bytes) -> bool:
    """Whether an archive still has the arrays of its first content: a date or a flag in it is never read."""
    try:
        with np.load(path) as found, np.load(io.BytesIO(content)) as wanted:
            return found.files == wanted.files and all(
                np.array_equal(found[name], wanted[name]) for name in wanted.files
            )
    except Exception:
        # numpy and zipfile raise whatever they like on damaged bytes.
        return False


def marker_without_data(case: Case) -> str:
    """Remove a shard, a store, a table, metadata of an array, or a shard of a store that is not finished."""
    kind, turn = case.number % 5, case.number // 5
    if kind == 0:
        return damaged_shard(case, (*GIVEN[:2], *MADE)[turn % 4], remove)
    case.begin(finished=True)
    which = turn % len(MADE)
    store = case.home / MADE[which]
    if kind == 1:
        shutil.rmtree(store)
    elif kind == 2:
        case.pick(store.parent.rglob("*.npz")).unlink()
    elif kind == 3:
        (store / "0/zarr.json").unlink()
    else:
        (store / "zarr.json").unlink()
        (case.root / "done" / ("fragments", "relabel")[which] / "main/v/finish.json").unlink()
        case.pick(path for path in (store / "0/c").rglob("*") if path.is_file()).unlink()
    return case.settle(lambda line: "; remove" in line and store.name in line, partial(shutil.rmtree, store))


def data_without_marker(case: Case) -> str:
    """Remove a step's markers: of some blocks, of all, of the store, or of a block whose shard was cut short."""
    kind, third = case.number % 4, case.number // 4 % 3
    if kind >= 2:
        third = third % 2 * 2
    done = case.root / "done" / ("fragments", "region-graph", "relabel")[third] / "main/v"
    case.begin(finished=True)
    blocks = sorted(path for path in (done / "blocks").iterdir() if path.stem.isdigit())
    if kind == 0:
        for block in case.rng.choice(len(blocks), 3, replace=False):
            blocks[block].unlink()
    elif kind == 1:
        shutil.rmtree(done)
    elif kind == 2:
        (done / "blocks/store.json").unlink()
    else:
        block = case.pick(blocks)
        block.unlink()
        begin = Lattice(SHAPE, SHARD).box(int(block.stem)).begin
        position = "/".join(str(b // s) for b, s in zip(begin, SHARD, strict=True))
        truncate(case.home / MADE[third // 2] / "0/c" / position, case.rng)
    return case.settle(lambda line: "--restart" in line, restart=True)
