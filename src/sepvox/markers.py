"""Markers, fingerprints and locks: how sepvox knows what is finished and never takes half of something for a whole.

fingerprint   hash of everything a result depends on: step version, settings, fingerprints of the inputs.
marker        small JSON file, written by rename after its data is on disk, that carries the fingerprint; at an address an
              object that is put after those of its data.
stale         a marker or store with another fingerprint; it is moved aside to NAME.stale, never reused.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox import storage
from sepvox.errors import StaleError, StoreError
from sepvox.remote import Remote
from sepvox.storage import Place


def fingerprint(*parts: Any) -> str:
    """SHA-256 (first 32 hex digits) of JSON-serialisable parts; key order does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_fingerprint(path: Path) -> str:
    """SHA-256 (first 32 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed onto `path` on success, removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # On a network file system processes of several machines may have the same number.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Place, content: Any) -> None:
    """Write JSON by rename, or as one object."""
    text = json.dumps(content, indent=1) + "\n"
    if isinstance(path, Remote):
        path.write_bytes(text.encode())
        return
    with replacing(path) as temporary:
        temporary.write_text(text)


def read_json(path: Place, *keys: str, step: str = "the step that makes it", mend: str | None = None) -> Any:
    """Read a JSON file that sepvox wrote; with `keys` it is an object that has at least these.

    Parameters
    ----------
    step : str
        What makes the file, as a user runs it; for messages.
    mend : str, optional
        What to do with a damaged file; by default to remove it and run `step` again.

    Raises
    ------
    StoreError
        If it is missing or not JSON, or has not these keys.
    """
    mend = mend or f"remove it and run {step} again"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; run {step} first") from None
    except ValueError as error:
        raise StoreError(f"{path}: not valid JSON ({error}); {mend}") from None
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise StoreError(f"{path}: has no `{key}`; {mend}")
    return content


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed .npz file by rename; equal arrays are equal bytes."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path, step: str, *names: str) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file that sepvox wrote.

    Parameters
    ----------
    step : str
        What makes the file, as a user runs it; for messages.
    names : str
        The arrays that it must have.

    Raises
    ------
    StoreError
        If it is missing or damaged, or has not these arrays.
    """
    try:
        # numpy would leave a damaged file open.
        with path.open("rb") as file, np.load(file) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; run {step} first") from None
    # Damage shows up in any layer below: the archive, its compression, the header of an array.
    except Exception as error:
        if not _is_damage(error, path):
            raise
        raise StoreError(f"{path}: damaged ({error}); remove it and run {step} again") from None


def checksums(path: Path, step: str, *names: str) -> list[int]:
    """CRC-32 of arrays of an .npz file, without reading them; errors are those of `read_arrays`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [archive.getinfo(f"{name}.npy").CRC for name in names]
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; run {step} first") from None
    except Exception as error:
        if not _is_damage(error, path):
            raise
        raise StoreError(f"{path}: damaged ({error}); remove it and run {step} again") from None


def _is_damage(error: Exception, path: Path) -> bool:
    """Whether an archive itself is why it could not be read, and not this machine's memory, disk or network."""
    if isinstance(error, OSError):
        # A damaged archive sends its reader to places before the file.
        return error.errno in (None, errno.EINVAL)
    if isinstance(error, MemoryError):
        # A damaged header can ask for any amount.
        with contextlib.suppress(zipfile.BadZipFile, zlib.error), zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    return True


def claim(path: Path, content: Any) -> Any:
    """Write JSON where no process has before, and return what the file holds; several processes may come at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        file.seek(0)
        if not file.read():
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return read_json(path)


def is_done(path: Place, expected: str) -> bool:
    """Whether the marker is there and carries the expected fingerprint; an unreadable marker counts as absent."""
    return are_done(path.parent, [path.name], expected)[0]


def are_done(folder: Place, names: Sequence[str], expected: str) -> list[bool]:
    """`is_done` of many markers of one folder."""
    return [content is not None and _carries(content, expected) for content in storage.contents(folder, names)]


def _carries(content: bytes, expected: str) -> bool:
    try:
        return bool(json.loads(content)["fingerprint"] == expected)
    except (ValueError, KeyError, TypeError):
        return False


def mark(path: Place, value: str, **more: Any) -> None:
    """Write a marker."""
    write_json(path, {"fingerprint": value, **more})


def set_aside(path: Place, restart: bool, why: str) -> None:
    """Move stale state to NAME.stale, replacing an older one.

    Raises
    ------
    StaleError
        If `restart` is false.
    """
    if not restart:
        raise StaleError(f"{path}: {why}; run again with --restart to move it to {path.name}.stale and start afresh")
    storage.move(path, path.with_name(path.name + ".stale"))


@contextlib.contextmanager
def locked(path: Path, items: range | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which is created where it is missing and released when the process ends.

    Parameters
    ----------
    items : range, optional
        Lock these only, so that processes with others can hold theirs; all by default.

    Raises
    ------
    StoreError
        If another process holds it.
    """
    if items is not None and not items:
        yield
        return
    # A byte stands for an item; no length means all bytes from the first on.
    first, length = (0, 0) if items is None else (items.start, len(items))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, first)
        except BlockingIOError:
            raise StoreError(
                f"{path}: another sepvox process is writing here; wait until it ends, or stop it"
            ) from None
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be locked ({error.strerror}); put results on a file system with locks, Lustre mounted with `flock`"
            ) from None
        yield
