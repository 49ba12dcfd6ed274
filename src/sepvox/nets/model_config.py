"""config.json beside published weights: the architecture that they belong to, and how they were made."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

import sepvox
from sepvox import markers
from sepvox.errors import InputError, StoreError
from sepvox.nets.settings import NetworkSettings


def write_model_config(path: Path, network: NetworkSettings, record: dict[str, Any]) -> None:
    """Write the architecture, and what else is to be known of the weights."""
    content = {"sepvox": sepvox.__version__, "network": network.model_dump(mode="json", exclude={"weights"})}
    markers.write_json(path, content | record)


def resolved(settings: NetworkSettings) -> NetworkSettings:
    """The settings themselves, or, where they name weights, the architecture in config.json beside these.

    Raises
    ------
    InputError
        If the weights or their config.json are missing or not of sepvox.
    """
    if settings.weights is None:
        return settings
    weights = Path(settings.weights)
    if not weights.exists():
        raise InputError(f"network.weights: {weights} does not exist; give the path of a best.safetensors file")
    return read_network(weights.parent / "config.json", "network.weights")


def read_network(path: Path, what: str) -> NetworkSettings:
    """The architecture in a config.json; `what` says where the file was given, for messages.

    Raises
    ------
    InputError
        If it is missing, or describes no U-Net of sepvox.
    """
    if not path.exists():
        raise InputError(f"{what}: {path} is missing; keep it beside the weights")
    try:
        return NetworkSettings.model_validate(markers.read_json(path)["network"])
    except (StoreError, KeyError, TypeError, ValidationError):
        raise InputError(f"{what}: {path} describes no U-Net of sepvox; give weights of one") from None
