"""Networks by the configuration's names."""

from functools import partial

from torch import nn

from sepvox.nets.architecture import Application, Architecture, Part, Triple, architecture
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
    return UNet(
        channels_out=net.out_channels,
        widths=net.widths,
        pooling=net.pooling,
        encoder=partial(block, "encoder"),
        decoder=partial(block, "decoder"),
        upsampling=_upsampling,
        supervised=net.supervised,
    )


def _block(net: Architecture, style: Style, part: Part, level: int) -> nn.Module:
    """What one level computes: two dense or 3DTT convolutions, P_mSC_1 twice, or P_mSC_n once."""
    if net.block == "dense":
        return dense_block(*net.channels(part, level), style)
    if net.block == "tt":
        return tt_block(*net.channels(part, level), style, net.transformation, net.temporal_axis)
    return nn.Sequential(*(_psc(net, style, application) for application in net.applications(part, level)))


def _psc(net: Architecture, style: Style, application: Application) -> PmSC:
    return PmSC(
        application.channels_in,
        application.channels_out,
        net.m,
        net.n,
        net.merge,
        style=style,
        widths=application.stream_widths,
        linear=net.linear_streams,
    )


def _upsampling(channels_in: int, channels_out: int, factors: Triple) -> nn.Module:
    return transposed(channels_in, channels_out, factors)
