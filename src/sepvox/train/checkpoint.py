"""The resume state of a training: everything that the next iteration depends on, in one file, replaced by rename.

It is read with `weights_only=True`, so that it can hold no code. It carries the fingerprint of configuration and input;
another training's state is not reused.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from sepvox import markers
from sepvox.errors import StoreError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint: nested dicts and lists of tensors and plain values."""
    with markers.replacing(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU.

    Raises
    ------
    StoreError
        If it is damaged or holds anything but tensors and plain values.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise StoreError(
            f"{path}: not a readable checkpoint ({str(error).splitlines()[0]}); remove {path.parent} to train afresh"
        ) from None
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
