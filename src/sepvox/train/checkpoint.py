"""The resume state of a training: everything that the next iteration depends on, in one file, replaced by rename.

It is read with `weights_only=True`, so that it can hold no code. It carries the fingerprint of configuration and input;
another training's state is not reused.
"""

import io
import json
import zipfile
from collections.abc import Set
from pathlib import Path
from typing import Any

import torch

from sepvox import markers
from sepvox.errors import StoreError

KEYS = {"iteration", "network", "optimizer", "best", "since_best"}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint: nested dicts and lists of tensors and plain values."""
    content = io.BytesIO()
    # torch's own writing of a file says of a full disk no more than that a position is unexpected.
    torch.save(state, content)
    with markers.replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load(path: Path, keys: Set[str] = KEYS) -> dict[str, Any]:
    """Read a checkpoint, which has at least these keys, on the CPU.

    Raises
    ------
    StoreError
        If it is damaged or holds anything but tensors and plain values.
    """
    try:
        # torch does not compare the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = keys - set(state)
        if missing:
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    # Damage shows up in any layer below: the archive, its directory, what is unpickled from it.
    except Exception as error:
        if isinstance(error, OSError):
            raise
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise StoreError(f"{path}: not a readable checkpoint ({why}); remove {path.parent} to train afresh") from None
    return state


def cut_back(metrics: Path, iteration: int) -> None:
    """Drop the lines of metrics.jsonl that lie beyond `iteration`, and a last line that was cut off."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text().splitlines():
        try:
            if json.loads(line)["iteration"] > iteration:
                break
        except ValueError:
            break
        kept.append(line + "\n")
    with markers.replacing(metrics) as temporary:
        temporary.write_text("".join(kept))
