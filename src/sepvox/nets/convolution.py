"""The unit that every network here is made of, and the dense block.

A *unit* is a convolution, a normalisation where one is asked for, and a LeakyReLU. Kernels are given as 3D shapes, z y x,
so that a plane convolution is (1, 3, 3) and a line convolution (3, 1, 1). All modules take and return (batch, channel, z,
y, x).
"""

from dataclasses import dataclass
from math import gcd
from typing import Literal

import torch
from torch import nn

from sepvox.nets.architecture import RELEASED_SLOPE, Triple

NormName = Literal["none", "batch", "group", "instance"]
Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Style:
    """What all units of one network share: padding, normalisation, and the slope of the LeakyReLU for negative values."""

    padding: Padding = "same"
    norm: NormName = "none"
    slope: float = RELEASED_SLOPE


def unit(channels_in: int, channels_out: int, kernel: Triple, style: Style) -> nn.Sequential:
    """Convolution, normalisation, LeakyReLU. The convolution has a bias unless a normalisation follows and has its own."""
    first = convolution(channels_in, channels_out, kernel, style, bias=style.norm == "none")
    return nn.Sequential(first, *activation(channels_out, style))


def convolution(
    channels_in: int,
    channels_out: int,
    kernel: Triple,
    style: Style,
    *,
    bias: bool,
    before: Literal["leaky_relu", "linear"] = "leaky_relu",
) -> nn.Conv3d:
    """A convolution whose weights begin as suits what it stands before: a LeakyReLU, or another convolution."""
    layer = nn.Conv3d(channels_in, channels_out, kernel, padding=style.padding, bias=bias)
    nn.init.kaiming_normal_(layer.weight, a=style.slope, nonlinearity=before)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def activation(channels: int, style: Style) -> nn.Sequential:
    """A normalisation where one is asked for, then a LeakyReLU."""
    slope = nn.LeakyReLU(style.slope, inplace=True)
    return nn.Sequential(slope) if style.norm == "none" else nn.Sequential(_normalisation(style.norm, channels), slope)


def _normalisation(norm: NormName, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm3d(channels)
    if norm == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    return nn.GroupNorm(gcd(8, channels), channels)


def dense_block(channels_in: int, channels_out: int, style: Style) -> nn.Sequential:
    """Two units of 3×3×3 convolutions: the block of a plain 3D U-Net."""
    return nn.Sequential(
        unit(channels_in, channels_out, (3, 3, 3), style),
        unit(channels_out, channels_out, (3, 3, 3), style),
    )


def project(channels_in: int, channels_out: int) -> nn.Conv3d:
    """1×1×1 convolution with bias and nothing after it."""
    convolution = nn.Conv3d(channels_in, channels_out, 1)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def transposed(
    channels_in: int, channels_out: int, factors: Triple, *, channelwise: bool = False
) -> nn.ConvTranspose3d:
    """Transposed convolution without bias whose kernel and stride are `factors`: upsampling without overlap.

    It begins as a projection of each voxel, repeated over the `factors` voxels that it becomes, so that untrained networks
    show no checkerboard; training is free to tell these voxels apart. With `channelwise` each channel is upsampled by
    itself, and begins as repetition.
    """
    groups = channels_in if channelwise else 1
    layer = nn.ConvTranspose3d(channels_in, channels_out, factors, stride=factors, groups=groups, bias=False)
    one = (
        torch.ones(channels_out, 1)
        if channelwise
        else nn.init.kaiming_normal_(torch.empty(channels_out, channels_in), nonlinearity="linear")
    )
    with torch.no_grad():
        layer.weight.copy_(one.T.reshape(channels_in, -1, 1, 1, 1).expand_as(layer.weight))
    return layer
