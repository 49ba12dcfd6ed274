"""Weights on disk: safetensors, written whole or not at all, read without unpickling.

Metadata is kept as one JSON string with sorted keys, since safetensors stores several entries in no fixed order and equal
weights shall be equal files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from sepvox import markers
from sepvox.errors import InputError, StoreError

_METADATA_KEY = "sepvox"


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write `tensors` (a module's `state_dict()`) and JSON-serialisable `metadata` to a safetensors file.

    The file appears under its name only when it is complete and on disk; one that was there before stays until then.

    Raises
    ------
    StoreError
        If it cannot be written; nothing is left behind.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(contiguous, {_METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)})
    try:
        with markers.replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise StoreError(
            f"{path}: weights of {len(content)} bytes cannot be written ({error.strerror}); make room or check permissions"
        ) from error


def load(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file, on the CPU.

    Raises
    ------
    InputError
        If there is no such file, or it is not a complete safetensors file.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata that `save` wrote; empty for files of other origin.

    Raises
    ------
    InputError
        As `load`.
    """
    with _opened(path) as file:
        stored = (file.metadata() or {}).get(_METADATA_KEY, "{}")
    metadata: dict[str, Any] = json.loads(stored)
    return metadata


def load_into(model: nn.Module, path: Path) -> None:
    """Copy the tensors of `path` into `model`, which is left untouched where they do not fit.

    Raises
    ------
    InputError
        As `load`, and if names or shapes are those of another network.
    """
    stored = load(path)
    wanted = model.state_dict()
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        if name in stored and name in wanted and stored[name].shape == wanted[name].shape:
            continue
        given, expected = (_shape(name, tensors) for tensors in (stored, wanted))
        raise InputError(
            f"{path}: weights of another network: {name} is {given} in the file, {expected} in the configured network; "
            "configure the network these weights were trained with (config.json beside them) or train anew"
        )
    model.load_state_dict(stored)


def _shape(name: str, tensors: Mapping[str, Tensor]) -> str:
    return "x".join(map(str, tensors[name].shape)) or "a scalar" if name in tensors else "absent"


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; expected a .safetensors file, check network.weights")
    try:
        return safetensors.safe_open(path, framework="pt", device="cpu")
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a complete safetensors file ({' '.join(str(error).split())}); expected weights saved by sepvox, "
            "copy them again or convert them"
        ) from error
