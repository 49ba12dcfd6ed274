"""The four networks of Gonda et al. 2018, as released: dense, P1SC1, P2SC2 and P3SC2.

All are U-Nets of valid convolutions, 132³ to 44³ voxels, widths 24, 72, 216, 648, with a LeakyReLU of slope 0.005 after
every convolution of a block. Two particulars of the released code are kept, because the published numbers of parameters
contain them: with n = 1 the second application of a block has the intermediate width of the first, and every decoder
computes its intermediate width from 648 input channels.
"""

from functools import partial

from torch import nn

from sepvox.nets.architecture import Architecture, Part, Triple, intermediate_width
from sepvox.nets.convolution import Style, dense_block, project, transposed
from sepvox.nets.pmsc import PmSC
from sepvox.nets.unet import UNet

_STYLE = Style(padding="valid")


def build_gonda2018(net: Architecture) -> UNet:
    """Build one of `architecture.PUBLISHED`; the output are the logits of its three affinities."""
    return UNet(
        channels_out=net.out_channels,
        widths=net.widths,
        pooling=net.pooling,
        encoder=partial(_block, net, "encoder"),
        decoder=partial(_block, net, "decoder"),
        upsampling=partial(_upsampling, net.block == "dense"),
    )


def _block(net: Architecture, part: Part, level: int) -> nn.Module:
    """One level's block."""
    channels_in, channels_out = net.channels(part, level)
    if net.block == "dense":
        return dense_block(channels_in, channels_out, _STYLE)
    counted_in = net.widths[-1] if part == "decoder" else channels_in
    widths = (intermediate_width(counted_in, channels_out, net.m),) * net.m
    channels = [(each.channels_in, each.channels_out) for each in net.applications(part, level)]
    return nn.Sequential(*(PmSC(*each, net.m, net.n, style=_STYLE, widths=widths) for each in channels))


def _upsampling(channelwise: bool, channels_in: int, channels_out: int, factors: Triple) -> nn.Module:
    return nn.Sequential(
        transposed(channels_in, channels_in, factors, channelwise=channelwise), project(channels_in, channels_out)
    )
