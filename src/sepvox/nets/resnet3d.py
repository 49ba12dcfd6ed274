"""3D ResNets and DenseNets with dense, parallel separable or 3DTT convolutions; see `sepvox.nets.clip_networks`.

The networks are MONAI's. Shortcuts between stages are projections without bias (He et al. 2016, option B): MONAI's option A
lets no gradient pass. Convolutions of more than one voxel are then replaced in place; those of 1×1×1 have nothing to
separate and no slices, and stay. The first convolution, 7×7×7, is one P_mSC_1 with planes of 7×7 and lines of 7, whatever
n. In 3DTT t is the temporal axis.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from monai.networks.nets import DenseNet, ResNet
from torch import Tensor, nn

from sepvox.nets.architecture import Triple
from sepvox.nets.clip_networks import ClipNetwork
from sepvox.nets.separable import SeparableConv3d
from sepvox.nets.tt import TTConv3d

_RESNETS = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
}
_FIRST_STRIDE: Triple = (1, 2, 2)
_STAGES = ("layer1", "layer2", "layer3", "layer4")


def build_clip_network(net: ClipNetwork) -> nn.Module:
    """Build the network, with fresh weights from torch's generator: (batch, *net.clip) to logits (batch, classes).

    It takes clips of other extents, too.
    """
    network = _densenet(net) if net.base == "densenet121" else _resnet(net)
    if net.block == "pmsc":
        if net.n == 2:
            for stage in _STAGES:
                setattr(
                    network, stage, nn.Sequential(*(_JointBlock(block, net.m) for block in getattr(network, stage)))
                )
        _replace(network, partial(_separable, net.m))
    elif net.block == "tt":
        _replace(network, _transformed)
    return network


def first_activations(network: nn.Module, clip: Tensor) -> list[Tensor]:
    """What the first layer of a built network makes of clips, after its normalisation and ReLU.

    Parameters
    ----------
    clip : Tensor
        (batch, channel, t, y, x).

    Returns
    -------
    list of Tensor
        (batch, channel, t', y', x') of each stream, in the order t, y, x of their line convolutions; one only where the
        first layer is no P_mSC_n.
    """
    first: Any
    normalisation: Any
    if isinstance(network, DenseNet):
        first, normalisation = network.features.conv0, network.features.norm0
    else:
        first, normalisation = network.conv1, network.bn1
    activations: Tensor = normalisation(first(clip)).relu()
    if not isinstance(first, SeparableConv3d):
        return [activations]
    return list(activations.split_with_sizes(first.stream_channels, 1))


def _resnet(net: ClipNetwork) -> nn.Module:
    block, layers = _RESNETS[net.base]
    network: nn.Module = ResNet(
        block=block,
        layers=layers,
        block_inplanes=[net.width * factor for factor in (1, 2, 4, 8)],
        n_input_channels=net.clip[0],
        conv1_t_size=7,
        conv1_t_stride=_FIRST_STRIDE,
        shortcut_type="B",
        bias_downsample=False,
        num_classes=net.classes,
    )
    return network


def _densenet(net: ClipNetwork) -> nn.Module:
    network = DenseNet(3, net.clip[0], net.classes, init_features=net.width, growth_rate=net.growth)
    network.features.conv0.stride = _FIRST_STRIDE
    built: nn.Module = network
    return built


class _JointBlock(nn.Module):
    """A basic residual block whose two convolutions, with what is between them, are one P_mSC_2."""

    def __init__(self, block: Any, m: int) -> None:
        super().__init__()
        first, second = block.conv1, block.conv2
        self.convolution = SeparableConv3d(first.in_channels, second.out_channels, 3, first.stride, m=m, n=2)
        self.normalisation, self.activation, self.shortcut = block.bn2, block.act, block.downsample or nn.Identity()

    def forward(self, clip: Tensor) -> Tensor:
        result: Tensor = self.activation(self.normalisation(self.convolution(clip)) + self.shortcut(clip))
        return result


def _replace(network: nn.Module, stand_in: Callable[[nn.Conv3d], nn.Module]) -> None:
    """Replace every convolution of more than one voxel inside `network`, but for those of replacements."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv3d) and prod(child.kernel_size) > 1:
            setattr(network, name, stand_in(child))
        elif not isinstance(child, SeparableConv3d):
            _replace(child, stand_in)


def _separable(m: int, layer: nn.Conv3d) -> SeparableConv3d:
    return SeparableConv3d(layer.in_channels, layer.out_channels, layer.kernel_size[0], _triple(layer.stride), m=m)


def _transformed(layer: nn.Conv3d) -> TTConv3d:
    extent = layer.kernel_size[0]
    stand_in = TTConv3d(
        layer.in_channels, layer.out_channels, extent, _triple(layer.stride), padding=extent // 2, bias=False
    )
    nn.init.kaiming_normal_(stand_in.base, mode="fan_out", nonlinearity="relu")
    with torch.no_grad():
        # The slices begin equal, so that what varies little in time passes all of them with one sign.
        stand_in.base.div_(extent)
    return stand_in


def _triple(values: tuple[int, ...]) -> Triple:
    t, y, x = values
    return t, y, x
