"""Places: where stores and their markers are, on a disk or at an address.

place     a `pathlib.Path`, or a `Remote`, which offers as much of a path's interface as sepvox asks of one. What else
          differs between the two is in the functions of this module, and nowhere else.
address   a place as text: s3://BUCKET/PREFIX, which is read and written, or http://… and https://…, which are read.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepvox.remote import Remote, filesystem, reached

SCHEMES = ("s3", "http", "https")

# Without it an array cannot be opened: it is the first that goes when a store is moved away.
_ARRAY = "0/zarr.json"

Place = Path | Remote


def is_address(text: str) -> bool:
    """Whether a path that a user wrote is an address."""
    return "://" in text


def mistake(text: str) -> str | None:
    """What is wrong with an address, and how to mend it; None for a good one and for a path."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in SCHEMES:
        return f"{text}: addresses begin with {', '.join(f'{s}://' for s in SCHEMES)}; copy the data to one of these, or to a disk"
    if separator and not rest.strip("/"):
        return f"{text}: names no {'bucket' if scheme == 's3' else 'host'}; expected {scheme}://{'BUCKET/PREFIX' if scheme == 's3' else 'HOST/PATH'}"
    if separator and set(rest) & set("*?[]#"):
        return f"{text}: has one of * ? [ ] #, which in addresses mean something else; give one without"
    return None


def place(text: str) -> Place:
    """The place that a text names, a path or an address without mistake."""
    return Remote(text.rstrip("/")) if is_address(text) else Path(text)


def zarr_store(place: Place, writable: bool = False) -> Any:
    """What zarr opens a place by."""
    if isinstance(place, Path):
        return str(place)
    from zarr.storage import FsspecStore

    files = filesystem(place.scheme, asynchronous=True)
    return FsspecStore(files, read_only=not writable, path=place.path)


def place_of(array: Any) -> Place:
    """Where an array of zarr was opened."""
    store = array.store
    above = Remote(store.fs.unstrip_protocol(store.path)) if hasattr(store, "fs") else Path(store.root)
    found: Place = above / array.path
    return found


def folders(place: Place) -> list[Place]:
    """Folders in a folder, by name; links are left out, and so are all where the server cannot be asked (`Remote.lists`)."""
    if isinstance(place, Path):
        return sorted(inner for inner in place.iterdir() if inner.is_dir() and not inner.is_symlink())
    with reached(place):
        found = place.files.ls(place.path, detail=True) if place.lists else []
    return [place / entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "directory"]


def sizes(folder: Place, names: Sequence[str]) -> list[int]:
    """Bytes of files or objects in a folder; 0 for those that are not there."""
    if isinstance(folder, Path):
        return [_size(folder / name) for name in names]
    answers = folder.ask_all("_info", names)
    return [0 if isinstance(answer, FileNotFoundError) else int(answer["size"]) for answer in answers]


def contents(folder: Place, names: Sequence[str]) -> list[bytes | None]:
    """Content of small files or objects in a folder; None for those that are not there."""
    if isinstance(folder, Path):
        return [_content(folder / name) for name in names]
    answers = folder.ask_all("_cat_file", names)
    return [None if isinstance(answer, FileNotFoundError) else answer for answer in answers]


def keep(folder: Place, names: Sequence[str]) -> None:
    """Return when files survive a power cut; objects do as soon as they are there."""
    if isinstance(folder, Path):
        for name in names:
            with (folder / name).open("rb") as file:
                os.fsync(file.fileno())


def remove(place: Place) -> None:
    """Remove a file or a folder with all that is in it, where there is one."""
    if isinstance(place, Remote):
        with reached(place, writing=True):
            try:
                place.files.rm(place.path, recursive=True)
            except FileNotFoundError:
                return
    elif place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def move(place: Place, target: Place) -> None:
    """Move a file or a folder in the place of another, which is removed.

    The objects of a store are copied by the server and then removed, those that make it a store first: one that was moved
    in part, when the process was killed, is no store, and the same call goes on with removing it.
    """
    if isinstance(place, Path) and isinstance(target, Path):
        remove(target)
        place.replace(target)
        return
    assert isinstance(place, Remote)
    assert isinstance(target, Remote)
    with reached(place, writing=True):
        files = place.files
        names = files.find(place.path)
        if f"{place.path}/{_ARRAY}" in names:
            remove(target)
            files.copy(names, [target.path + name.removeprefix(place.path) for name in names])
            files.rm_file(f"{place.path}/{_ARRAY}")
    remove(place)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
