"""A trained network for classes and what it was trained for, as config.json beside its weights says.

An *ensemble* is several of them whose probabilities are averaged; all have the same classes, modalities and preparation.
Nothing here needs torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sepvox import markers
from sepvox.blocks import Triple
from sepvox.errors import ConfigError, InputError, StoreError
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings
from sepvox.prepare.settings import ScanPrepareSettings
from sepvox.settings import Classes, Shape

# What a network has to see as it saw it in training.
SEEN = ("spacing", "crop", "normalisation", "foreground")


class _Config(BaseModel):
    """The part of config.json that prediction needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    network: NetworkSettings
    classes: Classes
    modalities: tuple[str, ...]
    prepare: ScanPrepareSettings
    patch: Shape
    mirror: tuple[bool, bool, bool]


@dataclass(frozen=True)
class ClassModel:
    """One trained network for classes.

    Attributes
    ----------
    weights : Path
        best.safetensors.
    network : NetworkSettings
        The architecture, complete.
    classes : mapping
        Value in label maps by name; the class numbers 1, 2, … are in this order.
    modalities : tuple of str
        Names of the input channels.
    prepare : ScanPrepareSettings
        How the scans were prepared that it was trained on.
    patch : three ints
        Voxels that it was trained on at a time, z y x.
    mirror : three bools
        Axes z y x along which training mirrored.
    fingerprint : str
        Of the weights and of all of the above that prediction depends on.
    """

    weights: Path
    network: NetworkSettings
    classes: Mapping[str, int]
    modalities: tuple[str, ...]
    prepare: ScanPrepareSettings
    patch: Triple
    mirror: tuple[bool, bool, bool]
    fingerprint: str


def read_class_model(weights: Path) -> ClassModel:
    """Read config.json beside `weights`.

    Raises
    ------
    InputError
        If the weights or config.json are missing, damaged, or not of a network for classes.
    """
    if weights.is_dir() and (weights / "best.safetensors").is_file():
        raise InputError(f"{weights}: is a folder; give the file in it, {weights / 'best.safetensors'}")
    if not weights.is_file():
        raise InputError(
            f"{weights}: no such weights; train the model first, or give the path of a best.safetensors file"
        )
    path = weights.parent / "config.json"
    try:
        content = markers.read_json(path)
    except StoreError as error:
        raise InputError(
            f"{path}: {str(error).removeprefix(f'{path}: ').split(';')[0]}; keep the config.json of the weights beside them"
        ) from None
    if not isinstance(content, dict) or "classes" not in content:
        raise InputError(
            f"{path}: has no `classes`, so {weights.name} is no network for classes; give weights of the task classes"
        )
    try:
        found = _Config.model_validate(content)
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"{path}: {key}: {error.errors()[0]['msg']}; copy config.json again from where the weights are from"
        ) from None
    model = ClassModel(
        weights=weights,
        network=found.network,
        classes=found.classes,
        modalities=found.modalities,
        prepare=found.prepare,
        patch=found.patch,
        mirror=found.mirror,
        fingerprint=markers.fingerprint(
            markers.file_fingerprint(weights),
            found.network.model_dump(mode="json"),
            list(found.classes),
            found.patch,
            found.mirror,
        ),
    )
    _check_channels(model, path)
    return model


def check_trained_for(
    model: ClassModel, classes: Mapping[str, int], modalities: Sequence[str], prepare: ScanPrepareSettings
) -> None:
    """Refuse a network that was trained for other classes, modalities or preparation.

    The order counts too: it is that of the channels.

    Raises
    ------
    ConfigError
        With both.
    """
    if list(model.classes.items()) != list(classes.items()):
        raise ConfigError(
            f"classes: {_named(classes)}, but {model.weights} was trained for {_named(model.classes)}; use the classes of the weights, in their order, or train anew"
        )
    if model.modalities != tuple(modalities):
        raise ConfigError(
            f"subjects: images are {', '.join(modalities)}, but {model.weights} was trained on {', '.join(model.modalities)}; name and order the images as the weights have them, or train anew"
        )
    for key in SEEN:
        given, trained = getattr(prepare, key), getattr(model.prepare, key)
        if given != trained:
            raise ConfigError(
                f"prepare.{key}: {_plain(given)}, but {model.weights} was trained with {_plain(trained)}; set it so, or train anew"
            )


def check_ensemble(models: Sequence[ClassModel]) -> None:
    """Refuse networks whose probabilities cannot be averaged.

    Raises
    ------
    ConfigError
        If they differ in classes, modalities or preparation.
    """
    first = models[0]
    for other in models[1:]:
        check_trained_for(other, first.classes, first.modalities, first.prepare)


def common_tile(models: Sequence[ClassModel], wanted: Triple | None) -> tuple[Triple, Triple]:
    """The tile of an ensemble: the smallest input that all networks take and that has at least `wanted` voxels.

    Parameters
    ----------
    wanted : three ints or None
        Voxels, z y x; along each axis the largest training patch by default.

    Returns
    -------
    tile, margin
        Output of a forward pass, and what it takes off each side of its input.

    Raises
    ------
    ConfigError
        If networks of valid and of same padding are mixed.
    """
    nets = [geometry(model.network) for model in models]
    for model, net in zip(models, nets, strict=True):
        if (net.padding, net.offset) != (nets[0].padding, nets[0].offset):
            raise ConfigError(
                f"{model.weights}: its outputs have another shape than those of {models[0].weights}, one by valid and one by same padding; apply them one at a time"
            )
    z, y, x = (max(extents) for extents in zip(*(model.patch for model in models), strict=True))
    size = wanted or (z, y, x)
    while any((larger := net.admissible(size)) != size for net in nets):
        size = larger
    for model, net in zip(models, nets, strict=True):
        deepest = [n // stride for n, stride in zip(size, net.total_stride, strict=True)]
        if model.network.norm == "instance" and prod(deepest) < 2:
            raise ConfigError(
                f"predict.tile: {list(size)} leaves one voxel at the deepest level of {model.weights}, which has nothing to normalise by; take at least twice {list(net.total_stride)} along some axis"
            )
    tile = nets[0].output_shape(size)
    mz, my, mx = ((n - o) // 2 for n, o in zip(size, tile, strict=True))
    return tile, (mz, my, mx)


def _check_channels(model: ClassModel, path: Path) -> None:
    network = model.network
    given = network.out_channels if network.out_channels is not None else len(network.offsets)
    for key, channels, expected, what in (
        ("in_channels", network.in_channels, len(model.modalities), "one per modality"),
        ("out_channels", given, len(model.classes) + 1, "one per class and one for background"),
    ):
        if channels != expected:
            raise InputError(
                f"{path}: network.{key} is {channels}, expected {expected}, {what}; copy config.json again from where the weights are from"
            )


def _named(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in classes.items())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
