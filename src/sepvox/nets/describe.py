"""What a network consists of, counted: parameters, multiply-accumulates, and where it looks.

Nothing is computed on voxels: the network is built and run on torch's meta device, where tensors have shapes only. MACs
(`sepvox.nets.macs`) are those of one forward pass over the input shape that the description names, divided by the voxels
that come out: with same padding that is a property of the network, with valid padding it falls as the input grows. The
parameters include those that only training uses.
"""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from sepvox.nets.architecture import Triple, architecture
from sepvox.nets.build import build
from sepvox.nets.geometry import geometry
from sepvox.nets.macs import count_macs
from sepvox.nets.pmsc import PmSC
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.tt import TTConv3d
from sepvox.text_table import facts_and_table

_INPUT: Triple = (132, 132, 132)


@dataclass(frozen=True)
class LevelDescription:
    """One row: an encoder, upsampling, decoder or head. Kernels are z y x, in the order of the computation.

    A *training head* has no MACs: prediction does without it.
    """

    level: int
    kind: str
    channels_in: int
    channels_out: int
    kernels: tuple[str, ...]
    parameters: int
    macs_per_output_voxel: float


@dataclass(frozen=True)
class Description:
    """A network in numbers; triples are z y x, in voxels."""

    name: str
    parameters: int
    macs_per_output_voxel: float
    input_shape: Triple
    output_shape: Triple
    padding: str
    receptive_field: Triple
    total_stride: Triple
    halo: Triple
    exact: bool
    levels: tuple[LevelDescription, ...]

    def as_json(self) -> dict[str, Any]:
        """The description as plain dictionaries and lists."""
        return asdict(self)


def describe(settings: NetworkSettings) -> Description:
    """Describe the network of `settings`, at the smallest admissible input of at least 132³ voxels."""
    where = geometry(settings)
    shape = where.admissible(_INPUT)
    with torch.device("meta"):
        net = build(settings).eval()
        macs = count_macs(net, torch.empty(1, architecture(settings).in_channels, *shape))
    output = where.output_shape(shape)
    parts = [(level, "encoder", part) for level, part in enumerate(net.encoders)]
    for level in reversed(range(len(net.decoders))):
        parts += [(level, "upsampling", net.upsamplings[level]), (level, "decoder", net.decoders[level])]
    parts.append((0, "head", net.head))
    parts += [(level, "training head", head) for level, head in zip(net.supervised, net.lower_heads, strict=True)]
    levels = tuple(_level(level, kind, part, macs, prod(output)) for level, kind, part in parts)
    return Description(
        name=settings.name,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        macs_per_output_voxel=sum(macs.values()) / prod(output),
        input_shape=shape,
        output_shape=output,
        padding=where.padding,
        receptive_field=where.receptive_field,
        total_stride=where.total_stride,
        halo=where.halo,
        exact=where.exact_ok,
        levels=levels,
    )


def render(description: Description) -> str:
    """The description as text: facts, then one line per level."""
    facts = [
        ("network", description.name),
        ("parameters", f"{description.parameters:,}"),
        ("MACs per output voxel", f"{description.macs_per_output_voxel:,.0f}"),
        ("input to output", f"{_times(description.input_shape)} to {_times(description.output_shape)}"),
        ("padding", description.padding),
        ("receptive field", _times(description.receptive_field)),
        ("total stride", _times(description.total_stride)),
        ("halo", _times(description.halo)),
        ("exact tiling", "yes" if description.exact else "no"),
    ]
    header = ("level", "kind", "channels", "parameters", "MACs/voxel", "kernels")
    rows = [
        (
            str(row.level),
            row.kind,
            f"{row.channels_in} > {row.channels_out}",
            f"{row.parameters:,}",
            f"{row.macs_per_output_voxel:,.0f}",
            " ".join(row.kernels),
        )
        for row in description.levels
    ]
    return facts_and_table(facts, header, rows)


def _convolutions(part: nn.Module) -> list[nn.Conv3d | nn.ConvTranspose3d | TTConv3d]:
    return [module for module in part.modules() if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | TTConv3d)]


def _level(level: int, kind: str, part: nn.Module, macs: dict[nn.Module, int], voxels: int) -> LevelDescription:
    convolutions = _convolutions(part)
    streams = [module for module in part.modules() if isinstance(module, PmSC)]
    return LevelDescription(
        level=level,
        kind=kind,
        channels_in=convolutions[0].in_channels,
        channels_out=streams[-1].out_channels if streams else convolutions[-1].out_channels,
        kernels=tuple("x".join(map(str, module.kernel_size)) for module in convolutions),
        parameters=sum(parameter.numel() for parameter in part.parameters()),
        macs_per_output_voxel=sum(macs.get(module, 0) for module in convolutions) / voxels,
    )


def _times(triple: Triple) -> str:
    return " x ".join(map(str, triple))
