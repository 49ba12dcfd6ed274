"""The four networks of Gonda et al. 2018, as released: dense, P1SC1, P2SC2 and P3SC2.

All are U-Nets of valid convolutions, 132³ to 44³ voxels, widths 24, 72, 216, 648, with a LeakyReLU of slope 0.005 after
every convolution of a block. Two particulars of the released code are kept, because the published numbers of parameters
contain them: with n = 1 the second application of a block has the intermediate width of the first, and every decoder
computes its intermediate width from 648 input channels.
"""

from functools import partial
from itertools import pairwise

from torch import nn

from sepvox.nets.architecture import Architecture, Triple, intermediate_width
from sepvox.nets.convolution import Style, dense_block, project, transposed
from sepvox.nets.pmsc import PmSC
from sepvox.nets.unet import UNet

_STYLE = Style(padding="valid")


def build_gonda2018(net: Architecture) -> UNet:
    """Build one of `architecture.PUBLISHED`; the output are the logits of its three affinities."""
    dense = net.block == "dense"
    return UNet(
        channels_in=net.in_channels,
        channels_out=net.out_channels,
        widths=net.widths,
        pooling=net.pooling,
        encoder=_dense if dense else partial(_pmsc, net.m, net.n, None),
        decoder=_dense if dense else partial(_pmsc, net.m, net.n, net.widths[-1]),
        upsampling=partial(_upsampling, dense),
    )


def _dense(channels_in: int, channels_out: int) -> nn.Module:
    return dense_block(channels_in, channels_out, _STYLE)


def _pmsc(m: int, n: int, counted_in: int | None, channels_in: int, channels_out: int) -> nn.Module:
    """One level's block; `counted_in` takes the place of its input channels in the intermediate width."""
    width = intermediate_width(counted_in or channels_in, channels_out, m)
    applications = 2 if n == 1 else 1
    channels = (channels_in, *(channels_out,) * applications)
    return nn.Sequential(*(PmSC(a, b, m, n, style=_STYLE, width=width) for a, b in pairwise(channels)))


def _upsampling(channelwise: bool, channels_in: int, channels_out: int, factors: Triple) -> nn.Module:
    return nn.Sequential(
        transposed(channels_in, channels_in, factors, channelwise=channelwise), project(channels_in, channels_out)
    )
