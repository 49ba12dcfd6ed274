"""Networks by the configuration's names."""

from functools import partial
from itertools import pairwise

from torch import nn

from sepvox.nets.architecture import Architecture, Triple, architecture, stream_width
from sepvox.nets.convolution import Style, dense_block, transposed
from sepvox.nets.gonda2018 import build_gonda2018
from sepvox.nets.pmsc import PmSC
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.tt import tt_block
from sepvox.nets.unet import UNet


def build(settings: NetworkSettings) -> UNet:
    """Build the network that `settings` describe, with fresh weights from torch's generator.

    It takes float (batch, in_channels, z, y, x) and returns logits (batch, out_channels, z, y, x), by default one channel
    per offset; the sigmoid or softmax is left to whoever uses them. With deep supervision and while training it returns a
    list of logits, see `UNet`. `settings.weights` is not read here: see `sepvox.nets.weights`.
    """
    net = architecture(settings)
    if net.name != "unet":
        return build_gonda2018(net)
    block = partial(_block, net, Style(padding=net.padding, norm=net.norm))
    return UNet(net.in_channels, net.out_channels, net.widths, net.pooling, block, block, _upsampling, net.supervised)


def _block(net: Architecture, style: Style, channels_in: int, channels_out: int) -> nn.Module:
    """What one level computes: two dense or 3DTT convolutions, P_mSC_1 twice, or P_mSC_n once."""
    if net.block == "dense":
        return dense_block(channels_in, channels_out, style)
    if net.block == "tt":
        return tt_block(channels_in, channels_out, style, net.transformation, net.temporal_axis)
    channels = (channels_in, channels_out) if net.joint else (channels_in, channels_out, channels_out)

    def psc(before: int, after: int) -> PmSC:
        return PmSC(before, after, net.m, net.n, net.merge, style=style, width=stream_width(before, after, net.m))

    return nn.Sequential(*(psc(before, after) for before, after in pairwise(channels)))


def _upsampling(channels_in: int, channels_out: int, factors: Triple) -> nn.Module:
    return transposed(channels_in, channels_out, factors)
